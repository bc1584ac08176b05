"""Declared attributes as a whole: what goes in, what comes out, what is there without either."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from redis_memory import ConversationMemory, InvalidValueError, UnstorableValueError, snapshot
from tests.typed.cases import (
    Address,
    Cat,
    Color,
    Dog,
    Loose,
    Message,
    Node,
    Page,
    Pair,
    Point,
    Profile,
    Span,
    Stamp,
    SupportCase,
)

FITTING: dict[str, Any] = {
    "messages": [Message(role="user", tags=["a"]), Message(role="assistant", text="x")],
    "state": "closed",
    "profile": Profile(name="Ann", address=Address("Ulm"), since=datetime(2024, 1, 2, tzinfo=UTC)),
    "by_name": {"a": Profile(), "b": Profile(age=3)},
    "colors": {Color.RED, Color.BLUE},
    "by_color": {Color.RED: 1},
    "grid": {"a": [1, 2], "b": []},
    "count": 100,
    "home": Address("Ulm", notes=["n"]),
    "point": Point(1, [2]),
    "span": Span(low=1, high=2),
    "stamp": Stamp(by="me", fixed=["f"]),
    "loose": Loose.model_validate({"known": 1, "more": [1]}),
    "page": Page[Message](items=[Message(role="user")]),
    "tree": Node(name="a", children=[Node(name="b", children=[Node(name="c")])]),
    "pet": Dog(tricks=["roll"]),
    "pets": [Dog(), Cat(lives=1)],
    "options": {"tone": "formal", "words": ["w"]},
    "pair": Pair(1, "r"),
    "several": (Message(role="user"),),
    "money": Decimal("1.50"),
    "key": UUID(int=7),
    "anything": {"free": [1, {2}]},
}

# as an int it would take for ever
ENDLESS = Decimal("1E+999999999999999999")


class Subclass(list[Any]):
    """A list of a kind of its own."""


@pytest.mark.parametrize("name", FITTING)
def test_what_was_assigned_is_read(case: SupportCase, other: SupportCase, name: str) -> None:
    """Equal in, equal out, of the declared type, in every process."""
    setattr(case, name, FITTING[name])
    for memory in (case, other):
        read = getattr(memory, name)
        assert read == FITTING[name]
        assert isinstance(read, type(FITTING[name]))
        assert memory[name] == FITTING[name]


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("state", "gone", "state"),
        ("count", -1, "count"),
        ("count", "many", "count"),
        ("messages", [{"role": "user"}, {"role": "nobody"}], "messages[1].role"),
        ("messages", "text", "messages"),
        ("profile", {"age": 200}, "profile.age"),
        ("profile", {"address": {}}, "profile.address.city"),
        ("by_name", {"ann": {"age": -1}}, "by_name.ann.age"),
        ("home", Address(city=5), "home.city"),  # type: ignore[arg-type]  # that is the point
        ("home", None, "home"),
        ("short", ["a", "b", "c"], "short"),
        ("span", {"low": 11}, "span"),
        ("pet", {"kind": "fish"}, "pet"),
        ("total", ENDLESS, "total"),
        ("profile", {"name": "a", "age": ENDLESS}, "profile"),
        ("by_color", {ENDLESS: 1}, "by_color"),
        ("grid", {"a": Subclass([1, Decimal("1E-999999999")])}, "grid"),
    ],
)
def test_what_does_not_fit_is_not_sent(
    case: SupportCase, name: str, value: object, place: str
) -> None:
    """The error names the place and the reason."""
    with pytest.raises(InvalidValueError) as caught:
        setattr(case, name, value)
    assert any(key.startswith(place) for key in caught.value.reasons)
    assert isinstance(caught.value, ValueError)
    assert name not in case


@pytest.mark.parametrize("name", ["state", "key", "pet", "money", "home", "messages"])
def test_an_error_never_shows_the_value(case: SupportCase, name: str) -> None:
    """Neither the message nor what hangs on the error quotes the user's data."""
    for secret in ("5ecret-z", {"kind": "5ecret-z"}, ["5ecret-z"]):
        with pytest.raises(InvalidValueError) as caught:
            setattr(case, name, secret)
        assert "5ecret" not in repr(caught.value) + str(caught.value.reasons)
        assert caught.value.__context__ is None


def test_a_default_is_read_and_not_stored(case: SupportCase, plain: ConversationMemory) -> None:
    """Reading stores nothing; `hasattr` sees a default, `in` only what is stored."""
    assert case.state == "open"
    assert case.messages == []
    assert case.span == Span()
    assert case["count"] == 5
    assert hasattr(case, "state")
    assert "state" not in case
    assert list(plain) == []


def test_without_a_default_a_missing_attribute_is_an_error(case: SupportCase) -> None:
    """As for attributes that are not declared."""
    assert not hasattr(case, "home")
    with pytest.raises(AttributeError, match="home"):
        _ = case.home
    with pytest.raises(KeyError):
        case["home"]


