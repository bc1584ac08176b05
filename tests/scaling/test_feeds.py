"""Who listens hears of every change, whichever server takes over, and no read is silently stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

import pytest

from redis_memory import ConversationMemory, close, push, watch
from redis_memory.cached import UNKNOWN
from redis_memory.face import Core
from redis_memory.link.cluster import key_slot
from tests.groups import Cluster, Service, lose_primary
from tests.outages.faces import Awaited, Blocking, Face, OpenFace
from tests.waiting import wait_until

FEED_TIMEOUT_S = 0.4
HEARD_S = 20.0


def slot_of(name: str) -> int:
    """The slot of a conversation."""
    return key_slot(f"memory:{{{name}}}".encode())


def core_of(face: Face) -> Core:
    """What stands behind a memory."""
    assert isinstance(face, Blocking | Awaited)
    core: Core = face.memory.__dict__["_redis_memory_core"]
    return core


def is_known(face: Face, name: str) -> bool:
    """Can an attribute be read without a round trip, once it has been read?"""
    face.read(name)
    return core_of(face).known(name) is not UNKNOWN


def has_read(face: Face, name: str, value: Any) -> bool:
    """Does an attribute read so now?"""
    return bool(face.read(name) == value)


def cached(open_face: OpenFace, name: str, url: str) -> Face:
    """A memory with cached reads, in either face."""
    return open_face(name, url, read_mode="cached", feed_timeout_s=FEED_TIMEOUT_S)


@pytest.fixture
def other() -> Iterator[Callable[[str, str], ConversationMemory]]:
    """Open the same conversation for somebody else, who knows nothing of the first."""
    with ExitStack() as stack:

        def opened(name: str, url: str) -> ConversationMemory:
            memory = ConversationMemory(name, url, timeout_s=5.0, reconnect_max_s=0.1)
            return stack.enter_context(memory)

        yield opened


Other = Callable[[str, str], ConversationMemory]


def test_cached_reads_of_a_cluster_are_true(
    open_face: OpenFace, other: Other, cluster: Cluster, name: str
) -> None:
    """Memories of all nodes are read without round trips, and a change by others is seen."""
    names = [f"{name}-{number}" for number in range(6)]
    faces = [cached(open_face, one, cluster.url) for one in names]
    others = [other(one, cluster.url) for one in names]
    assert len({cluster.primary_of(slot_of(one)).port for one in names}) > 1
    for face, memory in zip(faces, others, strict=True):
        memory.log = [0]
        wait_until(partial(is_known, face, "log"), what="the feed")
        memory.log.append(1)
        wait_until(partial(has_read, face, "log", [0, 1]), what="the change")


def test_a_cached_reader_of_a_cluster_notices_an_ordered_failover(
    open_face: OpenFace, other: Other, name: str
) -> None:
    """Who only reads from its copies follows to the new primary, though the old one answers."""
    with Cluster() as cluster:
        face, memory = cached(open_face, name, cluster.url), other(name, cluster.url)
        memory.topic = "a"
        wait_until(lambda: is_known(face, "topic"), what="the feed")
        before = core_of(face).state.session
        cluster.fail_over(slot_of(name))
        wait_until(lambda: core_of(face).state.session != before, what="the loss of the feed")
        wait_until(lambda: is_known(face, "topic"), HEARD_S, what="the feed of the new primary")
        memory.topic = "b"
        wait_until(lambda: face.read("topic") == "b", FEED_TIMEOUT_S, what="the change")


def test_a_cached_reader_follows_its_slot(
    open_face: OpenFace, other: Other, cluster: Cluster, name: str
) -> None:
    """When only the slot is given to another node, whose own memories are followed already."""
    source = cluster.primary_of(slot_of(name))
    target, neighbour = next(
        (cluster.primary_of(slot_of(n)), n)
        for n in (f"{name}-{number}" for number in count())
        if cluster.primary_of(slot_of(n)) is not source
    )
    face, memory = cached(open_face, name, cluster.url), other(name, cluster.url)
    there = cached(open_face, neighbour, cluster.url)
    there.assign("topic", "x")
    memory.topic = "a"
    wait_until(lambda: is_known(face, "topic") and is_known(there, "topic"), what="the feeds")
    before = core_of(face).state.session
    cluster.begin_to_move(slot_of(name), target)
    cluster.move_keys(slot_of(name), target)
    cluster.end_move(slot_of(name), target)
    wait_until(lambda: core_of(face).state.session != before, what="the loss of the feed")
    memory.topic = "b"
    wait_until(lambda: face.read("topic") == "b", what="the change")
    wait_until(lambda: is_known(face, "topic"), HEARD_S, what="the feed of the new node")
    memory.topic = "c"
    wait_until(lambda: face.read("topic") == "c", what="the change")


@pytest.mark.parametrize("group", [Cluster, Service])
def test_who_waits_hears_of_a_change_after_a_failover(
    group: type[Cluster | Service], open_face: OpenFace, other: Other, name: str
) -> None:
    """`wait_for` goes on listening at the new primary by itself."""
    with group() as servers, ThreadPoolExecutor(1) as pool:
        face, memory = open_face(name, servers.url), other(name, servers.url)
        memory.topic = "a"
        waiting = pool.submit(face.function, "wait_for", "topic", "b", timeout_s=9.0)
        wait_until(lambda: core_of(face).state.session != 0, what="the feed")
        lose_primary(servers, slot_of(name))
        memory.topic = "b"
        assert waiting.result(HEARD_S) == "b"


@pytest.mark.parametrize("group", [Cluster, Service])
def test_a_watch_tells_the_latest_state_after_a_failover(
    group: type[Cluster | Service], other: Other, name: str
) -> None:
    """What was appended while the feed was lost is told, at last in its latest state."""
    with group() as servers:
        memory, writer = other(name, servers.url), other(name, servers.url)
        writer.log = []
        with watch(memory, "log", timeout_s=HEARD_S) as changes:
            push(writer, "log", 0)
            assert next(changes).value == [0]
            lose_primary(servers, slot_of(name))
            push(writer, "log", 1)
            told = [0]
            while told != [0, 1]:
                change = next(changes)
                told = told + change.value if change.kind == "append" else change.value
        close(memory)
