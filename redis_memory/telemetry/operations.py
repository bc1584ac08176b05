"""What is timed, counted and traced of one operation of a memory or a directory."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from itertools import islice
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeVar

from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from redis_memory.core.calls import Errand
from redis_memory.core.state import State
from redis_memory.errors import OfflineError, RedisMemoryError
from redis_memory.link.address import Address
from redis_memory.telemetry import instruments
from redis_memory.telemetry.instruments import Attributes, Instruments, server_attributes

T = TypeVar("T")
Steps = Generator[Any, Any, T]

# By the names of the flows that the faces run. What is not here is `other`.
KINDS = {
    "reading": "read",
    "_reading": "read",
    "reading_there": "read",
    "assigning": "assign",
    "deleting": "delete",
    "finding": "find",
    "defaulting": "setdefault",
    "pushing": "push",
    "incrementing": "increment",
    "comparing": "compare_and_set",
    "windowing": "window",
    "collecting": "snapshot",
    "naming": "names",
    "clearing": "clear",
    "clear": "clear",
    "_written": "setattr",
    "append": "append",
    "expire": "expire",
    "ping": "ping",
    "beginning": "begin",
    "committing": "commit",
    "drain": "replay",
    "asking": "lease.acquire",
    "renewing": "lease.renew",
    "leaving": "lease.release",
    "releasing": "lease.release",
    "writing": "lease.write",
    "look": "wait_for",
    "telling": "watch",
    "told": "watch",
}
# The same of a directory.
DIRECTORY_KINDS = {
    "page": "list",
    "info": "info",
    "inspect": "info",
    "exists": "exists",
    "delete": "delete",
    "copy": "copy",
    "rename": "rename",
    "export": "export",
    "load": "load",
    "_told_of_prune": "prune",
    "reindex": "reindex",
    "count": "count",
    "stats": "stats",
}
_DIRECTORY = "conversations."
OTHER = "other"
# How an operation ended.
OK, AWAY, ERROR = "ok", "away", "error"


def kind_of(flow: Any) -> str:
    """Which operation a flow is, by its function; a mutator goes by its own name."""
    name = getattr(flow, "__name__", "")
    kind = KINDS.get(name)
    if kind is not None:
        return kind
    given = inspect.getgeneratorlocals(flow) if inspect.isgenerator(flow) else {}
    method = given.get("method")
    if isinstance(method, str):  # of a table of mutators, so there are few
        return method.strip("_")
    inner = given.get("flow")
    return kind_of(inner) if inner is not None else OTHER


class Tally:
    """Operations on one memory, or on one directory."""

    def __init__(self, address: Address, state: State | None = None, *, with_ids: bool) -> None:
        self.instruments: Instruments = instruments.current()
        self.server: Attributes = server_attributes(address)
        self.conversation_id: str | None = None
        if state is not None and with_ids:
            self.conversation_id = state.conversation_id
        self._state = state
        self._conflicts, self._delivered, self._data_losses = self._counts()
        # by kind, outcome and error
        self._attributes: dict[tuple[str, str, str], Attributes] = {}

    def operation(self, flow: Any) -> Operation:
        """What is measured of a flow, or a course, that is about to be run."""
        if self._state is None:
            known = DIRECTORY_KINDS.get(getattr(flow, "__name__", ""), OTHER)
            return Operation(self, _DIRECTORY + known)
        return Operation(self, kind_of(flow))

    def attributes(self, kind: str, outcome: str, error: str) -> Attributes:
        """What a measured duration is said to be of."""
        key = kind, outcome, error
        attributes = self._attributes.get(key)
        if attributes is None:
            attributes = {
                **self.server,
                "db.operation.name": kind,
                "redis_memory.outcome": outcome,
                **({"error.type": error} if error else {}),
            }
            self._attributes[key] = attributes
        return attributes

    def _counts(self) -> tuple[int, int, int]:
        state = self._state
        if state is None:
            return 0, 0, 0
        return state.conflicts.count, state.queue.delivered, state.data_losses

    def count(self) -> None:
        """Count what has happened since the last time: conflicts, what was delivered, losses."""
        counts = self._counts()
        before = self._conflicts, self._delivered, self._data_losses
        if counts == before or self._state is None:
            return
        self._conflicts, self._delivered, self._data_losses = counts
        new = counts[0] - before[0]
        for conflict in islice(reversed(self._state.conflicts.kept), max(0, new)):
            attributes = {
                "redis_memory.conflict.reason": conflict.reason,
                "redis_memory.conflict.winner": conflict.winner,
            }
            self.instruments.conflicts.add(1, {**self.server, **attributes})
        # a forked child has a queue of its own, which begins at 0
        if counts[1] > before[1]:
            self.instruments.replayed.add(counts[1] - before[1], self.server)
        if counts[2] > before[2]:
            self.instruments.data_losses.add(counts[2] - before[2], self.server)


class Operation:
    """One operation, from its beginning to its end: a duration, and a span."""

    __slots__ = ("_begun_s", "_is_away", "_kind", "_round_trips", "_span", "_tally")

    def __init__(self, tally: Tally, kind: str) -> None:
        self._tally = tally
        self._kind = kind
        self._round_trips = 0
        self._is_away = False
        self._begun_s = 0.0
        self._span: Span | None = None

    def __enter__(self) -> Self:
        span = self._tally.instruments.tracer.start_span(
            f"redis_memory.{self._kind}", kind=SpanKind.CLIENT
        )
        self._span = span if span.is_recording() else None
        self._begun_s = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took_s = perf_counter() - self._begun_s
        failure = "" if kind is None else kind.__name__
        outcome = ERROR if failure else AWAY if self._is_away else OK
        attributes = self._tally.attributes(self._kind, outcome, failure)
        self._tally.instruments.operations.record(took_s, attributes)
        if self._span is not None:
            self._end(self._span, attributes, is_error=isinstance(error, RedisMemoryError))

    def _end(self, span: Span, attributes: Attributes, *, is_error: bool) -> None:
        span.set_attributes(attributes)
        span.set_attribute("redis_memory.round_trips", self._round_trips)
        if self._tally.conversation_id is not None:
            span.set_attribute("redis_memory.conversation_id", self._tally.conversation_id)
        if is_error:
            # without the message: it may name attributes and keys, and a key is a value
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def counted(self, steps: Steps[T]) -> Steps[T]:
        """The same flow, its calls counted."""
        return counted(self, steps)

    def took(self, step: Any) -> None:
        """A step was answered."""
        if not isinstance(step, Errand):
            self._round_trips += 1

    def failed(self, error: Exception) -> None:
        """A step was not."""
        if isinstance(error, OfflineError):
            self._is_away = True


def counted(operation: Operation, steps: Steps[T]) -> Steps[T]:
    """Pass on what steps yield and are sent, and count it."""
    try:
        step = next(steps)
        while True:
            try:
                reply = yield step
            except (RedisMemoryError, OSError) as error:
                operation.failed(error)
                step = steps.throw(error)
            else:
                operation.took(step)
                step = steps.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def is_counted(flow: Any) -> bool:
    """Is a flow one that `counted` gave?"""
    return getattr(flow, "__name__", "") == counted.__name__
