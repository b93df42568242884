"""YAML to a tree with places: what is read, what is refused, at which line, and within which bounds."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchd.config import document
from fetchd.config.document import parse
from fetchd.config.nodes import Document, plain
from fetchd.errors import ConfigError

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest) -> type:
    """PyYAML comes with libyaml or without it; what we say must not depend on that."""
    return request.param


def read(text: str, loader: type = document.LOADER) -> Document:
    return parse(text, Path("f.yaml"), loader=loader)


def refusal(text: str, loader: type = document.LOADER) -> str:
    with pytest.raises(ConfigError) as refused:
        read(text, loader)
    assert len(refused.value.problems) == 1
    return refused.value.problems[0]


def test_the_c_parser_is_used_where_there_is_one() -> None:
    """SPEED.md: 10,000 accounts take 2 s with it and 13 s without."""
    assert getattr(yaml, "CSafeLoader", yaml.SafeLoader) is document.LOADER


def test_scalars_are_read_as_yaml_1_1_says(loader: type) -> None:
    text = """
    text: pop.gmx.net
    quoted: "12"
    single: 'it''s'
    number: 42
    grouped: 1_000
    negative: -7
    float: 1.5
    yes: yes
    off: Off
    empty:
    null: ~
    tagged: !!str 12
    forced: ! yes
    date: 2026-11-24
    equals: =
    folded: >-
      a
      b
    list: [a, 1]
    map: {a: b}
    """
    assert plain(read(text, loader).root) == {
        "text": "pop.gmx.net",
        "quoted": "12",
        "single": "it's",
        "number": 42,
        "grouped": 1000,
        "negative": -7,
        "float": 1.5,
        "yes": True,
        "off": False,
        "empty": None,
        "null": None,
        "tagged": "12",
        "forced": "yes",
        "date": "2026-11-24",
        "equals": "=",
        "folded": "a b",
        "list": ["a", 1],
        "map": {"a": "b"},
    }


@pytest.mark.parametrize("text", ["0123", "0x1F", "0b11", "1:30", "9" * 5000, "-0o", "07"])
def test_a_number_that_is_not_what_it_looks_like_stays_text_and_is_remarked_on(text: str) -> None:
    """YAML 1.1 reads 0123 as 83 and 1:30 as 90; as a password either would be wrong without a word."""
    found = read(f"a:\n  b: {text}\n")
    assert plain(found.root) == {"a": {"b": text}}
    places = [(remark.line, remark.path) for remark in found.odd_numbers]
    assert places == ([] if text == "-0o" else [(2, ("a", "b"))])


def test_every_value_knows_its_line_and_column(loader: type) -> None:
    found = read("# c\na: 1\nb:\n  c: [x,\n    y]\n  d: {e: f}\n", loader)
    assert found.place(("a",)) == (2, 1, ("a",))
    assert found.place(("b", "c")) == (4, 3, ("b", "c"))
    assert found.place(("b", "c", 1)) == (5, 5, ("b", "c", 1))
    assert found.place(("b", "d", "e")) == (6, 7, ("b", "d", "e"))


def test_a_place_that_does_not_exist_is_the_nearest_one_above(loader: type) -> None:
    found = read("a: 1\nb:\n  c: [x]\n", loader)
    assert found.place(("b", "zzz", "y")) == (2, 1, ("b",))
    assert found.place(("b", "c", 7)) == (3, 3, ("b", "c"))
    assert found.place(("nowhere",)) == (1, 1, ())
    assert found.node(("b", "c", 7)) is None
    assert found.node(("b", "zzz")) is None


def test_a_name_given_twice_is_remarked_on_and_the_first_one_counts(loader: type) -> None:
    found = read("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n", loader)
    assert plain(found.root) == {"a": 1, "b": {"c": 1}}
    assert [(remark.line, remark.path, remark.text) for remark in found.duplicates] == [
        (2, ("b", "c"), "given twice, first on line 2"),
        (3, ("a",), "given twice, first on line 1"),
        (4, ("a",), "given twice, first on line 1"),
    ]


def test_names_are_text_whatever_yaml_would_make_of_them(loader: type) -> None:
    assert plain(read("12345: a\nno: b\n0x1: c\n", loader).root) == {"12345": "a", "no": "b", "0x1": "c"}


def test_aliases_and_merges_work_and_keep_the_place_where_a_value_was_written(loader: type) -> None:
    found = read("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\nc: *a\nd: {<<: [{x: 8}, *a]}\n", loader)
    assert plain(found.root) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
        "d": {"x": 8, "y": 2},
    }
    assert found.place(("b", "x"))[0] == 2
    assert found.place(("b", "y"))[0] == 6


def test_a_quoted_merge_key_is_a_name_like_any_other(loader: type) -> None:
    assert plain(read('"<<": a\n', loader).root) == {"<<": "a"}


SYNTAX = [
    ("a tab", "a:\n\tb: c\n", 2, "a tab in the indentation: YAML wants spaces"),
    ("a tab later", "a:\n  b: c\n\td: e\n", 3, "a tab in the indentation: YAML wants spaces"),
    ("an @", "a: 1\nb: @c\n", 2, "a value cannot begin with @, % or `: put it in quotes"),
    ("a backtick", "a: `c`\n", 1, "a value cannot begin with @, % or `: put it in quotes"),
    ("an open quote", 'a: 1\nb: "c\nd: e\n', 2, "a quote is opened here and never closed"),
    ("a document in a quote", "a: 'c\n---\nd: e\n", 1, "a quote is opened here and never closed"),
    (
        "text after a quote",
        "a: 'it's'\n",
        1,
        "text follows a closing quote or bracket: quote the value as a whole; ' within '…' is written ''",
    ),
    (
        "a backslash",
        'a: "c\\q"\n',
        1,
        r"within double quotes a backslash begins an escape: write \\, or use single quotes",
    ),
    (
        "a bad hex escape",
        'a: "\\xZZ"\n',
        1,
        r"within double quotes a backslash begins an escape: write \\, or use single quotes",
    ),
    ("no colon", "a: 1\nb c\nd: e\n", 2, 'this line should read "key: value"'),
    ("no colon at the end", "a: 1\nb c\n", 2, 'this line should read "key: value"'),
    ("no space after the colon", "a:\n  b: 1\n  c:d\n  e: f\n", 3, 'this line should read "key: value"'),
    ("no space on the first line", "a:\n  c:d\n  e: f\n", 2, 'a space is missing after the ":"'),
    ("two colons", "a: b: c\n", 1, 'a value that contains ": " must stand in quotes'),
    (
        "too deep",
        "a: {x: y}\n  d: e\n",
        2,
        "this line does not line up with the ones above: check its indentation",
    ),
    (
        "too deep after a text",
        "a:\n  b: c\n   d: e\n",
        3,
        "this line is indented deeper than the one above allows: line it up with its neighbours",
    ),
    ("too shallow", "a:\n  b: c\n d: e\n", 3, "this line does not line up with the ones above: check its indentation"),
    ("a list item", "a: b\n- c\n", 2, 'a list item ("- ") stands where a "key: value" is expected'),
    ("an open brace", "a: 1\nb: {c: d\ne: f\n", 2, 'a comma is missing after this "{", or it is never closed by "}"'),
    ("an open bracket", "a: [c, d\ne: f\n", 1, 'a comma is missing after this "[", or it is never closed by "]"'),
    ("a stray brace", "a: }\n", 1, "a bracket or a comma stands where a value is expected: put the value in quotes"),
    ("IPv6", "http: [::1]:9725\n", 1, 'an IPv6 address in brackets must stand in quotes: "[::1]:9725"'),
    ("a lone star", "a: *\n", 1, "a value cannot begin with * or &: put it in quotes"),
    ("a lone ampersand", "a: &\n", 1, "a value cannot begin with * or &: put it in quotes"),
    (
        "an alias of nothing",
        "a: *b\n",
        1,
        "a value that begins with * must stand in quotes (there is no such anchor above)",
    ),
    ("a tag", "a: !b c\n", 1, "a value cannot begin with !: put it in quotes"),
    ("a tag handle", "a: !b!c d\n", 1, "a value cannot begin with !: put it in quotes"),
    ("a half tag", "a: !<\n", 1, "a value cannot begin with !: put it in quotes"),
    ("a Python tag", "a: !!python/object:os.system x\n", 1, "a value cannot begin with !: put it in quotes"),
    ("a pipe", "a: |x\n", 1, "a value cannot begin with | or >: put it in quotes"),
    ("a version", "%YAML 9.0\n---\na: b\n", 1, "a %YAML line other than %YAML 1.1 or 1.2 is not understood: remove it"),
    ("two documents", "a: b\n---\nc: d\n", 2, 'a second document begins here ("---"): one file holds one document'),
    ("nothing", "", 1, 'the file is empty: it needs at least an "accounts:" section'),
    ("a comment", "# a\n", 1, 'the file is empty: it needs at least an "accounts:" section'),
    ("a null", "~\n", 1, 'the file is empty: it needs at least an "accounts:" section'),
    ("a control character", "a: 1\nb: \x07\n", 2, "a control character stands here (U+0007): remove it"),
    ("a NUL", "a: 1\n\0", 2, "a control character stands here (U+0000): remove it"),
    ("a list as a name", "? [a]\n: b\n", 1, "a plain name is expected before the colon: put it in quotes"),
    ("an alias as a name", "a: &a b\n*a : c\n", 2, "a plain name is expected before the colon: put it in quotes"),
    ("an empty name", '"": b\n', 1, "a name is missing before the colon"),
    ("a merged scalar", "a: {<<: 1}\n", 1, '"<<" takes a mapping, or a list of mappings'),
    (
        "a text over two lines",
        "a: b\n  c\nd: e\n",
        2,
        'this line continues the value above it: it should read "key: value"',
    ),
    (
        "a quote over two lines",
        "a: 1\nb: 'c\nd: e'\n",
        2,
        "the quote opened here is closed only on a later line: close it here",
    ),
]


@pytest.mark.parametrize(("text", "line", "said"), [case[1:] for case in SYNTAX], ids=[case[0] for case in SYNTAX])
def test_what_is_not_yaml_is_one_line_that_says_what_to_type(text: str, line: int, said: str, loader: type) -> None:
    assert refusal(text, loader) == f"f.yaml:{line}: {said}"


def test_a_bomb_of_aliases_is_refused_before_it_goes_off(loader: type) -> None:
    """A billion laughs: 10 levels of 10 aliases each."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for above, name in zip("abcdefghi", "bcdefghij", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{above}'] * 10)}]\n"
    assert refusal(bomb, loader) == "f.yaml:6: more than 1,000,000 values, aliases included"


