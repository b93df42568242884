"""fetchd.values: a value is what the library's own frozen, slotted dataclass is."""

import inspect
from copy import copy, deepcopy
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, ClassVar, get_type_hints

import pytest

from fetchd.values import value


class Parent:
    """What both are made of: a field, and what belongs to the class."""

    kind: ClassVar[str] = "parent"
    name: str


class Body:
    """A field of each sort."""

    number: int = 1
    secret: str = field(default="s", repr=False)
    remark: str = field(default="r", compare=False)
    things: list[int] = field(default_factory=list)


def _made(decorate: Any) -> Any:
    """Returns the same class of two generations, decorated."""

    def again(template: type, *parents: type) -> Any:
        space = {key: one for key, one in vars(template).items() if key not in {"__dict__", "__weakref__"}}
        return decorate(type("Body", parents, space))

    return again(Body, again(Parent))


Value = _made(value)
Library = _made(dataclass(frozen=True, slots=True))


@value
class Even:
    """One that is picky, and that says itself how it looks."""

    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")

    def __repr__(self) -> str:
        return "even"


@pytest.mark.parametrize("made", [Value, Library])
def test_what_a_value_does_is_what_the_library_s_dataclass_does(made: Any) -> None:
    """The claims are checked against the library, too: so it is they that must be right."""
    one = made("a", things=[1])
    assert repr(one) == "Body(name='a', number=1, remark='r', things=[1])"
    assert one == made("a", 1, "s", "another", [1])
    assert one != made("a", 1, "another", "r", [1])
    assert one != "a"
    assert hash(made("a", 1, "s", "r", ())) == hash(made("a", 1, "s", "another", ()))
    assert made("a").things == []
    assert made("a").things is not made("a").things
    assert copy(one) == deepcopy(one) == one
    assert deepcopy(one).things is not one.things
    assert replace(one, name="b").name == "b"
    assert not hasattr(one, "__dict__")
    assert made.__match_args__ == ("name", "number", "secret", "remark", "things")
    assert [each.name for each in fields(one)] == list(made.__match_args__)
    assert get_type_hints(made.__init__)["things"] == list[int]
    assert [*inspect.signature(made).parameters] == list(made.__match_args__)
    with pytest.raises(FrozenInstanceError, match="'number'"):
        one.number = 2
    with pytest.raises(FrozenInstanceError, match="'number'"):
        del one.number
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        made()


def test_a_method_of_the_class_s_own_stays() -> None:
    """As with the library."""
    assert repr(Even(2)) == "even"
    assert Even(2) == Even(2)
    with pytest.raises(ValueError, match="odd"):
        Even(1)


@pytest.mark.parametrize("sort", [field(kw_only=True), field(default=0, init=False)])
def test_a_field_that_is_no_plain_parameter_is_refused(sort: Any) -> None:
    """Such a class is rare, and has the library's own decorator."""
    with pytest.raises(TypeError, match=r"Odd\.number"):
        value(type("Odd", (), {"__annotations__": {"number": int}, "number": sort}))
