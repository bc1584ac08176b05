"""A model read from a memory: an instance of its class that writes its own changes through."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from redis_memory import ConversationMemory, InvalidValueError, StaleProxyError
from tests.typed.cases import (
    Address,
    Aliased,
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


def profile_of(case: SupportCase) -> Profile:
    """The profile, which is there."""
    assert case.profile is not None
    return case.profile


@pytest.fixture
def profile(case: SupportCase) -> Profile:
    """A model that is stored, as it is read."""
    case.profile = Profile(name="Ann", address=Address("Ulm", notes=["n"]), tags=["a"])
    return profile_of(case)


def test_it_is_an_instance_like_any_other(case: SupportCase, profile: Profile) -> None:
    """Comparisons, dumps and pydantic take it as it is, without a warning."""
    same = Profile(name="Ann", address=Address("Ulm", notes=["n"]), tags=["a"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(profile, Profile)
        assert profile.__class__ is Profile
        assert profile == same
        assert same == profile
        assert profile != Profile()
        assert profile.model_dump() == same.model_dump()
        assert profile.model_dump_json() == same.model_dump_json()
        assert repr(profile) == repr(same)
        assert TypeAdapter(Profile).validate_python(profile) == same
        assert profile.model_copy(update={"age": 3}).age == 3
        assert profile.address is not None
        assert profile.address is not None
        assert dataclasses.asdict(profile.address) == {"city": "Ulm", "code": "", "notes": ["n"]}
        assert dataclasses.replace(profile.address, city="Bonn") == Address("Bonn", notes=["n"])
    assert profile_of(case) == same


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: model.model_copy(deep=True),
    ],
    ids=["copy", "deepcopy", "pickle", "model_copy"],
)
def test_a_copy_is_plain_and_detached(case: SupportCase, profile: Profile, copied: Any) -> None:
    """It writes to no memory."""
    mine = copied(profile)
    assert type(mine) is Profile
    assert type(mine.address) is Address
    assert type(mine.tags) is list
    mine.name, mine.address.city = "Zoe", "Bonn"
    mine.tags.append("b")
    assert profile_of(case) == profile


def test_a_field_is_written_through(
    case: SupportCase, other: SupportCase, plain: ConversationMemory, profile: Profile
) -> None:
    """At every depth, and the model that was held shows it."""
    profile.age = 41
    profile.age += 1
    assert profile.address is not None
    profile.address.city = "Bonn"
    profile.address.notes.append("m")
    profile.tags += ["b"]
    profile.color = Color.BLUE
    expected = Profile(
        name="Ann",
        age=42,
        address=Address("Bonn", notes=["n", "m"]),
        tags=["a", "b"],
        color=Color.BLUE,
    )
    assert profile == expected
    assert profile_of(other) == expected
    assert profile.model_dump() == expected.model_dump()
    assert plain.profile["color"] == "b"


def test_a_model_can_be_put_into_a_field(case: SupportCase, profile: Profile) -> None:
    """As an instance or as a dict; the caller's own stays detached."""
    mine = Address("Kiel")
    profile.address = mine
    mine.city = "Lost"
    assert profile_of(case).address == Address("Kiel")
    profile.address = {"city": "Rom"}  # type: ignore[assignment]  # a dict is taken as well
    assert profile_of(case).address == Address("Rom")
    profile.address = None
    assert profile_of(case).address is None


def test_models_in_containers_write_through(case: SupportCase, other: SupportCase) -> None:
    """In lists, dicts, tuples, and in each other."""
    case.messages = [Message(role="user"), Message(role="user")]
    case.messages[1].text = "y"
    for message in case.messages:
        message.tags.append("t")
    case.by_name["a"] = Profile()
    case.by_name["a"].age += 1
    for each in case.by_name.values():
        each.tags.append("v")
    case.several = (Message(role="user"),)
    case.several[0].text = "in a tuple"
    case.tree = Node(name="r", children=[Node(name="c", children=[Node(name="l")])])
    case.tree.children[0].children[0].name = "leaf"
    case.page.items.append(Message(role="user"))
    case.page.items[0].text = "generic"
    assert [each.text for each in other.messages] == ["", "y"]
    assert [each.tags for each in other.messages] == [["t"], ["t"]]
    assert other.by_name == {"a": Profile(age=1, tags=["v"])}
    assert other.several == (Message(role="user", text="in a tuple"),)
    assert other.tree is not None
    assert other.tree.children[0].children[0].name == "leaf"
    assert other.page == Page[Message](items=[Message(role="user", text="generic")])


