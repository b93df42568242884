"""The command line: ``fetchd``, one module a command.

Exit codes: 0 all well (mail or none) · 1 some account failed, or fetchd could not run · 2 bad usage · 78 bad
configuration · 130 ended by Ctrl-C.
"""

import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from fetchd.errors import ConfigError, FetchdError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""``EX_CONFIG`` of sysexits.h."""
EXIT_INTERRUPTED = 130
"""As a shell says of a program that Ctrl-C ended: 128 and SIGINT's number."""

_COMMANDS: Final = ("check", "completion", "demo", "health", "import", "init", "login", "poll", "schema", "status")
"""The commands: each is a function in a module of the same name."""


class _Commands(click.Group):
    """The commands, each imported when it is asked for: ``--once`` pays for none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Returns the names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Returns a command; None where there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        name = "import_" if cmd_name == "import" else cmd_name  # a word of Python's
        command: click.Command = getattr(import_module(f"fetchd.cli.{name}"), name)
        return command


def _print_versions(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from fetchd.cli.version import print_versions  # noqa: PLC0415 - what it names is heavy

        print_versions(context, parameter, value)


def _account_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from fetchd.cli.completion import account_names  # noqa: PLC0415 - only for a shell that completes

    return account_names(context, parameter, incomplete)


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The configuration file.")
@click.option("--once", is_flag=True, help="Poll every account once, then exit.")
@click.option(
    "-a",
    "--account",
    "names",
    multiple=True,
    metavar="NAME",
    help="With --once: only this account.",
    shell_complete=_account_names,
)
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.prom",
    help="With --once: add what was counted to this file, for node_exporter's textfile collector.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every step (level debug).")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Show the versions of fetchd and of what it stands on, and exit.",
)
@click.pass_context
def cli(
    context: click.Context,
    config: Path | None,
    *,
    once: bool,
    names: tuple[str, ...],
    textfile: Path | None,
    verbose: bool,
) -> None:
    """Fetch POP3 mail on a schedule into Maildir or mbox: nothing lost, nothing twice.

    Without a command, fetchd polls its accounts in the foreground until SIGTERM or Ctrl-C. SIGHUP reloads the
    configuration, SIGUSR1 polls every account now.

    The configuration is looked for in -c, $FETCHD_CONFIG, $XDG_CONFIG_HOME/fetchd/fetchd.yaml and
    /etc/fetchd/fetchd.yaml.

    The exit code is 0 where all is well, 1 where an account failed or fetchd could not run, 2 where the command line is
    wrong, 78 where the configuration is, and 130 where Ctrl-C ended a command.
    """
    context.obj = config
    if context.invoked_subcommand is not None:
        interruptible()
        if once or names or textfile:
            raise click.UsageError(
                f"--once, -a and --textfile do not go with the command {context.invoked_subcommand!r}"
            )
        return
    if (names or textfile) and not once:
        raise click.UsageError("-a and --textfile go with --once")
    if textfile is not None and textfile.suffix != ".prom":
        raise click.UsageError(f"--textfile {textfile}: node_exporter reads no file whose name does not end in .prom")
    from fetchd.cli.run import run_forever, run_once  # noqa: PLC0415 - heavy, and not needed for --help or a command

    if once:
        context.exit(run_once(config, names, verbose=verbose, textfile=textfile))
    run_forever(config, verbose=verbose)


def interruptible() -> None:
    """Makes Ctrl-C a ``KeyboardInterrupt`` from here on, for there is something to be put in order: see __main__.py."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Runs the command line and exits; whatever goes wrong becomes one clear line and the right exit code.

    Most of a short run is imports, whose hundred thousands of objects stay: no cycle is looked for among them. The
    commands of ``run.py`` turn the collector on once they have read the configuration. And pydantic is kept from
    loading plugins out of other packages: ours is a configuration with passwords in it, and the search takes its time.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _open_missing_streams()
    if "_FETCHD_COMPLETE" in os.environ:
        from fetchd.cli.completion import complete  # noqa: PLC0415 - only for a shell that completes

        sys.exit(complete(cli))
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Returns the exit code of ``fetchd ARGUMENTS``. Output that nobody can take is a failure, never a traceback."""
    try:
        return _run(arguments)
    except (BrokenPipeError, SystemExit):  # click ends the process by itself where a pipe broke
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        where = "cannot write the output" if error.filename is None else error.filename
        try:
            _complain(f"fetchd: {where}: {error.strerror or error}")
        except OSError:
            _silence(sys.stderr)
    return EXIT_FAILED


def _run(arguments: list[str]) -> int:
    try:
        return cli.main(args=arguments, prog_name="fetchd", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        from fetchd.observe.escape import shown_text  # noqa: PLC0415 - for an error alone

        _complain("\n".join(map(shown_text, error.problems)))
        return EXIT_CONFIG
    except UsageError as error:
        _complain(f"fetchd: {error}")
        return EXIT_USAGE
    except FetchdError as error:
        _complain(f"fetchd: {error}")
        return EXIT_FAILED
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED


def _complain(text: str) -> None:
    """Says on standard error what went wrong: in the systemd journal, as an error."""
    from fetchd.observe.lines import for_journal, is_journal  # noqa: PLC0415 - --help does without

    click.echo(for_journal(text, "error") if is_journal(sys.stderr, os.environ) else text, err=True)


def _open_missing_streams() -> None:
    """Opens /dev/null where fetchd was started without a standard stream (``2>&-``).

    Else a file of ours would get its number, and what is meant for a stream would be written into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _stream(sys.stdout, 1)
    sys.stderr = _stream(sys.stderr, 2)


def _stream(stream: TextIO | None, descriptor: int) -> TextIO:
    """Returns a stream as it is, or a new one where Python found its descriptor closed.

    What the locale's letters do not have, as Latin-1 has no dash, is escaped and no error.
    """
    if stream is None:
        return os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)
    if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
    return stream


def _silence(stream: TextIO | None) -> None:
    """Points a stream to /dev/null: what is left in its buffer must not fail again when the interpreter ends."""
    if stream is None:
        return
    with suppress(OSError):  # no file of the system's
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
