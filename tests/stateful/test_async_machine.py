"""A stored list or dict, changed through awaited handles, does what a plain one does."""

from __future__ import annotations

import asyncio
import operator
import uuid
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from redis_memory import AsyncMemory, aio, close
from tests.stateful.machines import (
    ERRORS,
    FAMILIAR,
    ServerMachine,
    check,
    plain,
    watcher,
    ways_inside,
)
from tests.strategies import same

# a mutator, and its arguments
Call = tuple[str, tuple[Any, ...]]

BOUNDS = st.none() | st.integers(-4, 4)
INDEXES = st.integers(-4, 4) | st.builds(slice, BOUNDS, BOUNDS)
KEYS = st.sampled_from("abc")
# no two of them equal: which of 1 and 1.0 stays in a set is not what this is about
MEMBER = st.sampled_from([0, 2, 2.5, 2**70, None, "", "a", "b", b"a", (1, "a")])
MEMBERS = st.sets(MEMBER, max_size=3)
NESTED = st.recursive(
    FAMILIAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        st.tuples(inner, st.lists(inner, max_size=2)),
        MEMBERS,
    ),
    max_leaves=5,
)
SEVERAL = st.lists(NESTED, max_size=3)
ITEMS = st.dictionaries(KEYS, NESTED, max_size=3)


def calls(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """Calls of one method."""
    return st.tuples(st.just(method), st.tuples(*arguments))


CALLS: dict[type, st.SearchStrategy[Call]] = {
    list: st.one_of(
        calls("append", NESTED),
        calls("extend", SEVERAL),
        calls("insert", st.integers(-4, 4), NESTED),
        calls("pop"),
        calls("pop", st.integers(-4, 4)),
        calls("remove", FAMILIAR),
        calls("reverse"),
        calls("sort"),
        calls("clear"),
        calls("__setitem__", INDEXES, NESTED),
        calls("__delitem__", INDEXES),
    ),
    dict: st.one_of(
        calls("__setitem__", KEYS, NESTED),
        calls("__delitem__", KEYS),
        calls("pop", KEYS),
        calls("pop", KEYS, FAMILIAR),
        calls("popitem"),
        calls("setdefault", KEYS, NESTED),
        calls("update", ITEMS),
        calls("update", FAMILIAR),
        calls("clear"),
    ),
    set: st.one_of(
        calls("add", MEMBER),
        calls("discard", MEMBER),
        calls("remove", MEMBER),
        calls("update", MEMBERS, st.lists(MEMBER | st.just([]), max_size=3)),
        calls("difference_update", MEMBERS),
        calls("intersection_update", MEMBERS),
        calls("symmetric_difference_update", MEMBERS),
        calls("clear"),
    ),
}


class AsyncMachine(ServerMachine):
    """Makes each call on a plain container, and awaits it on a stored one."""

    def __init__(self) -> None:
        super().__init__()
        prefix = f"{uuid.uuid4()}:"
        self.runner = asyncio.Runner()
        self.memory = AsyncMemory(self.url, prefix=prefix)
        self.reader = watcher(self.url, prefix)
        self.model: Any = None
        self.begin([])

    def teardown(self) -> None:
        """Close both memories, and the loop."""
        self.run(aio.close(self.memory))
        self.runner.close()
        close(self.reader)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the machine's loop."""
        return self.runner.run(work)

    @rule(value=st.one_of(SEVERAL, ITEMS, MEMBERS))
    def begin(self, value: Any) -> None:
        """Another container in the attribute's place."""
        self.model = plain(value)
        self.run(self.memory.box.set(value))

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """The same result, or the same type of error, of the whole and of any place inside."""
        way = data.draw(st.sampled_from([(), *ways_inside(self.model)]), label="way")
        found, handle = self.model, self.memory.box
        for step in way:
            found, handle = found[step], handle[step]
        method, arguments = data.draw(CALLS[type(found)], label="call")
        before = plain(self.model)
        try:
            expected = plain(getattr(found, method)(*plain(arguments)))
        except ERRORS as error:
            self.model = before  # list.sort and set.update leave a part of their work behind
            with pytest.raises(type(error)):
                self.run(awaited(handle, method, arguments))
        else:
            assert same(plain(self.run(awaited(handle, method, arguments))), expected)
            self.model = plain(self.model)

    @rule(several=SEVERAL)
    def append_together(self, several: list[Any]) -> None:
        """Tasks that start one after another are served in that order."""
        if isinstance(self.model, list):
            self.model.extend(plain(several))
            self.run(together(*(self.memory.box.append(value) for value in several)))

    @rule(value=NESTED)
    def others_change_it(self, value: Any) -> None:
        """What a blocking worker does in between is seen."""
        if isinstance(self.model, list):
            self.model.insert(0, plain(value))
            self.reader.box.insert(0, value)
        elif isinstance(self.model, dict):
            self.model["a"] = plain(value)
            self.reader.box["a"] = value

    @invariant()
    def everybody_sees_it(self) -> None:
        """This memory, by handle and by snapshot, and a blocking one."""
        assert same(plain(self.run(read(self.memory))), self.model)
        assert same(self.run(aio.snapshot(self.memory)), {"box": self.model})
        assert same(plain(self.reader.box), self.model)


async def awaited(handle: Any, method: str, arguments: tuple[Any, ...]) -> Any:
    """Make a call on a handle, in the form that it has there."""
    match method:
        case "__setitem__":
            return await handle[arguments[0]].set(arguments[1])
        case "__delitem__":
            return await handle[arguments[0]].delete()
    return await operator.methodcaller(method, *arguments)(handle)


async def read(memory: AsyncMemory) -> Any:
    """Read the box."""
    return await memory.box


async def together(*work: Coroutine[Any, Any, Any]) -> None:
    """Run coroutines as tasks."""
    await asyncio.gather(*work)


def test_handles_do_what_plain_containers_do(each_url: str) -> None:
    """Same results, same types of errors, same contents for whoever reads."""
    check(AsyncMachine, each_url, examples=40, steps=25)
