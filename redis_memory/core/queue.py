"""Changes that wait for the server: in order, bounded, on disk where there is a journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from msgpack import packb  # type: ignore[import-untyped]

from redis_memory.errors import QueueFullError

# How many changes one script call makes: the server serves nobody else meanwhile.
_MOST_AT_ONCE = 1000
_MOST_BYTES_AT_ONCE = 1024 * 1024
# How many reasons are told of one outage.
_MOST_TOLD = 8
# A journal is written anew when so much of it has been delivered.
_DELIVERED_BYTES = 1024 * 1024


def sent_mark(offset_us: int) -> bytes:
    """The record that says: what stands in this journal may have been sent, under that offset."""
    packed: bytes = packb(["sent", offset_us]) or b""
    return packed


class Store(Protocol):
    """The queue on disk, as the queue sees it."""

    size_bytes: int

    def append(self, record: bytes) -> None: ...  # noqa: D102

    def rewrite(self, records: Iterable[bytes]) -> None: ...  # noqa: D102

    def remove(self) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102

    def sync(self) -> None: ...  # noqa: D102


class Waiting(Protocol):
    """A change, as the queue sees it."""

    turn: int
    is_sent: bool

    @property
    def size_bytes(self) -> int: ...  # noqa: D102 - the name says it

    def record(self) -> bytes: ...  # noqa: D102


class Queue:
    """The changes of one writer that the server has not confirmed.

    `offset_us` is the server's clock minus the local one, once it has been measured; it stays the
    same until the queue is empty, so that a change sent twice carries the same stamp.
    """

    def __init__(
        self, most: int, most_bytes: int, open_store: Callable[[], Store] | None = None
    ) -> None:
        self.operations: deque[Any] = deque()
        self.bytes: int = 0
        self.most: int = most
        self.most_bytes: int = most_bytes
        self.offset_us: int | None = None
        self.since_us: int = 0
        self.contact: bytes = b""
        # how many of the first were sent together, and may have been made
        self.in_flight: int = 0
        # makes the journal when the first change waits
        self.open_store: Callable[[], Store] | None = open_store
        self.store: Store | None = None
        # over all times; by then when the first of those that wait now was put in
        self.delivered: int = 0
        self.delivered_before: int = 0
        self._told: set[str] = set()

    def begin(self, since_us: int, contact: bytes) -> None:
        """Note when the server was lost sight of, before the first change is put in."""
        self.since_us, self.contact = since_us, contact
        self.delivered_before = self.delivered
        self._told.clear()

    def is_news(self, reason: str) -> bool:
        """Was nobody told yet, since something was delivered, that this keeps changes waiting?"""
        if reason in self._told or len(self._told) >= _MOST_TOLD:
            return False
        self._told.add(reason)
        return True

    def check(self, operation: Waiting) -> None:
        """Is there room?

        Raises:
            QueueFullError: No; nothing was queued.
        """
        is_full = len(self.operations) >= self.most
        if is_full or self.bytes + operation.size_bytes > self.most_bytes:
            raise QueueFullError(
                f"{len(self.operations)} changes of {self.bytes} bytes wait already: this one was "
                "neither made nor queued"
            )

    def put(self, operation: Waiting) -> None:
        """Queue a change; it is in the journal when this returns.

        Raises:
            QueueFullError: There is no room; nothing was queued.
            JournalError: It could not be written down; nothing was queued.
        """
        self.check(operation)
        if self.store is None and self.open_store is not None:
            self.store = self.open_store()
        if self.store is not None:
            self.store.append(operation.record())
        self.operations.append(operation)
        self.bytes += operation.size_bytes

    def put_first(self, operations: list[Any]) -> None:
        """Queue changes before all others: those that the server has forgotten."""
        self.operations.extendleft(reversed(operations))
        self.bytes += sum(operation.size_bytes for operation in operations)
        self.in_flight = 0

    def sending(self, offset_us: int) -> None:
        """From now on changes are sent; whoever adopts the journal must know."""
        self.offset_us = offset_us
        if self.store is not None:
            # a full disk must not keep anything from being delivered
            with suppress(OSError):
                self.store.append(sent_mark(offset_us))

    def next(self) -> list[Any]:
        """The changes to send together; the same ones again while their answer is owed."""
        if self.in_flight:
            return list(islice(self.operations, self.in_flight))
        chosen: list[Any] = []
        size = 0
        for operation in islice(self.operations, _MOST_AT_ONCE):
            size += operation.size_bytes
            if chosen and size > _MOST_BYTES_AT_ONCE:
                break
            chosen.append(operation)
        self.in_flight = len(chosen)
        return chosen

    def settle(self, turn: int) -> Iterator[Any]:
        """Take out, and give, what the server has confirmed: everything up to the number `turn`."""
        self.in_flight = 0
        while self.operations and self.operations[0].turn <= turn:
            operation = self.operations.popleft()
            self.bytes -= operation.size_bytes
            self.delivered += 1
            yield operation
        self._told.clear()
        if self.store is not None:
            self._shorten(self.store)
        if not self.operations:
            self.offset_us = None

    def _shorten(self, store: Store) -> None:
        if not self.operations:
            self.store = None
            store.remove()
        elif store.size_bytes > 2 * self.bytes + 200 * len(self.operations) + _DELIVERED_BYTES:
            self.save()

    def save(self) -> None:
        """Write the journal anew, as the queue is now."""
        if self.store is not None:
            self.store.rewrite(operation.record() for operation in self.operations)

    def sync(self) -> None:
        """Have the disk itself hold what the journal still owes it."""
        store = self.store
        if store is not None:
            store.sync()

    def move(self) -> None:
        """Begin another journal: what waits belongs to another writer now."""
        if self.store is not None:
            moved, self.store = self.store, None
            if self.operations and self.open_store is not None:
                self.store = self.open_store()
                for operation in self.operations:
                    self.store.append(operation.record())
            # only now: a process that dies in between leaves the changes twice rather than never
            moved.remove()

    def abandon(self) -> int:
        """Leave the changes to whoever adopts the journal; how many are lost as there is none."""
        count = len(self.operations)
        self.operations.clear()
        self.bytes = self.in_flight = 0
        if self.store is not None:
            self.store.close()
            self.store = None
            return 0
        return count
