"""The status page in a real Chromium, under its own Content-Security-Policy.

Time in the browser belongs to the test (``page.clock``): nothing here waits for fifteen seconds to pass.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from fetchd.observe.status import State, Status
from tests.browser.chromium import ChromiumMissingError, Served, chromium, many, sample, served
from tests.observe.statuses import failing, make_status, make_status_of

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1100, "height": 900}
PHONE = {"width": 360, "height": 740}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onmouseover=alert(3) \\x1b[31m"
AFTER_15_S = 16_000

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with ExitStack() as stack:
        try:
            running = stack.enter_context(chromium())
        except ChromiumMissingError as error:
            pytest.skip(str(error))
        yield running


Serve = Callable[[Status], Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda status: stack.enter_context(served(status))


@pytest.fixture
def show(browser: Browser, serve: Serve) -> Iterator[Open]:  # its pages are closed before their server stops
    """Opens the page; whatever a test does, the browser may find nothing to complain about, nor open a dialog."""
    complaints: list[str] = []

    def opened(shown: Served, *, path: str = "", complains: bool = False, **context: Any) -> Page:
        options: dict[str, Any] = {"viewport": DESKTOP, "color_scheme": "light", **context}
        page = stack.enter_context(browser.new_context(**options)).new_page()
        home = shown.url
        if not complains:
            page.on("console", lambda message: complaints.append(f"console: {message.type}: {message.text}"))
            page.on("request", lambda request: request.url.startswith(home) or complaints.append(request.url))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.clock.install()
        page.goto(shown.url + path)
        return page

    with ExitStack() as stack:
        yield opened
    assert complaints == []


# ── how it looks ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_is_readable_in_light_and_dark_and_on_a_phone(show: Open, serve: Serve, scheme: str, viewport: Any) -> None:
    """WCAG 2.1 AA: text has a contrast of 4.5 or more; and nothing has to be scrolled sideways."""
    page = show(serve(sample()), color_scheme=scheme, viewport=viewport)
    expect(page.locator("h1")).to_have_text(re.compile("^2 of 12 accounts fail: zoe-webde, dave-isp; "))
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    colours = page.evaluate(_COLOURS)
    assert len(colours) > 20
    assert {text: ratio for text, ratio in ((text, _contrast(*pair)) for text, *pair in colours) if ratio < 4.5} == {}
    is_dark = _luminance(colours[0][2]) < 0.1
    assert is_dark == (scheme == "dark")


_COLOURS = """() => {
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const paper = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
  };
  return [...document.body.querySelectorAll("*")].filter((one) => own(one) && one.checkVisibility())
    .map((one) => [one.textContent.trim().slice(0, 30), getComputedStyle(one).color, paper(one)]);
}"""


def _luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_screen_reader_finds_a_table_also_on_a_phone(show: Open, serve: Serve, viewport: Any) -> None:
    page = show(serve(make_status(make_status_of("alice", hours=(*(0,) * 23, 5)), failing("bob"))), viewport=viewport)
    expect(page.get_by_role("table")).to_have_count(1)
    expect(page.get_by_role("columnheader")).to_have_count(6)
    expect(page.get_by_role("rowheader")).to_have_text([re.compile("^bob failing$"), re.compile("^alice fetched$")])
    expect(page.get_by_role("img", name="5 messages in the last 24 hours, all in one hour")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)


def test_a_chart_is_drawn(show: Open, serve: Serve) -> None:
    page = show(serve(make_status(make_status_of("alice", hours=(*(0,) * 20, 1, 9, 0, 3)))))
    box = page.evaluate("(({x, y, width, height}) => [x, y, width, height])(document.querySelector('.bars').getBBox())")
    assert box == [80, 0, 15, 24]


# ── it keeps itself up to date ───────────────────────────────────────────────────────────────────────────────────


def test_it_refreshes_itself(show: Open, serve: Serve) -> None:
    shown = serve(make_status(make_status_of("alice")))
    page = show(shown)
    expect(page).to_have_title("fetchd: all is well")
    shown.status = make_status(failing("alice"), make_status_of("bob"))
    page.clock.run_for(AFTER_15_S)
    expect(page.locator("h1")).to_have_text("1 of 2 accounts fails: alice; 0 messages today.")
    expect(page.locator("h1")).to_have_class("unwell")
    expect(page).to_have_title("1 failing – fetchd")
    expect(page.get_by_role("rowheader")).to_have_count(2)
    shown.status = make_status(make_status_of("carol"))
    page.clock.run_for(AFTER_15_S)
    expect(page.get_by_role("rowheader")).to_have_text([re.compile("^carol")])


def test_it_says_when_fetchd_is_gone_and_when_it_is_back(show: Open, serve: Serve) -> None:
    shown = serve(make_status(make_status_of("alice")))
    page = show(shown, complains=True)  # a connection that is refused is an error on the console
    silent = page.get_by_text("fetchd does not answer.")
    expect(silent).to_be_hidden()
    address = shown.server.address
    shown.server.stop()
    page.clock.run_for(AFTER_15_S)
    expect(silent).to_be_visible()
    expect(page.get_by_role("rowheader")).to_have_count(1)
    shown.server._wanted = address  # the port that the system chose
    shown.server.start()
    page.clock.run_for(AFTER_15_S)
    expect(silent).to_be_hidden()


def test_what_a_reader_has_selected_stays(show: Open, serve: Serve) -> None:
    """An error message is there to be copied."""
    shown = serve(make_status(failing("alice")))
    page = show(shown)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.error'))")
    shown.status = make_status(failing("alice", error="another"))
    with page.expect_response(lambda response: response.url == shown.url):
        page.clock.run_for(AFTER_15_S)
    expect(page.locator("#silent")).to_be_hidden()
    assert page.evaluate("getSelection().toString()") == "no route to host"


def test_the_filter_narrows_as_one_types_and_survives_the_refresh(show: Open, serve: Serve) -> None:
    shown = serve(many(10_000))
    page = show(shown)
    expect(page.get_by_role("rowheader")).to_have_count(100)
    box = page.get_by_label("Filter")
    box.press_sequentially("user0012")
    page.clock.run_for(300)
    expect(page.get_by_role("rowheader")).to_have_count(10)
    assert page.url == f"{shown.url}?q=user0012"
    page.clock.run_for(AFTER_15_S)
    expect(page.get_by_role("rowheader")).to_have_count(10)
    expect(box).to_be_focused()
    box.fill("")
    page.clock.run_for(300)
    expect(page.get_by_text("Page 1 of 100")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Page 2 of 100")).to_be_visible()


def test_without_javascript_it_reloads_itself_and_filters_too(show: Open, serve: Serve) -> None:
    shown = serve(many(250))
    page = show(shown, java_script_enabled=False)
    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "30"
    page.get_by_label("Filter").fill("user0000")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("rowheader")).to_have_count(10)
    page.goto(shown.url)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Page 2 of 3")).to_be_visible()


# ── it lets nobody in ────────────────────────────────────────────────────────────────────────────────────────────


def test_text_of_a_server_stays_text(show: Open, serve: Serve) -> None:
    shown = serve(make_status(failing("alice", error=HOSTILE, reason=HOSTILE, state=State.HELD), summary=HOSTILE))
    page = show(shown, path="?q=%22%3E%3Cscript%3Ealert(4)%3C/script%3E")
    expect(page.get_by_label("Filter")).to_have_value('"><script>alert(4)</script>')
    page = show(shown)
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator(".error")).to_have_text(HOSTILE)
    page.clock.run_for(AFTER_15_S)  # what is put in place by the script, too
    expect(page.locator(".error")).to_have_text(HOSTILE)
    assert page.locator("script, img").count() == 1


def test_the_policy_stops_what_would_get_into_the_page_all_the_same(show: Open, serve: Serve) -> None:
    page = show(serve(make_status(make_status_of("alice"))), complains=True)
    page.evaluate("""() => {
      window.broken = new Set();
      document.addEventListener("securitypolicyviolation", (event) => window.broken.add(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.owned = true";
      document.body.append(script);
      document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick='window.owned = true'>x</p>");
      document.body.lastElementChild.click();
      document.body.insertAdjacentHTML("beforeend", "<img src='http://127.0.0.1:1/x.png'>");
    }""")
    page.wait_for_function("window.broken.size === 4", polling=20)
    assert page.evaluate("[...window.broken].sort()") == [
        "img-src",
        "script-src-attr",
        "script-src-elem",
        "style-src-attr",
    ]
    assert page.evaluate("window.owned") is None


def test_no_other_page_can_frame_it(show: Open, serve: Serve) -> None:
    shown = serve(make_status(make_status_of("alice")))
    page = show(shown, complains=True)
    page.route(
        "**/frame", lambda route: route.fulfill(body=f"<iframe src='{shown.url}'></iframe>", content_type="text/html")
    )
    page.goto(f"{shown.url}frame")
    assert page.frames[1].url == "chrome-error://chromewebdata/"
