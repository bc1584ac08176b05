"""The feeds of this process: one for all memories on the same server, of both faces."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from redis_memory.link import links
from redis_memory.link.address import Address, blocking
from redis_memory.link.feed import Feed
from redis_memory.settings import Settings

_lock = threading.RLock()
# a feed lives as long as somebody follows it
_feeds: weakref.WeakValueDictionary[Any, Feed] = weakref.WeakValueDictionary()


def feed_for(settings: Settings, client: Any = None) -> Feed:
    """The feed of the server that the settings, or a client of the user's, name; no I/O.

    Raises:
        ConfigurationError: The url cannot work.
    """
    key = links.server_key(settings, client)
    with _lock:
        feed = _feeds.get(key)
        if feed is None:
            to = _address(settings, client)
            feed = _feeds[key] = Feed(to, settings.feed_timeout_s, settings.reconnect_max_s)
        return feed


def known(settings: Settings, client: Any = None) -> Feed | None:
    """The feed of that server, if there is one."""
    return _feeds.get(links.server_key(settings, client))


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
