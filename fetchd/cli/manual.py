"""Writes what is made from other sources: ``python -m fetchd.cli.manual DIRECTORY``, as ``make reference`` does.

fetchd(1) is made from the commands themselves, so it says what ``--help`` says; fetchd.yaml(5), docs/configuration.md
and the JSON Schema are made from the models of the configuration.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from fetchd import __version__
from fetchd.cli import cli, roff
from fetchd.config.json_schema import json_schema_text
from fetchd.config.reference import INTRODUCTION, Section, reference
from fetchd.config.reference_page import reference_page

DATE: Final = "2026-11-24"
"""Of the last change to what the pages say; mandoc wants one."""
_SOURCE: Final = f"fetchd {__version__}"

EXIT_CODES: Final = {
    "0": "All is well, whether there was mail or not.",
    "1": "Some account failed or was not finished, or fetchd could not run.",
    "2": "The command line is wrong.",
    "78": "The configuration is wrong, or there is none.",
    "130": "Ctrl-C ended it.",
}
SIGNALS: Final = {
    "SIGTERM, SIGINT": "fetchd ends: messages in hand are finished, or dropped after a few seconds. A second one ends "
    "it at once. Nothing is lost either way.",
    "SIGHUP": "The configuration is read anew; where it has an error, the old one stays in force.",
    "SIGUSR1": "Every account is polled now.",
}
ENVIRONMENT: Final = {
    "FETCHD_CONFIG": "The configuration file, where there is no `-c`.",
    "XDG_CONFIG_HOME, XDG_STATE_HOME": "Where configuration and state of a user are looked for, below `fetchd/`.",
    "STATE_DIRECTORY, RUNTIME_DIRECTORY": "Where systemd has the state and the control socket kept.",
    "CREDENTIALS_DIRECTORY": "Where systemd has put the credentials that `password: {credential: NAME}` names.",
    "NO_COLOR": "Where it is set, no colours are used; nor are they where the output is no terminal.",
}
FILES: Final = {
    "~/.config/fetchd/fetchd.yaml, /etc/fetchd/fetchd.yaml": "The configuration.",
    "~/.local/state/fetchd/fetchd.db, /var/lib/fetchd/fetchd.db": "What was fetched. Lose it, and mail may be fetched "
    "twice.",
}


def files() -> Mapping[str, str]:
    """Returns all that is made: by its path in the project, its text."""
    return {
        "config/fetchd.schema.json": json_schema_text(),
        "docs/configuration.md": reference_page(),
        "docs/man/fetchd.1": "\n".join(_commands_page()) + "\n",
        "docs/man/fetchd.yaml.5": "\n".join(_configuration_page()) + "\n",
    }


# ── fetchd(1) ────────────────────────────────────────────────────────────────────────────────────────────────────


def _commands_page() -> Iterator[str]:
    yield from roff.head("fetchd", 1, date=DATE, source=_SOURCE)
    yield roff.heading("Name")
    yield "fetchd \\- fetch POP3 mail on a schedule into Maildir or mbox"
    with click.Context(cli, info_name="fetchd", **cli.context_settings) as context:
        yield roff.heading("Synopsis")
        yield f"\\fBfetchd\\fP {roff.escaped('[OPTIONS] [COMMAND] …')}"
        yield roff.heading("Description")
        yield from roff.paragraphs(_told(cli))
        yield roff.heading("Options")
        yield from _options(cli, context)
        yield roff.heading("Commands")
        for name in cli.list_commands(context):
            command = cli.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _command(command, name, context)
    for title, entries in (
        ("Exit status", EXIT_CODES),
        ("Signals", SIGNALS),
        ("Environment", ENVIRONMENT),
        ("Files", FILES),
    ):
        yield roff.heading(title)
        for term, text in entries.items():
            yield from roff.entry(term, [text])
    yield roff.heading("See also")
    yield "\\fBfetchd.yaml\\fP(5)"


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    with click.Context(command, info_name=name, parent=parent) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield roff.subheading(f"fetchd {name} {usage.replace('...', '…')}".rstrip())
        yield from roff.paragraphs(_told(command))
        yield from _options(command, context)
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                if found is not None:
                    yield from _command(found, f"{name} {inner}", parent)


def _told(command: click.Command) -> list[str]:
    """Returns the paragraphs of a command's help."""
    parts = [part.strip("\n") for part in inspect.cleandoc(command.help or "").split("\n\n")]
    return [part if part.startswith(roff.AS_IT_IS) else " ".join(part.split()) for part in parts if part.strip()]


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and not (context.parent and "--help" in parameter.opts):
            yield from roff.entry(record[0], [record[1].removesuffix("  [required]")])


# ── fetchd.yaml(5) ───────────────────────────────────────────────────────────────────────────────────────────────


def _configuration_page() -> Iterator[str]:
    yield from roff.head("fetchd.yaml", 5, date=DATE, source=_SOURCE)
    yield roff.heading("Name")
    yield "fetchd.yaml \\- the configuration of fetchd"
    yield roff.heading("Description")
    yield from roff.paragraphs(INTRODUCTION)
    for section in reference():
        yield from _section(section)
    yield roff.heading("See also")
    yield "\\fBfetchd\\fP(1)"


def _section(section: Section) -> Iterator[str]:
    yield roff.heading({"": "The file", "account": "An account"}.get(section.title, section.title))
    yield from roff.paragraphs(section.meaning)
    for key in section.keys:
        takes = f"Takes {key.type}" + (f"; see {key.below.upper()}." if key.below else ".")
        default = f" Default: `{key.default}`." if key.default else ""
        yield from roff.entry(key.name, [key.meaning, f"{takes}{default}", f"Example: `{key.example}`"])


def main() -> None:
    """Writes the files below a directory, the project's by default."""
    root = Path(sys.argv[1] if sys.argv[1:] else ".")
    for name, text in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
