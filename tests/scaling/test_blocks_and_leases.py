"""What leaves together, what is held and what is declared stays so, whichever node serves it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Literal

import pytest

from redis_memory import (
    AsyncConversationMemory,
    ConflictError,
    ConversationMemory,
    StaleClaimError,
    aio,
    batch,
    claim,
    close,
    lock,
    status,
    transaction,
    wait_for,
)
from redis_memory.link.cluster import key_slot
from tests.groups import Cluster, Service
from tests.leases.faces import TENANTS, Tenant
from tests.outages.faces import face_id, opening
from tests.scaling.load import QUICKLY
from tests.waiting import wait_until

TTL_S = 1.0
OpenTenant = Callable[..., Tenant]


class Case(ConversationMemory):
    """A memory that declares what it holds."""

    state: Literal["open", "closed"] = "open"
    log: list[int]


def slot_of(name: str) -> int:
    """The slot of a conversation."""
    return key_slot(f"memory:{{{name}}}".encode())


def move(cluster: Cluster, name: str) -> None:
    """Give the slot of a conversation to another node."""
    slot = slot_of(name)
    source = cluster.primary_of(slot)
    places = (cluster.primary_of(slot_of(f"{name}-{number}")) for number in count())
    target = next(place for place in places if place is not source)
    cluster.begin_to_move(slot, target)
    cluster.move_keys(slot, target)
    cluster.end_move(slot, target)


@pytest.fixture(params=TENANTS, ids=face_id)
def open_tenant(request: pytest.FixtureRequest) -> Iterator[OpenTenant]:
    """Open a memory whose locks and claims are taken, in each face."""
    with opening(request.param, **QUICKLY) as opened:
        yield opened


def test_a_block_follows_its_slot(cluster: Cluster, name: str) -> None:
    """A batch and a transaction that end after the move are made once, at the new node."""
    with (
        ConversationMemory(name, cluster.url, timeout_s=5.0) as memory,
        ConversationMemory(name, cluster.url, timeout_s=5.0) as other,
    ):
        memory.log = [0]
        with batch(memory):
            memory.log.append(1)
            memory.topic = "a"
            move(cluster, name)
        assert (other.log, other.topic) == ([0, 1], "a")
        with transaction(memory):
            topic = memory.topic
            move(cluster, name)
            memory.topic = topic + "b"
            memory.log.append(2)
        assert (other.log, other.topic) == ([0, 1, 2], "ab")
        assert status(memory).data_loss == 0


def test_a_transaction_is_refused_at_the_new_node(cluster: Cluster, name: str) -> None:
    """What it has read is compared where the slot is served then."""
    with (
        ConversationMemory(name, cluster.url, timeout_s=5.0) as memory,
        ConversationMemory(name, cluster.url, timeout_s=5.0) as other,
    ):
        memory.topic = "a"
        with pytest.raises(ConflictError), transaction(memory):
            memory.seen = memory.topic
            move(cluster, name)
            other.topic = "b"
        assert not hasattr(other, "seen")


async def test_an_awaited_block_follows_its_slot(cluster: Cluster, name: str) -> None:
    """The same in an event loop."""
    async with AsyncConversationMemory(name, cluster.url, timeout_s=5.0) as memory:
        await memory.log.set([0])
        async with aio.batch(memory):
            await memory.log.append(1)
            await memory.topic.set("a")
            move(cluster, name)
        assert await aio.snapshot(memory) == {"log": [0, 1], "topic": "a"}


def test_a_claim_is_renewed_where_its_slot_is(
    open_tenant: OpenTenant, cluster: Cluster, name: str
) -> None:
    """It outlives its time at the new node, refuses others there, and is released there."""
    face, rival = open_tenant(name, cluster.url), open_tenant(name, cluster.url)
    held = face.held("task", ttl_s=TTL_S)
    move(cluster, name)
    lease = held.claim._holding.lease
    moved_until_us = lease.until_us
    wait_until(lambda: lease.until_us > moved_until_us + TTL_S * 1e6, what="renewals there")
    assert not held.is_lost
    assert rival.claimed("task", "other", ttl_s=TTL_S) is None
    held.write(topic="a", log=[1])
    assert face.snapshot() == {"topic": "a", "log": [1]}
    assert held.release()
    assert rival.held("task", "other", ttl_s=TTL_S).token > held.token


@pytest.mark.parametrize("group", [Cluster, Service])
def test_a_claim_outlives_a_failover(
    group: type[Cluster | Service], open_tenant: OpenTenant, name: str
) -> None:
    """Its holder renews it at the new primary, and who takes it later has a larger token."""
    with group() as servers:
        face = open_tenant(name, servers.url)
        face.assign("log", [])
        held = face.held("task", ttl_s=20)
        if isinstance(servers, Cluster):
            servers.fail_over(slot_of(name))
        else:
            servers.fail_over()
            wait_until(lambda: face.status().online, what="the new primary")
        held.renew()
        held.write(topic="a")
        assert face.read("topic") == "a"
        token = held.token
        assert held.release()
        again = face.held("task", ttl_s=20)
        assert again.token > token
        with pytest.raises(StaleClaimError):
            held.write(topic="b")


def test_who_waits_for_a_lock_gets_it_at_the_new_node(cluster: Cluster, name: str) -> None:
    """The release is heard of, and the lock taken, where the slot is by then."""
    with (
        ConversationMemory(name, cluster.url, timeout_s=5.0) as memory,
        ConversationMemory(name, cluster.url, timeout_s=5.0) as other,
    ):
        tokens: list[int] = []

        def wait() -> None:
            with lock(other, ttl_s=10, wait_s=20) as token:
                tokens.append(token)

        thread = threading.Thread(target=wait)
        with lock(memory, ttl_s=10, wait_s=5) as token:
            thread.start()
            wait_until(lambda: status(other).feed is not None, what="the one who waits")
            move(cluster, name)
        thread.join(20)
        assert len(tokens) == 1
        assert tokens[0] > token


def test_a_closed_memory_leaves_no_claim_and_no_connection(cluster: Cluster, name: str) -> None:
    """A lease of a closed memory is renewed no more, and no feed listens for it."""
    memory = ConversationMemory(name, cluster.url, read_mode="cached", **QUICKLY)
    memory.topic = "a"
    wait_until(lambda: status(memory).feed is True, what="the feed")
    held = claim(memory, "task", "me", ttl_s=0.3)
    assert held is not None
    close(memory)
    assert held.lost.wait(5.0)
    wait_until(
        lambda: not [one for one in threading.enumerate() if one.name == "redis-memory-feed"],
        what="the end of the feeds",
    )


@pytest.mark.parametrize("group", [Cluster, Service])
def test_declared_attributes_are_there_on_groups(group: type[Cluster | Service], name: str) -> None:
    """A typed memory does what it does on one server."""
    with group() as servers:
        with Case(name, servers.url, timeout_s=5.0) as case:
            assert case.state == "open"
            case.log = [1]
            case.log.append(2)
            case.state = "closed"
            with pytest.raises(ValueError, match="state"):
                case.state = "lost"  # type: ignore[assignment]  # what is to be refused
        with Case(name, servers.url, timeout_s=5.0) as case:
            assert (case.state, case.log) == ("closed", [1, 2])
            assert wait_for(case, "state", "closed", timeout_s=5.0) == "closed"
