"""``docs/benchmarks.md`` and its plots, from the results of a run."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.goals import goals_table
from tests.benchmarks.race import Results
from tests.benchmarks.tables import table

DOCS: Final = Path(__file__).parents[2] / "docs"
_COLOURS: Final = {"fetchd": "#1b7f5c", "limit": "#b8b8b8"}
_OTHER: Final = "#5b7fb4"
_PLOTS: Final = (
    ("first-fetch", "First fetch, mail kept on the server: seconds", ("1", "2", "3.plain", "3.tls")),
    ("distance", "5,000 small messages from far away: seconds", ("4.0", "4.20", "4.80")),
    ("accounts", "200 accounts, RTT 20 ms: seconds", ("5.new", "5.idle")),
)


def write(results: Results) -> Path:
    """Writes the page and the plots; returns the page's path. Without matplotlib the old plots stay."""
    plots = _plots(results)
    page = DOCS / "benchmarks.md"
    page.write_text(_page(results, plots))
    return page


def _page(results: Results, plots: Sequence[Path]) -> str:
    parts = ["# Benchmarks", _HEAD, _circumstances(results), "## Goals", goals_table(results)]
    parts += [f"![{path.stem}](benchmarks/{path.name})" for path in plots]
    for case in results.cases.values():
        parts += [f"## {case.title}", table(results, case)]
    parts += _killed(results) + _growth(results) + [_HOW]
    return "\n\n".join(part for part in parts if part) + "\n"


def _circumstances(results: Results) -> str:
    facts = results.facts
    return (
        f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}. "
        f"The server is Dovecot on loopback; mail goes to {facts.get('disk', '?')}. "
        f"{'; '.join(facts.get('versions', []))}. "
        f"{facts.get('runs', '?')} runs each, {facts.get('seconds', 0) / 60:.0f} minutes in all."
    )


def _killed(results: Results) -> list[str]:
    found: dict[str, list[dict[str, Any]]] = results.facts.get("killed", {})
    if not found:
        return []
    lines = ["| tool | messages | twice afterwards | lost |", "|---|---|---|---|"]
    for tool, kills in found.items():
        twice, lost = max(each["twice"] for each in kills), max(each["lost"] for each in kills)
        lines.append(f"| {tool} | {kills[0]['of']:,} | {twice:,} | {lost:,} |")
    title = "## SIGKILL in the middle of a run, then a run to the end: the worst of some kills"
    return [title, "\n".join(lines)]


def _growth(results: Results) -> list[str]:
    found: dict[str, dict[str, float]] = results.facts.get("growth", {})
    if not found:
        return []
    tools = list(found)
    lines = ["| seconds, octets, round trips | " + " | ".join(tools) + " |", "|---|" + "---|" * len(tools)]
    for name in found[tools[0]]:
        values = " | ".join(f"{found[tool].get(name, float('nan')):,.4g}" for tool in tools)
        lines.append(f"| {name.replace('_', ' ')} | {values} |")
    return ["## What grows", "\n".join(lines)]


def _plots(results: Results) -> list[Path]:
    (DOCS / "benchmarks").mkdir(exist_ok=True)
    return [path for name, title, keys in _PLOTS if (path := _plot(results, name, title, keys))]


def _plot(results: Results, name: str, title: str, keys: Sequence[str]) -> Path | None:
    cases = [results.cases[key] for key in keys if key in results.cases]
    path = DOCS / "benchmarks" / f"{name}.svg"
    if not cases:
        return None
    try:
        import matplotlib as mpl  # noqa: PLC0415 - heavy, and not everybody who measures has it
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return path if path.exists() else None
    mpl.rcParams |= {"svg.hashsalt": "fetchd", "svg.fonttype": "none", "font.size": 9}
    columns = 2 if len(cases) == 4 else len(cases)
    rows = -(-len(cases) // columns)
    figure = Figure(figsize=(4.4 * columns, 2.4 * rows + 0.4))
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, case in zip(axes, cases, strict=True):
        tools = [tool for tool in results.tools(case.key) if "files" not in tool]
        walls = [results.wall(case.key, tool) or 0.0 for tool in tools]
        colours = [_COLOURS.get(tool.split(":")[0], _OTHER) for tool in tools]
        bars = axis.barh(tools, walls, color=colours)
        axis.bar_label(bars, [f" {wall:.2f}" if wall < 10 else f" {wall:.0f}" for wall in walls])
        axis.set_xscale("log")
        axis.set_xlim(min(0.1, *walls) / 2, max(walls) * 5)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(case.title.replace(", ", ",\n", 1), fontsize=9)
    figure.suptitle(title + " (logarithmic; shorter is better)", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def versions() -> list[str]:
    """Returns the names and versions of the tools, as their packages have them."""
    packages = ["mpop", "fdm", "fetchmail", "maildrop", "getmail6", "dovecot-core"]
    if shutil.which("dpkg-query") is None:
        return []
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages], capture_output=True, text=True, check=False
    )
    return answer.stdout.splitlines()


_HEAD: Final = """\
Written by `make bench` (`make bench-quick`: a part of it); do not edit. Every tool in turn, again and again, in one
run, each time in a fresh directory: medians (minimum – maximum). Machines and moments differ: the ratios count. CPU is
user and system time, of all processes that a tool starts."""

_HOW: Final = """\
## How it is measured

- **Verified.** After every run each delivered file is compared with what was sent. Tools put headers of their own in
  front (Received, Return-Path, Delivered-To); every message begins with a header that none of them writes, and
  from there to its end its octets must have the digest of what was sent. "n whole": n messages are there, once each.
- **Durable.** Every tool runs as it comes: mpop, fdm and maildrop decide for themselves what they flush. fetchd flushes
  every message and commits its record before it shows it. The file system has a journal, for without one an fsync is
  nearly free; what is dirty is written before the clock starts.
- **≈** marks a figure extrapolated from less work: slow tools get fewer messages (the cost of a run that finds nothing
  is taken off, the rest multiplied), tools that poll one account after the other fewer accounts.
- **Limits.** "server drained": a client that pipelines RETR and throws the octets away. "files": the same mail read
  from files and written to a Maildir, with a syncfs for every 256 files, or an fsync for each.
- **Distance** is a relay on loopback that delivers each octet half a round trip later. It counts round trips: how often
  the server answered something said since it last spoke; TCP's own handshake is not counted.
- **The tools** keep the mail on the server, run without privileges, and log in with USER and PASS or AUTH PLAIN: the
  server offers no more. fetchmail has maildrop as its MDA, fdm runs as one process an account, all at once, mpop with
  `pipelining auto`, fetchd with its defaults (many accounts of this one host: `sessions_per_host: 64`)."""