def test_deleting_brings_the_default_back(case: SupportCase) -> None:
    """A second deletion finds nothing."""
    case.total = 3
    del case.total
    assert case.total == 0
    with pytest.raises(AttributeError):
        del case.total


def test_a_default_is_fresh_for_each_reader(case: SupportCase) -> None:
    """What one does to it is not seen in the class, nor in another conversation."""
    case.messages.append(Message(role="user"))
    another = SupportCase("another", case.__reduce__()[1][2]["url"])
    assert another.messages == []


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("state", "odd"),
        ("messages", [{"role": 1}]),
        ("profile", {"age": -1}),
        ("short", [1]),
        ("count", ENDLESS),
        ("profile", {"age": ENDLESS}),
    ],
)
def test_what_no_longer_fits_is_told_where_it_is_read(
    case: SupportCase, plain: ConversationMemory, name: str, stored: object
) -> None:
    """The other attributes stay readable, and the broken one can be assigned."""
    setattr(plain, name, stored)
    with pytest.raises(InvalidValueError, match=name):
        getattr(case, name)
    assert case.total == 0
    delattr(case, name)
    assert getattr(case, name) == getattr(SupportCase("x", "memory://empty"), name)


def test_what_grew_by_others_is_looked_at(case: SupportCase, plain: ConversationMemory) -> None:
    """Only the new elements are, and their index is right."""
    case.messages = [{"role": "user"}] * 3  # type: ignore[list-item]  # dicts are taken as well
    assert len(case.messages) == 3
    plain.messages.append({"role": "broken"})
    with pytest.raises(InvalidValueError, match=r"messages\[3\].role"):
        _ = case.messages


def test_what_others_replaced_is_looked_at_as_a_whole(
    case: SupportCase, plain: ConversationMemory
) -> None:
    """However many elements were found to fit before."""
    case.messages = [{"role": "user"}] * 3  # type: ignore[list-item]  # dicts are taken as well
    assert len(case.messages) == 3
    plain.messages = [{"role": "broken"}, {"role": "user"}, {"role": "user"}]
    with pytest.raises(InvalidValueError, match=r"messages\[0\].role"):
        _ = case.messages


def test_a_container_stored_as_another_is_refused(
    case: SupportCase, plain: ConversationMemory
) -> None:
    """Nothing is converted in silence, since changes would not be stored."""
    plain.messages = {1, 2}
    with pytest.raises(InvalidValueError, match="messages"):
        _ = case.messages
    plain.grid = {"a": ["1"]}
    with pytest.raises(InvalidValueError, match="grid"):
        _ = case.grid


def test_values_are_stored_plain(case: SupportCase, plain: ConversationMemory) -> None:
    """Other programs read dicts, lists and the values of enums; so does `snapshot`."""
    case.profile = Profile(name="Ann", color=Color.BLUE, address=Address("Ulm"))
    case.colors = {Color.RED}
    assert plain.profile["color"] == "b"
    assert plain.profile["address"] == {"city": "Ulm", "code": "", "notes": []}
    assert plain.colors == {"r"}
    assert snapshot(case) == snapshot(plain)
    assert type(snapshot(case)["profile"]) is dict


def test_names_that_are_not_declared_stay_free(case: SupportCase) -> None:
    """As in any memory, with whatever can be stored."""
    case.free = [1]
    case.free.append("x")
    assert case.free == [1, "x"]
    with pytest.raises(UnstorableValueError):
        case.free = Message(role="user")


def test_private_and_class_variables_are_left_alone(case: SupportCase) -> None:
    """They are no attributes of the conversation."""
    assert (case.limit, case._own) == (3, 1)
    case._own = 2
    assert list(case) == []


def test_a_typed_memory_can_be_pickled(case: SupportCase) -> None:
    """It opens its own connection, with its types."""
    case.state = "closed"
    again = pickle.loads(pickle.dumps(case))
    assert type(again) is SupportCase
    assert again.state == "closed"
    with pytest.raises(InvalidValueError):
        again.total = "many"  # type: ignore[assignment]  # that is the point


def test_conversations_of_one_class_are_apart(case: SupportCase, each_url: str) -> None:
    """The class holds no state of a conversation."""
    with SupportCase("elsewhere", each_url) as elsewhere:
        case.state = "closed"
        assert elsewhere.state == "open"


def test_a_validated_value_is_what_pydantic_makes_of_it(case: SupportCase) -> None:
    """Text that is a number becomes one, as pydantic does unless it is told to be strict."""
    case.count = "7"  # type: ignore[assignment]  # that is the point
    assert case.count == 7
    case.profile = {"name": " Ann "}  # type: ignore[assignment]  # a dict is taken as well
    assert case.profile is not None
    assert case.profile.name == "Ann"