def test_merged_aliases_count_as_often_as_they_are_used(loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "LIMIT_VALUES", 100)
    text = "a: &a {b: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}\n" + "".join(f"k{i}: {{<<: *a}}\n" for i in range(20))
    assert refusal(text, loader) == "f.yaml:7: more than 100 values, aliases included"


def test_a_long_list_is_refused_while_it_is_read(loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "LIMIT_VALUES", 100)
    assert refusal("a: [" + "x, " * 200 + "]\n", loader) == "f.yaml:1: more than 100 values, aliases included"


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_deep_nesting_is_refused_and_does_not_exhaust_the_stack(opening: str, loader: type) -> None:
    assert refusal("a: " + opening * 5000 + "\n", loader) == "f.yaml:1: nested more than 16 levels deep"


def test_depth_by_aliases_is_depth_all_the_same(loader: type) -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 50))
    assert refusal(text, loader) == "f.yaml:16: nested more than 16 levels deep"


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a {<<: *a}\n"])
def test_a_value_cannot_contain_itself(text: str, loader: type) -> None:
    assert "there is no such anchor above" in refusal(text, loader)


MARKER = "xyzzy-hunter2"


@pytest.mark.parametrize(
    "value",
    [
        f"*{MARKER}",
        f"!{MARKER} x",
        f"!{MARKER}!x y",
        f"&{MARKER} *q",
        f'"{MARKER}',
        f'"{MARKER}\\q"',
        f"@{MARKER}",
        f"{MARKER}: {MARKER}",
        f"'{MARKER}'s",
        f"[{MARKER}",
        f"{MARKER}\x01",
    ],
)
def test_no_syntax_error_quotes_the_text_nor_hangs_on_to_it(value: str, loader: type) -> None:
    """What stands there may be a password; a logger may print an error's whole chain."""
    with pytest.raises(ConfigError) as refused:
        read(f"a:\n  password: {value}\n", loader)
    assert MARKER not in repr(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=" \n\t:-[]{},&*!|>'\"%@`#abc01~?\\", max_size=60))
def test_any_text_is_read_or_refused_alike_by_both_parsers(text: str) -> None:
    """Where they both read it they read the same; neither ever raises anything but ConfigError."""
    outcomes = []
    for loader in LOADERS:
        with contextlib.suppress(ConfigError):
            outcomes.append(plain(read(text, loader).root))
    assert all(outcome == outcomes[0] for outcome in outcomes)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Co", "Cn"]), max_size=20)
        | st.integers(-(10**17), 10**17)
        | st.booleans()
        | st.none()
        | st.lists(st.integers(0, 9), max_size=3),
        min_size=1,
        max_size=8,
    )
)
def test_what_the_library_writes_is_read_back(data: dict[str, object]) -> None:
    assert plain(read(yaml.safe_dump(data, allow_unicode=True, width=10_000)).root) == data
