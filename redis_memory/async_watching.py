"""Waiting for what other processes do: as `watching`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from redis_memory.async_core import AsyncCore
from redis_memory.attention import Attention, Signal, Wanted, check_timeout
from redis_memory.core.calls import Flow
from redis_memory.core.watching import Change, Watcher
from redis_memory.errors import ClosedError, OfflineError
from redis_memory.link.steps import async_driven

T = TypeVar("T")


class TaskBell:
    """Wakes a task; rung by the thread that listens."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ring(self) -> None:
        """Wake whoever waits, now or the next time."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, timeout_s: float) -> bool:
        """Sleep until it rings, at most so long; whether it rang."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        finally:
            self._event.clear()
        return True

    def attach(self) -> None:
        """From now on it rings in the loop that runs."""
        self._loop = asyncio.get_running_loop()


async def run(core: AsyncCore, bell: TaskBell, steps: Generator[Flow[Any] | float, Any, T]) -> T:
    """Run what yields flows, and seconds to wait for the bell."""
    bell.attach()

    async def do(step: Flow[Any] | float) -> Any:
        return await (bell.wait(step) if isinstance(step, (int, float)) else core.run(step))

    return await async_driven(steps, do)


class AsyncWatch(AsyncIterator[Change]):
    """The changes of a memory; what the async `watch` gives.

    Used by one task. It has begun when the `async with` block is entered, or the first change is
    awaited. Closed by `aclose`, by the end of the block, and when nobody holds it.
    """

    def __init__(self, core: AsyncCore, names: tuple[str, ...], timeout_s: float | None) -> None:
        check_timeout(timeout_s)
        self._core = core
        self._bell = TaskBell()
        self._watcher = Watcher(names, self._bell.ring)
        self._attention = Attention(core, self._watcher)
        self._timeout_s = timeout_s
        self._has_begun = False

    async def __anext__(self) -> Change:
        if not self._attention.leave.alive:
            raise StopAsyncIteration
        try:
            await self._begin()
            steps = self._attention.awaiting(self._look, self._timeout_s)
            change = await run(self._core, self._bell, steps)
        except ClosedError:
            await self.aclose()
            raise
        if change is None:
            raise StopAsyncIteration
        return change

    def _look(self) -> Flow[tuple[Change | None, float]]:
        return self._attention.told(self._watcher)

    async def _begin(self) -> None:
        if self._has_begun:
            return
        steps = self._attention.beginning(self._watcher)
        if not await run(self._core, self._bell, steps):
            raise OfflineError("the server tells of no changes now: its feed cannot be reached")
        self._has_begun = True

    async def aclose(self) -> None:
        """Listen no more; the iteration ends."""
        self._attention.leave()
        self._bell.ring()

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:  # also a cancellation: the block is not entered, so never left
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


async def wait_until(core: AsyncCore, wanted: Wanted, timeout_s: float | None) -> Any:
    """Wait until what is wanted is so, and return it."""
    check_timeout(timeout_s)
    found, _ = await core.run(wanted.look())
    if found is None:
        bell = TaskBell()
        attention = Attention(core, Signal(wanted.names, bell))
        try:
            found = await run(core, bell, attention.awaiting(wanted.look, timeout_s))
        finally:
            attention.leave()
        if found is None:
            raise wanted.timed_out(timeout_s)
    return found[0]
