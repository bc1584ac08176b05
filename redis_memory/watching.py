"""Waiting for what other processes do: `watch` and `wait_for`, blocking."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from redis_memory.attention import Attention, Signal, Wanted, check_timeout
from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import EXISTS
from redis_memory.core.watching import Change, Watcher
from redis_memory.errors import ClosedError, OfflineError
from redis_memory.link.steps import driven
from redis_memory.memory import BlockingCore, Memory, core_of

T = TypeVar("T")


class ThreadBell:
    """Wakes a thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """Wake whoever waits, now or the next time."""
        self._event.set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until it rings, at most so long; whether it rang."""
        rang = self._event.wait(timeout_s)
        self._event.clear()
        return rang


def run(core: BlockingCore, bell: ThreadBell, steps: Generator[Flow[Any] | float, Any, T]) -> T:
    """Run what yields flows, and seconds to wait for the bell."""

    def do(step: Flow[Any] | float) -> Any:
        return bell.wait(step) if isinstance(step, (int, float)) else core.run(step)

    return driven(steps, do)


class Watch(Iterator[Change]):
    """The changes of a memory from now on; what `watch` gives.

    Used by one thread. Closed by `close`, by the end of a `with` block, and when nobody holds it.
    """

    def __init__(self, core: BlockingCore, names: tuple[str, ...], timeout_s: float | None) -> None:
        check_timeout(timeout_s)
        self._core = core
        self._bell = ThreadBell()
        self._watcher = Watcher(names, self._bell.ring)
        self._attention = Attention(core, self._watcher)
        self._timeout_s = timeout_s
        try:
            is_there = run(core, self._bell, self._attention.beginning(self._watcher))
        except BaseException:  # also a signal: nobody holds this watch, so nobody could close it
            self.close()
            raise
        if not is_there:
            self.close()
            raise OfflineError("the server tells of no changes now: its feed cannot be reached")

    def __next__(self) -> Change:
        if not self._attention.leave.alive:
            raise StopIteration
        steps = self._attention.awaiting(self._look, self._timeout_s)
        try:
            change = run(self._core, self._bell, steps)
        except ClosedError:
            self.close()
            raise
        if change is None:
            raise StopIteration
        return change

    def _look(self) -> Flow[tuple[Change | None, float]]:
        return self._attention.told(self._watcher)

    def close(self) -> None:
        """Listen no more; the iteration ends."""
        self._attention.leave()
        self._bell.ring()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def watch(memory: Memory, *names: str, timeout_s: float | None = None) -> Watch:
    """The changes of some attributes, of all without names, by any process, as they happen.

    Watching begins with the call: what is changed later is told, also by this process. It survives
    outages and reconnections; what happened in between is told as the latest state, once for each
    attribute, and so is the end of a lifetime. Leaving the loop frees what it holds.

    Args:
        memory: Whose attributes.
        names: Which ones; they need not exist.
        timeout_s: The iteration ends when nothing has happened for so many seconds.

    Raises:
        InvalidNameError: No attribute can have that name.
        OfflineError: The server cannot be reached now.
        AccessDeniedError: It does not let this user subscribe to the memory's channel.

    Cost: two round trips to begin. A change costs none while its value comes with it: a scalar, or
    what was appended, up to 16 KiB. Otherwise it takes one, which reads the attribute. One more
    at the end of each lifetime that changes have put off.
    """
    return Watch(core_of(memory), names, timeout_s)


def wait_for(
    memory: Memory,
    name: str | Sequence[str],
    expected: Any = EXISTS,
    *,
    timeout_s: float | None = None,
) -> Any:
    """Wait until an attribute exists, equals `expected`, or satisfies it where it is a function.

    Args:
        memory: Whose attribute.
        name: Its name; or several, whose values must all fit at once. A function is given one
            argument for each.
        expected: A value, `EXISTS`, `MISSING` (wait until it is deleted), or a function.
        timeout_s: How many seconds to wait; None waits for ever.

    Returns:
        The value, as `memory.name` reads; a tuple of them for several names.

    Raises:
        WaitTimeoutError: It was not so within `timeout_s`.
        OfflineError: The server is away when the wait begins. An outage later is waited out.
        RuntimeError: It is not so, and this is inside a `transaction`, or a `batch` that has
            changed the attribute: what others change is not seen there.
        Exception: What the function raises.

    Cost: one round trip when it is so already; else one for each change of these attributes, and
    for `MISSING` one at the end of each lifetime. No polling.
    """
    core = core_of(memory)
    check_timeout(timeout_s)
    wanted = Wanted(core, name, expected)
    found, _ = core.run(wanted.look())
    if found is None:
        bell = ThreadBell()
        attention = Attention(core, Signal(wanted.names, bell))
        try:
            found = run(core, bell, attention.awaiting(wanted.look, timeout_s))
        finally:
            attention.leave()
        if found is None:
            raise wanted.timed_out(timeout_s)
    return found[0]
