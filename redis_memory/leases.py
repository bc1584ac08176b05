"""Locks and claims: what one of many has for a limited time, blocking."""

from __future__ import annotations

import threading
import weakref
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, NoReturn, Self

from redis_memory.attention import Attention
from redis_memory.claiming import behind, telling, under, writing
from redis_memory.core.leases import Lease, Turn, check_wait, timed_out
from redis_memory.errors import OfflineError
from redis_memory.keeping import Kept, keeper
from redis_memory.memory import BlockingCore, Memory, core_of
from redis_memory.watching import ThreadBell, run


class Holding:
    """A lease while it is held; released in the background when nobody holds this object."""

    def __init__(self, core: BlockingCore, lease: Lease) -> None:
        self.core: BlockingCore = core
        self.lease: Lease = lease
        self.kept: Kept = Kept(lease, core.driver, self)
        self._forsake = weakref.finalize(self, keeper.give_up, self.kept)
        self._forsake.atexit = False

    def take(self, wait_s: float | None) -> bool:
        """Take the lease, waiting at most so long; whether it could be done."""
        waits = wait_s is None or wait_s > 0
        try:
            found, _ = self.core.run(self.lease.asking(waits=waits))
            if found is None and waits:
                found = self._awaited(wait_s)
        except BaseException:  # also a signal: nobody would know that it was taken
            self._forsake()
            raise
        if found is None:
            if waits:
                with suppress(OfflineError):  # its place in the queue is given up later
                    self.release()
            self._forsake.detach()
            return False
        keeper.keep(self.kept)
        return True

    def _awaited(self, wait_s: float | None) -> Lease | None:
        bell = ThreadBell()
        attention = Attention(self.core, Turn(self.lease, bell.ring))
        try:
            steps = attention.awaiting(lambda: self.lease.asking(waits=True), wait_s)
            return run(self.core, bell, steps)
        finally:
            attention.leave()

    def renew(self) -> None:
        """Have it last for its whole time from now on."""
        with telling(self.kept.lost):
            self.core.run(self.lease.renewing())

    def write(self, attributes: dict[str, Any]) -> None:
        """Assign attributes if the lease is still held."""
        core, driver, owner, is_good = self.core, self.core.driver, object(), False
        with telling(self.kept.lost), under(self.lease, core, set(attributes)):
            try:
                block = driver.begin_block(owner, is_strict=True)
                try:
                    core.run(writing(core, block, self.lease, attributes))
                    is_good = True
                finally:
                    driver.end_block(block, is_good=is_good)
            finally:
                # a signal handler may raise between two of these lines
                driver.drop_block(owner)

    def release(self) -> bool:
        """Give it up; whether it was held until now."""
        lease = self.lease
        if not lease.begin_release():
            self._forsake()
            return False
        keeper.drop(self.kept)
        try:
            was_held = self.core.run(lease.leaving())
        except BaseException:  # also a signal: it may still be held, and is released later
            self._forsake()
            raise
        self._forsake.detach()
        return was_held


class _Lock(AbstractContextManager[int]):
    """What `lock` gives."""

    def __init__(self, core: BlockingCore, name: str, ttl_s: float, wait_s: float | None) -> None:
        Lease(core.state, name, "", ttl_s)  # a wrong argument is an error here already
        check_wait(wait_s)
        self._core = core
        self._name = name
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._holding: Holding | None = None

    def __enter__(self) -> int:
        lease = Lease(self._core.state, self._name, "", self._ttl_s)
        holding = Holding(self._core, lease)
        if not holding.take(self._wait_s):
            raise timed_out(lease, self._wait_s)
        self._holding = holding
        return lease.token

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        holding, self._holding = self._holding, None
        if holding is None:
            raise RuntimeError("this lock is not held")
        with behind(error):
            if not holding.release():
                raise holding.lease.lost()


class Claim:
    """A task or a role that is held, until it is released or lost; what `claim` gives.

    It is renewed in the background. Released by `release`, by the end of a `with` block, and when
    nobody holds this object any more. `lost` is set as soon as it is known that the claim is not
    held any more.
    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding

    def __repr__(self) -> str:
        return f"<Claim: {self._holding.lease!r}>"

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
    def lost(self) -> threading.Event:
        """Set when the claim is found to be lost: when a renewal is refused, or its time is over.

        While a request to the server hangs, up to `timeout_s` later.
        """
        return self._holding.kept.lost

    def renew(self) -> None:
        """Have it last for its whole time from now on; the background does so by itself.

        Raises:
            LeaseLostError: It is not held any more.
            OfflineError: The server is away; the claim is held until its time is over.

        Cost: one round trip.
        """
        self._holding.renew()

    def write(self, **attributes: Any) -> None:
        """Assign attributes as one change, which the server refuses once the claim is lost.

        Raises:
            StaleClaimError: It is lost: its time is over, or it was released. Nothing was written.
            UnstorableValueError: A part of a value cannot be stored. Nothing was written.
            OfflineError: The server is away. Nothing was written.
            InDoubtError: The same, and it was sent: all was written, or nothing.
            RuntimeError: This is inside a `batch` or `transaction` of the same memory.

        Cost: one round trip.
        """
        self._holding.write(attributes)

    def release(self) -> bool:
        """Give it up; whether it was held until now.

        Raises:
            OfflineError: The server is away; it is given up as soon as the server is back, or when
                its time is over.

        Cost: one round trip.
        """
        return self._holding.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with behind(error):
            self.release()


def lock(
    memory: Memory, name: str = "lock", ttl_s: float = 30, wait_s: float | None = None
) -> AbstractContextManager[int]:
    """Hold a lock for a block; the value of `with ... as` is its fencing token.

    Who waits gets it in the order of coming. While the block runs, the lock is renewed in the
    background. It is not reentrant: who holds it and asks again waits as everybody does. A token is
    larger than that of every holder before, so a service outside can refuse what arrives under an
    older one. What is written to the memory in the block is not refused when the lock was lost
    meanwhile: `claim` has a `write` that is.

    Args:
        memory: Whose lock.
        name: As of attributes, and beside them: the lock `x` has nothing to do with `memory.x`. A
            claim of the same name excludes the lock.
        ttl_s: After so many seconds others get it when this process has died; 0.05 s to 7 days.
        wait_s: How many seconds to wait for it; None waits for ever, 0 tries once.

    Raises:
        WaitTimeoutError: Others held it all the time.
        OfflineError: The server is away when the wait begins; an outage later is waited out. At
            the end of the block: changes made in it, or the release, wait for the server.
        LeaseLostError: At the end of the block, unless that raises itself: the lock was lost
            before.

    Cost: one round trip to take it when it is free, one to give it up, one for each third of
    `ttl_s`. Who waits asks when it is his turn, and every 3 s.
    """
    return _Lock(core_of(memory), name, ttl_s, wait_s)


def claim(memory: Memory, name: str, owner: str, *, ttl_s: float) -> Claim | None:
    """Take a task or a role, if nobody has it; None when somebody has, be it the same owner.

    Keep the `Claim`: it is given up when nobody holds the object any more.

    Args:
        memory: Whose task.
        name: As of attributes, and beside them; a lock of the same name excludes the claim.
        owner: Who takes it, in up to 512 bytes; stored, so that people can see it.
        ttl_s: After so many seconds others can take it when this process has died; 0.05 s to 7
            days.

    Raises:
        OfflineError: The server is away.

    Cost: one round trip, and one for each third of `ttl_s`.
    """
    core = core_of(memory)
    holding = Holding(core, Lease(core.state, name, owner, ttl_s))
    return Claim(holding) if holding.take(0) else None
