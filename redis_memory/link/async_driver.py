"""Runs the flows of one memory in an event loop: as `driver`, awaited."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

from redis_memory.core import directory
from redis_memory.core.blocks import Block
from redis_memory.core.calls import Call, Flow
from redis_memory.core.protection import protected
from redis_memory.core.replay import drain
from redis_memory.core.state import State
from redis_memory.core.together import beginning, check_no_block, committing, undo
from redis_memory.errors import (
    ClosedError,
    DataLossWarning,
    NotReplicatedError,
    RedisMemoryError,
)
from redis_memory.link import links
from redis_memory.link.address import Address
from redis_memory.link.async_hub import AsyncHub, AsyncLane
from redis_memory.link.async_link import AsyncLink
from redis_memory.link.driver import LOOK_S, TURN_S, abandon, not_replicated
from redis_memory.link.steps import async_driven
from redis_memory.settings import Settings

T = TypeVar("T")

# the open blocks that the task which runs now is in
_blocks: ContextVar[tuple[Block, ...]] = ContextVar("redis_memory_blocks", default=())

_log = logging.getLogger("redis_memory")


class _Attachment:
    """The link that a driver uses, for one loop, and whose turn it is among the loop's tasks."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        link: AsyncLink | AsyncLane,
        *,
        is_adopted: bool = False,
    ) -> None:
        self.loop = loop
        self.link = link
        # of a journal, not of a memory object: it keeps nobody from closing the connections
        self.is_adopted = is_adopted
        self.lock = asyncio.Lock()
        # the same among the tasks of one block, which holds the other one
        self.block_lock = asyncio.Lock()
        self.reconnects: int = link.reconnects

    @property
    def is_in_use(self) -> bool:
        """Does its loop run, or has it been stopped in the middle of a call?"""
        return not self.loop.is_closed() and (self.loop.is_running() or self.lock.locked())


def _leave(attached: list[_Attachment], state: State) -> None:
    """Leave the link, without closing connections of a loop that may be gone."""
    while attached:
        left = attached.pop()
        if not left.is_adopted:
            links.leave(left.link.hub, state)


def _forsake(attached: list[_Attachment], state: State) -> None:
    """Nobody needs the driver any more; what still waits is left to the journal."""
    _leave(attached, state)
    abandon(state)


