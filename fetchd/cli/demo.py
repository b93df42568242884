"""``fetchd demo``: the whole job against a small POP3 server of our own, on loopback, with sample mail.

Nothing of the job is simulated: the configuration, the POP3 client, the store and the delivery are those of the daemon.
"""

import email
import email.policy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click
from rich.table import Table
from rich.text import Text

from fetchd.app import App, log_to
from fetchd.cli.progress import Progress, Terminal
from fetchd.cli.summary import human_size, summary
from fetchd.demo import DemoServer, sample_messages
from fetchd.errors import FetchdError, UsageError
from fetchd.model import Account, LogSettings, MaildirTarget, Secret, SecretValue, Settings, Tls, TlsMode
from fetchd.observe.escape import shown_text
from fetchd.wording import counted

_PASSWORD = "demo"  # noqa: S105 - of a server on loopback that lives for seconds
_OCTETS_PER_SECOND = 2_000_000
"""Slow enough that the bars can be seen."""


class DemoFailedError(FetchdError):
    """The demo did not end as it should: a bug, or a disk that takes no mail."""


@click.command(short_help="Show the whole job, with a built-in server and sample mail.")
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
def demo(directory: Path | None) -> None:
    """Show the whole job: fetch sample mail from a built-in server into DIRECTORY (default: a new temporary one)."""
    place = _place(directory)
    messages = sample_messages()
    console = Terminal()
    with DemoServer({"alice": (_PASSWORD, messages)}, octets_per_second=_OCTETS_PER_SECOND) as server:
        settings = _settings(place, port=server.port)
        console.print(f"A POP3 server with {counted(len(messages), 'message')} listens on 127.0.0.1:{server.port}.")
        console.print(Text(f"fetchd keeps its memory in {settings.state}\nand delivers into {place / 'Maildir'}\n"))
        for title in ("First poll: everything is new", "Second poll: everything is known"):
            console.print(Text(title, style="bold"))
            console.print(Text(f"  {_poll(settings, console)}\n"))
    _show_delivered(console, place / "Maildir", dict(messages))


def _place(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="fetchd-demo-"))
    if (directory / "Maildir").exists():
        raise UsageError(f"{directory} holds a Maildir already; give the demo a directory of its own")
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


def _settings(place: Path, *, port: int) -> Settings:
    account = Account(
        name="alice",
        host="127.0.0.1",
        port=port,
        tls=Tls(TlsMode.NONE),
        user="alice",
        password=SecretValue(Secret(_PASSWORD.encode())),
        target=MaildirTarget(place / "Maildir"),
    )
    state = place / "state" / "fetchd.db"
    return Settings(source=place / "fetchd.yaml", accounts={"alice": account}, state=state)


def _poll(settings: Settings, console: Terminal) -> str:
    """Polls once, as ``fetchd --once`` does; returns its summary."""
    with Progress(console) as progress:
        log = log_to(progress.write_line, LogSettings(format="console", level="error"), is_tty=console.is_terminal)
        with App(settings, renderers=[log, progress], load=_no_reload) as app:
            (finished,) = app.run_once([])
    if finished.result is None:
        raise DemoFailedError(f"the demo's poll failed: {finished.error}")
    return summary([finished.result])


def _no_reload() -> NoReturn:
    raise AssertionError("the demo takes no SIGHUP")


def _show_delivered(console: Terminal, maildir: Path, served: Mapping[bytes, bytes]) -> None:
    """Prints what is in the Maildir, and compares it with what the server sent, octet by octet."""
    delivered = sorted((maildir / "new").iterdir())
    table = Table("subject", "size", "file in new/", box=None, header_style="dim")
    wanted = {message.replace(b"\r\n", b"\n") for message in served.values()}
    equal = 0
    for file in delivered:
        content = file.read_bytes()
        equal += content in wanted
        subject = email.message_from_bytes(content, policy=email.policy.default)["subject"]
        table.add_row(Text(shown_text(str(subject))), human_size(len(content)), Text(file.name, overflow="ellipsis"))
    console.print(Text("Delivered", style="bold"))
    console.print(table)
    console.print(f"\n{equal} of {len(served)} messages are on disk, byte for byte as the server has them.")
    if equal != len(served) or len(delivered) != len(served):
        raise DemoFailedError("the mail on disk is not the mail on the server")
