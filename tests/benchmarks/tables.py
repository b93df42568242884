"""Results as Markdown tables."""

from tests.benchmarks.race import Case, Results


def table(results: Results, case: Case) -> str:
    """Returns one case: a line a tool, and how many times as long as fetchd it took."""
    lines = [
        "| tool | wall s (min – max) | × fetchd | CPU s | per | MB RSS | verified |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = results.wall(case.key, "fetchd")
    for tool in results.tools(case.key):
        samples = results.of(case.key, tool)
        walls = [sample.whole_wall for sample in samples]
        wall, cpu = results.wall(case.key, tool) or 0.0, results.cpu(case.key, tool) or 0.0
        about = "≈ " if samples[0].factor != 1 else ""
        ratio = f"{wall / ours:.2f}" if ours else ""
        verified = samples[-1].verdict if all(sample.clean for sample in samples) else _worst(results, case, tool)
        lines.append(
            f"| {tool} | {about}{wall:.3f} ({min(walls):.3f} – {max(walls):.3f}) | {ratio} | {cpu:.3f} "
            f"| {per(case, cpu)} | {max(sample.peak_rss for sample in samples) / 1e6:.0f} | {verified} |"
        )
    return "\n".join(lines)


def per(case: Case, cpu: float) -> str:
    """Returns the CPU time of the unit that matters in a case."""
    if case.octets and case.octets / case.messages > 1e6:
        return f"{cpu / case.octets * 1e9:.2f} s/GB"
    if case.messages:
        return f"{cpu / case.messages * 1e6:.0f} µs/message"
    if case.accounts > 1:
        return f"{cpu / case.accounts * 1e3:.2f} ms/account"
    return ""


def _worst(results: Results, case: Case, tool: str) -> str:
    return next(f"**{sample.verdict}**" for sample in results.of(case.key, tool) if not sample.clean)
