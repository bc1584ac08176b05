"""Locks and claims: as `leases`, awaited."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, NoReturn, Self

from redis_memory.async_core import AsyncCore
from redis_memory.async_keeping import Keeper, Kept, keeper_here
from redis_memory.async_watching import TaskBell, run
from redis_memory.attention import Attention
from redis_memory.claiming import behind, telling, under, writing
from redis_memory.core.leases import Lease, Turn, check_wait, timed_out
from redis_memory.errors import OfflineError


class Holding:
    """A lease while it is held; released in the background when nobody holds this object."""

    def __init__(self, core: AsyncCore, lease: Lease) -> None:
        self.core: AsyncCore = core
        self.lease: Lease = lease
        self.kept: Kept = Kept(lease, core.driver)
        self._keeper: Keeper = keeper_here()
        self._forsake = weakref.finalize(self, self._keeper.give_up, self.kept)
        self._forsake.atexit = False

    async def take(self, wait_s: float | None) -> bool:
        """Take the lease, waiting at most so long; whether it could be done."""
        waits = wait_s is None or wait_s > 0
        try:
            found, _ = await self.core.run(self.lease.asking(waits=waits))
            if found is None and waits:
                found = await self._awaited(wait_s)
        except BaseException:  # also a cancellation: nobody would know that it was taken
            self._forsake()
            raise
        if found is None:
            if waits:
                with suppress(OfflineError):  # its place in the queue is given up later
                    await self.release()
            self._forsake.detach()
            return False
        self._keeper.keep(self.kept)
        return True

    async def _awaited(self, wait_s: float | None) -> Lease | None:
        bell = TaskBell()
        attention = Attention(self.core, Turn(self.lease, bell.ring))
        try:
            steps = attention.awaiting(lambda: self.lease.asking(waits=True), wait_s)
            return await run(self.core, bell, steps)
        finally:
            attention.leave()

    async def renew(self) -> None:
        """Have it last for its whole time from now on."""
        with telling(self.kept.lost):
            await self.core.run(self.lease.renewing())

    async def write(self, attributes: dict[str, Any]) -> None:
        """Assign attributes if the lease is still held."""
        core, driver, is_good = self.core, self.core.driver, False
        with telling(self.kept.lost), under(self.lease, core, set(attributes)):
            block = await driver.begin_block(self, is_strict=True)
            try:
                await core.run(writing(core, block, self.lease, attributes))
                is_good = True
            finally:
                await driver.end_block(block, is_good=is_good)

    async def release(self) -> bool:
        """Give it up; whether it was held until now."""
        if not self.lease.begin_release():
            self._forsake()
            return False
        self._keeper.drop(self.kept)
        try:
            was_held = await self.core.run(self.lease.leaving())
        except BaseException:  # also a cancellation: it may still be held, and is released later
            self._forsake()
            raise
        self._forsake.detach()
        return was_held


class _Lock(AbstractAsyncContextManager[int]):
    """What the async `lock` gives."""

    def __init__(self, core: AsyncCore, name: str, ttl_s: float, wait_s: float | None) -> None:
        Lease(core.state, name, "", ttl_s)  # a wrong argument is an error here already
        check_wait(wait_s)
        self._core = core
        self._name = name
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._holding: Holding | None = None

    async def __aenter__(self) -> int:
        lease = Lease(self._core.state, self._name, "", self._ttl_s)
        holding = Holding(self._core, lease)
        if not await holding.take(self._wait_s):
            raise timed_out(lease, self._wait_s)
        self._holding = holding
        return lease.token

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        holding, self._holding = self._holding, None
        if holding is None:
            raise RuntimeError("this lock is not held")
        with behind(error):
            if not await holding.release():
                raise holding.lease.lost()


class AsyncClaim:
    """As `Claim`, awaited; `lost` is an `asyncio.Event`."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding

    def __repr__(self) -> str:
        return f"<AsyncClaim: {self._holding.lease!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a claim cannot be copied or pickled: another process claims for itself")

    @property
    def name(self) -> str:
        """What is claimed."""
        return self._holding.lease.name

    @property
    def owner(self) -> str:
        """Who claims it, as was given."""
        return self._holding.lease.owner_text

    @property
    def token(self) -> int:
        """The fencing token: larger than that of every holder before."""
        return self._holding.lease.token

    @property
    def lost(self) -> asyncio.Event:
        """Set when the claim is found to be lost: when a renewal is refused, or its time is over.

        While a request to the server hangs, up to `timeout_s` later.
        """
        return self._holding.kept.lost

    async def renew(self) -> None:
        """As `Claim.renew`."""
        await self._holding.renew()

    async def write(self, **attributes: Any) -> None:
        """As `Claim.write`."""
        await self._holding.write(attributes)

    async def release(self) -> bool:
        """As `Claim.release`."""
        return await self._holding.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with behind(error):
            await self.release()


def locked(
    core: AsyncCore, name: str, ttl_s: float, wait_s: float | None
) -> AbstractAsyncContextManager[int]:
    """What the async `lock` gives."""
    return _Lock(core, name, ttl_s, wait_s)


async def claimed(core: AsyncCore, name: str, owner: str, ttl_s: float) -> AsyncClaim | None:
    """Take a task or a role, if nobody has it."""
    holding = Holding(core, Lease(core.state, name, owner, ttl_s))
    return AsyncClaim(holding) if await holding.take(0) else None
