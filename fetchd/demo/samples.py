"""The demo's mail: one message for each thing that a mail fetcher must not spoil. Every run makes the same octets."""

from email.message import EmailMessage
from email.policy import SMTP
from hashlib import shake_256

_ALICE = "Alice <alice@example.org>"
_BOB = "Bob Björk <bob@example.net>"


def sample_messages() -> list[tuple[bytes, bytes]]:
    """Returns (unique-id, message) pairs with CRLF line ends; the unique-ids are the same in every run, too."""
    return [
        (b"demo-1-plain", _plain()),
        (b"demo-2-attachment", _attachment()),
        (b"demo-3-utf-8", _eight_bit("utf-8", "Grüße aus Zürich — 你好, Dzień dobry, こんにちは")),
        (b"demo-4-latin-1", _eight_bit("iso-8859-1", "Grüße aus Málaga, ça va très bien, smørrebrød på tallerkenen")),
        (b"demo-5-dots", _dots()),
        (b"demo-6-from-lines", _from_lines()),
        (b"demo-7-long-line", _long_line()),
        (b"demo-8-big", _big()),
    ]


def _message(number: int, subject: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = _BOB
    message["To"] = _ALICE
    message["Subject"] = subject
    message["Date"] = f"Mon, 02 Nov 2026 09:{number:02}:00 +0100"
    message["Message-ID"] = f"<demo-{number}@example.net>"
    return message


def _plain() -> bytes:
    message = _message(1, "Welcome to fetchd")
    message.set_content("Hello Alice,\n\nthis came over POP3 and was delivered into a Maildir.\n\nBob\n")
    return message.as_bytes()


def _attachment() -> bytes:
    message = _message(2, "Minutes, with attachments")
    message.set_content("The minutes are attached, as text and as a table.\n")
    message.add_alternative("<p>The minutes are <b>attached</b>, as text and as a table.</p>\n", subtype="html")
    message.add_attachment("1. Welcome\n2. Any other business\n", filename="minutes.txt")
    message.add_attachment(b"item,hours\nfetching,0\n", maintype="text", subtype="csv", filename="hours.csv")
    # The library draws boundaries at random.
    message.set_boundary("demo-mixed")
    next(message.iter_parts()).set_boundary("demo-alternative")
    return message.as_bytes()


def _eight_bit(charset: str, text: str) -> bytes:
    message = _message(3 if charset == "utf-8" else 4, f"Eight bits, in {charset}")
    message.set_content(f"{text}\n", charset=charset, cte="8bit")
    return message.as_bytes()


def _dots() -> bytes:
    """Lines that POP3 must stuff (RFC 1939 §3): a lone dot ends a message unless its sender doubles it."""
    message = _message(5, "Lines of dots")
    message.set_content("The next lines are dots; the message goes on behind them.\n.\n..\n...\n.hidden\n.\nThe end.\n")
    return message.as_bytes()


def _from_lines() -> bytes:
    """Lines that an mbox must quote."""
    message = _message(6, "From here to there")
    message.set_content("From here it looks like the start of a message.\n>From there it looks quoted.\n")
    return message.as_bytes()


def _long_line() -> bytes:
    """A line far over the 998 octets of RFC 5322 §2.1.1, as real senders produce them."""
    head = _message(7, "One long line").as_bytes().rstrip(b"\r\n")
    return head + b"\r\n\r\n" + b"A line that never seems to end. " * 4000 + b"\r\n"


def _big() -> bytes:
    message = _message(8, "Holiday pictures")
    message.set_content("Two megabytes of noise, in place of pictures.\n")
    message.add_attachment(
        shake_256(b"fetchd demo").digest(1_500_000), maintype="image", subtype="jpeg", filename="beach.jpg"
    )
    message.set_boundary("demo-big")
    return message.as_bytes()
