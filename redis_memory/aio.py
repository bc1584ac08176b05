"""AsyncMemory and AsyncConversationMemory: attributes that live in Redis, awaited.

The same behaviour as the blocking face. `memory.x` is a handle: `await memory.x` reads,
`await memory.x.set(value)` assigns, `await memory.messages.append(m)` changes. The functions have
the names of their blocking twins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Any, ClassVar, NoReturn, Self, TypeVar
from uuid import UUID

from redis_memory.async_blocks import AsyncTogether
from redis_memory.async_core import AsyncCore
from redis_memory.async_leases import AsyncClaim, claimed, locked
from redis_memory.async_watching import AsyncWatch, wait_until
from redis_memory.attention import Wanted
from redis_memory.core import flows, rekeying
from redis_memory.core.conflicts import EXISTS, Conflict
from redis_memory.core.keys import normal_id
from redis_memory.core.state import State
from redis_memory.errors import AccessDeniedError, OfflineError
from redis_memory.face import CORE, Face, missing, no_memory
from redis_memory.handles import AsyncHandle
from redis_memory.retrying import retry_on_conflict
from redis_memory.settings import Settings
from redis_memory.standing import Status, standing
from redis_memory.typed.declarations import Extra, Schema, declare
from redis_memory.typed.handling import AsyncTypedCore, AsyncUpgradingCore

__all__ = [
    "AsyncClaim",
    "AsyncConversationMemory",
    "AsyncHandle",
    "AsyncMemory",
    "batch",
    "claim",
    "clear",
    "close",
    "compare_and_set",
    "conflicts",
    "expire",
    "flush",
    "increment",
    "lock",
    "push",
    "retry_on_conflict",
    "rotate_keys",
    "setdefault",
    "snapshot",
    "status",
    "transaction",
    "wait_for",
    "watch",
    "window",
]

Number = int | float
M = TypeVar("M", bound="AsyncMemory")


def core_of(memory: AsyncMemory) -> AsyncCore:
    """What stands behind a memory, for the functions that take one.

    Raises:
        TypeError: It is no memory, or a blocking one.
    """
    try:
        core: AsyncCore = memory.__dict__[CORE]
    except (AttributeError, KeyError):
        raise no_memory(memory) from None
    if not core.is_awaited:
        raise TypeError("this is a blocking memory: call the function of redis_memory instead")
    return core


class AsyncMemory(Face):
    """As `Memory`, awaited: `memory.x` is an `AsyncHandle`.

    Plain assignment and deletion cannot be awaited and raise TypeError. The connections belong to
    the event loop that runs at the first call. Close a memory, best by `async with`, before its
    loop ends.

    Args, errors and cost: as for `Memory`; `client` is a `redis.asyncio` client.
    """

    _redis_memory_schema: ClassVar[Schema | None] = None

    def __init_subclass__(cls, *, extra: Extra | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        declare(cls, extra)

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        client: Any = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self._open(None, url, prefix, client, settings, options)

    def _connect(self, state: State, settings: Settings, client: Any) -> AsyncCore:
        schema = self._redis_memory_schema
        if schema is None:
            return AsyncCore(state, settings, client)
        kind = AsyncTypedCore if schema.hook is None else AsyncUpgradingCore
        return kind(schema, state, settings, client)

    def _standing(self) -> tuple[str, str]:
        driver = core_of(self).driver
        is_online = driver.is_online
        return driver.address.label, standing(is_online=is_online, is_closed=driver.is_closed)

    def __getattr__(self, name: str) -> AsyncHandle:
        if name.startswith("_"):  # or copy and pickle recurse before __init__ has run
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return AsyncHandle(core_of(self), self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or hasattr(type(self), name):
            object.__setattr__(self, name, value)  # which refuses a property such as the id
            return
        raise TypeError(f"write `await memory.{name}.set(value)`")

    def __delattr__(self, name: str) -> None:
        if name.startswith("_") or hasattr(type(self), name):
            object.__delattr__(self, name)
            return
        raise TypeError(f"write `await memory.{name}.delete()`")

    def __getitem__(self, name: str) -> AsyncHandle:
        return AsyncHandle(core_of(self), self, name, is_item=True)

    def __setitem__(self, name: str, value: Any) -> NoReturn:
        raise TypeError(f"write `await memory[{name!r}].set(value)`")

    def __delitem__(self, name: str) -> NoReturn:
        raise TypeError(f"write `await memory[{name!r}].delete()`")

    def __contains__(self, name: object) -> NoReturn:
        raise TypeError(f"write `await memory[{name!r}].exists()`")

    def __iter__(self) -> NoReturn:
        raise TypeError("write `async for name in memory`")

    def __aiter__(self) -> AsyncIterator[str]:
        return self._names()

    async def _names(self) -> AsyncIterator[str]:
        core = core_of(self)
        for name in await core.run(core.naming()):
            yield name

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await close(self)


class AsyncConversationMemory(AsyncMemory):
    """As `ConversationMemory`, awaited."""

    def __init__(
        self,
        conversation_id: str | UUID,
        url: str | None = None,
        *,
        prefix: str | None = None,
        client: Any = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self._open(normal_id(conversation_id), url, prefix, client, settings, options)

    @property
    def conversation_id(self) -> str:
        """The id, as text."""
        return str(core_of(self).state.conversation_id)


async def snapshot(memory: AsyncMemory) -> dict[str, Any]:
    """As the blocking `snapshot`."""
    core = core_of(memory)
    return await core.run(core.collecting())


async def push(memory: AsyncMemory, name: str, *values: Any) -> int | None:
    """As the blocking `push`."""
    core = core_of(memory)
    return await core.run(core.pushing(name, values))


async def window(
    memory: AsyncMemory, name: str, start: int | None = None, stop: int | None = None
) -> list[Any]:
    """As the blocking `window`."""
    core = core_of(memory)
    values = await core.run(core.windowing(name, start, stop))
    if values is None:
        raise missing(core, name, memory)
    return values


async def increment(memory: AsyncMemory, name: str, by: Number = 1) -> Number | None:
    """As the blocking `increment`."""
    core = core_of(memory)
    return await core.run(core.incrementing(name, by))


async def setdefault(memory: AsyncMemory, name: str, value: Any) -> Any:
    """As the blocking `setdefault`."""
    core = core_of(memory)
    return await core.run(core.defaulting(name, value))


def batch(memory: M) -> AbstractAsyncContextManager[M]:
    """As the blocking `batch`; tasks that are started inside belong to it, no others do."""
    return AsyncTogether(memory, core_of(memory), is_strict=False)


def transaction(memory: M) -> AbstractAsyncContextManager[M]:
    """As the blocking `transaction`; tasks that are started inside belong to it, no others do."""
    return AsyncTogether(memory, core_of(memory), is_strict=True)


async def compare_and_set(memory: AsyncMemory, name: str, expected: Any, new: Any) -> bool:
    """As the blocking `compare_and_set`."""
    core = core_of(memory)
    return await core.run(core.comparing(name, expected, new))


async def clear(memory: AsyncMemory) -> None:
    """As the blocking `clear`."""
    core = core_of(memory)
    await core.run(core.clearing())


async def expire(memory: AsyncMemory, ttl_s: float | None) -> None:
    """As the blocking `expire`."""
    core = core_of(memory)
    await core.run(flows.expire(core.state, ttl_s))


async def rotate_keys(memory: AsyncMemory, *, seal_plain: bool = False) -> bool:
    """As the blocking `rotate_keys`."""
    core = core_of(memory)
    return await core.run(rekeying.rotate(core.state, seal_plain=seal_plain))


async def status(memory: AsyncMemory) -> Status:
    """As the blocking `status`."""
    core = core_of(memory)
    link = core.driver.attach()
    round_trip_s = reason = None
    try:
        before = perf_counter()
        await core.run(flows.ping())
        round_trip_s = perf_counter() - before
    except (OfflineError, AccessDeniedError) as error:
        reason = str(error)
    return Status.of(core, link, round_trip_s, reason)


async def flush(memory: AsyncMemory, timeout_s: float) -> int:
    """As the blocking `flush`."""
    return await core_of(memory).driver.flush(timeout_s)


def watch(memory: AsyncMemory, *names: str, timeout_s: float | None = None) -> AsyncWatch:
    """As the blocking twin, to be iterated with `async for`.

    It has certainly begun when `async with watch(...) as changes` is entered, or when the first
    change is awaited.
    """
    return AsyncWatch(core_of(memory), names, timeout_s)


async def wait_for(
    memory: AsyncMemory,
    name: str | Sequence[str],
    expected: Any = EXISTS,
    *,
    timeout_s: float | None = None,
) -> Any:
    """As the blocking `wait_for`."""
    core = core_of(memory)
    return await wait_until(core, Wanted(core, name, expected), timeout_s)


def lock(
    memory: AsyncMemory, name: str = "lock", ttl_s: float = 30, wait_s: float | None = None
) -> AbstractAsyncContextManager[int]:
    """As the blocking twin, for `async with`."""
    return locked(core_of(memory), name, ttl_s, wait_s)


async def claim(memory: AsyncMemory, name: str, owner: str, *, ttl_s: float) -> AsyncClaim | None:
    """As the blocking `claim`."""
    return await claimed(core_of(memory), name, owner, ttl_s)


async def conflicts(memory: AsyncMemory) -> list[Conflict]:
    """As the blocking `conflicts`."""
    return list(core_of(memory).state.conflicts.kept)


async def close(memory: AsyncMemory) -> None:
    """As the blocking `close`; its connections are closed in the loop that runs now."""
    await core_of(memory).close()
