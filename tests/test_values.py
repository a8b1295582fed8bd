"""Our dataclasses behave like those of the standard library."""

import dataclasses
import pickle
from typing import ClassVar, Generic, TypeVar

import pytest

from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where."""

    names: ClassVar[tuple[str, ...]] = ("x",)
    host: str
    port: int = 80
    secret: str = dataclasses.field(default="", repr=False)

    @property
    def authority(self):
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Tally:
    name: str
    seen: list[int] = dataclasses.field(default_factory=list)
    total: int = dataclasses.field(init=False)

    def __post_init__(self):
        self.total = sum(self.seen)


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    major: int
    minor: int = 0


def test_fields_defaults_and_methods():
    place = Place(host="a")
    assert (place.port, place.authority, Place.names, place.names) == (80, "a:80", ("x",), ("x",))
    assert Tally("a").seen is not Tally("a").seen
    assert Tally("a", [1, 2]).total == 3


def test_equal_fields_are_equal_values():
    assert Place(host="a") == Place(host="a", port=80) != Place(host="b")
    assert hash(Place(host="a")) == hash(Place(host="a"))
    assert Place(host="a") != Rank(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Tally("a"))
    assert sorted([Rank(2), Rank(1, 5), Rank(1)]) == [Rank(1), Rank(1, 5), Rank(2)]


def test_frozen_stays_as_it_is():
    with pytest.raises(AttributeError):
        Place(host="a").port = 1
    tally = Tally("a")
    tally.total = 5
    assert tally.total == 5
    with pytest.raises(AttributeError):
        tally.other = 1


def test_what_must_not_show_does_not():
    assert repr(Place(host="a", secret="s")) == "Place(host='a', port=80)"
    assert repr(Rank(1)) == "Rank(major=1, minor=0)"


def test_the_standard_library_knows_them():
    assert dataclasses.is_dataclass(Place)
    assert [field.name for field in dataclasses.fields(Place)] == ["host", "port", "secret"]
    assert dataclasses.replace(Place(host="a", port=1), host="b") == Place(host="b", port=1)
    assert dataclasses.replace(Tally("a", [1]), seen=[4]).total == 4
    assert dataclasses.asdict(Rank(1, 2)) == {"major": 1, "minor": 2}
    assert pickle.loads(pickle.dumps(Rank(1, 2))) == Rank(1, 2)  # noqa: S301 - our own bytes


def test_positional_and_missing_arguments():
    assert Rank(3, 4).minor == 4
    with pytest.raises(TypeError):
        Place("a")
    with pytest.raises(TypeError):
        Place()


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with a note that is no part of it."""

    name: str
    note: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)


def test_a_field_that_does_not_compare_counts_neither_for_equality_nor_for_the_hash():
    assert Noted("a", {"x": 1}) == Noted("a", {"y": 2}) != Noted("b", {"x": 1})
    assert len({Noted("a", {"x": 1}), Noted("a"), Noted("b")}) == 2
    assert Noted("a") != Rank(1)
    assert repr(Noted("a", {"x": 1})) == "Noted(name='a', note={'x': 1})"


Content = TypeVar("Content")


@dataclass(slots=True, kw_only=True)
class Box(Generic[Content]):
    """A class for values of some type."""

    content: Content
    count: int = 1


def test_a_class_may_be_generic():
    assert Box(content="a") == Box[str](content="a", count=1) != Box(content="b")
    assert [field.name for field in dataclasses.fields(Box)] == ["content", "count"]


class Base:
    """Something to derive from."""


def derived():
    @dataclass(slots=True)
    class Derived(Base):
        x: int = 0

    return Derived


def without_slots():
    @dataclass(slots=False)
    class Loose:
        x: int = 0

    return Loose


@pytest.mark.parametrize("make", [derived, without_slots])
def test_what_it_cannot_do_is_refused(make):
    with pytest.raises(TypeError, match="has a base, or no slots"):
        make()
