"""Every method of list, dict and set that changes one writes through, at every depth."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import ConversationMemory, SyncedDict, SyncedList, SyncedSet
from tests.faults import FaultProxy
from tests.operators import iadd, iand, imul, ior, isub, ixor
from tests.strategies import same

PROXIES: dict[type, Any] = {list: SyncedList, dict: SyncedDict, set: SyncedSet}

# Each mutator with calls of it; they are made on the container that `START` has for its type.
START: dict[type, Any] = {
    list: [3, 1, 2, 1],
    dict: {"a": 1, "b": 2, "c": 3},
    set: {1, 2, 3},
}
CALLS: dict[type, dict[str, list[Callable[[Any], Any]]]] = {
    list: {
        "append": [lambda box: box.append(9)],
        "extend": [lambda box: box.extend([8, 9]), lambda box: box.extend(iter("ab"))],
        "insert": [lambda box: box.insert(1, 9), lambda box: box.insert(-1, 9)],
        "pop": [lambda box: box.pop(), lambda box: box.pop(0), lambda box: box.pop(-2)],
        "remove": [lambda box: box.remove(1)],
        "sort": [lambda box: box.sort(), lambda box: box.sort(key=operator.neg, reverse=True)],
        "reverse": [lambda box: box.reverse()],
        "clear": [lambda box: box.clear()],
        "__setitem__": [
            lambda box: operator.setitem(box, 1, [9]),
            lambda box: operator.setitem(box, -1, 9),
            lambda box: operator.setitem(box, slice(1, 3), "xyz"),
            lambda box: operator.setitem(box, slice(None, None, 2), (8, 9)),
        ],
        "__delitem__": [
            lambda box: operator.delitem(box, 0),
            lambda box: operator.delitem(box, -1),
            lambda box: operator.delitem(box, slice(None, None, 2)),
        ],
        "__iadd__": [lambda box: iadd(box, (8, 9))],
        "__imul__": [lambda box: imul(box, 2), lambda box: imul(box, 0)],
        "__init__": [],
    },
    dict: {
        "__setitem__": [
            lambda box: operator.setitem(box, "d", [4]),
            lambda box: operator.setitem(box, "a", None),
        ],
        "__delitem__": [lambda box: operator.delitem(box, "b")],
        "pop": [lambda box: box.pop("b"), lambda box: box.pop("z", 5)],
        "popitem": [lambda box: box.popitem()],
        "setdefault": [
            lambda box: box.setdefault("a", 5),
            lambda box: box.setdefault("d", 5),
            lambda box: box.setdefault("d"),
        ],
        "update": [
            lambda box: box.update({"d": 4, "a": 0}),
            lambda box: box.update([("d", 4)], e=5),
            lambda box: box.update(d=4),
        ],
        "clear": [lambda box: box.clear()],
        "__ior__": [
            lambda box: ior(box, {"d": 4}),
            lambda box: ior(box, [("d", 4)]),
        ],
        "__init__": [],
    },
    set: {
        "add": [lambda box: box.add(9), lambda box: box.add((9, 9))],
        "discard": [lambda box: box.discard(1), lambda box: box.discard(9)],
        "remove": [lambda box: box.remove(1)],
        "pop": [lambda box: bool(box.pop())],
        "clear": [lambda box: box.clear()],
        "update": [lambda box: box.update([8], {9}), lambda box: box.update()],
        "difference_update": [lambda box: box.difference_update([1, 9], {2})],
        "intersection_update": [lambda box: box.intersection_update([1, 2, 9], {2, 1})],
        "symmetric_difference_update": [lambda box: box.symmetric_difference_update([1, 9])],
        "__ior__": [lambda box: ior(box, {8, 9})],
        "__iand__": [lambda box: iand(box, {1, 9})],
        "__isub__": [lambda box: isub(box, {1, 9})],
        "__ixor__": [lambda box: ixor(box, {1, 9})],
        "__init__": [],
    },
}

# What changes nothing, and so needs no door of its own to the server.
READERS: dict[type, set[str]] = {
    list: {
        *("__add__", "__class_getitem__", "__contains__", "__getitem__", "__iter__", "__len__"),
        *("__mul__", "__reversed__", "__rmul__", "copy", "count", "index"),
    },
    dict: {
        *("__class_getitem__", "__contains__", "__getitem__", "__iter__", "__len__", "__or__"),
        *("__reversed__", "__ror__", "copy", "fromkeys", "get", "items", "keys", "values"),
    },
    set: {
        *("__and__", "__class_getitem__", "__contains__", "__iter__", "__len__", "__or__"),
        *("__rand__", "__ror__", "__rsub__", "__rxor__", "__sub__", "__xor__"),
        *("copy", "difference", "intersection", "isdisjoint", "issubset", "issuperset"),
        *("symmetric_difference", "union"),
    },
}

# Where a container may lie in an attribute: what is stored around it, and the way to it.
Wrap = Callable[[Any], Any]
DEPTHS: dict[str, tuple[Wrap, Wrap]] = {
    "the attribute": (lambda value: value, lambda box: box),
    "in a list": (lambda value: [0, value], lambda box: box[1]),
    "in a list, from its end": (lambda value: [0, value], lambda box: box[-1]),
    "in a dict": (lambda value: {"x": 0, "k": value}, lambda box: box["k"]),
    "in a tuple": (lambda value: (value, 0), lambda box: box[0]),
    "in a tuple in a list": (lambda value: [(0, value)], lambda box: box[0][1]),
    "far inside": (
        lambda value: {"a": [{"b": ({"c": [[value]]},)}]},
        lambda box: box["a"][0]["b"][0]["c"][0][0],
    ),
    "by a walk": (
        lambda value: {"a": [[1], value]},
        lambda box: next(reversed(next(iter(box.values())))),
    ),
}

METHODS = [(base, name) for base, calls in CALLS.items() for name in calls if name != "__init__"]


def plain(value: Any) -> Any:
    """The same in plain types."""
    match value:
        case list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case set():
            return set(value)
        case tuple():
            return tuple(plain(item) for item in value)
    return value


@pytest.mark.parametrize("base", PROXIES)
def test_no_method_is_forgotten(base: type) -> None:
    """Whatever a plain type can do is known to change nothing, or is overridden and tried here."""
    methods = set(dir(base)) - set(dir(object)) | {"__init__"}
    assert methods == READERS[base] | CALLS[base].keys()
    inherited = {
        name for name in CALLS[base] if getattr(PROXIES[base], name) is getattr(base, name)
    }
    assert not inherited


@pytest.mark.parametrize(("base", "name"), METHODS)
def test_a_mutator_writes_through_at_every_depth(
    mem: ConversationMemory, other: ConversationMemory, base: type, name: str
) -> None:
    """It returns what the plain type returns, and everybody sees what the plain type would hold."""
    for depth, (wrap, way) in DEPTHS.items():
        for number, call in enumerate(CALLS[base][name]):
            mem.box = wrap(START[base])
            model = plain(wrap(START[base]))
            held = mem.box
            expected = plain(call(way(model)))
            assert same(plain(call(way(held))), expected), (depth, number)
            if (base, name) == (set, "pop"):
                model = plain(held)  # which one it takes is the server's choice
                assert len(way(model)) == 2
            assert same(plain(held), model), (depth, number)
            assert same(plain(mem.box), model), (depth, number)
            assert same(plain(other.box), model), (depth, number)


@pytest.mark.parametrize(("base", "name"), METHODS)
def test_one_call_is_one_round_trip(
    proxy: FaultProxy, conversation_id: str, base: type, name: str
) -> None:
    """Whatever the call and however deep: one request, and so one change that all see at once."""
    with ConversationMemory(conversation_id, proxy.url) as memory:
        for wrap, way in DEPTHS.values():
            for call in CALLS[base][name]:
                memory.box = wrap(START[base])
                held = way(memory.box)
                call(held)  # the first time a script is sent in full
                memory.box = wrap(START[base])
                held = way(memory.box)
                sent = proxy.requests
                call(held)
                assert proxy.requests - sent <= 1


@pytest.mark.parametrize("base", PROXIES)
def test_nobody_makes_or_refills_a_proxy_by_hand(mem: ConversationMemory, base: type) -> None:
    """A proxy is read from a memory: calling its class, or `__init__` again, changes nothing."""
    mem.box = START[base]
    with pytest.raises(TypeError, match="read from a memory"):
        PROXIES[base]([])
    with pytest.raises(TypeError, match="read from a memory"):
        mem.box.__init__([])
    assert mem.box == START[base]
    with pytest.raises(TypeError, match="read from a memory"):
        SyncedDict.fromkeys("ab")


@pytest.mark.parametrize("base", PROXIES)
def test_a_proxy_is_a_real_one(mem: ConversationMemory, base: type) -> None:
    """It is an instance of the plain type, equal to it on either side."""
    mem.box = START[base]
    proxy = mem.box
    assert type(proxy) is PROXIES[base]
    assert issubclass(type(proxy), base)
    assert proxy == START[base]
    assert START[base] == proxy
    assert len(proxy) == len(START[base])
    assert bool(proxy)
