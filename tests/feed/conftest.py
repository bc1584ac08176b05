"""Memories that listen, and the check that they stop."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest

from redis_memory.link import feeds, links
from redis_memory.settings import resolve
from tests.faults import FaultProxy
from tests.feed.listeners import feed_threads
from tests.outages.conftest import open_memory, other
from tests.servers import Server
from tests.waiting import wait_until

__all__ = ["nobody_listens", "open_memory", "other"]


@pytest.fixture(autouse=True)
def nobody_listens() -> Iterator[None]:
    """Fail the test that leaves a thread listening."""
    yield
    wait_until(lambda: not feed_threads(), what="the end of the feed's threads")


@pytest.fixture
def feed_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy that only the feed goes through; calls go past it."""
    with FaultProxy(server.url) as proxy:
        address = links.address_for(resolve(proxy.url, None, None, {}), None)
        monkeypatch.setattr(feeds, "_address", lambda *_: address)
        # a feed of before, which somebody may still hold, goes another way
        monkeypatch.setattr(feeds, "_feeds", weakref.WeakValueDictionary())
        yield proxy
