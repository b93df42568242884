"""The command line: ``fetchd``, one module a command.

Exit codes: 0 all well (mail or none) · 1 some account failed, or fetchd could not run · 2 bad usage · 78 bad
configuration.
"""

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final, TextIO

import click

from fetchd import __version__
from fetchd.errors import ConfigError, FetchdError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""``EX_CONFIG`` of sysexits.h."""

_COMMANDS: Final = ("check", "demo", "health", "poll", "status")
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
        command: click.Command = getattr(import_module(f"fetchd.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The configuration file.")
@click.option("--once", is_flag=True, help="Poll every account once, then exit.")
@click.option("-a", "--account", "names", multiple=True, metavar="NAME", help="With --once: only this account.")
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.prom",
    help="With --once: add what was counted to this file, for node_exporter's textfile collector.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every step (level debug).")
@click.version_option(__version__, prog_name="fetchd")
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
    """
    context.obj = config
    if context.invoked_subcommand is not None:
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
        context.exit(EXIT_FAILED if run_once(config, names, verbose=verbose, textfile=textfile) else 0)
    run_forever(config, verbose=verbose)


def main() -> None:
    """Runs the command line and exits; whatever goes wrong becomes one clear line and the right exit code.

    Most of a short run is imports, whose hundred thousands of objects stay: no cycle is looked for among them. The
    commands of ``run.py`` turn the collector on once they have read the configuration. And pydantic is kept from
    loading plugins out of other packages: ours is a configuration with passwords in it, and the search takes its time.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _open_missing_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
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
        _complain("\n".join(error.problems))
        return EXIT_CONFIG
    except UsageError as error:
        _complain(f"fetchd: {error}")
        return EXIT_USAGE
    except FetchdError as error:
        _complain(f"fetchd: {error}")
        return EXIT_FAILED
    except (KeyboardInterrupt, click.Abort):
        return EXIT_FAILED


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
    sys.stdout = _stream(sys.stdout, 1)
    sys.stderr = _stream(sys.stderr, 2)


def _stream(stream: TextIO | None, descriptor: int) -> TextIO:
    """Returns a stream as it is, or a new one where Python found its descriptor closed."""
    return os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) if stream is None else stream


def _silence(stream: TextIO | None) -> None:
    """Points a stream to /dev/null: what is left in its buffer must not fail again when the interpreter ends."""
    if stream is None:
        return
    with suppress(OSError):  # no file of the system's
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
