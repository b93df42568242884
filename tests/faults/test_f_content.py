"""FAULTS §2 F: what a message holds, on its way from the line into its target."""

import email.feedparser
import email.parser
import mailbox
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.bench import KEEP, Bench, message, stored, uid
from tests.faults.bounds import MB, bounded
from tests.faults.mbox import MboxBench
from tests.faults.server import FaultyServer

KINDS = pytest.mark.parametrize("kind", [Bench, MboxBench], ids=["maildir", "mbox"])
CONTENTS = {
    "bare CR": b"a\rb\r\r c\n\rd\n",
    "CR before the end": b"a\r\r\nb\r\r\r\n",
    "NUL": b"\0\0 a\0b\n\0\n",
    "8 bit": bytes(range(128, 256)) + b"\n",
    "no UTF-8": b"\xff\xfe\xc0\x80\n",
    "dots": b".\n..\n...\n.x\n. \n.\n",
    "blank lines": b"\n\n\n\n",
    "Content-Length that lies": b"Content-Length: 99999\nContent-Length: -1\n\nshort\n",
    "From lines": b"From bob Tue Nov 24 06:01:00 2026\n>From \n>>From x\nFrom\n From \n",
    "From at the end": b"x\n\nFrom ",
    "a line of 1 MB": b"y" * MB + b"\n",
}


@KINDS
def test_every_octet_is_kept(tmp_path: Path, server: FaultyServer, kind: type[Bench]) -> None:
    """FAULTS 90: but for the line ends, which are CRLF on the line and LF on disk; in a header as in a body."""
    sent = []
    for number, content in enumerate(CONTENTS.values()):
        for octets in (b"Subject: body\n\n" + content, b"Subject: header\nX: " + content):
            sent.append(octets if octets.endswith(b"\n") else octets + b"\n")  # as it comes over the line
            server.mail.append((uid(number) + octets[9:10], sent[-1].replace(b"\n", b"\r\n")))
    with kind(tmp_path, server) as bench:
        assert bench.poll(policy=KEEP).delivered == len(sent)
        assert bench.mail() == sorted(octets.replace(b"\r\n", b"\n") for octets in dict(server.mail).values())
        assert bench.poll(policy=KEEP).delivered == 0


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["open", "closed"])
def test_no_line_of_a_message_ends_it_in_an_mbox(tmp_path: Path, server: FaultyServer, end: bytes) -> None:
    """FAULTS 91: mboxrd: each ``>*From`` line gets one more ``>``, and each message its blank line, however it ends."""
    lines = [b"From ", b">From x", b">>From x", b"From bob@example.org Tue Nov 24 06:01:00 2026", b"From", b" From x"]
    with MboxBench(tmp_path, server) as bench:
        for number, line in enumerate(lines):
            octets = b"Subject: %d\r\n\r\n%b\r\n\r\n%b" % (number, line, line)
            server.mail.append((uid(number), octets + end))
            server.allow(uid(number), octets.replace(b"\r\n", b"\n") + b"\n")
        bench.poll()
        box = mailbox.mbox(bench.path, create=False)
        raw = [box.get_bytes(key) for key in box.iterkeys()]
        box.close()
        assert len(raw) == len(lines)
        for number, line in enumerate(lines):
            quoted = b">" + line if line.lstrip(b">").startswith(b"From ") else line
            assert raw[number] == b"Subject: %d\n\n%b\n\n%b\n" % (number, quoted, quoted)


HOSTILE = b"<1@x>\x1b[2J\tReceived: from evil; Delivered-To: root"


@KINDS
def test_nothing_that_a_server_says_gets_into_a_message(
    tmp_path: Path, server: FaultyServer, kind: type[Bench]
) -> None:
    """FAULTS 94: fetchd adds no header; unique-ids, banner, capabilities and replies stay out of files and names."""
    server.mail.append((b"\x1b]0;evil\x07/../../evil", message(1)))
    server.capabilities.append("IMPLEMENTATION evil\tReceived: evil")
    server.spell = lambda octets: octets.replace(b"+OK", b"+OK evil " + HOSTILE, 1) if octets[:3] == b"+OK" else octets
    server.faults[b"STAT"] = b"+OK 1 10\r\n"
    server.faults[b"LIST 1"] = b"+OK 1 10\r\n"
    with kind(tmp_path, server) as bench:
        bench.poll()
        assert bench.mail() == stored(1)
        told = [file for file in tmp_path.rglob("*") if "evil" in file.name]
        assert told == []
        if isinstance(bench, MboxBench):
            assert bench.path.read_bytes().count(b"\n") == stored(1)[0].count(b"\n") + 2
            assert bench.path.read_bytes().startswith(b"From MAILER-DAEMON ")


def nested(depth: int) -> bytes:
    """Returns a multipart in a multipart in a multipart …"""
    parts = (b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (one, one) for one in range(depth))
    return b"".join(parts)


@KINDS
@pytest.mark.parametrize(
    "bomb",
    [
        lambda: nested(20_000),
        lambda: b"X: " + b"(" * 2 * MB + b"\r\n\r\n",
        lambda: b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n",
        lambda: b"Subject: " + b"=?utf-8?B?" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nested", "comment", "headers", "words"],
)
def test_a_message_is_never_parsed(
    tmp_path: Path,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Bench],
    bomb: Callable[[], bytes],
) -> None:
    """FAULTS 95: so a MIME bomb is octets like any other."""

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    octets = bomb()
    server.mail.append((uid(1), octets))
    with kind(tmp_path, server) as bench:
        with monkeypatch.context() as patch, bounded(16 * MB):
            for parser in (email.feedparser.FeedParser, email.feedparser.BytesFeedParser):
                patch.setattr(parser, "feed", parse)
            assert bench._poll({"policy": KEEP}).delivered == 1
        assert bench.mail() == [octets.replace(b"\r\n", b"\n")]
