"""``fetchd`` and ``fetchd --once``: the daemon in the foreground, and one poll of every account.

Logs go to standard error, results to standard output. On a terminal ``--once`` shows progress bars and logs only what
is wrong, unless ``--verbose`` asks for all.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from fetchd.app import App, log_to
from fetchd.cli import EXIT_FAILED, EXIT_INTERRUPTED, interruptible
from fetchd.cli.summary import summary
from fetchd.config import find_config, load
from fetchd.errors import Interrupted
from fetchd.events import Emit, Event, PollFailed, Stopping
from fetchd.inbox import Finished
from fetchd.model import PollResult, Settings
from fetchd.wording import counted


def run_forever(config: Path | None, *, verbose: bool) -> None:
    """Runs the daemon until a signal ends it.

    Raises:
        ConfigError: there is no usable configuration, or ``http:`` cannot be bound.
        StoreError: the store cannot be used.
    """
    path = find_config(config, os.environ)
    settings = _load(path, verbose=verbose)
    from fetchd.heap import settle as settle_heap  # noqa: PLC0415 - ctypes, and --once ends before it matters

    _collect_from_here_on()
    settle_heap(os.environ)
    log = log_to(sys.stderr, settings.log)
    with App(settings, renderers=[log], load=lambda: _load(path, verbose=verbose), serve_http=True) as app:
        app.inbox.post_signals()
        app.run()


def run_once(config: Path | None, names: Sequence[str], *, verbose: bool, textfile: Path | None = None) -> int:
    """Polls once and prints a summary; returns the exit code.

    That is 0 where all is well, 1 where an account failed or was not finished, and 130 where Ctrl-C kept one from that.

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
    interruptible()
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
) -> int:
    failed: dict[str, PollResult] = {}
    stopped_by: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, PollFailed):
            failed[event.account] = event.result
        elif isinstance(event, Stopping):
            stopped_by.append(event.signal)

    hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # nohup: to go on without the terminal
    with App(settings, renderers=[*renderers, note], load=load, count=textfile is not None) as app:
        app.inbox.post_signals(hangup=hangup)
        finished = app.run_once(names)
    line, is_well = _outcome(set(names or settings.accounts), finished, failed)
    click.echo(line)
    if textfile is not None:
        app.write_textfile(textfile)
    if is_well:
        return 0
    return EXIT_INTERRUPTED if stopped_by[:1] == [signal.SIGINT.name] else EXIT_FAILED


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


def _collect_from_here_on() -> None:
    """Turns the search for cycles on, and spares it what is there: code, and the configuration."""
    gc.freeze()
    gc.enable()


def _load(path: Path, *, verbose: bool) -> Settings:
    settings = load(path, environ=os.environ)
    return replace(settings, log=replace(settings.log, level="debug")) if verbose else settings
