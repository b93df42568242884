"""fetchd.observe.page: what is in the page, and that nothing from a server gets into its markup."""

import re
import subprocess
import sys
import threading
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fetchd.observe.page import POLICY, StatusPage
from fetchd.observe.page.view import PAGE, make_view
from fetchd.observe.pages import Request, Response
from fetchd.observe.status import HOURS, State, Status
from tests.observe.statuses import failing, make_status, make_status_of

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>"\' onmouseover="x" \\x1b[31m & </td>'


class Read(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def ask(status: Status, **query: str) -> Response:
    return StatusPage(lambda: status).pages()["/"](Request(query))


def read(status: Status, **query: str) -> Read:
    return Read(ask(status, **query).body.decode())


def many(number: int) -> Status:
    return make_status(failing("zoe"), *(make_status_of(f"user{place:05d}") for place in range(number - 1)))


MANY = many(30)


def test_one_sentence_says_how_things_stand() -> None:
    assert "<h1" in ask(many(3)).body.decode()
    page = read(make_status(make_status_of("alice", delivered_today=34), make_status_of("bob")))
    assert "Both accounts are fetched; 34 messages today." in page.text
    assert ("h1", {"id": "summary", "class": "well", "aria-live": "polite"}) in page.elements
    page = read(make_status(failing("alice"), make_status_of("bob")))
    assert "1 of 2 accounts fails: alice; 0 messages today." in page.text
    assert ("h1", {"id": "summary", "class": "unwell", "aria-live": "polite"}) in page.elements


def test_every_account_tells_its_state_its_times_its_numbers_and_its_chart() -> None:
    hours = (*(0 for _ in range(HOURS - 2)), 4, 12)
    page = read(make_status(make_status_of("alice", delivered_today=16, delivered=4711, hours=hours)))
    for text in (
        "alice",
        "fetched",
        "3 min ago",
        "in 2 min",
        "16",
        "4,711",
        "16 messages in the last 24 hours, at most 12 in one hour",
    ):
        assert text in page.text
    assert ("path", {"class": "bars", "d": "M88 24v-8h3v8zM92 24v-24h3v24z"}) in page.elements


def test_an_account_that_fails_says_why_in_plain_words() -> None:
    page = read(make_status(failing("alice")))
    assert "cannot be reached, or the connection broke, 2 times in a row. It is tried again soon" in page.text
    assert "Failing for 10 min." in page.text
    assert "no route to host" in page.text


def test_an_account_in_hand_and_one_that_was_never_polled() -> None:
    page = read(make_status(make_status_of("a", polling=True), make_status_of("b", state=State.NEW, last_success=None)))
    assert "polling now" in page.text
    assert "never" in page.text
    assert "No message in the last 24 hours" in page.text


def test_text_of_a_server_is_text() -> None:
    status = make_status(failing("alice", error=HOSTILE, reason=HOSTILE), summary=HOSTILE)
    page, plain = read(status), read(make_status(failing("alice")))
    assert page.text.count(HOSTILE) == 3
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


@given(st.text(max_size=40))
@example('"><script>')
def test_what_the_filter_asks_for_is_text_too(wanted: str) -> None:
    page = read(MANY, q=wanted)
    assert (page.count("script"), page.count("input"), page.count("form")) == (1, 1, 1)


def test_a_text_that_is_no_unicode_does_not_break_the_page() -> None:
    assert b"a\\udcffb" in ask(make_status(failing("x", error="a\udcffb"))).body


def test_the_policy_is_strict_and_the_page_keeps_to_it() -> None:
    response = ask(many(30))
    assert response.policy == POLICY
    for part in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ):
        assert part in POLICY
    assert "unsafe" not in POLICY
    page = Read(response.body.decode())
    assert page.count("style") == 0
    assert not [one for _, one in page.elements if "style" in one]
    assert "://" not in response.body.decode()
    assert [one["src"] for tag, one in page.elements if tag == "script"] == ["status.js"]


def test_everything_that_the_page_asks_for_is_there() -> None:
    pages = StatusPage(lambda: many(1)).pages()
    wanted = re.findall(r'(?:src|href)="([a-z.]+\.[a-z]+)"', pages["/"](Request()).body.decode())
    assert sorted(wanted) == ["icon.svg", "status.css", "status.js"]
    for name in wanted:
        assert pages[f"/{name}"](Request()).body
    assert pages["/status.js"](Request()).content_type.startswith("text/javascript")
    assert pages["/status.css"](Request()).content_type.startswith("text/css")


def test_few_accounts_need_no_filter_and_no_pages() -> None:
    page = read(many(20))
    assert (page.count("form"), page.count("nav")) == (0, 0)
    assert read(many(21)).count("form") == 1


def test_ten_thousand_accounts_come_in_pages_those_that_fail_first() -> None:
    status = many(10_000)
    first, second = read(status), read(status, page="2")
    assert first.text.index("zoe") < first.text.index("user00000")
    assert first.count("th") == 6 + PAGE
    assert "Page 1 of 100" in first.text
    assert "user00099" in second.text
    assert [one["href"] for tag, one in second.elements if tag == "a"][:2] == ["./?page=1", "./?page=3"]


def test_the_filter_looks_at_names_and_states_and_keeps_through_the_pages() -> None:
    status = many(10_000)
    page = read(status, q="USER001")
    assert "100 of 10,000 accounts" in page.text
    assert "zoe" not in page.text.replace(status.summary, "")
    assert read(status, q=" failing ").count("tbody") == 1
    hrefs = [one["href"] for tag, one in read(status, q="user", page="2").elements if tag == "a"]
    assert hrefs[:2] == ["./?q=user&page=1", "./?q=user&page=3"]
    assert "No account matches “nobody”." in read(status, q="nobody").text


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "²", "9" * 5000, "1000"])
def test_a_page_that_is_none_is_the_first_or_the_last(page: str) -> None:
    assert make_view(many(250), page=page).page in {1, 3}


def test_a_time_out_of_all_reason_is_shown_without_a_date() -> None:
    assert "ago" in read(make_status(make_status_of("a", last_success=-1e18))).text


def test_it_is_rendered_for_many_at_a_time() -> None:
    page, answers = StatusPage(lambda: many(50)).pages()["/"], list[bytes]()
    threads = [threading.Thread(target=lambda: answers.append(page(Request()).body)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_jinja2_is_loaded_when_somebody_looks() -> None:
    """SPEED: 4 MB and 40 ms that a daemon nobody looks at does without."""
    loaded = "print('jinja2' in sys.modules, end=' ')"
    code = f"import sys, fetchd.observe.page as page; {loaded}; page._load(); {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False True "
