"""docs/faults.md, the map: every case of FAULTS §2 and the tests that it names."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
MAP = HERE.parent.parent / "docs" / "faults.md"
CASES = range(1, 117)
ROOT = HERE.parent.parent


class Row(NamedTuple):
    """One case of the map."""

    case: int
    what: str
    tests: frozenset[str]
    pending: bool


def rows() -> list[Row]:
    found = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", MAP.read_text(), re.MULTILINE)
    return [
        Row(
            int(case),
            what,
            frozenset(re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py::test_\w+|tests/test_\w+\.py::test_\w+)`", tests)),
            tests.startswith("pending: "),
        )
        for case, what, tests in found
    ]


def is_not_yet(function: ast.FunctionDef, marks: set[str]) -> bool:
    """Whether a test, or one of its cases, is expected to fail."""
    names = {node.id for one in function.decorator_list for node in ast.walk(one) if isinstance(node, ast.Name)}
    return not names.isdisjoint(marks)


def existing() -> dict[str, tuple[int, bool]]:
    """Returns each test with the case that its docstring begins with, and whether it is expected to fail."""
    tests = {}
    for path in sorted(HERE.glob("test_[a-g]_*.py")):
        body = ast.parse(path.read_text()).body
        marks = {"not_yet"} | {
            target.id
            for node in body
            if isinstance(node, ast.Assign) and "not_yet(" in ast.unparse(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                case = re.match(r"FAULTS (\d+)[:,]", ast.get_docstring(node) or "")
                assert case, f"{path.name}::{node.name} does not say which case it is"
                tests[f"{path.name}::{node.name}"] = (int(case[1]), is_not_yet(node, marks))
    return tests


def test_every_case_is_there_once() -> None:
    """1 to 116, in their order."""
    assert [row.case for row in rows()] == list(CASES)


def test_every_case_has_tests_or_says_what_is_missing() -> None:
    """A case is tested, or pending, and never both."""
    assert [row.case for row in rows() if bool(row.tests) is row.pending] == []


def test_the_map_names_the_tests_that_there_are() -> None:
    """Each under its own case, and all of them."""
    named = {(test, row.case) for row in rows() for test in row.tests if not test.startswith("tests/")}
    assert named == {(test, case) for test, (case, _) in existing().items()}


def test_the_tests_of_other_rooms_that_the_map_names_are_there() -> None:
    """Where the case is proven elsewhere already."""
    for row in rows():
        for test in row.tests:
            if test.startswith("tests/"):
                path, _, name = test.partition("::")
                functions = [
                    node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)
                ]
                assert name in {function.name for function in functions}, test


def test_what_is_expected_to_fail_is_said() -> None:
    """And only that."""
    expected = {case for case, fails in existing().values() if fails}
    assert {row.case for row in rows() if "**Not yet:**" in row.what} == expected
