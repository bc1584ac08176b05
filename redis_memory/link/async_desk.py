"""Runs courses in an event loop: as `desk`, awaited; errands run in a thread."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

from redis_memory.core.calls import Call, Course, Errand
from redis_memory.errors import ClosedError
from redis_memory.link import links
from redis_memory.link.address import Address
from redis_memory.link.routing import Router
from redis_memory.link.scanning import is_scan, scanning
from redis_memory.link.steps import async_driven
from redis_memory.settings import Settings

T = TypeVar("T")


# How long a task that is cancelled waits for its errand; a pipe may never be read.
_PATIENCE_S: Final = 1.0


async def _done(errand: Errand) -> Any:
    """Do an errand in a thread; what it does is not undone while it is done."""
    doing = asyncio.ensure_future(asyncio.to_thread(errand.work))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait([doing], timeout=_PATIENCE_S)
        for one in done:
            one.exception()  # nobody asks for it any more
        raise


class AsyncDesk:
    """The link that courses go by, in the loop that runs them."""

    def __init__(self, settings: Settings, client: Any) -> None:
        self._settings = settings
        self._client = client
        self.address: Address = links.address_for(settings, client, is_async=True)
        self.is_closed: bool = False
        # none before the first call, then one, and the loop that it belongs to
        self._attached: list[tuple[asyncio.AbstractEventLoop, links.AsyncWay]] = []

    def _link(self) -> links.AsyncWay:
        loop = asyncio.get_running_loop()
        if self._attached and self._attached[0][0] is not loop:
            links.release(self._attached.pop()[1])
        if not self._attached:
            link = links.open_async_link(self._settings, self._client, self.address)
            self._attached.append((loop, link))
        return self._attached[0][1]

    async def run(self, course: Course[T]) -> T:
        """Run a course to its end."""
        if self.is_closed:
            raise ClosedError("this directory was closed")
        link = self._link()

        async def do(step: Call | Errand) -> Any:
            if isinstance(step, Errand):
                return await _done(step)
            if is_scan(step) and not isinstance(link, Router):
                return await async_driven(scanning(link, step), lambda each: each[0](each[1]))
            return await link.execute(step)

        try:
            return await async_driven(course, do)
        finally:
            course.close()

    async def close(self) -> None:
        """Refuse every later call; close the connections that nobody else uses."""
        self.is_closed = True
        while self._attached:
            _, link = self._attached.pop()
            links.release(link)
            if links.is_unused(link):
                await link.close()