class AsyncDriver:
    """One memory's state and its link; the changes of one memory keep their order.

    The link belongs to the loop that runs when it is first needed. A later loop gets another one;
    two loops that run at the same time need two memories.
    """

    def __init__(self, state: State, settings: Settings, client: Any = None) -> None:
        self.state = state
        self.is_closed: bool = False
        # memory objects
        self.users: int = 0
        self._settings = settings
        self._client = client
        self.address: Address = links.address_for(settings, client, is_async=True)
        # none before the first call, then one
        self._attached: list[_Attachment] = []
        # the lock that an open block holds
        self._block_lock = asyncio.Lock()
        # of the driver, not of the memory: a proxy may outlive the memory it was read from
        weakref.finalize(self, _forsake, self._attached, state).atexit = False
        _drivers.add(self)

    @property
    def is_online(self) -> bool | None:
        """What the last call told, None before the first one."""
        return self._attached[0].link.is_online if self._attached else None

    def attach(self) -> AsyncLink | AsyncLane:
        """The link for the loop that runs now.

        Raises:
            RuntimeError: Another loop uses the memory.
        """
        return self._attach().link

    def _attach(self) -> _Attachment:
        if self.is_closed:
            raise ClosedError("this memory was closed")
        loop = asyncio.get_running_loop()
        if self._attached and self._attached[0].loop is not loop:
            if self._attached[0].is_in_use:
                raise RuntimeError("another event loop uses this memory: open one for each loop")
            _leave(self._attached, self.state)
            if not self.state.is_waiting:
                self.state.distrust()
        if not self._attached:
            link = links.open_async_link(self._settings, self._client, self.address)
            self._attached.append(_Attachment(loop, link.lane(self.state.keys.memory)))
            links.reuse_writer(link, self.state)
            links.attach_journal(self.state, link.address.label, self._settings, self._take_over)
        return self._attached[0]

    def _take_over(self, state: State) -> None:
        """Deliver what a process that is gone has left in its journal."""
        lane = self._attached[0].link.hub.lane(state.keys.memory)
        driver = type(self)(state, self._settings, self._client)
        driver._attached.append(_Attachment(self._attached[0].loop, lane, is_adopted=True))
        lane.wait_for(driver)

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        attached = self._attach()
        while True:
            block = self._joined()
            async with attached.lock if block is None else attached.block_lock:
                if block is not self._joined():
                    continue  # the block has ended meanwhile
                return await self._run_alone(flow, attached)

    async def _run_alone(self, flow: Flow[T], attached: _Attachment) -> T:
        if self.is_closed:
            raise ClosedError("this memory was closed")
        try:
            return await self._run(flow, attached, attached.link.execute)
        finally:
            if self.state.is_waiting:
                attached.link.wait_for(self)

    def _joined(self) -> Block | None:
        """The open block that the task which runs now has begun, or was started in."""
        block = self.state.block
        return block if block is not None and block in _blocks.get() else None

    async def begin_block(self, owner: object = None, *, is_strict: bool) -> Block:
        """Begin a block of changes that leave together; other tasks wait until it ends.

        Raises:
            RuntimeError: This task is in a block of this memory already.
            OfflineError: The server is away, and the block `is_strict`.
        """
        attached = self._attach()
        if self._joined() is not None:
            check_no_block(self.state)
        await attached.lock.acquire()
        try:
            away = attached.link.away
            flow = beginning(self.state, owner, is_strict=is_strict, away=away)
            block = await self._run_alone(flow, attached)
        except BaseException:  # also a cancellation: nobody else would release the lock
            attached.lock.release()
            raise
        self._block_lock = attached.lock
        _blocks.set((*_blocks.get(), block))
        return block

    async def end_block(self, block: Block, *, is_good: bool) -> None:
        """Send what a block has changed, or undo it here. Errors are those of `committing`."""
        if block.pid != os.getpid():
            return  # forked inside the block: `after_fork` has ended it here
        lock = self._block_lock
        try:
            if is_good:
                attached = self._attach()
                async with attached.block_lock:
                    await self._run_alone(committing(self.state, block), attached)
        finally:
            undo(self.state, block)
            _blocks.set(tuple(other for other in _blocks.get() if other is not block))
            lock.release()

    async def _run(
        self, flow: Flow[T], attached: _Attachment, execute: Callable[[Call], Awaitable[Any]]
    ) -> T:
        link, shortage = attached.link, None
        if self.state.sealer is not None:
            flow = protected(self.state.sealer, flow)
        try:
            self._check_trust(attached)
            call = next(flow)
            while True:
                if call.is_change and time.monotonic() >= self.state.writer.due_s:
                    directory.accompany(self.state, call)
                try:
                    reply = await execute(call)
                except RedisMemoryError as error:
                    self.state.lost_us = link.lost_us
                    call = flow.throw(error)
                else:
                    if call.companions and call.is_change:
                        await async_driven(directory.accompanied(self.state, call), execute)
                    self._check_trust(attached)
                    if link.replicas and call.is_change and call.replicas < link.replicas:
                        shortage = max(call.replicas, 0)
                    call = flow.send(reply)
        except StopIteration as end:
            if shortage is not None:
                raise not_replicated(shortage, link.replicas) from None
            result: T = end.value
            return result

    def _check_trust(self, attached: _Attachment) -> None:
        if attached.reconnects == attached.link.reconnects:
            return
        # while the server is away, or does not have all of ours, the copies are all there is
        if attached.link.away is None and not self.state.is_waiting:
            attached.reconnects = attached.link.reconnects
            self.state.distrust()

    async def deliver(self) -> None:
        """Deliver what waits, in turns with the other tasks that use the memory.

        Raises:
            OfflineError: The server is away again.
            ServerRefusedError: It refuses to store anything.
        """
        attached = self._attach()
        # a block may take long, and whoever delivers has other memories to serve
        while self.state.is_waiting and self.state.block is None:
            async with attached.lock:
                try:
                    flow = drain(self.state, time.monotonic() + TURN_S)
                    await self._run(flow, attached, attached.link.execute_once)
                except (DataLossWarning, NotReplicatedError) as warning:
                    # raised where warnings are errors; nobody is here to catch it
                    _log.warning("%s", warning)

    async def flush(self, timeout_s: float) -> int:
        """Wait until nothing waits any more, at most so long; how many changes are left."""
        if not self.state.is_waiting:
            return 0
        until_s = time.monotonic() + timeout_s
        link = self._attach().link
        # what was delivered can be read only when the server does not count as away any more
        while self.state.is_waiting or link.away is not None:
            left_s = until_s - time.monotonic()
            if not left_s > 0:  # nor where it is nan
                break
            if self.state.is_waiting:
                link.wait_for(self)
            await asyncio.sleep(min(LOOK_S, left_s))
        return len(self.state.queue.operations)

    def lose_user(self) -> None:
        """A memory object is gone; what it left in the queue is delivered all the same."""
        self.users -= 1

    async def close(self) -> None:
        """Refuse every later call; close the connections if no other memory uses them.

        Waits for what the server does not have yet, at most `close_timeout_s`. What is left then
        stays in the journal; without one it is lost, and a warning says so.
        """
        if self.is_closed:
            return
        if not self._attached and not self.state.is_waiting:
            self.is_closed = True
            return
        attached = self._attach()
        until_s = time.monotonic() + self._settings.close_timeout_s
        await self.flush(self._settings.close_timeout_s)
        async with attached.lock:
            self.is_closed = True
            attached.link.waiting.pop(self, None)
        try:
            abandon(self.state)
        finally:
            _leave(self._attached, self.state)
            hub = attached.link.hub
            if links.is_unused(hub):
                await _end(hub, until_s)

    def after_fork(self) -> None:
        """Begin anew in a forked child: another writer, and a link of its own."""
        self._attached.clear()
        if self.state.block is not None:
            undo(self.state, self.state.block)
        self.state.after_fork()


async def _end(hub: AsyncLink | AsyncHub, until_s: float) -> None:
    """Close the connections, once the adopted changes have gone by them if there is time."""
    await hub.delivered(until_s)
    await hub.close()
    for waiter in list(hub.waiting):
        abandon(waiter.state)


class ReadOnly:
    """Who runs the flows of proxies read from an async memory: nobody."""

    def run(self, flow: Flow[Any]) -> NoReturn:
        """Refuse a mutator.

        Raises:
            TypeError: Always; it says what to write.
        """
        flow.close()
        raise TypeError(
            "this value was read from an async memory, and a change must be awaited: write "
            "`await memory.messages.append(...)`, not `(await memory.messages).append(...)`"
        )


_drivers: weakref.WeakSet[AsyncDriver] = weakref.WeakSet()


def _after_fork() -> None:
    for driver in list(_drivers):
        driver.after_fork()


os.register_at_fork(after_in_child=_after_fork)
