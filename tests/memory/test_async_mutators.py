"""Every mutator can be awaited, and does what that of the plain type does."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    AsyncHandle,
    ConversationMemory,
    StaleProxyError,
    SyncedDict,
    SyncedList,
    SyncedSet,
)
from tests.faults import FaultProxy, Request
from tests.servers import Server
from tests.strategies import same

# mutators

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]

READERS: dict[type, set[str]] = {
    list: {"copy", "count", "index"},
    dict: {"copy", "fromkeys", "get", "items", "keys", "values"},
    set: {
        *("copy", "difference", "intersection", "symmetric_difference", "union"),
        *("isdisjoint", "issubset", "issuperset"),
    },
}
CALLS: dict[type, dict[str, list[Call]]] = {
    list: {
        "append": [([1], (2,), {})],
        "extend": [([1], ([2, 3],), {}), ([1], ("ab",), {}), ([1], (5,), {})],
        "insert": [([1, 2], (1, 9), {}), ([1, 2], (-9, 9), {})],
        "pop": [([1, 2, 3], (), {}), ([1, 2, 3], (0,), {}), ([1, 2, 3], (-2,), {}), ([], (), {})],
        "remove": [([1, 2, 1], (1,), {}), ([1], (9,), {})],
        "sort": [([3, 1, 2], (), {}), (["b", "A", "c"], (), {"key": str.lower, "reverse": True})],
        "reverse": [([1, 2, 3], (), {})],
        "clear": [([1, 2], (), {})],
    },
    dict: {
        "pop": [({"a": 1}, ("a",), {}), ({"a": 1}, ("z", None), {}), ({"a": 1}, ("z",), {})],
        "popitem": [({"a": 1, "b": 2}, (), {}), ({}, (), {})],
        "setdefault": [({"a": 1}, ("a", 9), {}), ({"a": 1}, ("z",), {}), ({}, ("z", [1]), {})],
        "update": [({"a": 1}, ({"a": 2, "b": 3},), {"c": 4}), ({}, ([("a", 1)],), {})],
        "clear": [({"a": 1}, (), {})],
    },
    set: {
        "add": [({1}, (2,), {}), ({1}, ([],), {})],
        "discard": [({1, 2}, (2,), {}), ({1}, (9,), {})],
        "remove": [({1, 2}, (2,), {}), ({1}, (9,), {})],
        "pop": [({1}, (), {}), (set(), (), {})],
        "update": [({1}, ({2}, [3]), {})],
        "difference_update": [({1, 2, 3}, ({2}, [3]), {})],
        "intersection_update": [({1, 2, 3}, ({2, 3}, [3]), {})],
        "symmetric_difference_update": [({1, 2}, ({2, 3},), {})],
        "clear": [({1, 2}, (), {})],
    },
}
MUTATIONS = [
    pytest.param(method, calls, id=f"{base.__name__}.{method}")
    for base, methods in CALLS.items()
    for method, calls in methods.items()
]
OPERATORS: dict[type, set[str]] = {
    list: {"__setitem__", "__delitem__", "__iadd__", "__imul__"},
    dict: {"__setitem__", "__delitem__", "__ior__"},
    set: {"__ior__", "__iand__", "__isub__", "__ixor__"},
}


@pytest.mark.parametrize("base", CALLS)
def test_every_mutator_is_reachable_from_a_handle(base: type) -> None:
    """Each public method of the plain type is a reader, or can be awaited, and is tested here."""
    methods = {name for name in dir(base) if name[0] != "_"}
    assert methods == READERS[base] | CALLS[base].keys()
    for name in CALLS[base]:
        assert inspect.iscoroutinefunction(getattr(AsyncHandle, name)), name


@pytest.mark.parametrize(("method", "calls"), MUTATIONS)
async def test_a_mutator_does_what_the_plain_type_does(
    async_mem: AsyncConversationMemory,
    async_other: AsyncConversationMemory,
    method: str,
    calls: list[Call],
) -> None:
    """Of a whole attribute and of a place inside: same result or error, same state for others."""
    for value, arguments, options in calls:
        plain = copy.deepcopy(value)
        expected = await outcome(plain, method, arguments, options)
        await async_mem.box.set(value)
        await async_mem.outer.set({"in": [value]})
        for handle in (async_mem.box, async_mem.outer["in"][0]):
            result = await outcome(handle, method, arguments, options)
            assert result == expected
            assert isinstance(result, type(expected))
        assert await async_other.box == plain
        assert await async_other.outer == {"in": [plain]}


async def outcome(
    target: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """What a call returns, awaited if need be, or the type of what it raises."""
    try:
        result = getattr(target, method)(*arguments, **options)
        return await result if inspect.isawaitable(result) else result
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize(("value", "method"), [({}, "append"), ([], "add"), (5, "append")])
async def test_a_mutator_that_the_value_does_not_have_is_an_attribute_error(
    async_mem: AsyncConversationMemory, value: object, method: str
) -> None:
    """As if it had been called on the value itself; nothing is changed."""
    await async_mem.box.set(value)
    with pytest.raises(AttributeError, match=f"'{method}'"):
        await getattr(async_mem.box, method)(1)
    with pytest.raises(AttributeError, match="'missing'"):
        await getattr(async_mem.missing, method)(1)
    assert await async_mem.box == value


async def test_a_change_is_atomic_for_all_readers(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Other tasks see all of an `extend` or none of it."""
    await async_mem.box.set([])
    handle = async_other.box

    async def look() -> None:
        while len(seen := await handle) < 500:
            assert len(seen) % 50 == 0

    looking = asyncio.create_task(look())
    for _ in range(10):
        await async_mem.box.extend(range(50))
    await looking


