"""One connection and one thread listen, for all memories of a process; none when nobody does."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from redis_memory import (
    AccessDeniedError,
    AsyncConversationMemory,
    ConversationMemory,
    aio,
    close,
    push,
    snapshot,
    wait_for,
    watch,
)
from redis_memory.memory import core_of
from redis_memory.watching import Watch
from tests.binaries import available_binaries
from tests.certificates import Certificates
from tests.feed.listeners import feed_threads, has_heard, hears, knows, listening
from tests.outages.conftest import OpenMemory
from tests.servers import Server, supports_tls
from tests.waiting import async_wait_until, wait_until

MANY = 500
WITHOUT_CHANNELS = "ann on >secret resetchannels ~* +@all"


async def test_one_connection_for_a_thousand_memories(server: Server) -> None:
    """1,000 memories of both faces that listen take one connection, one thread, and no more."""
    prefix = f"{uuid.uuid4()}:"
    options: dict[str, Any] = {"prefix": prefix, "read_mode": "cached"}
    blocking = [ConversationMemory(f"b{n}", server.url, **options) for n in range(MANY)]
    awaited = [AsyncConversationMemory(f"a{n}", server.url, **options) for n in range(MANY)]
    await async_wait_until(lambda: all(hears(memory) for memory in blocking + awaited))
    assert len(listening(server)) == len(feed_threads()) == 1
    assert int(listening(server)[0]["sub"]) == 2 * MANY

    blocking[7].topic = "seven"
    assert blocking[7].topic == "seven"
    await aio.close(awaited[0])
    for memory in blocking[:400]:
        close(memory)
    await async_wait_until(lambda: int(listening(server)[0]["sub"]) == 2 * MANY - 401)
    for memory in blocking[400:]:
        close(memory)
    for awaited_memory in awaited[1:]:
        await aio.close(awaited_memory)
    await async_wait_until(lambda: not listening(server) and not feed_threads())


def test_nobody_listens_who_only_reads_and_writes(server: Server, name: str) -> None:
    """A memory that is read the usual way has no connection and no thread for changes."""
    with ConversationMemory(name, server.url) as memory:
        memory.topic = "billing"
        assert memory.topic == "billing"
        assert not listening(server)
        assert not feed_threads()


def test_closing_releases_thread_and_connection(server: Server, name: str) -> None:
    """`close` of the last memory that listens ends both; a later one listens again."""
    for _ in range(3):
        memory = ConversationMemory(name, server.url, read_mode="cached", feed_timeout_s=60)
        has_heard(memory)
        close(memory)
        wait_until(lambda: not listening(server) and not feed_threads(), 1.0)


def test_who_comes_while_the_last_one_leaves_is_told(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that begins while the last memory that listens is being closed begins at once."""
    last = ConversationMemory(f"{name} last", server.url, read_mode="cached", feed_timeout_s=60)
    has_heard(last)
    feed: Any = core_of(last)._feed
    nudge = feed._nudge
    with ConversationMemory(name, server.url) as memory, ExitStack() as begun:

        def come() -> None:
            if feed._stop.is_set():  # and the thread that listens has not seen it yet
                monkeypatch.undo()
                changes.append(begun.enter_context(watch(memory, "topic", timeout_s=5)))
            nudge()

        changes: list[Watch] = []
        monkeypatch.setattr(feed, "_nudge", come)
        close(last)
        memory.topic = "told"
        assert next(changes[0]).value == "told"


def test_a_collected_memory_stops_listening(server: Server, name: str) -> None:
    """So does one that is never closed, when nobody holds it; the others go on."""
    kept = ConversationMemory(f"{name} kept", server.url, read_mode="cached")
    memory = ConversationMemory(name, server.url, read_mode="cached")
    has_heard(kept)
    has_heard(memory)
    del memory
    gc.collect()
    wait_until(lambda: int(listening(server)[0]["sub"]) == 1)
    assert hears(kept)
    del kept
    gc.collect()
    wait_until(lambda: not listening(server) and not feed_threads())


def test_an_idle_connection_ends_soon_whatever_the_limits(server: Server, name: str) -> None:
    """When the last watcher has left, the connection is closed within seconds."""
    with ConversationMemory(name, server.url, feed_timeout_s=60) as memory:
        watch(memory).close()
        wait_until(lambda: not listening(server) and not feed_threads(), 4.0)


