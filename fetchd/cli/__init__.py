"""The command line: ``fetchd``, one module a command.

Exit codes: 0 all well (mail or none) · 1 some account failed, or fetchd could not run · 2 bad usage · 78 bad
configuration.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import click

from fetchd import __version__
from fetchd.cli.check import check
from fetchd.cli.demo import demo
from fetchd.cli.run import run_forever, run_once
from fetchd.errors import ConfigError, FetchdError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""``EX_CONFIG`` of sysexits.h."""


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The configuration file.")
@click.option("--once", is_flag=True, help="Poll every account once, then exit.")
@click.option("-a", "--account", "names", multiple=True, metavar="NAME", help="With --once: only this account.")
@click.option("-v", "--verbose", is_flag=True, help="Log every step (level debug).")
@click.version_option(__version__, prog_name="fetchd")
@click.pass_context
def cli(context: click.Context, config: Path | None, once: bool, names: tuple[str, ...], verbose: bool) -> None:
    """Fetch POP3 mail on a schedule into Maildir or mbox: nothing lost, nothing twice.

    Without a command, fetchd polls its accounts in the foreground until SIGTERM or Ctrl-C. SIGHUP reloads the
    configuration, SIGUSR1 polls every account now.

    The configuration is looked for in -c, $FETCHD_CONFIG, $XDG_CONFIG_HOME/fetchd/fetchd.yaml and
    /etc/fetchd/fetchd.yaml.
    """
    context.obj = config
    if context.invoked_subcommand is not None:
        if once or names:
            raise click.UsageError(f"--once and -a do not go with the command {context.invoked_subcommand!r}")
        return
    if names and not once:
        raise click.UsageError("-a goes with --once")
    if once:
        context.exit(EXIT_FAILED if run_once(config, names, verbose=verbose) else 0)
    run_forever(config, verbose=verbose)


cli.add_command(check)
cli.add_command(demo)


def main() -> None:
    """Runs the command line and exits; whatever goes wrong becomes one clear line and the right exit code."""
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
            click.echo(f"fetchd: {where}: {error.strerror or error}", err=True)
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
        click.echo("\n".join(error.problems), err=True)
        return EXIT_CONFIG
    except UsageError as error:
        click.echo(f"fetchd: {error}", err=True)
        return EXIT_USAGE
    except FetchdError as error:
        click.echo(f"fetchd: {error}", err=True)
        return EXIT_FAILED
    except (KeyboardInterrupt, click.Abort):
        return EXIT_FAILED


def _silence(stream: TextIO | None) -> None:
    """Points a stream to /dev/null: what is left in its buffer must not fail again when the interpreter ends."""
    if stream is None:
        return
    with suppress(OSError):  # no file of the system's
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
