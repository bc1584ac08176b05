"""Runs the flows of one memory in an event loop: as `driver`, awaited."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import Any, NoReturn, TypeVar

from redis_memory.core.state import Flow, State
from redis_memory.errors import ClosedError, RedisMemoryError
from redis_memory.link import links
from redis_memory.link.address import Address
from redis_memory.link.async_link import AsyncLink
from redis_memory.settings import Settings

T = TypeVar("T")


_PAUSE_S = 0.001


class _Attachment:
    """The link that a driver uses in one loop, and whose turn it is among the loop's tasks."""

    def __init__(self, link: AsyncLink) -> None:
        self.link = link
        self.lock = asyncio.Lock()


_Attached = dict[asyncio.AbstractEventLoop, _Attachment]


def _leave(attached: _Attached, state: State) -> None:
    """Leave all links, without closing connections of loops that may be gone."""
    while attached:
        links.leave(attached.popitem()[1].link, state)


class AsyncDriver:
    """One memory's state and its links; the changes of one memory keep their order.

    A link belongs to one loop: each loop that uses the memory gets one at its first call. Where
    several threads run loops, their calls take turns.
    """

    def __init__(self, state: State, settings: Settings, client: Any = None) -> None:
        self.state = state
        self.is_closed: bool = False
        # the one used last, None before the first call
        self.link: AsyncLink | None = None
        self._trusted: tuple[AsyncLink | None, int] = (None, 0)
        self._settings = settings
        self._client = client
        self.address: Address = links.address_for(settings, client, is_async=True)
        self._attached: _Attached = {}
        self._holder: asyncio.AbstractEventLoop | None = None
        self._guard = threading.Lock()
        # of the driver, not of the memory: a proxy may outlive the memory it was read from
        weakref.finalize(self, _leave, self._attached, state).atexit = False
        _drivers.add(self)

    def attach(self) -> AsyncLink:
        """The link for the loop that runs now."""
        return self._attach(asyncio.get_running_loop()).link

    def _attach(self, loop: asyncio.AbstractEventLoop) -> _Attachment:
        self._check_open()
        with self._guard:
            attached = self._attached.get(loop)
            if attached is None:
                for gone in [other for other in self._attached if other.is_closed()]:
                    links.leave(self._attached.pop(gone).link, self.state)
                link = links.open_async_link(self._settings, self._client, self.address)
                attached = self._attached[loop] = _Attachment(link)
                links.reuse_writer(link, self.state)
            self.link = attached.link
            return attached

    def _check_open(self) -> None:
        if self.is_closed:
            raise ClosedError("this memory was closed")

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        loop = asyncio.get_running_loop()
        attached = self._attach(loop)
        execute = attached.link.execute
        async with attached.lock:
            try:
                await self._hold(loop)
                self._check_open()
                self._check_trust(attached.link)
                call = next(flow)
                while True:
                    try:
                        reply = await execute(call)
                    except RedisMemoryError as error:
                        call = flow.throw(error)
                    else:
                        self._check_trust(attached.link)
                        call = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._let_go(loop)

    def _check_trust(self, link: AsyncLink) -> None:
        if self._trusted != (link, link.reconnects):
            self._trusted = (link, link.reconnects)
            self.state.distrust()

    async def _hold(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until no other loop is in the middle of a flow.

        Raises:
            RuntimeError: One is, and has been stopped there.
        """
        while True:
            with self._guard:
                holder = self._holder
                if holder is None or holder.is_closed():
                    self._holder = loop
                    return
            if not holder.is_running():
                raise RuntimeError("another event loop was stopped while it used this memory")
            await asyncio.sleep(_PAUSE_S)

    def _let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            if self._holder is loop:
                self._holder = None

    async def close(self) -> None:
        """Refuse every later call; close this loop's connections if no other memory uses them."""
        loop = asyncio.get_running_loop()
        attached = self._attached.get(loop)
        if attached is None:
            self.is_closed = True
            return
        async with attached.lock:
            self.is_closed = True
        if self._attached.pop(loop, None) is not None:
            links.leave(attached.link, self.state)
            if links.is_unused(attached.link):
                await attached.link.close()

    def after_fork(self) -> None:
        """Begin anew in a forked child: another writer, and links of its own."""
        self._guard = threading.Lock()
        self._holder = None
        self.link = None
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
