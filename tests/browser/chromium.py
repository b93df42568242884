"""The system's Chromium, driven by playwright; and the status page with sample accounts to look at."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from fetchd.model import HttpAddress
from fetchd.observe import words
from fetchd.observe.http import HttpServer
from fetchd.observe.page import StatusPage
from fetchd.observe.status import AccountStatus, State, Status
from tests.observe.statuses import NOW, failing, make_status, make_status_of

OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


class ChromiumMissingError(Exception):
    """There is no Chromium on this machine."""


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        raise ChromiumMissingError("no chromium in the PATH: make browser-test installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


class Served:
    """A status page that shows what ``status`` is at the moment."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.server = HttpServer(HttpAddress("127.0.0.1", 0), StatusPage(lambda: self.status).pages())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.address.port}/"


@contextmanager
def served(status: Status) -> Iterator[Served]:
    page = Served(status)
    with page.server:
        yield page


def sample() -> Status:
    """A dozen accounts on an ordinary day: two of them fail."""
    chance = random.Random(11)
    names = ["alice-gmx", "alice-work", "bob-gmail", "carol-yahoo", "info-shop", "newsletter", "orders", "postmaster"]
    names += ["support", "tickets"]
    fine = [_fine(name, chance) for name in names]
    fine[6] = make_status_of(name="orders", polling=True, delivered_today=16, delivered=1194, hours=_hours(chance, 3))
    locked = failing(
        "zoe-webde",
        state=State.HELD,
        outcome="auth",
        error="pop3.web.de:995: the login by USER was refused: -ERR POP3 is not enabled for this account",
        reason=words.reason("auth", "hold", 5),
        last_success=NOW - 31_000,
        failing_since=NOW - 30_700,
        next_poll=NOW + 83_000,
        delivered_today=2,
        delivered=6549,
        hours=(*_hours(chance, 2)[:15], *(0 for _ in range(9))),
    )
    away = failing(
        "dave-isp",
        error="mail.isp.example:995: cannot connect: 192.0.2.25: Connection timed out",
        reason=words.reason("network", "soon", 3),
        last_success=NOW - 1020,
        failing_since=NOW - 700,
        next_poll=NOW + 205,
        delivered_today=5,
        delivered=8363,
        hours=_hours(chance, 1),
    )
    return make_status(*fine, locked, away, version="0.1.0", started=NOW - 9 * 86_400)


def _fine(name: str, chance: random.Random) -> AccountStatus:
    hours = _hours(chance, chance.choice([1, 2, 4]))
    return make_status_of(
        name,
        last_success=NOW - chance.randrange(5, 290),
        next_poll=NOW + chance.randrange(10, 300),
        delivered_today=sum(hours[12:]),
        delivered=chance.randrange(300, 9000),
        hours=hours,
    )


def _hours(chance: random.Random, most: int) -> tuple[int, ...]:
    """A day that has its night."""
    weight = [3, 2, 2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 3, 4, 3, 2]
    return tuple(chance.randrange(0, 1 + most * one) if one else 0 for one in weight)


def many(number: int) -> Status:
    return make_status(failing("zoe"), *(make_status_of(f"user{place:05d}") for place in range(number - 1)))
