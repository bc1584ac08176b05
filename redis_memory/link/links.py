"""The links of this process: one for all memories on the same server with the same time limits."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from redis_memory.core.state import State, Writer
from redis_memory.link import address, credentials
from redis_memory.link.link import Link
from redis_memory.settings import Settings

_MOST_WRITERS = 10_000

_lock = threading.Lock()
_links: dict[Any, Link] = {}
_users: dict[Link, int] = {}


class IdleWriters:
    """Writers whose memory object is gone, for the next object of the same memory.

    A web worker opens a memory for each request; without this each would register a writer that
    the server remembers for days.
    """

    def __init__(self) -> None:
        self._writers: OrderedDict[tuple[str, bytes], Writer] = OrderedDict()

    def take(self, server: str, memory: bytes) -> Writer | None:
        """A writer of this memory that nobody uses."""
        return self._writers.pop((server, memory), None)

    def put(self, server: str, memory: bytes, writer: Writer) -> None:
        """Keep a writer that owes the server nothing."""
        if writer.last and not writer.unsettled:
            self._writers[server, memory] = writer
            while len(self._writers) > _MOST_WRITERS:
                self._writers.popitem(last=False)

    def clear(self) -> None:
        """Forget them: they belong to the parent process."""
        self._writers.clear()


idle_writers = IdleWriters()


def open_link(settings: Settings, client: Any = None) -> Link:
    """The link for these settings, shared with whoever else asked for the same; no I/O.

    Raises:
        ConfigurationError: The url cannot work.
    """
    key = _key(settings, client)
    with _lock:
        link = _links.get(key)
        if link is None:
            if client is None:
                credentials.remember(settings.address)
                to = address.of_settings(settings)
            else:
                to = address.of_client(client, settings)
            link = _links[key] = Link(to, settings.timeout_s)
            _users[link] = 0
        _users[link] += 1
        return link


def _key(settings: Settings, client: Any) -> Any:
    if client is not None:
        return id(client), settings.timeout_s
    return settings.address, settings.embedded, settings.embedded_linger_s, settings.timeout_s


def release(link: Link, state: State) -> None:
    """A memory object is gone: others may use its writer."""
    idle_writers.put(link.address.label, state.keys.memory, state.writer)
    with _lock:
        _users[link] -= 1


def close_unused(link: Link) -> None:
    """Close the connections of a link that no memory object uses any more."""
    with _lock:
        if _users.get(link, 0) > 0:
            return
        _users.pop(link, None)
        for key in [key for key, known in _links.items() if known is link]:
            del _links[key]
    link.close()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _lock = threading.Lock()
    idle_writers.clear()
    for link in _links.values():
        link.after_fork()


os.register_at_fork(after_in_child=_after_fork)
