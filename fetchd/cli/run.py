"""``fetchd`` and ``fetchd --once``: the daemon in the foreground, and one poll of every account.

Logs go to standard error, results to standard output. On a terminal ``--once`` shows progress bars and logs only what
is wrong, unless ``--verbose`` asks for all.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import click

from fetchd.app import App, log_to
from fetchd.cli.summary import counted, summary
from fetchd.config import find_config, load
from fetchd.errors import Interrupted
from fetchd.events import Emit, Event, PollFailed
from fetchd.inbox import Finished
from fetchd.model import PollResult, Settings

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_LARGE_OCTETS: Final = 128 * 1024


def run_forever(config: Path | None, *, verbose: bool) -> None:
    """Runs the daemon until a signal ends it.

    Raises:
        ConfigError: there is no usable configuration, or ``http:`` cannot be bound.
        StoreError: the store cannot be used.
    """
    path = find_config(config, os.environ)
    settings = _load(path, verbose=verbose)
    _collect_from_here_on()
    _return_large_blocks()
    log = log_to(sys.stderr, settings.log)
    with App(settings, renderers=[log], load=lambda: _load(path, verbose=verbose), serve_http=True) as app:
        app.inbox.post_signals()
        app.run()


def run_once(config: Path | None, names: Sequence[str], *, verbose: bool, textfile: Path | None = None) -> bool:
    """Polls once and prints a summary; returns whether any account failed or was not finished.

    Args:
        config: the configuration file that was asked for.
        names: the accounts to poll; all where there are none.
        verbose: whether to log every step.
        textfile: where to put metrics for node_exporter.

    Raises:
        ConfigError: there is no usable configuration.
        UsageError: no account has one of these names.
        StoreError: the store cannot be used.
        FetchdError: the text file cannot be written.
    """
    path = find_config(config, os.environ)
    settings = _load(path, verbose=verbose)
    _collect_from_here_on()
    poll_once = partial(_poll_once, settings, names=names, load=lambda: _load(path, verbose=verbose), textfile=textfile)
    if not sys.stderr.isatty() or verbose:
        return poll_once([log_to(sys.stderr, settings.log)])
    from fetchd.cli.progress import Progress, Terminal  # noqa: PLC0415 - on a terminal only: rich is heavy

    level = "warning" if settings.log.level == "info" else settings.log.level
    with Progress(Terminal(stderr=True)) as progress:
        log = log_to(progress.write_line, replace(settings.log, level=level), is_tty=True)
        return poll_once([_without_failures(log), progress])


def _poll_once(
    settings: Settings,
    renderers: Sequence[Emit],
    *,
    names: Sequence[str],
    load: Callable[[], Settings],
    textfile: Path | None,
) -> bool:
    failed: dict[str, PollResult] = {}

    def note(event: Event) -> None:
        if isinstance(event, PollFailed):
            failed[event.account] = event.result

    hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # nohup: to go on without the terminal
    with App(settings, renderers=[*renderers, note], load=load, count=textfile is not None) as app:
        app.inbox.post_signals(hangup=hangup)
        finished = app.run_once(names)
    line, is_well = _outcome(set(names or settings.accounts), finished, failed)
    click.echo(line)
    if textfile is not None:
        app.write_textfile(textfile)
    return not is_well


def _outcome(wanted: set[str], finished: Sequence[Finished], failed: Mapping[str, PollResult]) -> tuple[str, bool]:
    """Returns the summary, and whether every account that was wanted was polled to its end without a fault.

    Args:
        wanted: names of the accounts that were to be polled.
        finished: how those ended that did; a stop leaves the others out.
        failed: by account, what was done before the poll failed.
    """
    ended = {message.account for message in finished if not isinstance(message.error, Interrupted)}
    unfinished = wanted - ended
    faults = {message.account for message in finished if message.error is not None} - unfinished
    results = {name: PollResult(name) for name in wanted} | dict(failed)
    results |= {message.account: message.result for message in finished if message.result is not None}
    line = summary(results.values(), faults)
    if unfinished:
        line += f", {counted(len(unfinished), 'account')} not finished"
    return line, not (faults or unfinished)


def _without_failures(log: Emit) -> Emit:
    """The bars say themselves which account failed, and why."""
    return lambda event: None if isinstance(event, PollFailed) else log(event)


def _return_large_blocks() -> None:
    """Has the C library give blocks of 128 KiB and more back to the system when they are freed, each time.

    Else glibc keeps them on its heaps once the first was freed (mallopt(3), M_MMAP_THRESHOLD). A read of 256 KiB that
    brings one line then leaves a hole there, in every thread's heap, in which small things settle: without any leak
    the resident set grew by half in a day of polls (docs/soak.md). The environment's own setting stands.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    import ctypes  # noqa: PLC0415 - the daemon alone needs it here

    with suppress(OSError, AttributeError):  # musl has no such function, and no such heaps
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_OCTETS)


def _collect_from_here_on() -> None:
    """Turns the search for cycles on, and spares it what is there: code, and the configuration."""
    gc.freeze()
    gc.enable()


def _load(path: Path, *, verbose: bool) -> Settings:
    settings = load(path, environ=os.environ)
    return replace(settings, log=replace(settings.log, level="debug")) if verbose else settings
