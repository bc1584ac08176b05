"""Waiting for what others do: following a memory on the feed, and looking again when it tells."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from math import inf, isnan
from time import monotonic
from typing import Any, Protocol, TypeVar

from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import EXISTS, MISSING
from redis_memory.core.feed import Listener, News
from redis_memory.core.reading import read
from redis_memory.core.state import State
from redis_memory.core.watching import Change, Watcher
from redis_memory.errors import ClosedError, OfflineError, WaitTimeoutError
from redis_memory.face import Core
from redis_memory.link.feed import Feed
from redis_memory.link.feeds import feed_for
from redis_memory.link.node_feeds import FeedLane

T = TypeVar("T")

# How soon to look again when the server is away, though nothing was heard.
_LOOK_AGAIN_S = 0.1
_FOR_EVER_S = 86_400.0
# How much later than it seems from here a memory may end.
_MARGIN_S = 0.002


class Bell(Protocol):
    """What whoever waits sleeps on. It may be rung from any thread."""

    def ring(self) -> None:
        """Wake whoever waits, now or the next time."""
        raise NotImplementedError

    def wait(self, timeout_s: float) -> Any:
        """Sleep until it rings, at most so long; or return what is to be awaited for that."""
        raise NotImplementedError


class Signal:
    """Rings for every change of the attributes `names`, and when the feed comes or goes."""

    def __init__(self, names: frozenset[str], bell: Bell) -> None:
        self._names = names
        self._bell = bell

    def hear(self, news: News) -> None:
        """Something was changed."""
        if not news.name or news.name in self._names:
            self._bell.ring()

    def wake(self) -> None:
        """The feed was lost, or listens again."""
        self._bell.ring()


class Attention:
    """Follows a memory for a listener, until it is left or nobody holds it any more."""

    def __init__(self, core: Core, listener: Listener) -> None:
        self._core = core
        self.state: State = core.state
        memory = self.state.keys.memory
        self.feed: Feed | FeedLane = feed_for(core.settings, core.client, memory)
        self.patience_s: float = core.settings.feed_timeout_s
        # before it listens: an exception from a signal handler may strike in between
        self.leave: weakref.finalize[..., Attention] = weakref.finalize(
            self, _leave, self.feed, self.state, listener
        )
        self.leave.atexit = False
        self.state.listeners[listener] = None
        self.feed.follow(self.state, listener, self.patience_s)

    def awaiting(
        self, look: Callable[[], Flow[tuple[T | None, float]]], timeout_s: float | None
    ) -> Generator[Flow[tuple[T | None, float]] | float, Any, T | None]:
        """Look, and again whenever the feed tells something, until something is found.

        `look` answers what it has found, and after how many seconds to look again in any case.
        Yields flows to be run, and seconds to wait for the bell at most. Returns None when
        `timeout_s` is over, and when this was left.

        Raises:
            AccessDeniedError: The server does not let this user listen.
        """
        until_s = monotonic() + (_FOR_EVER_S if timeout_s is None else timeout_s)
        while True:
            pause_s = _FOR_EVER_S
            # what was changed before the server confirmed that it tells of changes was not told
            is_heard = self.state.session != 0
            self._check()
            if not self.leave.alive:
                return None
            try:
                found: T | None
                found, pause_s = yield look()
                if found is not None:
                    return found
            except OfflineError:
                pause_s = _LOOK_AGAIN_S
            if not is_heard:
                self.feed.keep()
                pause_s = min(pause_s, self.patience_s)
            left_s = until_s - monotonic()
            if left_s <= 0:
                return None
            yield min(pause_s, left_s)
            if timeout_s is None:
                until_s = monotonic() + _FOR_EVER_S

    def beginning(self, watcher: Watcher) -> Generator[Flow[Any] | float, Any, bool]:
        """Wait until the server tells of changes, and note what there is; whether it could be done.

        Raises:
            OfflineError: The server is away.
        """
        bounds = self.state.bounds
        until_s = monotonic() + 2 * bounds.timeout_s
        while self.state.session == 0:
            self._check()
            left_s = until_s - monotonic()
            if left_s <= 0:
                return False
            yield left_s
        yield watcher.beginning(self.state)
        return True

    def _check(self) -> None:
        """May one go on waiting?

        Raises:
            ClosedError: The memory is closed, or is being closed.
            AccessDeniedError: The server does not let this user listen.
        """
        if self._core.is_left:
            raise ClosedError("this memory was closed")
        if self.feed.refusal is not None:
            raise type(self.feed.refusal)(*self.feed.refusal.args)

    def told(self, watcher: Watcher) -> Flow[tuple[Change | None, float]]:
        """What a watcher has to tell, for `awaiting`."""
        if self.state.session == 0:  # a survey now would miss what happens before the next session
            return None, _FOR_EVER_S
        change = yield from watcher.telling(self.state)
        return change, _pause_s(watcher.ends_s)


class Wanted:
    """What `wait_for` waits for."""

    def __init__(self, core: Core, name: str | Sequence[str], expected: Any) -> None:
        self._core = core
        self._is_single = isinstance(name, str)
        self._names = (name,) if isinstance(name, str) else tuple(name)
        if not self._names:
            raise ValueError("there is no name to wait for")
        for one in self._names:
            core.state.attribute(one)
        self._expected = expected
        self.names: frozenset[str] = frozenset(self._names)

    def look(self) -> Flow[tuple[tuple[Any] | None, float]]:
        """Whether it is so now: the value in a tuple of one.

        One round trip for each name; twice as many when several are found as wanted.
        """
        while True:
            values: list[Any] = []
            for name in self._names:
                value = yield from self._core.reading_there(name)
                values.append(value)
            if not self._holds(values):
                self._check()
                return None, self._pause_s()
            if self._is_single:
                return (values[0],), _FOR_EVER_S
            if (yield from self._is_still()):
                return (tuple(values),), _FOR_EVER_S

    def _check(self) -> None:
        """May it be otherwise later?

        Raises:
            RuntimeError: Not in this block, which shows what it has read or changed itself.
        """
        state = self._core.state
        block = state.block
        own = block is not None and any(block.shows(state.attribute(n)) for n in self._names)
        if block is not None and (block.is_strict or own):
            raise RuntimeError(
                "wait_for would wait in vain: this transaction or batch sees nothing of what "
                "others change now; wait before it begins"
            )

    def _pause_s(self) -> float:
        """How long nothing changes unless the feed tells it."""
        state = self._core.state
        # nobody tells of the end of a lifetime
        if self._expected is not MISSING or not state.session:
            return _FOR_EVER_S
        known = [state.attribute(name) for name in self._names]
        return _pause_s(min((a.ends_s for a in known if a.session == state.session), default=inf))

    def _is_still(self) -> Flow[bool]:
        """Is everything as it was read, one after the other? Then it was so at one moment."""
        state = self._core.state
        before = [_known(state, name) for name in self._names]
        for name in self._names:
            yield from read(state, name, may_recall=False)
        return before == [_known(state, name) for name in self._names]

    def _holds(self, values: list[Any]) -> bool:
        expected = self._expected
        if expected is MISSING:
            return all(value is MISSING for value in values)
        if any(value is MISSING for value in values):
            return False
        if expected is EXISTS:
            return True
        if callable(expected):
            return bool(expected(*values))
        return all(value == expected for value in values)

    def timed_out(self, timeout_s: float | None) -> WaitTimeoutError:
        """The error for a wait that was in vain."""
        names = ", ".join(map(repr, self._names))
        return WaitTimeoutError(
            f"{self._core.state.label}: what was wanted of {names} was not so within {timeout_s} s"
        )


def _pause_s(ends_s: float) -> float:
    """How long to sleep where a memory ends then."""
    left_s = ends_s - monotonic()
    return left_s + _MARGIN_S if left_s > 0 else _LOOK_AGAIN_S


def _known(state: State, name: str) -> bytes:
    copy = state.attribute(name).copy
    return b"" if copy is None else copy.descriptor


def check_timeout(timeout_s: object) -> None:
    """Make sure that it is a time, or None.

    Raises:
        TypeError, ValueError: It is no number of seconds.
    """
    if timeout_s is None:
        return
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)):
        kind = type(timeout_s).__name__
        raise TypeError(f"timeout_s is a number of seconds or None, not {kind}")
    if isnan(timeout_s):
        raise ValueError("timeout_s is a number of seconds or None, not nan")


def _leave(feed: Feed | FeedLane, state: State, listener: Listener) -> None:
    state.listeners.pop(listener, None)
    feed.leave(state, listener)
