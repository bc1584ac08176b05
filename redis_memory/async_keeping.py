"""Renewing what the tasks of an event loop hold: as `keeping`, awaited."""

from __future__ import annotations

import asyncio
import os
import weakref
from contextlib import suppress
from typing import TypeVar

from redis_memory.core.clock import now_us
from redis_memory.core.leases import Lease
from redis_memory.link.async_driver import AsyncDriver
from redis_memory.link.steps import async_driven

T = TypeVar("T")


class Kept:
    """A lease of one event loop, and whom to tell when it is lost."""

    def __init__(self, lease: Lease, driver: AsyncDriver) -> None:
        self.lease: Lease = lease
        self.driver: AsyncDriver = driver
        self.lost: asyncio.Event = asyncio.Event()

    async def tend(self) -> None:
        """Do what is due."""
        if self.driver.is_closed:
            self.lease.is_lost = True
        else:
            link = self.driver.attach()
            # not by the driver: a task that is in a block of this memory has its lock
            await async_driven(self.lease.tending(), link.execute)
            if self.driver.is_closed and link.hub.users < 1:  # it was closed meanwhile
                await link.hub.close()
        if self.lease.is_lost:
            self.lost.set()


class Keeper:
    """The task of one event loop that renews leases, and releases those that were left behind."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # weakly: the keepers are found by their loops, and would keep those alive
        self._loop: weakref.ref[asyncio.AbstractEventLoop] = weakref.ref(loop)
        self._kept: dict[Kept, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._woken: asyncio.Event | None = None

    def keep(self, kept: Kept) -> None:
        """From now on the lease is renewed; or released, once it was given up."""
        self._kept[kept] = None
        if self._woken is not None:
            self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="redis-memory-leases")

    def drop(self, kept: Kept) -> None:
        """Renew a lease no more."""
        self._kept.pop(kept, None)

    def give_up(self, kept: Kept) -> None:
        """Nobody needs the lease any more: have it released in the background. From any thread."""
        loop = self._loop()
        if not kept.lease.give_up() or loop is None:
            self.drop(kept)
            return
        with suppress(RuntimeError):  # the loop has ended: the lease will run out
            loop.call_soon_threadsafe(self.keep, kept)

    def after_fork(self) -> None:
        """In a forked child: the leases are the parent's."""
        for kept in list(self._kept):
            kept.lease.is_lost = True
            kept.lost.set()
        self._kept.clear()
        self._task = None

    async def _run(self) -> None:
        self._woken = woken = asyncio.Event()
        while self._kept:
            due_us = [min(kept.lease.due_us, kept.lease.until_us) for kept in self._kept]
            pause_s = (min(due_us) - now_us()) / 1e6
            if pause_s > 0:
                woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await woken.wait()
                continue
            for kept in list(self._kept):
                if min(kept.lease.due_us, kept.lease.until_us) <= now_us():
                    await kept.tend()
                    if kept.lease.is_over:
                        self.drop(kept)


_keepers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Keeper] = weakref.WeakKeyDictionary()


def keeper_here() -> Keeper:
    """The keeper of the loop that runs now."""
    loop = asyncio.get_running_loop()
    keeper = _keepers.get(loop)
    if keeper is None:
        for gone in [other for other in _keepers if other.is_closed()]:
            del _keepers[gone]
        keeper = _keepers[loop] = Keeper(loop)
    return keeper


def _after_fork() -> None:
    for keeper in _keepers.values():
        keeper.after_fork()
    _keepers.clear()


os.register_at_fork(after_in_child=_after_fork)
