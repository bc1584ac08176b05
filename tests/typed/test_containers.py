"""Declared lists, dicts and sets: every mutator holds what goes in to the annotation."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    InvalidValueError,
    SyncedDict,
    SyncedList,
    SyncedSet,
)
from redis_memory.core.mutation import BUILDERS
from tests.typed.cases import Color, Message, Profile, SupportCase

ONE, TWO = Message(role="user", text="one"), Message(role="assistant", text="two")
BAD: Any = {"role": "nobody"}
DICT = {"role": "user", "text": "one"}

# mutator: calls that put something in, by what they put
LISTS: dict[str, Callable[[Any, Any], object]] = {
    "append": lambda box, value: box.append(value),
    "extend": lambda box, value: box.extend(iter([value])),
    "insert": lambda box, value: box.insert(0, value),
    "__iadd__": lambda box, value: box.__iadd__([value]),
    "__setitem__": lambda box, value: operator.setitem(box, 0, value),
}
DICTS: dict[str, Callable[[Any, Any], object]] = {
    "__setitem__": lambda box, value: operator.setitem(box, "k", value),
    "setdefault": lambda box, value: box.setdefault("k", value),
    "update": lambda box, value: box.update({"k": value}),
    "__ior__": lambda box, value: box.__ior__({"k": value}),
}
SETS: dict[str, Callable[[Any, Any], object]] = {
    "add": lambda box, value: box.add(value),
    "update": lambda box, value: box.update({value}),
    "symmetric_difference_update": lambda box, value: box.symmetric_difference_update({value}),
    "__ior__": lambda box, value: box.__ior__({value}),
    "__ixor__": lambda box, value: box.__ixor__({value}),
}
# what only takes out or moves
TAKES = {
    list: {"pop", "remove", "sort", "reverse", "clear", "__delitem__", "__imul__"},
    dict: {"pop", "popitem", "clear", "__delitem__"},
    set: {"discard", "remove", "pop", "clear", "difference_update", "intersection_update"}
    | {"__isub__", "__iand__"},
}


def test_no_mutator_is_forgotten() -> None:
    """Every one either puts something in, and is tested here, or takes out."""
    for base, puts in ((list, LISTS), (dict, DICTS), (set, SETS)):
        assert puts.keys() | TAKES[base] == BUILDERS[base].keys()


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize("given", [ONE, DICT], ids=["model", "dict"])
def test_lists_take_what_fits_and_nothing_else(
    case: SupportCase, other: SupportCase, plain: ConversationMemory, method: str, given: Any
) -> None:
    """A model or a dict of it; reading gives the model."""
    case.messages = [TWO]
    LISTS[method](case.messages, given)
    expected = copy.deepcopy([TWO])
    LISTS[method](expected, ONE)
    assert case.messages == other.messages == expected
    assert all(isinstance(each, Message) for each in other.messages)
    before = list(plain.messages)
    with pytest.raises(InvalidValueError, match=r"messages\[\d+\].role"):
        LISTS[method](case.messages, BAD)
    assert list(plain.messages) == before


@pytest.mark.parametrize("method", DICTS)
def test_dicts_take_what_fits_and_nothing_else(
    case: SupportCase, other: SupportCase, method: str
) -> None:
    """Keys as well as values."""
    DICTS[method](case.by_name, {"age": 3})
    assert case.by_name == other.by_name == {"k": Profile(age=3)}
    with pytest.raises(InvalidValueError, match=r"by_name.k.age"):
        DICTS[method](case.by_name, {"age": -3})
    with pytest.raises(InvalidValueError, match="by_color"):
        case.by_color.update({"k": 3})  # type: ignore[dict-item]  # that is the point


@pytest.mark.parametrize("method", SETS)
def test_sets_take_what_fits_and_nothing_else(
    case: SupportCase, other: SupportCase, plain: ConversationMemory, method: str
) -> None:
    """Members of an enum go in, and come out."""
    SETS[method](case.colors, Color.RED)
    assert case.colors == other.colors == {Color.RED}
    assert plain.colors == {"r"}
    with pytest.raises(InvalidValueError, match="colors"):
        SETS[method](case.colors, "green")


def test_slices_are_held_to_the_annotation(case: SupportCase) -> None:
    """As each element is."""
    case.messages[:] = [ONE, TWO]
    case.messages[0:1] = [TWO, TWO]
    assert case.messages == [TWO, TWO, TWO]
    with pytest.raises(InvalidValueError, match="messages"):
        case.messages[1:] = [ONE, BAD]
    assert case.messages[1:] == [TWO, TWO]


def test_inner_containers_are_held_to_the_annotation(case: SupportCase, other: SupportCase) -> None:
    """At every depth that it describes."""
    case.grid["a"] = [1]
    case.grid["a"].append(2)
    case.grid.setdefault("b", []).extend([3, 4])
    with pytest.raises(InvalidValueError, match=r"grid.a\[2\]"):
        case.grid["a"].append("x")  # type: ignore[arg-type]  # that is the point
    assert other.grid == {"a": [1, 2], "b": [3, 4]}


def test_a_constrained_list_stays_within_its_constraint(case: SupportCase) -> None:
    """The whole is looked at, whatever the mutator."""
    case.short.append("a")
    case.short += ["b"]
    with pytest.raises(InvalidValueError, match="short"):
        case.short.append("c")
    with pytest.raises(InvalidValueError, match="short"):
        case.short.insert(0, "c")
    assert case.short == ["a", "b"]
    case.short.pop()
    case.short.append("c")
    assert case.short == ["a", "c"]


def test_what_is_taken_out_is_a_detached_model(case: SupportCase, other: SupportCase) -> None:
    """Of `pop` and `popitem`."""
    case.messages = [ONE, TWO]
    taken = case.messages.pop()
    assert type(taken) is Message
    taken.text = "mine alone"
    case.by_name = {"a": Profile(), "b": Profile(age=1)}
    assert case.by_name.pop("a") == Profile()
    assert case.by_name.pop("a", "none") == "none"
    assert type(case.by_name.popitem()[1]) is Profile
    case.colors = {Color.RED}
    assert case.colors.pop() is Color.RED
    assert (other.messages, other.by_name, other.colors) == ([ONE], {}, set())


def test_looking_sees_models(case: SupportCase) -> None:
    """Iteration, slices, `in`, `index`, `count`, `get`, `items`, comparisons."""
    case.messages = [ONE, TWO, ONE]
    box: Any = case.messages
    assert [type(each).__mro__[2] for each in box] == [Message] * 3
    assert box[-1] == ONE
    assert box[1:] == [TWO, ONE]
    assert TWO in box
    assert box.index(TWO) == 1
    assert box.count(ONE) == 2
    assert list(reversed(box)) == [ONE, TWO, ONE]
    assert repr(box) == repr([ONE, TWO, ONE])
    assert box + [ONE] == [ONE, TWO, ONE, ONE]  # noqa: RUF005  # the operator is meant
    case.by_name = {"a": Profile()}
    assert case.by_name.get("a") == Profile()
    assert case.by_name.get("b") is None
    assert list(case.by_name.items()) == [("a", Profile())]
    assert case.by_name == {"a": Profile()}


def test_keys_are_what_they_are_declared_to_be(
    case: SupportCase, plain: ConversationMemory
) -> None:
    """A dict from members of an enum is asked with them, and stored by their values."""
    case.by_color[Color.RED] = 1
    case.by_color[Color.RED] += 1
    box = case.by_color
    assert plain.by_color == {"r": 2}
    assert box == {Color.RED: 2}
    assert box[Color.RED] == 2
    assert Color.RED in box
    assert Color.BLUE not in box
    assert list(box) == list(box.keys()) == [Color.RED]
    assert box.get(Color.BLUE) is None
    assert list(box.items()) == [(Color.RED, 2)]
    assert case.by_color.popitem() == (Color.RED, 2)
    with pytest.raises(KeyError):
        del case.by_color[Color.BLUE]


def test_a_typed_dict_is_held_to_its_keys(case: SupportCase, other: SupportCase) -> None:
    """Those that are declared, with their values."""
    case.options["tone"] = "casual"
    case.options.setdefault("words", []).append("w")
    assert other.options == {"tone": "casual", "words": ["w"]}
    with pytest.raises(InvalidValueError, match=r"options.tone"):
        case.options["tone"] = "rude"  # type: ignore[typeddict-item]  # that is the point
    with pytest.raises(InvalidValueError, match=r"options.volume"):
        case.options["volume"] = 3  # type: ignore[typeddict-unknown-key]  # that is the point
    with pytest.raises(InvalidValueError, match=r"options.words\[1\]"):
        case.options["words"].append(3)  # type: ignore[arg-type]  # that is the point


def test_sorting_and_removing_see_models(case: SupportCase, other: SupportCase) -> None:
    """A key function is called with them, and a model is found by its contents."""
    case.messages = [TWO, ONE]
    case.messages.sort(key=lambda message: message.text)
    assert other.messages == [ONE, TWO]
    case.messages.remove(Message(role="user", text="one"))
    assert other.messages == [TWO]
    with pytest.raises(ValueError, match="not in list"):
        case.messages.remove(ONE)
    case.colors = {Color.RED, Color.BLUE}
    case.colors.discard(Color.RED)
    case.colors -= {Color.RED}
    assert other.colors == {Color.BLUE}
    assert other.colors | {Color.RED} == {Color.RED, Color.BLUE}
    assert other.colors <= {Color.BLUE}


def pickled(box: Any) -> Any:
    """What another process gets."""
    return pickle.loads(pickle.dumps(box))


def test_they_are_proxies_and_their_copies_are_not(case: SupportCase) -> None:
    """What is declared as a list is one, live; copies are detached models."""
    case.messages, case.by_name, case.colors = [ONE], {"a": Profile()}, {Color.RED}
    assert isinstance(case.messages, SyncedList)
    assert isinstance(case.by_name, SyncedDict)
    assert isinstance(case.colors, SyncedSet)
    ways: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickled]
    for copied in ways:
        assert copied(case.messages) == [ONE]
        assert type(copied(case.messages)) is list
        assert type(copied(case.messages)[0]) is Message
        assert copied(case.colors) == {Color.RED}
    assert type(case.messages.aslist()[0]) is Message
    assert case.by_name.asdict() == {"a": Profile()}
    assert case.colors.asset() == {Color.RED}


def test_a_default_list_keeps_what_all_append(case: SupportCase, other: SupportCase) -> None:
    """Nobody has stored anything, and both hold the default."""
    mine, theirs = case.messages, other.messages
    mine.append(ONE)
    theirs.append(TWO)
    mine.append(ONE)
    assert case.messages == other.messages == [ONE, TWO, ONE]
    assert case.greeting == ["hello"]
    case.greeting.append("you")
    other.greeting += ["there"]
    assert case.greeting == ["hello", "you", "there"]


def test_a_default_does_not_come_back_over_what_is_stored(
    case: SupportCase, other: SupportCase
) -> None:
    """Nor does an assigned empty list after the first append keep what there was."""
    case.messages.append(ONE)
    case.messages = []
    assert other.messages == []
    held = case.greeting
    other.greeting = ["other"]
    held.append("mine")
    assert case.greeting == ["other", "mine"]
