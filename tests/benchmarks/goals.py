"""The goals of the project's issue on speed, each with what was measured beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.race import Results

Measured = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: ``measured`` is at most ``limit``, or with ``at_least`` not below it; ``unit`` follows the figures."""

    number: str
    text: str
    limit: float
    measured: Measured
    unit: str = ""
    at_least: bool = False

    def line(self, results: Results) -> str | None:
        """Returns a line of the table; None where nothing was measured."""
        value = self.measured(results)
        if value is None:
            return None
        is_met = value >= self.limit if self.at_least else value <= self.limit
        sign, met = ("≥" if self.at_least else "≤"), ("met" if is_met else "**not met**")
        return f"| {self.number} | {self.text} | {sign} {self.limit:g}{self.unit} | {value:.3g}{self.unit} | {met} |"


def goals_table(results: Results) -> str:
    """Returns all goals for which something was measured, as a table."""
    lines = [line for goal in GOALS if (line := goal.line(results))]
    return "\n".join(["| goal | | wanted | measured | |", "|---|---|---|---|---|", *lines]) if lines else ""


def _times(case: str, tool: str) -> Measured:
    """How many times as long as fetchd a tool takes."""

    def measured(results: Results) -> float | None:
        ours, theirs = results.wall(case, "fetchd"), results.wall(case, tool)
        return theirs / ours if ours and theirs else None

    return measured


def _cpu(case: str, factor: float) -> Measured:
    """CPU of fetchd for each message, or for each octet where the case is about large ones."""

    def measured(results: Results) -> float | None:
        cpu = results.cpu(case, "fetchd")
        if cpu is None:
            return None
        what = results.cases[case]
        units = what.octets if what.octets > 1e6 * what.messages else what.messages or 1
        return cpu / units * factor

    return measured


def _slower(case: str, than: str) -> Measured:
    """How many times as long as one case another takes."""

    def measured(results: Results) -> float | None:
        one, other = results.wall(case, "fetchd"), results.wall(than, "fetchd")
        return one / other if one and other else None

    return measured


def _growth(name: str, factor: float = 1.0) -> Measured:
    def measured(results: Results) -> float | None:
        value = results.facts.get("growth", {}).get("fetchd", {}).get(name)
        return None if value is None else float(value) * factor

    return measured


def _linear(results: Results) -> float | None:
    small, large = _growth("seen_100000_cpu")(results), _growth("seen_1000000_cpu")(results)
    return large / small if small and large else None


def _killed(results: Results) -> float | None:
    found = results.facts.get("killed", {}).get("fetchd")
    return max(each["twice"] + each["lost"] for each in found) if found else None


GOALS: Final[Sequence[Goal]] = (
    Goal("1", "small mail: times faster than mpop", 4, _times("1", "mpop"), "×", at_least=True),
    Goal("1", "… than fetchmail+maildrop", 20, _times("1", "fetchmail+maildrop"), "×", at_least=True),
    Goal("1", "… than getmail6", 40, _times("1", "getmail6"), "×", at_least=True),
    Goal("1", "CPU a small message", 130, _cpu("1", 1e6), " µs"),
    Goal("2", "mixed mail: times faster than mpop", 2, _times("2", "mpop"), "×", at_least=True),
    Goal("2", "large mail, plain: times faster than mpop", 2, _times("3.plain", "mpop"), "×", at_least=True),
    Goal("2", "large mail, TLS: times faster than mpop", 1.3, _times("3.tls", "mpop"), "×", at_least=True),
    Goal("2", "CPU a GB, plain", 1.6, _cpu("3.plain", 1e9), " s"),
    Goal("2", "CPU a GB, TLS", 3, _cpu("3.tls", 1e9), " s"),
    Goal("3", "small mail at RTT 80 ms against RTT 0", 1.3, _slower("4.80", "4.0"), "×"),
    Goal("3", "round trips of a poll that finds nothing, TLS 1.3, daemon", 5, _growth("round_trips_tls")),
    Goal("3", "… with --once, which remembers no earlier session", 5, _growth("round_trips_once_tls")),
    Goal("4", "200 accounts × 5 new: times faster than mpop", 25, _times("5.new", "mpop"), "×", at_least=True),
    Goal("4", "… than fdm, a process each", 5, _times("5.new", "fdm"), "×", at_least=True),
    Goal("4", "200 accounts, nothing new: times faster than fdm", 1, _times("5.idle", "fdm"), "×", at_least=True),
    Goal("4", "CPU an idle account, plain", 1, _growth("idle_cpu_plain", 1e3), " ms"),
    Goal("4", "CPU an idle account, TLS", 3, _growth("idle_cpu_tls", 1e3), " ms"),
    Goal("5", "10,000 configured accounts: memory", 150, _growth("configured_rss", 1e-6), " MB"),
    Goal("5", "… start-up", 5, _growth("configured_startup"), " s"),
    Goal("5", "… a scrape", 0.5, _growth("configured_scrape"), " s"),
    Goal("5", "100,000 seen messages: CPU beyond an empty poll", 0.3, _growth("seen_100000_cpu"), " s"),
    Goal("5", "… memory of the whole process", 50, _growth("seen_100000_rss", 1e-6), " MB"),
    Goal("5", "1,000,000 seen messages: CPU against 100,000", 12, _linear, "×"),
    Goal("5", "store octets a seen unique-id, beyond it", 40, _growth("seen_100000_store_octets")),
    Goal("6", "--once with nothing to do: CPU", 0.2, _cpu("7", 1), " s"),
    Goal("–", "messages twice or lost after a SIGKILL", 0, _killed),
)
