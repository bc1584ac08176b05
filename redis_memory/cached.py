"""Reading without a round trip: what the copies may answer while the feed is known to be alive."""

from __future__ import annotations

import datetime
import decimal
import uuid
import weakref
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any, Final

from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.state import State
from redis_memory.link import feeds
from redis_memory.link.feed import Feed
from redis_memory.link.node_feeds import FeedLane
from redis_memory.settings import Settings


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


# What only the server can tell.
UNKNOWN: Final = _Unknown()

# Types whose values are given out as they are; of all others, a proxy may have to be made.
_PLAIN = frozenset(
    {str, int, float, bool, type(None), bytes, uuid.UUID, decimal.Decimal}
    | {datetime.datetime, datetime.date, datetime.time, datetime.timedelta}
)


class CachedReads:
    """A memory's copies as answers.

    A copy answers if it was read since this session of the feed began, if the feed has told of no
    newer version since, and if a ping sent within the last `feed_timeout_s` has been answered: the
    messages of all changes before that ping have been heard by then. Own changes bring the copy up
    to date themselves. When the memory may have ended, as it was read, the server is asked again.
    """

    __slots__ = (
        "_feed",
        "_leave",
        "client",
        "is_cached",
        "is_left",
        "max_age_s",
        "patience_s",
        "state",
    )

    state: State
    settings: Settings

    def follow(self, settings: Settings, client: Any) -> None:
        """Begin to listen, if the settings say so."""
        self.client: Any = client
        self.patience_s: float = settings.feed_timeout_s
        self.max_age_s: float = settings.cached_max_age_s
        self.is_cached: bool = settings.read_mode == "cached"
        self.is_left: bool = False
        self._feed: Feed | FeedLane | None = None
        self._leave: weakref.finalize[..., CachedReads] | None = None
        if self.is_cached:
            self._feed = feed = feeds.feed_for(settings, client, self.state.keys.memory)
            who = object()
            # before it follows: an exception from a signal handler may strike in between
            self._leave = weakref.finalize(self, feed.leave, self.state, who)
            self._leave.atexit = False
            feed.follow(self.state, who, settings.feed_timeout_s)

    @property
    def hears(self) -> bool | None:
        """Is it certain that all changes are heard of? None when nobody listens."""
        feed = feeds.known(self.settings, self.client, self.state.keys.memory)
        if feed is None or not feed.follows(self.state):
            return None
        is_fresh = monotonic() - feed.answered_s <= self.patience_s
        return is_fresh and self.state.session != 0

    def leave(self) -> None:
        """Listen no more."""
        self.is_cached, self.is_left = False, True
        if self._leave is not None:
            self._leave()
        feed = feeds.known(self.settings, self.client, self.state.keys.memory)
        if feed is not None:
            feed.close_unused()
        # who waits for a change of this memory sees that it is being closed
        for listener in list(self.state.listeners):
            listener.wake()

    def known(self, name: str) -> Any:  # noqa: PLR0911 - flat: it is called at every read
        """What an attribute reads as, without a round trip; `UNKNOWN`, or `MISSING`."""
        state, feed = self.state, self._feed
        attribute = state.attributes.get(name)
        if feed is None or attribute is None or attribute.session != state.session:
            if feed is not None and not state.session:
                feed.keep()
            return UNKNOWN
        copy, now_s = attribute.copy, monotonic()
        is_pending = state.is_waiting or state.block is not None
        if is_pending or now_s - feed.answered_s > self.patience_s:
            return UNKNOWN
        # FLUSHALL and the like are told to nobody, the end of a lifetime neither
        if now_s - attribute.checked_s > self.max_age_s or now_s >= attribute.ends_s:
            return UNKNOWN
        if copy is None:
            if not self._is_missing(attribute):
                return UNKNOWN
            with self.guard:
                # else another thread has created it meanwhile
                return self.shown(name, None) if self._is_missing(attribute) else UNKNOWN
        descriptor, value = copy.descriptor, copy.value
        if not descriptor or descriptor[1:14] < attribute.newest or copy.unseen is not None:
            return UNKNOWN
        if type(value) in _PLAIN:
            if attribute.copy is not copy:
                return UNKNOWN  # perhaps of another thread's block, which was undone meanwhile
            self.notice(name)
            return value
        with self.guard:
            # else another thread has changed it, or left it half changed
            is_still = attribute.copy is copy and self._is(copy, descriptor)
            return self.shown(name, copy) if is_still else UNKNOWN

    @staticmethod
    def _is_missing(attribute: Attribute) -> bool:
        return attribute.copy is None and attribute.is_absent and attribute.seen >= attribute.newest

    @staticmethod
    def _is(copy: Copy, descriptor: bytes) -> bool:
        return copy.descriptor == descriptor

    @property
    def guard(self) -> AbstractContextManager[Any]:
        """What is held while copies are changed."""
        raise NotImplementedError

    def shown(self, name: str, copy: Copy | None) -> Any:
        """What an attribute reads as of which this is known."""
        raise NotImplementedError

    def notice(self, name: str) -> None:
        """Whoever runs now has seen that the attribute is there."""
        raise NotImplementedError