def test_dataclasses_write_through(case: SupportCase, other: SupportCase) -> None:
    """With a dict, and with slots."""
    case.home = Address("Ulm")
    home = case.home
    home.code = "89"
    home.notes.append("n")
    assert home == Address("Ulm", "89", ["n"]) == other.home
    case.point = Point(1)
    point = case.point
    point.x += 1
    point.marks.append(3)
    assert point == Point(2, [3]) == other.point
    assert dataclasses.asdict(point) == {"x": 2, "marks": [3]}
    with pytest.raises(InvalidValueError, match=r"point.marks\[1\]"):
        point.marks.append("x")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidValueError, match=r"point.x"):
        point.x = "x"  # type: ignore[assignment]  # that is the point


def test_two_workers_change_two_fields_of_one_model(
    case: SupportCase, other: SupportCase, profile: Profile
) -> None:
    """Both changes are kept, also those inside an element."""
    theirs = profile_of(other)
    profile.name = "Zoe"
    theirs.age = 3
    assert profile.address is not None
    assert theirs.address is not None
    profile.address.city = "Bonn"
    theirs.address.code = "53"
    case.messages = [Message(role="user")]
    mine, others = case.messages[0], other.messages[0]
    mine.text, others.role = "hello", "assistant"
    assert profile_of(case) == profile_of(other)
    assert (profile_of(case).name, profile_of(case).age) == ("Zoe", 3)
    assert profile_of(case).address == Address("Bonn", "53", ["n"])
    assert case.messages == [Message(role="assistant", text="hello")]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda it: setattr(it, "age", -1), "profile.age"),
        (lambda it: setattr(it, "name", "4nn"), "profile.name"),
        (lambda it: setattr(it.address, "city", 5), "profile.address.city"),
        (lambda it: it.address.notes.append(5), r"profile.address.notes\[1\]"),
        (lambda it: it.tags.append(5), r"profile.tags\[1\]"),
        (lambda it: it.tags.extend(["b", "c", "d"]), "profile.tags"),
        (lambda it: setattr(it, "color", "green"), "profile.color"),
        (lambda it: setattr(it, "address", {}), "profile.address.city"),
    ],
    ids=range(8),
)
def test_a_change_that_does_not_fit_is_not_made(
    case: SupportCase, profile: Profile, change: Any, place: str
) -> None:
    """Constraints and validators of fields hold, and those of containers in them."""
    with pytest.raises(InvalidValueError, match=place):
        change(profile)
    assert profile_of(case) == profile
    assert profile.tags == ["a"]


def test_validators_of_the_whole_model_hold(case: SupportCase, other: SupportCase) -> None:
    """Also while only the default is there."""
    with pytest.raises(InvalidValueError, match="low is above high"):
        case.span.low = 11
    assert "span" not in case
    case.span.high = 20
    case.span.low = 11
    assert other.span == Span(low=11, high=20)


def test_what_is_frozen_refuses_as_it_does_anyway(case: SupportCase) -> None:
    """The error is pydantic's own, or that of dataclasses."""
    case.stamp = Stamp(by="me", fixed=["f"])
    with pytest.raises(ValidationError, match="frozen"):
        case.stamp.by = "you"  # type: ignore[misc]  # that is the point
    case.aliased = Aliased(contentType="text")
    with pytest.raises(ValidationError, match="frozen"):
        case.aliased.locked = "y"  # type: ignore[misc]  # that is the point
    assert case.aliased == Aliased(contentType="text")


