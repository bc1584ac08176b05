"""Whether a server is away, and who has changes that wait for it: what both links share."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any, Protocol

from redis_memory.core.calls import Call, Head
from redis_memory.core.state import State
from redis_memory.errors import (
    AccessDeniedError,
    OfflineError,
    RedisMemoryError,
    ServerRefusedError,
)
from redis_memory.link.address import Address

_log = logging.getLogger("redis_memory")


class Waiter(Protocol):
    """Who has changes that wait for the server: the driver of a memory.

    `users` counts the memory objects that it stands behind.
    """

    state: State
    users: int

    def deliver(self) -> Any:
        """Deliver them, or return what is to be awaited for that."""
        raise NotImplementedError


class Circuit:
    """A circuit breaker. While `away` holds a reason, no call is tried.

    `lost_us` is since when, by the clock of `core.clock`, and 0 while the server answers.
    `is_online` is what the last call told, None before the first one. `waiting` are the drivers
    of memories with changes that wait; held here, they outlive the memory objects.
    """

    def __init__(self, address: Address) -> None:
        self.address: Address = address
        self.away: RedisMemoryError | None = None
        self.lost_us: int = 0
        self.is_online: bool | None = None
        self.reconnects: int = 0
        self.waiting: dict[Waiter, None] = {}
        # drivers that use the link, and whether it goes by a client of the user's
        self.users: int = 0
        self.is_of_client: bool = False

    def seek(self) -> None:
        """Have somebody look for the server, and deliver what waits; nobody if it is so already."""
        raise NotImplementedError

    def lose(self, reason: RedisMemoryError, lost_us: int) -> None:
        """Count the server as away, and look for it."""
        if self.away is None:
            _log.warning("%s is away: %s", self.address.label, reason)
            self.lost_us = lost_us
        self.away, self.is_online = reason, False
        self.seek()

    def found(self) -> None:
        """Count the server as back."""
        if self.away is not None:
            _log.warning("%s is back", self.address.label)
            self.reconnects += 1
            self.away, self.lost_us = None, 0

    def wait_for(self, waiter: Waiter) -> None:
        """Deliver what a driver has as soon as the server takes it."""
        self.waiting[waiter] = None
        self.seek()

    @property
    def is_owing(self) -> bool:
        """Does anything wait for the server?"""
        return bool(self.waiting)

    def orphan(self, memory: bytes) -> Any:
        """The driver of a memory whose object is gone while changes of it wait, if there is one."""
        for waiter in list(self.waiting):
            if waiter.users == 0 and waiter.state.identity == memory:
                return waiter
        return None

    def coming_back(self) -> Generator[Call | Waiter, Any, bool]:
        """Try once whether the server is back; whether it is, and has all that waited for it.

        Yields what is to be done next: a call to be sent, or a driver to deliver what it has. What
        goes wrong with it is thrown in.
        """
        if self.users < 1 and not self.waiting:
            self.away = None  # nobody asks any more; who comes next will see for himself
            return True
        try:
            for waiter in list(self.waiting):
                waiter.state.queue.sync()
            if self.away is not None:
                yield Call(Head(b"PING"))
            for waiter in list(self.waiting):
                yield from self._delivering(waiter)
                # it takes changes, and not only calls: the other memories need not wait for all
                self.found()
        except AccessDeniedError as refusal:
            self.away = refusal
            return False
        except RedisMemoryError as error:
            if self.away is not None:
                self.away = OfflineError(str(error))
            return False
        self.found()
        return not self.waiting

    def _delivering(self, waiter: Waiter) -> Generator[Waiter, None, None]:
        try:
            yield waiter
        except ServerRefusedError as refusal:
            if waiter.state.queue.is_news(str(refusal)):
                _log.warning("%s: changes go on waiting: %s", waiter.state.label, refusal)
            return
        self.waiting.pop(waiter, None)
        # another thread may have queued a change just before that
        if waiter.state.is_waiting:
            self.waiting[waiter] = None
