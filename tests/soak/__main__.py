"""``python -m tests.soak``: the long run; ``--write`` puts what it saw into docs/soak.md."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.soak.report import write
from tests.soak.run import Soak

DAY = 7_200
"""The polls of 25 accounts in 24 hours, at the default interval of five minutes."""

FEWEST = 150


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--polls", type=int, default=DAY, help="polls that end before the run does (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=6, help="of the mail and of the trouble (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/soak.md and its picture")
    parser.add_argument("--home", type=Path, help="an empty directory for the run, which is kept")
    given = parser.parse_args()
    if given.polls < FEWEST:
        parser.error(f"--polls {given.polls}: fewer than {FEWEST} leave nothing to divide into quarters")
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        outcome = Soak(given.home or Path(directory), polls=given.polls, seed=given.seed, say=_say).run()
    for line in (*outcome.wrong, *outcome.flat):
        print("WRONG:", line)
    print(dict(outcome.polls), dict(outcome.events), f"exit {outcome.code}", sep="\n")
    if given.write:
        write(outcome, seed=given.seed)
    return 1 if outcome.wrong or outcome.flat else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