# values


@pytest.mark.parametrize(
    ("value", "kind"),
    [([1, {"a": [2]}], SyncedList), ({"a": {"b": 1}}, SyncedDict), ({1, (2, 3)}, SyncedSet)],
)
async def test_what_is_read_is_a_real_container(
    async_mem: AsyncConversationMemory, value: Any, kind: type
) -> None:
    """Code that wants a list, dict or set takes it as it is; a copy of it is a plain one."""
    await async_mem.box.set(value)
    box = await async_mem.box
    assert type(box) is kind
    assert isinstance(box, type(value))
    assert box == value
    assert same(copy.deepcopy(box), value)
    assert same(pickle.loads(pickle.dumps(box)), value)
    if not isinstance(value, set):
        assert json.dumps(box) == json.dumps(value)


@pytest.mark.parametrize("base", CALLS)
async def test_what_is_read_refuses_to_be_changed_without_await(
    async_mem: AsyncConversationMemory, base: type
) -> None:
    """A mutator of a value, at any depth, raises TypeError that says what to write."""
    calls = [(name, *call) for name, calls in CALLS[base].items() for call in calls[:1]]
    for method, value, arguments, options in calls:
        await async_mem.box.set([value])
        outer = await async_mem.box
        for box in (outer[0], (await async_mem.box)[0]):
            with pytest.raises(TypeError, match=r"write `await memory\.messages\.append"):
                getattr(box, method)(*arguments, **options)
            assert box == value
        assert await async_mem.box == [value]


@pytest.mark.parametrize("base", OPERATORS)
async def test_what_is_read_refuses_operators_that_change_it(
    async_mem: AsyncConversationMemory, base: type
) -> None:
    """`box[0] = x`, `del box[0]` and `box += y` are mutators too."""
    values: dict[type, Any] = {list: [1, 2], dict: {0: 1}, set: {1, 2}}
    value = values[base]
    await async_mem.box.set(value)
    for name in OPERATORS[base]:
        box = await async_mem.box
        argument = {"__setitem__": (0, 9), "__delitem__": (0,), "__imul__": (2,)}
        with pytest.raises(TypeError, match="await"):
            getattr(box, name)(*argument.get(name, (base(),)))
        assert box == await async_mem.box == value


async def test_a_value_stays_what_it_was_when_it_was_read(
    async_mem: AsyncConversationMemory,
) -> None:
    """What others do afterwards shows when the attribute is awaited again."""
    await async_mem.messages.set(["a"])
    before = await async_mem.messages
    await async_mem.messages.append("b")
    assert before == ["a"]
    assert await async_mem.messages == ["a", "b"]


# places that are gone


@pytest.fixture
async def between(
    proxy: FaultProxy, server: Server, conversation_id: str
) -> AsyncIterator[Callable[[Callable[[ConversationMemory], object]], AsyncConversationMemory]]:
    """Give a memory between whose next read and change somebody else makes a change."""
    memory = AsyncConversationMemory(conversation_id, proxy.url, timeout_s=5)
    intruder = ConversationMemory(conversation_id, server.url)

    def intrude(change: Callable[[ConversationMemory], object]) -> AsyncConversationMemory:
        is_done = False

        def strike(request: Request) -> bool:
            nonlocal is_done
            if not is_done and any(each.startswith(b"_w") for each in request.arguments):
                is_done = True
                change(intruder)
            return False

        proxy.reset_before(when=strike)
        return memory

    with intruder:
        async with memory:
            yield intrude


async def test_an_index_that_has_moved_is_stale(
    between: Callable[..., AsyncConversationMemory], server: Server
) -> None:
    """A change by index never lands on another element than the one that was seen."""
    memory = between(lambda _: None)
    await memory.box.set([{"id": 1}, {"id": 2}])
    between(lambda intruder: intruder.box.insert(0, {"id": 0}))
    with pytest.raises(StaleProxyError):
        await memory.box[0]["seen"].set(True)
    between(lambda intruder: intruder.box.pop(0))
    with pytest.raises(StaleProxyError):
        await memory.box[1].set("changed")
    assert await memory.box == [{"id": 1}, {"id": 2}]


async def test_a_place_that_is_gone_is_stale(
    between: Callable[..., AsyncConversationMemory],
) -> None:
    """When somebody deletes or replaces what a change meant, it says so and changes nothing."""
    memory = between(lambda _: None)
    await memory.box.set([1])
    between(lambda intruder: delattr(intruder, "box"))
    with pytest.raises(StaleProxyError):
        await memory.box.append(2)
    assert not await memory.box.exists()
    await memory.box.set({"a": {"b": 1}})
    between(lambda intruder: setattr(intruder, "box", {"a": 5}))
    with pytest.raises(StaleProxyError):
        await memory.box["a"]["b"].set(2)
    assert await memory.box == {"a": 5}


async def test_changes_of_others_meanwhile_are_kept(
    between: Callable[..., AsyncConversationMemory],
) -> None:
    """A change whose place is still there is made on the newer state."""
    memory = between(lambda _: None)
    await memory.box.set({"a": {"b": 1}})
    between(lambda intruder: intruder.box["a"].update(c=2))
    await memory.box["a"]["b"].set(3)
    assert await memory.box == {"a": {"b": 3, "c": 2}}
