"""The directory of a cluster: its index lies at one node, the conversations at all of them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from redis_memory import (
    AsyncConversationMemory,
    AsyncConversations,
    ConversationMemory,
    Conversations,
    batch,
    clear,
    expire,
    push,
    snapshot,
    status,
)
from redis_memory.link.cluster import key_slot
from tests.groups import Cluster
from tests.scaling.test_cluster import slot_of
from tests.waiting import wait_until

NAMES = [f"c-{number}" for number in range(12)]


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster for this test alone."""
    with Cluster(replicas=0) as cluster:
        yield cluster


def test_the_directory_does_on_a_cluster_what_it_does_elsewhere(own_cluster: Cluster) -> None:
    """List, describe, move, export, load, prune, reindex, and the end of a lifetime."""
    url = own_cluster.url
    for name in NAMES:
        with ConversationMemory(name, url, timeout_s=5.0) as memory, batch(memory):
            memory.messages = ["hello"]
            memory.state = "open"
    with Conversations(url, timeout_s=5.0) as directory:
        assert directory.list().ids == tuple(reversed(NAMES))
        assert directory.list(where="len(messages) == 1", limit=2).ids == ("c-11", "c-10")
        assert directory.info("c-3").attributes["messages"].length == 1
        directory.rename("c-0", "d")
        directory.copy("d", "e")
        file = io.BytesIO()
        assert directory.export(file).conversations == 13
        assert directory.delete("c-1")
        report = directory.prune(0, keep=["d"])
        assert sorted(report.ids) == sorted([*NAMES[2:], "e"])
        file.seek(0)
        loaded = directory.load(file)
        assert (loaded.created, loaded.skipped) == (12, 1)
        assert directory.count() == directory.stats().conversations == 13
        assert directory.reindex().found == 13
        with ConversationMemory("d", url, timeout_s=5.0) as memory:
            expire(memory, 0.3)
            wait_until(lambda: directory.count() == 12, what="the end of a lifetime")
        with ConversationMemory("e", url, timeout_s=5.0) as memory:
            assert snapshot(memory) == {"messages": ["hello"], "state": "open"}
            clear(memory)
        assert directory.count() == 11


async def test_the_awaited_directory_of_a_cluster(own_cluster: Cluster) -> None:
    """The same in an event loop."""
    url = own_cluster.url
    for name in NAMES:
        async with AsyncConversationMemory(name, url, timeout_s=5.0) as memory:
            await memory.messages.set(["hello"])
    async with AsyncConversations(url, timeout_s=5.0) as directory:
        assert (await directory.list()).ids == tuple(reversed(NAMES))
        await directory.rename("c-0", "d")
        assert (await directory.prune(0, keep=["d"])).pruned == 11
        assert (await directory.reindex()).found == await directory.count() == 1


def test_changes_need_no_index(own_cluster: Cluster) -> None:
    """While the node of the index is away, the memories of the others are written to and read."""
    index = own_cluster.primary_of(key_slot(b"memory:~conversations"))
    name = next(one for one in NAMES if own_cluster.primary_of(slot_of(one)) is not index)
    with ConversationMemory(name, own_cluster.url, timeout_s=0.3, ttl_s=1000) as memory:
        memory.log = [0]
        index.kill()
        for number in range(1, 5):
            push(memory, "log", number)
            expire(memory, 900)
        assert status(memory).queued == 0
        assert memory.log == [0, 1, 2, 3, 4]
