"""``python -m tests.browser``: takes the picture of the status page for the documentation."""

from pathlib import Path

from tests.browser.chromium import chromium, sample, served

PICTURE = Path(__file__).parents[2] / "docs/images/status-page.png"


def main() -> None:
    with chromium() as browser, served(sample()) as shown:
        page = browser.new_page(viewport={"width": 1000, "height": 730}, color_scheme="light", timezone_id="UTC")
        page.goto(shown.url)
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} octets")


main()