def test_names_that_a_model_does_not_have_are_refused(case: SupportCase, profile: Profile) -> None:
    """Nothing that looks stored is lost."""
    with pytest.raises(ValueError, match="nickname"):
        profile.nickname = "A"  # type: ignore[attr-defined]  # that is the point
    case.home = Address("Ulm")
    with pytest.raises(AttributeError, match="floor"):
        case.home.floor = 3  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(AttributeError, match="nothing"):
        case.home.nothing  # type: ignore[attr-defined]  # noqa: B018  # that is the point


def test_a_model_with_free_names_stores_them(case: SupportCase, other: SupportCase) -> None:
    """They can be added, changed in place, and deleted."""
    loose: Any = case.loose
    loose.more = [1]
    loose.more.append(2)
    assert other.loose == Loose.model_validate({"known": 0, "more": [1, 2]})
    del loose.more
    assert other.loose == Loose()


def test_fields_with_aliases_are_stored_under_their_names(
    case: SupportCase, plain: ConversationMemory
) -> None:
    """Both are taken, and what is stored does not change with the alias."""
    case.aliased = Aliased(contentType="text")
    case.aliased.content_type = "html"
    assert plain.aliased == {"content_type": "html", "locked": "x"}
    case.aliased = {"content_type": "a"}  # type: ignore[assignment]  # a dict is taken as well
    assert case.aliased == Aliased(contentType="a")


def test_unions_read_as_the_class_that_was_stored(case: SupportCase, other: SupportCase) -> None:
    """And its fields are those of that class."""
    case.pet = Dog()
    assert isinstance(other.pet, Dog)
    other.pet.tricks.append("roll")
    assert case.pet == Dog(tricks=["roll"])
    case.pets = [Cat(), Dog()]
    cat, dog = case.pets
    assert isinstance(cat, Cat)
    assert isinstance(dog, Dog)
    cat.lives, dog.tricks = 1, ["sit"]
    assert other.pets == [Cat(lives=1), Dog(tricks=["sit"])]


def test_a_named_tuple_is_read_as_one(case: SupportCase) -> None:
    """It cannot be changed, only assigned."""
    case.pair = Pair(1, "r")
    assert case.pair is not None
    assert case.pair.left == 1


def test_a_field_that_was_not_stored_can_be_changed_in_place(
    case: SupportCase, plain: ConversationMemory
) -> None:
    """A program that knows fewer fields has written the model."""
    plain.profile = {"name": "Ann", "address": {"city": "Ulm"}}
    profile = profile_of(case)
    profile.tags.append("t")
    assert profile.address is not None
    profile.address.notes.append("n")
    assert plain.profile["tags"] == ["t"]
    assert plain.profile["address"]["notes"] == ["n"]
    assert profile_of(case).tags == ["t"]
    assert profile.tags == ["t"]


def test_fields_that_only_others_know_stay(case: SupportCase, plain: ConversationMemory) -> None:
    """A program that knows more fields has written the model."""
    plain.profile = {"name": "Ann", "later": [1]}
    profile_of(case).age = 5
    assert plain.profile["later"] == [1]
    assert plain.profile["age"] == 5


def test_a_held_model_whose_place_is_gone_is_stale(case: SupportCase, other: SupportCase) -> None:
    """As for proxies: nothing lands on another element."""
    case.messages = [Message(role="user"), Message(role="user", text="second")]
    held = case.messages[1]
    other.messages.insert(0, Message(role="assistant"))
    with pytest.raises(StaleProxyError):
        held.text = "lost"
    case.profile = Profile()
    held_profile = profile_of(case)
    other.profile = None
    with pytest.raises(StaleProxyError):
        held_profile.name = "Zoe"


def test_a_default_model_is_stored_by_its_first_change(
    case: SupportCase, other: SupportCase
) -> None:
    """Two workers who both hold the default change two fields: both are kept."""
    mine, theirs = case.span, other.span
    mine.low = 1
    theirs.high = 5
    assert case.span == other.span == Span(low=1, high=5)
