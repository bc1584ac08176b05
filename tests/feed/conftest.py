"""Memories that listen, and the check that they stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.feed.listeners import feed_threads
from tests.outages.conftest import open_memory, other
from tests.waiting import wait_until

__all__ = ["nobody_listens", "open_memory", "other"]


@pytest.fixture(autouse=True)
def nobody_listens() -> Iterator[None]:
    """Fail the test that leaves a thread listening."""
    yield
    wait_until(lambda: not feed_threads(), what="the end of the feed's threads")
