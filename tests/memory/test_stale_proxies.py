"""A change whose place is gone or has moved is refused, and never lands on another element."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import ConversationMemory, StaleProxyError, clear

Use = Callable[[Any], object]

# what others, or the same worker through another proxy, may do to a list of dicts
MOVES: dict[str, Use] = {
    "insert": lambda box: box.insert(0, {"id": "new"}),
    "insert in the middle": lambda box: box.insert(2, {"id": "new"}),
    "remove": lambda box: box.remove({"id": 0, "tags": ["a", "b"]}),
    "delete": lambda box: operator.delitem(box, 0),
    "pop": lambda box: box.pop(0),
    "sort": lambda box: box.sort(key=lambda item: -item["id"]),
    "reverse": lambda box: box.reverse(),
    "slice": lambda box: operator.setitem(box, slice(0, 1), []),
    "clear and fill": lambda box: (
        box.clear(),
        box.extend({"id": letter, "tags": []} for letter in "abcd"),
    ),
}
# what means an element by the index at which it was seen
BY_INDEX: dict[str, Use] = {
    "set": lambda box: operator.setitem(box, 1, {"id": "mine"}),
    "delete": lambda box: operator.delitem(box, -1),
    "pop": lambda box: box.pop(1),
    "slice": lambda box: operator.setitem(box, slice(1, 2), [{"id": "mine"}]),
    "delete a slice": lambda box: operator.delitem(box, slice(1, None)),
    "inside": lambda box: operator.setitem(box[1], "id", "mine"),
    "far inside": lambda box: box[1]["tags"].append("mine"),
}


def fill(memory: ConversationMemory) -> list[dict[str, Any]]:
    """Four elements that can be told apart."""
    memory.box = [{"id": number, "tags": ["a", "b"]} for number in range(4)]
    filled: list[dict[str, Any]] = memory.box.aslist()
    return filled


@pytest.mark.parametrize("use", BY_INDEX)
@pytest.mark.parametrize("move", MOVES)
def test_an_index_never_lands_on_another_element(
    mem: ConversationMemory, other: ConversationMemory, move: str, use: str
) -> None:
    """Once others have moved the elements, a change by index is refused and nothing happens."""
    fill(mem)
    held = mem.box
    MOVES[move](other.box)
    after = other.box.aslist()
    with pytest.raises(StaleProxyError, match="read it again"):
        BY_INDEX[use](held)
    assert mem.box == other.box == after
    BY_INDEX[use](mem.box)


@pytest.mark.parametrize("through", ["the same proxy", "another one"])
@pytest.mark.parametrize("move", MOVES)
def test_a_held_element_never_becomes_another_one(
    mem: ConversationMemory, move: str, through: str
) -> None:
    """The worker's own moves count as well, whichever proxy they were made through."""
    fill(mem)
    held = mem.box
    element, tags = held[1], held[2]["tags"]
    MOVES[move](held if through == "the same proxy" else mem.box)
    after = mem.box.aslist()
    with pytest.raises(StaleProxyError):
        element.update(id="mine")
    with pytest.raises(StaleProxyError):
        tags.append("mine")
    assert mem.box == after


@pytest.mark.parametrize(
    "use",
    [
        lambda box: box.append({"id": "new"}),
        lambda box: box.extend([{"id": "new"}]),
        lambda box: operator.setitem(box, 0, {"id": "new"}),
        lambda box: box[3].update(id="new"),
        lambda box: box[1]["tags"].append("new"),
        lambda box: box[1]["tags"].clear(),
    ],
    ids=["append", "extend", "set", "update", "append inside", "clear inside"],
)
def test_what_moves_nothing_makes_no_proxy_stale(
    mem: ConversationMemory, other: ConversationMemory, use: Use
) -> None:
    """Appends and changes of elements leave every index meaning what it meant."""
    fill(mem)
    held = mem.box
    element, tags = held[1], held[2]["tags"]
    use(other.box)
    element["by"] = "mine"
    tags.append("mine")
    held[2]["by"] = "mine"
    held[3] = "last of four"
    model: list[Any] = [{"id": number, "tags": ["a", "b"]} for number in range(4)]
    use(model)
    model[1]["by"] = model[2]["by"] = "mine"
    model[2]["tags"].append("mine")
    model[3] = "last of four"
    assert other.box == mem.box == model


