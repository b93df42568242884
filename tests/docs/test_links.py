"""Links between the pages, to their headings and to files of the tree, lead somewhere; every page is in the index."""

import re

import pytest

from tests.docs.pages import ROOT, anchors, links, pages, spans

PATHS = re.compile(r"(?:config|docs|systemd|tests|\.ci)/[\w./@-]*\w/?")


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page: str) -> None:
    assert [target for target in links(page) if not leads_somewhere(page, target)] == []


def leads_somewhere(page: str, target: str) -> bool:
    """Whether a file and, in a page, a heading is there. The web is not asked."""
    if re.match(r"[a-z]+:", target):
        return target.startswith(("https://", "http://127.0.0.1"))
    name, _, anchor = target.partition("#")
    path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
    if not path.exists():
        return False
    return not anchor or anchor in anchors(str(path.relative_to(ROOT)))


@pytest.mark.parametrize("page", pages())
def test_every_path_in_backticks_is_there(page: str) -> None:
    """From the root of the tree."""
    named = [span.partition("::")[0] for span in spans(page) if PATHS.fullmatch(span.partition("::")[0])]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_in_the_index() -> None:
    listed = set(links("docs/README.md"))
    assert {page.removeprefix("docs/") for page in pages()} - {"README.md"} <= listed


def test_the_index_is_linked_from_the_readme() -> None:
    assert {"docs/README.md", "docs/"} & set(links("README.md"))