def test_a_memory_with_a_client_of_its_own_listens_with_it(server: Server, name: str) -> None:
    """With `client=` the feed goes to that client's server, with its credentials."""
    with (
        redis.Redis.from_url(server.url) as client,
        ConversationMemory(name, client=client, read_mode="cached") as memory,
        ConversationMemory(name, server.url) as other,
    ):
        has_heard(memory)
        other.topic = "told"
        assert wait_for(memory, "topic", "told", timeout_s=5) == "told"


def test_changes_are_told_through_tls(name: str) -> None:
    """Also those that come together, and more than one record of TLS holds."""
    binary = next(filter(supports_tls, available_binaries().values()), None)
    if binary is None:
        pytest.skip("no server here speaks TLS")
    with Server(binary, tls=True) as server:
        certificates = server.certificates
        assert isinstance(certificates, Certificates)
        url = f"{server.tls_url}?ssl_ca_certs={certificates.ca}"
        with ConversationMemory(name, url, timeout_s=5) as memory, watch(memory) as changes:
            for turn in range(200):
                push(memory, "log", (turn, "x" * 10_000))
            assert [next(changes).value[0][0] for _ in range(200)] == list(range(200))


# rights


@pytest.fixture
def denied() -> Iterator[tuple[Server, str]]:
    """A server, and the url of a user who may use no channel."""
    with Server(tcp=True, users=[WITHOUT_CHANNELS]) as server:
        yield server, f"redis://ann:secret@127.0.0.1:{server.port}"


def test_without_the_channel_nothing_is_changed(denied: tuple[Server, str], name: str) -> None:
    """A user who may not publish is refused before any effect, with every kind of change."""
    server, url = denied
    with ConversationMemory(name, server.url) as allowed, ConversationMemory(name, url) as memory:
        allowed.log = ["before"]
        before = snapshot(allowed)
        held = memory.log
        changes: list[Callable[[], object]] = [
            lambda: setattr(memory, "topic", "billing"),
            lambda: setattr(memory, "log", []),
            lambda: held.append(1),
            lambda: held.__setitem__(0, 1),
            lambda: push(memory, "log", 1, 2),
            lambda: delattr(memory, "log"),
        ]
        for change in changes:
            with pytest.raises(AccessDeniedError):
                change()
        assert snapshot(allowed) == before
        assert memory.log == ["before"]


def test_without_the_channel_nobody_can_watch(denied: tuple[Server, str], name: str) -> None:
    """`watch` and `wait_for` say at once that the right is missing; nothing is left behind."""
    _, url = denied
    with ConversationMemory(name, url) as memory:
        with pytest.raises(AccessDeniedError):
            watch(memory)
        with pytest.raises(AccessDeniedError):
            wait_for(memory, "topic", timeout_s=5)


def test_without_the_channel_cached_reads_ask_the_server(
    denied: tuple[Server, str], open_memory: OpenMemory, name: str
) -> None:
    """A user who may not subscribe reads what is stored now, each time."""
    server, url = denied
    memory = open_memory(name, url, read_mode="cached")
    with ConversationMemory(name, server.url) as allowed:
        for turn in range(20):
            allowed.turn = turn
            assert memory.turn == turn
            assert not knows(memory, "turn")
        # the right is given: from then on nothing is asked
        client: Any = server.client()
        client.execute_command("ACL", "SETUSER", "ann", "&memory:*")
        wait_until(lambda: memory.turn == 19 and knows(memory, "turn"))


def test_a_right_for_one_prefix_is_enough_for_it(name: str) -> None:
    """With the channels of its own prefix a user may do everything there."""
    with Server(tcp=True, users=["ann on >secret resetchannels &memory:* ~memory:* +@all"]) as own:
        url = f"redis://ann:secret@127.0.0.1:{own.port}"
        with ExitStack() as stack:
            memory = stack.enter_context(ConversationMemory(name, url, read_mode="cached"))
            changes = stack.enter_context(watch(memory, timeout_s=5))
            memory.topic = "billing"
            assert next(changes).value == "billing"
            assert memory.topic == "billing"
            wait_until(lambda: memory.topic and knows(memory, "topic"))


def test_threads_are_told_apart_by_server(server: Server, name: str) -> None:
    """Memories on two servers have a connection to each."""
    with (
        Server(tcp=True) as another,
        ConversationMemory(name, server.url, read_mode="cached") as one,
        ConversationMemory(name, another.url, read_mode="cached") as two,
    ):
        has_heard(one)
        has_heard(two)
        assert len(feed_threads()) == 2
        assert core_of(one)._feed is not core_of(two)._feed