def test_a_held_list_goes_on_after_a_refusal(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """What means no index still works, and brings the proxy up to date."""
    fill(mem)
    held = mem.box
    other.box.pop(0)
    with pytest.raises(StaleProxyError):
        held[0] = "mine"
    held.append("mine")
    assert [item if isinstance(item, str) else item["id"] for item in held] == [1, 2, 3, "mine"]
    held[0]["id"] = "one"
    assert other.box[0]["id"] == "one"


def test_an_index_inside_an_element_is_held_to_the_same(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """A list inside a dict or a list is moved by others as a whole attribute is."""
    mem.box = {"k": {"list": [1, 2, 3]}}
    mem.line = [[1, 2, 3]]
    uses: list[Use] = [
        lambda held: operator.setitem(held, 1, "mine"),
        lambda held: operator.delitem(held, -1),
        lambda held: held.pop(1),
    ]
    for held, theirs in (
        (mem.box["k"]["list"], other.box["k"]["list"]),
        (mem.line[0], other.line[0]),
    ):
        theirs.insert(0, 0)
        for use in uses:
            with pytest.raises(StaleProxyError):
                use(held)
        held.append(4)
        assert held == [*theirs, 4] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("who", ["the worker itself", "another one"])
def test_an_index_inside_an_element_that_was_replaced_is_refused(
    mem: ConversationMemory, other: ConversationMemory, who: str
) -> None:
    """The new list at the place is reached by what means no index, and by nothing else."""
    mem.box = {"k": {"list": ["seen", "too"]}}
    held = mem.box
    inner = held["k"]["list"]
    if who == "the worker itself":
        held["k"] = {"list": ["new", "ones"]}
    else:
        other.box["k"] = {"list": ["new", "ones"]}
        held["z"] = "held is up to date now, and inner is not"
    for use in (BY_INDEX["set"], BY_INDEX["delete"], BY_INDEX["pop"]):
        with pytest.raises(StaleProxyError):
            use(inner)
    inner.append("mine")
    assert inner == other.box["k"]["list"] == ["new", "ones", "mine"]


def test_the_place_inside_a_dict_is_its_key(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Whatever others do to the rest of the dict, and whatever dict lies at the key by now."""
    mem.box = {"a": {"n": 0}, "b": {"n": 0}}
    held = mem.box["b"]
    del other.box["a"]
    other.box["z"] = 1
    held["n"] = 1
    other.box["b"] = {"m": 2}
    held["o"] = 3
    assert mem.box == {"b": {"m": 2, "o": 3}, "z": 1}
    assert held == {"m": 2, "o": 3}


@pytest.mark.parametrize(
    "end",
    [
        lambda memory: operator.delitem(memory.box, "k"),
        lambda memory: operator.setitem(memory.box, "k", None),
        lambda memory: operator.setitem(memory.box, "k", "text"),
        lambda memory: operator.setitem(memory.box, "k", {"list": (1,), "set": [], "dict": {1}}),
        lambda memory: memory.box.clear(),
        lambda memory: memory.box["k"].clear(),
        lambda memory: setattr(memory, "box", {}),
        lambda memory: setattr(memory, "box", {"k": {}}),
        lambda memory: setattr(memory, "box", [{"list": [], "set": set(), "dict": {}}]),
        lambda memory: setattr(memory, "box", 5),
        lambda memory: delattr(memory, "box"),
        clear,
    ],
    ids=[
        *("key deleted", "None there", "text there", "other kinds there", "dict cleared"),
        *("inner dict cleared", "assigned empty", "assigned without", "assigned a list"),
        *("assigned a number", "attribute deleted", "memory cleared"),
    ],
)
def test_a_place_that_is_gone_is_reported(
    mem: ConversationMemory, other: ConversationMemory, end: Use
) -> None:
    """Nothing is lost in silence, and nothing brings the place back."""
    mem.box = {"k": {"list": [1], "set": {1}, "dict": {1: 1}}}
    inner = mem.box["k"]
    parts = inner["list"], inner["set"], inner["dict"]
    end(other)
    after = getattr(other, "box", None)
    uses: list[Use] = [
        lambda parts: parts[0].append(2),
        lambda parts: parts[1].add(2),
        lambda parts: parts[2].update({2: 2}),
    ]
    for use in uses:
        with pytest.raises(StaleProxyError):
            use(parts)
    assert getattr(mem, "box", None) == after


@pytest.mark.parametrize(
    ("value", "use"),
    [
        ([1], lambda held: held.append(2)),
        ([1], lambda held: held.sort()),
        ([1], lambda held: held.pop()),
        ({"a": 1}, lambda held: held.update(b=2)),
        ({"a": 1}, lambda held: held.pop("a", None)),
        ({1}, lambda held: held.add(2)),
        ({1}, lambda held: held.discard(1)),
    ],
    ids=["append", "sort", "pop", "update", "pop a key", "add", "discard"],
)
@pytest.mark.parametrize("now", ["deleted", "a number", "a text", "of another kind"])
def test_a_proxy_of_an_attribute_that_is_something_else_now(
    mem: ConversationMemory, other: ConversationMemory, value: Any, use: Use, now: str
) -> None:
    """A held list, dict or set whose attribute is no such thing any more says so."""
    mem.box = value
    held = mem.box
    kind = type(value).__name__
    if now == "deleted":
        del other.box
    else:
        foreign = {1} if isinstance(value, list) else [1]
        other.box = {"a number": 1, "a text": "a", "of another kind": foreign}[now]
    after = getattr(other, "box", None)
    with pytest.raises(StaleProxyError, match=rf"the {kind} 'box' .* is gone"):
        use(held)
    assert getattr(mem, "box", None) == after


@pytest.mark.parametrize("value", [[[1]], {"k": [1]}, {1}], ids=["list", "dict", "set"])
def test_an_attribute_assigned_anew_is_still_the_place(
    mem: ConversationMemory, other: ConversationMemory, value: Any
) -> None:
    """A held proxy goes on with the new list, dict or set of its name, but not by old indexes."""
    mem.box = value
    held = mem.box
    other.box = type(value)()
    if isinstance(held, list):
        with pytest.raises(StaleProxyError):
            held[0] = "mine"
        held.append("mine")
        assert other.box == held == ["mine"]
    elif isinstance(held, dict):
        held["z"] = "mine"
        assert other.box == held == {"z": "mine"}
    else:
        held.add("mine")
        assert other.box == held == {"mine"}


def test_the_ends_of_a_list_belong_to_whoever_comes_first(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """`pop()` and `pop(0)` take what the server holds there, so that a list serves as a queue."""
    mem.jobs = [1, 2, 3, 4, 5]
    held, theirs = mem.jobs, other.jobs
    assert [held.pop(0), theirs.pop(0), held.pop(), theirs.pop(), held.pop()] == [1, 2, 5, 4, 3]
    for jobs in (held, theirs):
        with pytest.raises(IndexError, match="empty"):
            jobs.pop()
    assert mem.jobs == other.jobs == []


def test_a_container_inside_a_tuple_has_its_place_too(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """The tuple itself cannot change; the place is gone when another tuple is there."""
    mem.pair = ([1], {"a": 1})
    held = mem.pair
    held[0].append(2)
    other.pair[1]["b"] = 2
    held[0].append(3)
    assert mem.pair == other.pair == ([1, 2, 3], {"a": 1, "b": 2})
    other.pair = ("text",)
    with pytest.raises(StaleProxyError):
        held[0].append(4)
    with pytest.raises(TypeError):
        operator.setitem(mem.pair, 0, [])
