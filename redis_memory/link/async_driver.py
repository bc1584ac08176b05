"""Runs the flows of one memory in an event loop: as `driver`, awaited."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import Any, NoReturn, TypeVar

from redis_memory.core.state import Flow, State
from redis_memory.errors import ClosedError, RedisMemoryError
from redis_memory.link import links
from redis_memory.link.async_link import AsyncLink
from redis_memory.settings import Settings

T = TypeVar("T")


class _Attachment:
    """The link that a driver uses, for the loop that it belongs to."""

    def __init__(self) -> None:
        self.link: AsyncLink | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lock = asyncio.Lock()

    def leave(self, state: State) -> AsyncLink | None:
        """Leave the link, without closing connections of a loop that may be gone."""
        link, self.link = self.link, None
        if link is not None:
            links.leave(link, state)
        return link


class AsyncDriver:
    """One memory's state and its link; the changes of one memory keep their order.

    The link belongs to the loop that runs when it is first needed; another loop gets another one.
    """

    def __init__(self, state: State, settings: Settings, client: Any = None) -> None:
        self.state = state
        self.is_closed = False
        self._settings = settings
        self._client = client
        self.address = links.address_for(settings, client, is_async=True)
        self._attached = _Attachment()
        # of the driver, not of the memory: a proxy may outlive the memory it was read from
        weakref.finalize(self, self._attached.leave, state).atexit = False
        _drivers.add(self)

    @property
    def link(self) -> AsyncLink | None:
        """The link, None before the first call."""
        return self._attached.link

    def attach(self) -> AsyncLink:
        """The link for the loop that runs now."""
        attached, loop = self._attached, asyncio.get_running_loop()
        if attached.link is None or attached.loop is not loop:
            attached.leave(self.state)
            attached.link = links.open_async_link(self._settings, self._client, self.address)
            attached.loop = loop
            attached.lock = asyncio.Lock()
            links.reuse_writer(attached.link, self.state)
        return attached.link

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        execute = self.attach().execute
        async with self._attached.lock:
            if self.is_closed:
                raise ClosedError("this memory was closed")
            try:
                call = next(flow)
                while True:
                    try:
                        reply = await execute(call)
                    except RedisMemoryError as error:
                        call = flow.throw(error)
                    else:
                        call = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result

    async def close(self) -> None:
        """Refuse every later call, and close connections that no other memory uses."""
        async with self._attached.lock:
            self.is_closed = True
        link = self._attached.leave(self.state)
        if link is not None and links.is_unused(link):
            await link.close()

    def after_fork(self) -> None:
        """Begin anew in a forked child: another writer, and a link of its own."""
        self._attached.link = None
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
