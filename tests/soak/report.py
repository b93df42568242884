"""docs/soak.md and its picture, of a run that was made."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.soak.run import PROMPT_EVERY, ROUND, Outcome
from tests.soak.scene import FAULTS, TROUBLED
from tests.soak.watch import (
    COUNT_SLACK,
    PEAK_SLACK,
    RSS_SLACK,
    WARM_UP,
    Sample,
    Series,
    descriptors,
    in_quarters,
    rss,
    threads,
)

_DOCS: Final = Path(__file__).parents[2] / "docs"
_MIB: Final = 2**20
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 720, 90, 70, 24, 34
_COLOURS: Final = ("#2f6fbb", "#b4551d", "#3c8031", "#80539e")

_FOUND: Final = """## What the first runs found

RSS grew from 57 MiB to 85 MiB in 7,200 polls (medians of the quarters: 73, 78, 81 and 83 MiB), and went on, to 88 MiB
after 6,900 in a second run. No leak was found: the interpreter's blocks stood at 235,000 to 240,000 over 3,500 polls,
tracemalloc saw nothing pile up, and mallinfo2(3) told of 13 to 18 MiB in use at any time. What grew was the part of
glibc's heaps that had ever been touched. A read asks for 256 KiB and mostly brings a line; glibc serves the first such
block by mmap, and from its free on takes blocks of that size from the heap of the thread (`M_MMAP_THRESHOLD` is
dynamic), where small things settle in the rest.

With that threshold fixed at 128 KiB, RSS still rose by about 1 MiB in 1,000 polls, in the heaps that glibc makes for
threads, of which there were fifteen: by /proc/PID/smaps they grew from 5.7 to 13.8 MiB over 7,000 polls, and nothing
else grew. Smaller reads, and malloc_trim(3) every 200 sessions, each alone, slowed that down and did not end it. With
two heaps for all threads and a trim now and then RSS stood at 60.8 to 62.6 MiB from the 1,000th poll to the 7,000th,
right after each trim. That is what the daemon does (`fetchd/heap.py`); a trim takes a millisecond, seldom twenty.
"""
"""What was found in runs on 2026-11-24, before ``fetchd/heap.py`` was what it is."""

Value = Callable[[Sample], float]
PLOTS: Final[Sequence[tuple[str, Value]]] = (
    ("RSS, MiB", lambda sample: sample.rss / _MIB),
    ("descriptors", lambda sample: sample.descriptors),
    ("threads", lambda sample: sample.threads),
    ("store, MiB", lambda sample: sample.store / _MIB),
)


def write(outcome: Outcome, *, seed: int) -> None:
    """Writes both files."""
    (_DOCS / "images" / "soak.svg").write_text(picture(outcome.samples))
    (_DOCS / "soak.md").write_text(page(outcome, seed=seed))


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def page(outcome: Outcome, *, seed: int) -> str:
    """Returns the page in Markdown."""
    samples = outcome.samples
    store = in_quarters(samples, lambda sample: sample.store)
    rows = [
        _row("RSS, MiB", rss(samples), _MIB),
        _row("file descriptors", descriptors(samples)),
        _row("threads", threads(samples)),
        _row("store with its WAL, MiB", store, _MIB),
    ]
    ended = ", ".join(f"{name} {count:,}" for name, count in sorted(outcome.polls.items(), key=lambda item: -item[1]))
    findings = [*outcome.wrong, *outcome.flat]
    verdict = "All limits held." if not findings else "**Wrong:** " + "; ".join(findings)
    failed = outcome.polls.total() - outcome.polls["ok"]
    total, seconds = outcome.polls.total(), samples[-1].seconds
    kept, troubled = outcome.accounts - len(FAULTS), ", ".join(f"`{name}`" for name in FAULTS)
    body = "\n".join(rows)
    return f"""\
# Thousands of polls with faults injected

`python -m tests.soak --write` wrote this page. The real daemon (`python -m fetchd -c …`, `http:` on) polled
{outcome.accounts} accounts at `interval: 1s` for {seconds:.0f} seconds, and {total:,} polls ended; 25 accounts at the
default five minutes have 7,200 a day. {_machine()}, shared with
other work at the time: only what the daemon holds is measured here, not how fast it is.

