"""What a notice says: as a message (RFC 5322), and as a command's environment. Pure."""

import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import blake2b
from typing import Final

from fetchd.model import Failing, Outcome
from fetchd.observe.words import reason, span
from fetchd.values import value

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")

_WHAT_TO_DO: Final = {
    Outcome.AUTH: "Has the password changed? Put the new one where fetchd reads it, then run: systemctl reload fetchd",
    Outcome.SECRET: "Make the password readable where the configuration says that it is.",
    Outcome.DELIVERY: "Look at the disk and the mailbox: is it full, writable, mounted?",
    Outcome.STORE: "Look at the disk that holds fetchd's state directory: is it full, writable, mounted?",
    Outcome.POLICY: "The error says what has to be decided.",
    Outcome.TLS: "If the server's certificate has expired or changed, its operator has to mend that.",
    Outcome.INTERNAL: "Please report this: the log has the details.",
}
_WAIT: Final = "There may be nothing to do: servers come back, and fetchd keeps trying."


@value
class Notice:
    """That an account fails, or does no more.

    Attributes:
        about: ``failing`` or ``recovered``.
        host: this host's name.
        now: Unix seconds.
        failing: how it fails, or failed.
        outcome, error, retry: of its last poll, as in ``poll.failed``; "" where it recovered.
    """

    account: str
    about: str
    host: str
    now: int
    failing: Failing
    outcome: str = ""
    error: str = ""
    retry: str = ""

    @property
    def is_failing(self) -> bool:
        """Whether it fails."""
        return self.about == "failing"


def subject(notice: Notice) -> str:
    """Returns the notice in one line."""
    if notice.is_failing:
        return f"fetchd cannot fetch the mail of {notice.account}"
    return f"fetchd fetches the mail of {notice.account} again"


def variables(notice: Notice) -> dict[str, str]:
    """Returns what a command is told, by its environment."""
    return {
        "FETCHD_EVENT": notice.about,
        "FETCHD_ACCOUNT": notice.account,
        "FETCHD_HOST": notice.host,
        "FETCHD_SINCE": _time(notice.failing.since).isoformat().replace("+00:00", "Z"),
        "FETCHD_FAILURES": str(notice.failing.failures),
        "FETCHD_OUTCOME": notice.outcome,
        "FETCHD_ERROR": notice.error,
        "FETCHD_SUBJECT": subject(notice),
        "FETCHD_TEXT": text(notice),
    }


def written(notice: Notice) -> bytes:
    """Returns the notice as a message with CRLF line ends.

    It says that a machine wrote it, so that nothing answers it (RFC 3834 §5).
    """
    domain = notice.host if _HOST.fullmatch(notice.host) else "localhost"
    digest = blake2b(f"{notice.account} {notice.about} {notice.failing.since}".encode(), digest_size=8).hexdigest()
    message = EmailMessage(policy=SMTP)
    message["From"] = message["To"] = Address("fetchd", "fetchd", domain)
    message["Subject"] = subject(notice)
    message["Date"] = format_datetime(_time(notice.now))
    message["Message-ID"] = f"<{notice.now}.{digest}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(text(notice))
    return message.as_bytes()


def text(notice: Notice) -> str:
    """Returns what happened, and what there is to do about it."""
    since = format_datetime(_time(notice.failing.since))
    if not notice.is_failing:
        lasted = span(notice.now - notice.failing.since)
        return (
            f"fetchd on {notice.host} fetches the mail of the account {notice.account} again.\n\n"
            f"It had failed since {since}, for {lasted}. What came in meanwhile was kept by the mail server; it is\n"
            "fetched now.\n"
        )
    return (
        f"fetchd on {notice.host} cannot fetch the mail of the account {notice.account} since\n{since}.\n\n"
        f"The last error:\n\n    {notice.error}\n\n"
        f"{reason(notice.outcome, notice.retry, notice.failing.failures)}\n"
        f"{_WHAT_TO_DO.get(Outcome(notice.outcome), _WAIT)}\n\n"
        "No mail is lost: it stays on the mail server until it can be fetched. This notice comes once; another one\n"
        "comes when mail is fetched again.\n"
    )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
