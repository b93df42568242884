"""``python profiled.py OUT ARGUMENTS…``: fetchd under cProfile, all of its threads; the statistics go to ``OUT``.

One profiler a thread, merged at the end; what is counted is CPU time, so that waiting costs nothing. From Python 3.12
on a process can have only one: then it is the main thread's.
"""

import cProfile
import pstats
import sys
import threading
import time

profiles: list[cProfile.Profile] = []
_run = threading.Thread.run


def _profiled(thread: threading.Thread) -> None:
    profile = cProfile.Profile(time.thread_time)
    try:
        profile.enable()
    except ValueError:
        _run(thread)
        return
    profiles.append(profile)
    try:
        _run(thread)
    finally:
        profile.disable()


def _fetchd(arguments: list[str]) -> int:
    from fetchd.cli import invoke  # noqa: PLC0415 - its imports are part of what it costs

    return invoke(arguments)


def main() -> None:
    out, *arguments = sys.argv[1:]
    threading.Thread.run = _profiled  # type: ignore[method-assign] # every thread of the program, whoever starts it
    main_profile = cProfile.Profile(time.thread_time)
    profiles.append(main_profile)
    code = main_profile.runcall(_fetchd, arguments)
    statistics = pstats.Stats(profiles[0])
    for profile in profiles[1:]:
        profile.create_stats()
        if profile.stats:
            statistics.add(profile)
    statistics.dump_stats(out)
    sys.exit(code)


if __name__ == "__main__":
    main()