Again: `make soak ARGS="--polls {total} --seed {seed}"`; with `--write` this page is written anew. The command
fails where a line below is not flat, or mail is missing or doubled. A run of 150 polls is in `make test`.

## What happened to it

- {kept} accounts with a real Dovecot, over TLS and plain; three of them leave their mail on the server.
- {len(FAULTS)} accounts with servers that misbehave in every {TROUBLED}rd session:
  {troubled}.
- Mail all the time: {outcome.messages:,} messages, {outcome.octets / _MIB:.0f} MiB.
- {outcome.reloads} reloads by SIGHUP, in which accounts came, went or were changed.
- {outcome.moves} times a Maildir was taken away for three seconds and put back.
- SIGUSR1 every {ROUND * PROMPT_EVERY} s ({outcome.prompts} times): else those that fail would soon wait for minutes.
- `/`, `/status` and `/metrics` were read {len(samples)} times.

How polls ended, as `/metrics` counted: {ended}.

## What it held

Quarters are those of the run after a warm-up of {WARM_UP:.0%} of the polls; {len(samples)} samples.

| | most in the warm-up | 1st quarter: median (most) | 2nd | 3rd | 4th |
|---|--:|--:|--:|--:|--:|
{body}

![RSS, descriptors, threads and the store's size over polls](images/soak.svg)

Flat means, and the run fails otherwise: the median of RSS in the last quarter is at most {RSS_SLACK // _MIB} MiB above
that of the second; the medians of descriptors and threads are at most {COUNT_SLACK} above; no peak in the last quarter
is more than {PEAK_SLACK} above all before it (how many sessions are open at a moment is chance).

{_FOUND}
## How it ended

{outcome.messages:,} messages were sent while {failed:,} polls failed. Asked of the Maildirs at the end: each message
is there once, octet for octet, and nothing is left in staging. Asked of the servers: no command came out of turn.
SIGTERM ended the daemon with exit code {outcome.code}; the log has no traceback. {verdict}
"""


def _machine() -> str:
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{platform.system()} on {os.cpu_count()} cores, Python {platform.python_version()}, {date}"


def _row(name: str, series: Series, unit: int = 1) -> str:
    def shown(value: int) -> str:
        return f"{value / unit:.1f}" if unit > 1 else str(value)

    quarters = (f"{shown(middle)} ({shown(peak)})" for middle, peak in zip(series.medians, series.peaks, strict=True))
    return f"| {name} | {shown(series.warm_up)} | {' | '.join(quarters)} |"


# ── the picture ──────────────────────────────────────────────────────────────────────────────────────────────────────


def picture(samples: Sequence[Sample]) -> str:
    """Returns an SVG: one plot above the other, over polls, each from nought."""
    last = samples[-1].polls
    height = _TOP + len(PLOTS) * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 20}" height="{height}"',
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (name, value) in enumerate(PLOTS):
        top = _TOP + number * (_HEIGHT + _GAP)
        most = max(value(sample) for sample in samples) * 1.1 or 1.0
        points = " ".join(
            f"{_LEFT + _WIDTH * sample.polls / last:.1f},{top + _HEIGHT * (1 - value(sample) / most):.1f}"
            for sample in samples
        )
        parts += [
            f'<text x="{_LEFT}" y="{top - 6}" font-weight="bold">{name}</text>',
            f'<path d="M{_LEFT} {top}V{top + _HEIGHT}H{_LEFT + _WIDTH}" fill="none" stroke="#888"/>',
            f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>',
            f'<text x="{_LEFT - 6}" y="{top + _HEIGHT}" text-anchor="end">0</text>',
            f'<text x="{_LEFT + _WIDTH}" y="{top + _HEIGHT + 14}" text-anchor="end">{last:,} polls</text>',
            f'<polyline points="{points}" fill="none" stroke="{_COLOURS[number]}" stroke-width="1.5"/>',
        ]
    return "\n".join([*parts, "</svg>\n"])
