"""Runs the flows of one memory in an event loop: as `driver`, awaited."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import Any, NoReturn, TypeVar

from redis_memory.core.state import Flow, State
from redis_memory.errors import ClosedError, RedisMemoryError
from redis_memory.link import links
from redis_memory.link.address import Address
from redis_memory.link.async_link import AsyncLink
from redis_memory.settings import Settings

T = TypeVar("T")


class _Attachment:
    """The link that a driver uses, for one loop, and whose turn it is among the loop's tasks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: AsyncLink) -> None:
        self.loop = loop
        self.link = link
        self.lock = asyncio.Lock()
        self.reconnects: int = link.reconnects

    @property
    def is_in_use(self) -> bool:
        """Does its loop run, or has it been stopped in the middle of a call?"""
        return not self.loop.is_closed() and (self.loop.is_running() or self.lock.locked())


def _leave(attached: list[_Attachment], state: State) -> None:
    """Leave the link, without closing connections of a loop that may be gone."""
    while attached:
        links.leave(attached.pop().link, state)


class AsyncDriver:
    """One memory's state and its link; the changes of one memory keep their order.

    The link belongs to the loop that runs when it is first needed. A later loop gets another one;
    two loops that run at the same time need two memories.
    """

    def __init__(self, state: State, settings: Settings, client: Any = None) -> None:
        self.state = state
        self.is_closed: bool = False
        self._settings = settings
        self._client = client
        self.address: Address = links.address_for(settings, client, is_async=True)
        # none before the first call, then one
        self._attached: list[_Attachment] = []
        # of the driver, not of the memory: a proxy may outlive the memory it was read from
        weakref.finalize(self, _leave, self._attached, state).atexit = False
        _drivers.add(self)

    @property
    def is_online(self) -> bool | None:
        """What the last call told, None before the first one."""
        return self._attached[0].link.is_online if self._attached else None

    def attach(self) -> AsyncLink:
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
            self.state.distrust()
        if not self._attached:
            link = links.open_async_link(self._settings, self._client, self.address)
            self._attached.append(_Attachment(loop, link))
            links.reuse_writer(link, self.state)
        return self._attached[0]

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        attached = self._attach()
        link = attached.link
        async with attached.lock:
            if self.is_closed:
                raise ClosedError("this memory was closed")
            try:
                self._check_trust(attached)
                call = next(flow)
                while True:
                    try:
                        reply = await link.execute(call)
                    except RedisMemoryError as error:
                        call = flow.throw(error)
                    else:
                        self._check_trust(attached)
                        call = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result

    def _check_trust(self, attached: _Attachment) -> None:
        if attached.reconnects != attached.link.reconnects:
            attached.reconnects = attached.link.reconnects
            self.state.distrust()

    async def close(self) -> None:
        """Refuse every later call; close the connections if no other memory uses them."""
        if self.is_closed or not self._attached:
            self.is_closed = True
            return
        attached = self._attach()
        async with attached.lock:
            self.is_closed = True
        _leave(self._attached, self.state)
        if links.is_unused(attached.link):
            await attached.link.close()

    def after_fork(self) -> None:
        """Begin anew in a forked child: another writer, and a link of its own."""
        self._attached.clear()
        self.state.renew_writer()


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
