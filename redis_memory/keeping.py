"""Renewing what this process holds, in the background, and releasing what was left behind."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final, TypeVar

from redis_memory.core.clock import now_us
from redis_memory.core.leases import Lease
from redis_memory.link.driver import Driver
from redis_memory.link.steps import driven

T = TypeVar("T")

# How long the thread that renews stays when there is nothing to be renewed.
_LINGER_S = 10.0


class Kept:
    """A lease of this process, for whom it is kept, and whom to tell when it is lost."""

    def __init__(self, lease: Lease, driver: Driver, holding: object) -> None:
        self.lease: Lease = lease
        self.driver: Driver = driver
        self.holding: weakref.ref[object] = weakref.ref(holding)
        self.lost: threading.Event = threading.Event()

    def tend(self) -> None:
        """Do what is due."""
        driver, hub = self.driver, self.driver.link.hub
        if self.holding() is None and not self.lease.is_given_up:
            # a signal handler has raised where it should have been told
            self.lease.give_up()
        if driver.is_closed:
            self.lease.is_lost = True
        else:
            # not by the driver: whoever is in a block of this memory has its lock
            driven(self.lease.tending(), driver.link.execute)
            if driver.is_closed and hub.users < 1:  # it was closed meanwhile
                hub.close()
        if self.lease.is_lost:
            self.lost.set()


class Keeper:
    """The thread of this process that renews leases, and releases those that were left behind."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        # reentrant: a claim may be collected, or a signal handler lock something, in the middle
        self._changed = threading.Condition(threading.RLock())
        self._kept: dict[Kept, None] = {}
        self._thread: threading.Thread | None = None
        self._wakes_us: int = 0

    def keep(self, kept: Kept) -> None:
        """From now on the lease is renewed; or released, once it was given up."""
        with self._changed:
            self._kept[kept] = None
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="redis-memory-leases", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending: the lease will run out
                    self._thread = None
            elif kept.lease.due_us < self._wakes_us:
                self._changed.notify()

    def drop(self, kept: Kept) -> None:
        """Renew a lease no more."""
        self._kept.pop(kept, None)

    def give_up(self, kept: Kept) -> None:
        """Nobody needs the lease any more: have it released in the background."""
        if kept.lease.give_up():
            self.keep(kept)
        else:
            self.drop(kept)

    def after_fork(self) -> None:
        """In a forked child: the leases are the parent's."""
        inherited = list(self._kept)
        self._begin()
        for kept in inherited:
            kept.lease.is_lost = True
            kept.lost = threading.Event()  # the lock of the old one may be held by nobody
            kept.lost.set()

    def _run(self) -> None:
        while True:
            with self._changed:
                due_us = [min(kept.lease.due_us, kept.lease.until_us) for kept in list(self._kept)]
                self._wakes_us = min(due_us, default=now_us() + int(_LINGER_S * 1e6))
                pause_s = (self._wakes_us - now_us()) / 1e6
                if pause_s > 0:
                    is_woken = self._changed.wait(pause_s)
                    if not is_woken and not self._kept:
                        self._thread = None
                        return
                    continue
            for kept in list(self._kept):
                if min(kept.lease.due_us, kept.lease.until_us) <= now_us():
                    kept.tend()
                    if kept.lease.is_over:
                        self.drop(kept)


keeper: Final = Keeper()
os.register_at_fork(after_in_child=keeper.after_fork)
