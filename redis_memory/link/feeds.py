"""The feeds of this process: one for all memories on the same server or node, of both faces."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from redis_memory.link import links
from redis_memory.link.address import Address, blocking
from redis_memory.link.cluster import NodeAddress
from redis_memory.link.feed import Feed
from redis_memory.link.node_feeds import FeedLane, NodeFeeds
from redis_memory.settings import Settings
from redis_memory.telemetry.switch import is_on

_lock = threading.RLock()
# a feed lives as long as somebody follows it
_feeds: weakref.WeakValueDictionary[Any, Feed | NodeFeeds] = weakref.WeakValueDictionary()


def feed_for(settings: Settings, client: Any, memory: bytes) -> Feed | FeedLane:
    """The feed for a memory of the server that the settings, or a client, name; no I/O.

    Raises:
        ConfigurationError: The url cannot work.
    """
    key = _key(settings, client)
    with _lock:
        feed = _feeds.get(key)
        if feed is None:
            feed = _feeds[key] = _made(settings, _address(settings, client))
        return feed.lane(memory) if isinstance(feed, NodeFeeds) else feed


def known(settings: Settings, client: Any, memory: bytes) -> Feed | FeedLane | None:
    """The feed for a memory of that server, if the server has one."""
    feed = _feeds.get(_key(settings, client))
    return feed.lane(memory) if isinstance(feed, NodeFeeds) else feed


def _key(settings: Settings, client: Any) -> tuple[Any, ...]:
    return *links.server_key(settings, client), is_on(settings)


def _made(settings: Settings, to: Address) -> Feed | NodeFeeds:
    kind, hub_kind = Feed, NodeFeeds
    if is_on(settings):
        from redis_memory.telemetry.feeds import MeasuredFeed, MeasuredNodeFeeds  # noqa: PLC0415 - optional

        kind, hub_kind = MeasuredFeed, MeasuredNodeFeeds
    limits = settings.feed_timeout_s, settings.reconnect_max_s
    return hub_kind(to, *limits) if isinstance(to, NodeAddress) else kind(to, *limits)


def _address(settings: Settings, client: Any) -> Address:
    if client is None:
        return links.address_for(settings, None)
    return blocking(client, settings)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _lock = threading.RLock()
    for feed in list(_feeds.values()):
        feed.after_fork()


os.register_at_fork(after_in_child=_after_fork)
