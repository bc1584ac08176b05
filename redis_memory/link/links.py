"""The links of this process: one for all memories on the same server with the same time limits."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from redis_memory.core.state import State
from redis_memory.core.writer import Writer
from redis_memory.errors import RedisMemoryError
from redis_memory.link import address, cluster, credentials, seeds, sentinel
from redis_memory.link.address import Address
from redis_memory.link.async_hub import AsyncHub
from redis_memory.link.async_link import AsyncLink
from redis_memory.link.cluster import NodeAddress
from redis_memory.link.hub import BlockingHub
from redis_memory.link.link import Link
from redis_memory.settings import Settings
from redis_memory.telemetry.switch import is_on

# A cluster has a link for each node.
Way = Link | BlockingHub
AsyncWay = AsyncLink | AsyncHub

_log = logging.getLogger("redis_memory")

_MOST_MEMORIES = 10_000
# How many idle writers keep the changes that the server might forget.
_MOST_WINDOWS = 256
# What the interpreter's end may be put off by.
_LAST_ATTEMPT_S = 1.0

# reentrant: a memory that is collected while a link is being opened leaves its own
_lock = threading.RLock()
_links: dict[Any, Way] = {}
_async_links: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, AsyncWay]] = (
    weakref.WeakKeyDictionary()
)


class IdleWriters:
    """Writers whose memory object is gone, for the next object of the same memory.

    A web worker opens a memory for each request; without this each would register a writer that
    the server remembers for days.
    """

    def __init__(self) -> None:
        self._writers: OrderedDict[tuple[str, bytes], list[Writer]] = OrderedDict()
        self._windows: deque[Writer] = deque()

    def take(self, server: str, memory: bytes) -> Writer | None:
        """A writer of this memory that nobody uses."""
        idle = self._writers.get((server, memory))
        try:
            return idle.pop() if idle else None
        except IndexError:  # another thread was faster
            return None

    def put(self, server: str, memory: bytes, writer: Writer) -> None:
        """Keep a writer that owes the server nothing."""
        if writer.last and not writer.unsettled:
            self._writers.setdefault((server, memory), []).append(writer)
            self._windows.append(writer)
            if len(self._windows) > _MOST_WINDOWS:
                self._windows.popleft().window.clear()
            while len(self._writers) > _MOST_MEMORIES:
                self._writers.popitem(last=False)

    def clear(self) -> None:
        """Forget them: they belong to the parent process."""
        self._writers.clear()
        self._windows.clear()


idle_writers: Final = IdleWriters()


def open_link(settings: Settings, client: Any = None) -> Way:
    """The link for these settings, shared with whoever else asked for the same; no I/O.

    Raises:
        ConfigurationError: The url cannot work.
    """
    key = _key(settings, client)
    with _lock:
        link = _links.get(key)
        if link is None:
            to = address_for(settings, client)
            link = _links[key] = _made(settings, to)
            link.is_of_client = client is not None
        link.users += 1
        return link


def open_async_link(settings: Settings, client: Any, to: Address) -> AsyncWay:
    """As `open_link`, for the event loop that runs now: connections belong to one loop."""
    loop = asyncio.get_running_loop()
    with _lock:
        # their connections refer to them, so they would never be collected
        for gone in [other for other in _async_links if other.is_closed()]:
            del _async_links[gone]
        links = _async_links.setdefault(loop, {})
        key = _key(settings, client)
        link = links.get(key)
        if link is None:
            link = links[key] = _async_made(settings, to)
            link.is_of_client = client is not None
        link.users += 1
        return link


def async_orphan(settings: Settings, client: Any, memory: bytes) -> Any:
    """The driver that an async memory of the loop that runs now left behind with changes."""
    try:
        links = _async_links.get(asyncio.get_running_loop(), {})
    except RuntimeError:  # no event loop runs
        return None
    link = links.get(_key(settings, client))
    return None if link is None else link.orphan(memory)


def address_for(settings: Settings, client: Any, *, is_async: bool = False) -> Address:
    """The server that the settings, or a client of the user's, name; no I/O.

    Raises:
        ConfigurationError: The url cannot work, or the client is of the wrong kind.
    """
    if client is not None:
        return address.of_client(client, settings, is_async=is_async)
    url = settings.address
    credentials.remember(url)
    kind = seeds.kind_of(url)
    if url is not None and kind == seeds.SENTINEL:
        return sentinel.of_settings(settings, url, is_async=is_async)
    if url is not None and kind == seeds.CLUSTER:
        return cluster.of_settings(settings, url, is_async=is_async)
    return address.of_settings(settings, is_async=is_async)


def _key(settings: Settings, client: Any) -> Any:
    return *server_key(settings, client), *_limits(settings), is_on(settings)


def _limits(settings: Settings) -> tuple[float, float, int]:
    return settings.timeout_s, settings.reconnect_max_s, settings.replicas


def _made(settings: Settings, to: Address) -> Way:
    kind, hub_kind = Link, BlockingHub
    if is_on(settings):
        from redis_memory.telemetry.links import MeasuredHub, MeasuredLink  # noqa: PLC0415 - optional

        kind, hub_kind = MeasuredLink, MeasuredHub
    limits = _limits(settings)
    return hub_kind(to, *limits) if isinstance(to, NodeAddress) else kind(to, *limits)


def _async_made(settings: Settings, to: Address) -> AsyncWay:
    kind, hub_kind = AsyncLink, AsyncHub
    if is_on(settings):
        from redis_memory.telemetry.links import (  # noqa: PLC0415 - optional
            MeasuredAsyncHub,
            MeasuredAsyncLink,
        )

        kind, hub_kind = MeasuredAsyncLink, MeasuredAsyncHub
    limits = _limits(settings)
    return hub_kind(to, *limits) if isinstance(to, NodeAddress) else kind(to, *limits)


def server_key(settings: Settings, client: Any) -> tuple[Any, ...]:
    """What tells one server from another."""
    if client is not None:
        return (client,)
    watched = settings.sentinel_username, settings.sentinel_password
    return settings.address, settings.embedded, settings.embedded_linger_s, watched


def reuse_writer(link: Way | AsyncWay, state: State) -> None:
    """Go on as a writer of the same memory that nobody uses any more, if there is one."""
    if state.writer.last == 0:
        state.writer = idle_writers.take(link.address.label, state.identity) or state.writer
        if state.lifetime:
            # another memory object may have been opened with another lifetime
            state.writer.due_s = 0.0


def attach_journal(
    state: State, server: str, settings: Settings, deliver: Callable[[State], object]
) -> None:
    """Where the settings name a folder for journals: do what `journals.attach` does."""
    if settings.journal is not None:
        from redis_memory.link import journals  # noqa: PLC0415 - few memories have a journal

        journals.attach(state, server, settings.journal, settings, deliver)


def leave(link: Way | AsyncWay, state: State) -> None:
    """A memory object needs its link no more; another one may use its writer."""
    idle_writers.put(link.address.label, state.identity, state.writer)
    release(link)


def release(link: Way | AsyncWay) -> None:
    """Somebody needs a link no more."""
    with _lock:
        link.users -= 1
    # a link by a url stays for the next memory; one by a client would stay with that client
    if link.is_of_client and is_unused(link) and isinstance(link, Link):
        link.close()


def is_unused(link: Way | AsyncWay) -> bool:
    """Forget a link that no memory object uses any more; whether it was so."""
    with _lock:
        if link.users > 0:
            return False
        everywhere: list[dict[Any, Any]] = [_links, *_async_links.values()]
        for known in everywhere:
            for key in [key for key, other in known.items() if other is link]:
                del known[key]
        return True


def _at_exit() -> None:
    """Before the interpreter ends: try once more to deliver what waits."""
    until_s = time.monotonic() + _LAST_ATTEMPT_S
    waiting = [waiter for link in _links.values() for waiter in list(link.waiting)]
    for waiter in waiting:
        with suppress(RedisMemoryError):
            if time.monotonic() < until_s:
                waiter.deliver()
    by_loop = [link for links in _async_links.values() for link in links.values()]
    cluster.give_up_entries()
    left = [waiter.state for link in by_loop for waiter in link.waiting]
    for state in [waiter.state for waiter in waiting] + left:
        count = len(state.queue.operations)
        if count and state.queue.store is None:
            _log.error("%d changes of %s are lost: there is no journal", count, state.label)


atexit.register(_at_exit)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _lock = threading.RLock()
    idle_writers.clear()
    cluster.renew_locks()
    for links in _async_links.values():
        for async_link in links.values():
            async_link.after_fork()
    _async_links.clear()
    for link in _links.values():
        link.after_fork()


os.register_at_fork(after_in_child=_after_fork)
