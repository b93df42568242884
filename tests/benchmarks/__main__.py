"""The benchmarks: ``python -m tests.benchmarks``. What the rows are: :mod:`rows` and :mod:`growth`."""

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks import report
from tests.benchmarks.bench import Bench, opened
from tests.benchmarks.goals import goals_table
from tests.benchmarks.growth import row_9
from tests.benchmarks.race import Results
from tests.benchmarks.rows import QUICK
from tests.benchmarks.rows import ROWS as SHARED
from tests.benchmarks.tables import table

ROWS: Final[Mapping[str, Callable[[Bench], None]]] = {**SHARED, "9": row_9}
RESULTS: Final = Path(".cache/benchmarks.json")
RUNS: Final = 3


def main() -> None:
    """Runs what the command line asks for, and prints a table a case."""
    options = _options()
    if options.again:
        results = Results.from_json(json.loads(RESULTS.read_text()))
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the loop image go
        results = _run(options)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results.as_json(), indent=1))
    for case in results.cases.values():
        print(f"\n{case.title}\n{table(results, case)}")
    print(f"\n{goals_table(results)}")
    if options.write and options.rows:
        print("\nnot written: docs/benchmarks.md tells of all rows, and these are some")
    elif options.write:
        print(f"\nwritten: {report.write(results)}")
    if failed := results.facts.get("failed"):
        sys.exit("failed: " + "; ".join(failed))


def _run(options: argparse.Namespace) -> Results:
    rows: Sequence[str] = options.rows.split(",") if options.rows else QUICK if options.quick else list(ROWS)
    results = Results(facts={"runs": options.runs, "versions": report.versions(), "quick": options.quick})
    began = time.monotonic()
    with opened(
        runs=options.runs,
        quick=options.quick,
        results=results,
        tools=options.tools,
        against=options.against,
        profiled=options.profile,
    ) as bench:
        for row in rows:
            at = time.monotonic()
            try:
                ROWS[row](bench)
            except Exception as error:  # noqa: BLE001 - the other rows are worth having
                traceback.print_exc()
                results.facts.setdefault("failed", {})[f"row {row}"] = str(error)
            print(f"  row {row}: {time.monotonic() - at:.0f} s", flush=True)
    results.facts["seconds"] = round(time.monotonic() - began)
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", help=f"some of {','.join(ROWS)}; default: all")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often every tool runs; default: {RUNS}")
    parser.add_argument("--quick", action="store_true", help="the telling rows, and less work for the slow tools")
    parser.add_argument("--tools", default="", help="only those whose names begin so: fetchd,mpop,limit")
    parser.add_argument(
        "--against", type=Path, action="append", default=[], metavar="TREE", help="another checkout of fetchd too"
    )
    parser.add_argument(
        "--profile", action="store_true", help="fetchd alone, under cProfile and strace: where its time goes"
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plots")
    parser.add_argument("--again", action="store_true", help="measure nothing: the results of the last run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
