"""AsyncHandle: one attribute of an async memory, or a place inside it, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from redis_memory.async_core import AsyncCore, current_task
from redis_memory.async_watching import AsyncWatch, wait_until
from redis_memory.attention import Wanted
from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import EXISTS, MISSING
from redis_memory.core.places import Path
from redis_memory.errors import InvalidNameError
from redis_memory.face import missing

T = TypeVar("T")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    # what the attribute is declared to hold; of most nothing is known
    V = TypeVarWithDefault("V", default=Any)
else:
    V = TypeVar("V")
Number = int | float


class AsyncHandle(Generic[V]):
    """One attribute of an async memory, or a place inside it: `memory.profile["prefs"]`.

    Making one touches no network. What `await` gives is a real list, dict or set, or a plain value;
    to change a container, await the mutator on the handle. All mutators of list, dict and set are
    here; one that the value does not have raises AttributeError.

    Cost: `await handle` one round trip; a mutator two, the first of which is O(1) when nothing has
    changed. `set`, `delete` and `exists` of an attribute take one.
    """

    __slots__ = ("_core", "_is_item", "_memory", "_name", "_path", "_task")
    # `x: AsyncHandle[int]` declares an attribute that holds an int
    _declares = True

    def __init__(
        self, core: AsyncCore, memory: object, name: str, path: Path = (), *, is_item: bool = False
    ) -> None:
        self._core = core
        self._memory = memory  # what an AttributeError names as its object
        self._name = name
        self._path = path
        self._is_item = is_item
        self._task = current_task()

    def __repr__(self) -> str:
        return f"<AsyncHandle {self._place()} of {self._core.state.label}>"

    def __await__(self) -> Generator[Any, Any, V]:
        return self._run(self._reading()).__await__()

    def __getitem__(self, step: Any) -> AsyncHandle:
        return self._at((*self._path, step))

    def __setitem__(self, step: Any, value: Any) -> NoReturn:
        raise TypeError(f"write `await memory.{self._place(step)}.set(value)`")

    def __delitem__(self, step: Any) -> NoReturn:
        raise TypeError(f"write `await memory.{self._place(step)}.delete()`")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"write `for item in await memory.{self._place()}`")

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(f"write `{item!r} in await memory.{self._place()}`")

    def __bool__(self) -> NoReturn:
        raise TypeError(f"write `if await memory.{self._place()}`, or `.exists()`")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"write `await memory.{self._place()} == ...`")

    def __hash__(self) -> int:
        return id(self)  # `asyncio.gather` keeps what it waits for in a dict

    def _place(self, *steps: Any) -> str:
        return self._name + "".join(f"[{step!r}]" for step in (*self._path, *steps))

    async def _run(self, flow: Flow[T]) -> T:
        core = self._core
        if self._task is asyncio.current_task():
            return await core.run(flow)
        # `asyncio.gather` and, before Python 3.12, `wait_for` run this in a task of its own: what
        # it sees, the task that wrote `memory.x` sees
        with core.seen_by_task.shared(self._name, self._task):
            return await core.run(flow)

    def _missing(self) -> AttributeError | KeyError:
        if self._is_item:
            return KeyError(self._name)
        return missing(self._core, self._name, self._memory)

    def _reading(self) -> Flow[Any]:
        """What the place reads as."""
        core = self._core
        try:
            value: Any = yield from core.reading(self._name)
        except InvalidNameError:
            value = MISSING
        if value is MISSING:
            raise self._missing()
        for step in self._path:
            value = core.inside(value, step)
        return value

    def _changing(self, method: str, *arguments: Any, **options: Any) -> Flow[Any]:
        box = yield from self._reading()
        return (yield from self._core.changing(box, method, arguments, options))

    def _at(self, path: Path) -> AsyncHandle:
        return AsyncHandle(self._core, self._memory, self._name, path, is_item=self._is_item)

    def _parent(self) -> AsyncHandle:
        return self._at(self._path[:-1])

    async def set(self, value: V) -> None:
        """Assign. Errors as for the blocking `memory.x = value`."""
        if self._path:
            await self._run(self._parent()._changing("__setitem__", self._path[-1], value))
        else:
            await self._run(self._core.assigning(self._name, value))

    async def delete(self) -> None:
        """Delete; AttributeError, KeyError or IndexError when there is nothing."""
        if self._path:
            await self._run(self._parent()._changing("__delitem__", self._path[-1]))
            return
        if not await self._run(self._core.deleting(self._name)):
            raise self._missing()

    async def exists(self) -> bool:
        """Whether there is something at this place."""
        if not self._path:
            try:
                return await self._run(self._core.finding(self._name))
            except InvalidNameError:
                return False
        try:
            await self
        except (AttributeError, LookupError):
            return False
        return True

    async def get(self, default: Any = None) -> Any:
        """The value, or the default when there is none."""
        try:
            return await self
        except (AttributeError, LookupError):
            return default

    def watch(self, *, timeout_s: float | None = None) -> AsyncWatch:
        """The changes of a whole attribute as they happen: `async for change in memory.x.watch()`.

        As `redis_memory.aio.watch`.
        """
        if self._path:
            raise TypeError("only a whole attribute can be watched, not a place inside it")
        return AsyncWatch(self._core, (self._name,), timeout_s)

    async def wait_for(self, expected: Any = EXISTS, *, timeout_s: float | None = None) -> Any:
        """Wait until a whole attribute is so, and return it; as `redis_memory.aio.wait_for`."""
        if self._path:
            raise TypeError("only a whole attribute can be waited for, not a place inside it")
        return await wait_until(self._core, Wanted(self._core, self._name, expected), timeout_s)

    async def increment(self, by: Number = 1) -> Number | None:
        """Add to a number attribute, atomically; a missing one counts as 0. One round trip."""
        if self._path:
            raise TypeError("only a whole attribute can be incremented, not a place inside it")
        return await self._run(self._core.incrementing(self._name, by))

    async def append(self, value: Any, /) -> None:
        """As `list.append`."""
        await self._run(self._changing("append", value))

    async def extend(self, values: Any, /) -> None:
        """As `list.extend`."""
        await self._run(self._changing("extend", values))

    async def insert(self, index: Any, value: Any, /) -> None:
        """As `list.insert`."""
        await self._run(self._changing("insert", index, value))

    async def pop(self, *arguments: Any) -> Any:
        """As `list.pop`, `dict.pop` or `set.pop`: each value goes to exactly one taker."""
        return await self._run(self._changing("pop", *arguments))

    async def popitem(self) -> tuple[Any, Any]:
        """As `dict.popitem`."""
        item: tuple[Any, Any] = await self._run(self._changing("popitem"))
        return item

    async def remove(self, value: Any, /) -> None:
        """As `list.remove` or `set.remove`."""
        await self._run(self._changing("remove", value))

    async def sort(self, **options: Any) -> None:
        """As `list.sort`."""
        await self._run(self._changing("sort", **options))

    async def reverse(self) -> None:
        """As `list.reverse`."""
        await self._run(self._changing("reverse"))

    async def clear(self) -> None:
        """As `list.clear`, `dict.clear` or `set.clear`: the empty container stays."""
        await self._run(self._changing("clear"))

    async def update(self, *others: Any, **named: Any) -> None:
        """As `dict.update` or `set.update`."""
        await self._run(self._changing("update", *others, **named))

    async def setdefault(self, key: Any, default: Any = None, /) -> Any:
        """As `dict.setdefault`."""
        return await self._run(self._changing("setdefault", key, default))

    async def add(self, member: Any, /) -> None:
        """As `set.add`."""
        await self._run(self._changing("add", member))

    async def discard(self, member: Any, /) -> None:
        """As `set.discard`."""
        await self._run(self._changing("discard", member))

    async def difference_update(self, *others: Any) -> None:
        """As `set.difference_update`."""
        await self._run(self._changing("difference_update", *others))

    async def intersection_update(self, *others: Any) -> None:
        """As `set.intersection_update`."""
        await self._run(self._changing("intersection_update", *others))

    async def symmetric_difference_update(self, other: Any, /) -> None:
        """As `set.symmetric_difference_update`."""
        await self._run(self._changing("symmetric_difference_update", other))
