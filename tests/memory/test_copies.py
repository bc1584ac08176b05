"""What is copied out of a memory is plain and detached; what is put in is copied."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_memory import ConversationMemory, snapshot

NESTED: dict[str, Any] = {
    "list": [{"a": [1]}, (1, {"b": {2}}), {3}],
    "dict": {"a": {"b": [1]}, "c": ({4: []},)},
    "set": {1, (2, 3), frozenset({4})},
}


def parts(value: Any) -> Iterator[Any]:
    """The value and everything in it."""
    yield value
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, (list, set, frozenset, tuple)) or type(value).__name__ == "dict_values":
        for item in value:
            yield from parts(item)


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize(
    "how",
    [
        copy.copy,
        copy.deepcopy,
        lambda proxy: proxy.copy(),
        lambda proxy: pickle.loads(pickle.dumps(proxy)),
        lambda proxy: pickle.loads(pickle.dumps(proxy, protocol=0)),
        lambda proxy: getattr(proxy, f"as{type(proxy).__name__[6:].lower()}")(),
    ],
    ids=["copy", "deepcopy", "method", "pickle", "old pickle", "as"],
)
def test_a_copy_is_plain_and_detached(
    mem: ConversationMemory, name: str, how: Callable[[Any], Any]
) -> None:
    """Built-in types at every depth, and nothing done to it reaches the memory."""
    mem.x = NESTED[name]
    held = mem.x
    copied = how(held)
    assert copied == NESTED[name]
    assert not [part for part in parts(copied) if type(part).__module__ != "builtins"]
    for part in list(parts(copied)):
        if isinstance(part, (list, dict, set)):
            part.clear()
    assert held == mem.x == NESTED[name]


def test_a_copy_of_what_lies_inside_is_detached_too(mem: ConversationMemory) -> None:
    """Also where only a part was copied."""
    mem.x = {"a": [[1], {2: 3}]}
    inner = mem.x["a"]
    for copied in (inner.aslist(), copy.copy(inner), inner[:], operator.add(inner, [0]), inner * 1):
        assert type(copied) is list
        copied.append(1)
    assert mem.x == {"a": [[1], {2: 3}]}
    assert type(inner[1].asdict()) is dict


def test_operators_that_make_a_new_container_give_a_plain_one(mem: ConversationMemory) -> None:
    """The new list, dict or set lies nowhere in Redis."""
    mem.x, mem.d, mem.s = [1], {"a": 1}, {1}
    made = [
        *(operator.add(mem.x, [2]), operator.add([2], mem.x), mem.x + mem.x, mem.x[:]),
        *(mem.x * 2, 2 * mem.x),
        *(mem.d | {"b": 2}, {"b": 2} | mem.d, mem.s | {2}, {2} | mem.s, mem.s & {1}, mem.s - {1}),
        *(mem.s ^ {2}, {2} - mem.s, mem.s.union([2]), mem.s.difference([1]), mem.s.copy()),
    ]
    assert {type(one) for one in made} == {list, dict, set}
    for one in made:
        one.clear()
    assert snapshot(mem) == {"x": [1], "d": {"a": 1}, "s": {1}}


def test_what_is_put_in_is_copied(mem: ConversationMemory) -> None:
    """The caller's own value never becomes live, nor does it follow the memory."""
    mine: dict[str, Any] = {"tags": ["a"]}
    mem.x = []
    held = mem.x
    held.append(mine)
    mine["tags"].append("b")
    held[0]["tags"].append("c")
    assert mine == {"tags": ["a", "b"]}
    assert held == mem.x == [{"tags": ["a", "c"]}]


def test_proxies_are_values_too(mem: ConversationMemory) -> None:
    """What was read can be put in elsewhere, and is copied like any other value."""
    mem.x, mem.y = [[1], {"k": {2}}], {}
    mem.y["all"] = mem.x
    mem.y.update(part=mem.x[1], **mem.x[1])
    mem.x.extend(mem.x)
    mem.x[0].append(9)
    assert mem.x == [[1, 9], {"k": {2}}, [1], {"k": {2}}]
    assert mem.y == {"all": [[1], {"k": {2}}], "part": {"k": {2}}, "k": {2}}
    assert json.loads(json.dumps(mem.x[0])) == [1, 9]
