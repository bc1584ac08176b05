"""Lifetimes: sliding, for all keys of a memory together, and nobody takes their end for a loss."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import redis_memory
from redis_memory import (
    ConversationMemory,
    Conversations,
    Memory,
    OfflineError,
    batch,
    clear,
    close,
    conflicts,
    expire,
    flush,
    increment,
    push,
    setdefault,
    snapshot,
    status,
    transaction,
)
from tests.directory.test_index import entries
from tests.directory.test_prune import keys
from tests.outages.faces import FACES, Face, OpenFace, face_id, opening
from tests.servers import Server
from tests.waiting import wait_until

LONG_S = 1000.0
SHORT_S = 0.4


@pytest.fixture(params=FACES, ids=face_id)
def open_memory(request: pytest.FixtureRequest, url: str) -> Iterator[OpenFace]:
    """Open memories in each face."""
    with opening(partial(request.param, url=url)) as opened:
        yield opened


PTTL = "local left = {} for i = 1, #KEYS do left[i] = redis.call('PTTL', KEYS[i]) end return left"


def ends(server: Server, *names: str) -> set[int]:
    """How many milliseconds the keys of conversations are from their end, at one moment."""
    found = [
        key
        for key in keys(server)
        if any(b"{%b}" % name.encode() in key for name in names or ("c-1",))
    ]
    left: Any = server.client().eval(PTTL, len(found), *found)
    return set(left)


def fill(face: Face) -> None:
    """One attribute of each kind, changed in several ways."""
    face.assign("topic", "billing")
    face.assign("messages", ["a"])
    face.call("messages", "append", "b")
    face.push("log", "one")
    face.assign("box", {"a": {"b": [1]}})
    face.call("box", "pop", "a")
    face.call("box", "__setitem__", "c", 1)
    face.assign("tags", {1})
    face.call("tags", "add", 2)
    face.call("tags", "clear")
    face.call("tags", "add", 3)
    face.increment("turns")
    face.assign("gone", [1])
    face.delete("gone")


def test_all_keys_end_together(open_memory: Any, server: Server) -> None:
    """Whatever was made after the lifetime had begun."""
    fill(open_memory("c-1", ttl_s=LONG_S))
    assert len(keys(server)) == 6  # the hash, four containers, the notes of deletions
    (end,) = ends(server)
    left_s = server.client().pttl("memory:{c-1}") / 1000
    assert LONG_S - 5 < left_s <= LONG_S
    assert end > 0


def test_a_lifetime_given_later_is_for_all_keys(open_memory: Any, server: Server) -> None:
    """Those of containers that the caller has never read, too; None takes it away from all."""
    fill(open_memory("c-1"))
    face = open_memory("c-1")
    assert ends(server) >= {-1}
    face.function("expire", LONG_S)
    assert len(ends(server)) == 1
    assert -1 not in ends(server)
    fill(face)
    assert len(ends(server)) == 1
    face.function("expire", None)
    stamps = {b"memory:{c-1}~stamps"}
    left = {server.client().pttl(key) for key in keys(server) - stamps if b"~exp" not in key}
    assert left == {-1}


def test_every_change_by_anybody_begins_it_again(server: Server) -> None:
    """Also by who knows nothing of it, and for what that one has never read."""
    owner = ConversationMemory("c-1", server.url)
    owner.messages = ["a"]
    expire(owner, SHORT_S)
    other = ConversationMemory("c-1", server.url)
    begun = time.monotonic()
    wait_until(lambda: increment(other, "turns") and time.monotonic() > begun + 2 * SHORT_S)
    assert other.messages == ["a"]
    assert len(ends(server)) == 1
    wait_until(lambda: not [key for key in keys(server) if b"{c-1}" in key])


def test_reading_does_not_prolong_it(server: Server) -> None:
    """A lifetime counts from the last change."""
    memory = ConversationMemory("c-1", server.url, ttl_s=SHORT_S)
    memory.topic = "billing"
    wait_until(lambda: not hasattr(memory, "topic"), 3.0, what="the end")


def test_what_has_ended_is_not_listed_and_no_loss(server: Server) -> None:
    """The directory forgets it; its writer begins a new one without a warning."""
    memory = ConversationMemory("c-1", server.url, ttl_s=SHORT_S)
    held = push(memory, "messages", "a")
    assert held == 1
    ConversationMemory("stays", server.url).topic = "billing"
    memory.topic = "billing"
    with Conversations(server.url) as directory:
        left_s = directory.info("c-1").ttl_s
        assert left_s is not None
        assert 0 < left_s <= SHORT_S
        assert directory.stats().expiring == 1
        wait_until(lambda: directory.count() == 1, what="the directory forgetting it")
        assert entries(server).keys() == {b"stays"}
        assert not directory.exists("c-1")
        memory.topic = "new"
        assert snapshot(memory) == {"topic": "new"}
        assert push(memory, "messages", "b") == 1
        assert directory.list().ids == ("c-1", "stays")
    assert status(memory).data_loss == 0


def test_a_read_of_what_has_ended_is_no_loss(server: Server) -> None:
    """A missing attribute is missing, and no DataLossWarning tells otherwise."""
    memory = ConversationMemory("c-1", server.url, ttl_s=SHORT_S)
    memory.messages = ["a"]
    assert memory.messages == ["a"]
    wait_until(lambda: not keys(server) - {b"memory:~expiring{memory:~conversations}%"})
    assert not hasattr(memory, "messages")
    setdefault(memory, "messages", [])
    memory.messages.append("b")
    assert memory.messages == ["b"]
    assert status(memory).data_loss == 0


def test_who_only_reads_takes_the_end_for_no_loss(open_memory: Any, server: Server) -> None:
    """A reader has seen that the memory will end, whoever gave it the lifetime."""
    writer = ConversationMemory("c-1", server.url, ttl_s=SHORT_S)
    writer.messages = ["a"]
    reader = open_memory("c-1")
    assert reader.read("messages") == ["a"]
    wait_until(lambda: b"memory:{c-1}" not in keys(server), what="the end")
    assert not reader.has("messages")
    assert reader.status().data_loss == 0
    writer.messages = ["b"]
    assert reader.read("messages") == ["b"]


def test_a_cached_read_finds_the_end(open_memory: Any, server: Server) -> None:
    """Without a round trip as long as the memory stays, and never from a memory that has ended."""
    writer = ConversationMemory("c-1", server.url)
    writer.topic, writer.messages = "billing", ["a"]
    expire(writer, 2 * SHORT_S)
    reader = open_memory("c-1", read_mode="cached", cached_max_age_s=60)
    assert reader.read("messages") == ["a"]

    def costs_nothing() -> bool:
        before = _reads(server)
        return bool(reader.read("topic") == "billing" and _reads(server) == before)

    wait_until(costs_nothing, what="a read by the copy")
    wait_until(lambda: not reader.has("topic"), 3.0, what="the end")
    assert b"memory:{c-1}" not in keys(server)
    writer.state = "new"
    assert not reader.has("messages")
    assert reader.read("state") == "new"


def _reads(server: Server) -> int:
    """How many attributes were read from the server so far."""
    told = server.client().info("commandstats")
    return int(told.get("cmdstat_hget", {"calls": 0})["calls"])


def test_a_lifetime_is_given_at_once_in_a_block_too(server: Server) -> None:
    """It is no change of an attribute: a block that fails does not take it back."""
    client = server.client()
    with ConversationMemory("c-1", server.url) as memory:
        with batch(memory):
            memory.topic = "a"
            expire(memory, LONG_S)
            memory.messages = [1]
        assert len(ends(server)) == 1
        assert -1 not in ends(server)
        with pytest.raises(KeyError), transaction(memory):
            memory.topic = "b"
            expire(memory, None)
            raise KeyError
        assert memory.topic == "a"
        assert client.pttl("memory:{c-1}") == client.pttl("memory:{c-1}:messages") == -1


def test_a_real_loss_is_still_told(own_server: Server) -> None:
    """A server that forgets before the lifetime is over has lost data."""
    memory = ConversationMemory("c-1", own_server.url, ttl_s=LONG_S)
    memory.topic = "billing"
    own_server.client().flushall()
    with pytest.warns(redis_memory.DataLossWarning):
        memory.state = "open"
    assert snapshot(memory) == {"topic": "billing", "state": "open"}
    close(memory)


def test_what_waited_does_not_bring_back_what_has_ended(own_server: Server) -> None:
    """It is reported, and what was made after the end is kept."""
    memory = ConversationMemory("c-1", own_server.url, ttl_s=SHORT_S, timeout_s=0.3)
    memory.messages = ["a"]
    own_server.kill()
    memory.messages.append("too late")
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 2 * SHORT_S)
    memory.topic = "new"
    own_server.start()
    assert flush(memory, 8.0) == 0
    assert snapshot(memory) == {"topic": "new"}
    assert [one.reason for one in conflicts(memory)] == ["cleared"]
    close(memory)


def test_the_setting_is_for_those_that_were_given_none(server: Server) -> None:
    """`expire` comes first, with None too; a new setting replaces an older one."""
    client = server.client()
    memory = ConversationMemory("c-1", server.url, ttl_s=LONG_S)
    memory.topic = "billing"
    expire(memory, None)
    memory.topic = "again"
    close(memory)
    ConversationMemory("c-1", server.url, ttl_s=LONG_S).topic = "once more"
    assert client.pttl("memory:{c-1}") == -1
    ConversationMemory("c-2", server.url).topic = "begun before there was a setting"
    ConversationMemory("c-2", server.url, ttl_s=LONG_S, timeout_s=0.7).topic = "now"
    assert 0 < client.pttl("memory:{c-2}") <= LONG_S * 1000
    ConversationMemory("c-2", server.url, ttl_s=60, timeout_s=0.8).topic = "less"
    assert 0 < client.pttl("memory:{c-2}") <= 60_000


def test_a_memory_without_attributes_may_be_given_one(server: Server) -> None:
    """It counts when the first attribute comes; a cleared memory has lost it."""
    memory = ConversationMemory("c-1", server.url)
    expire(memory, LONG_S)
    assert entries(server) == {}
    memory.messages = ["a"]
    assert len(ends(server)) == 1
    assert 0 < server.client().pttl("memory:{c-1}") <= LONG_S * 1000
    clear(memory)
    memory.topic = "again"
    assert server.client().pttl("memory:{c-1}") == -1


def test_the_memory_of_a_prefix_may_have_a_lifetime(server: Server) -> None:
    """And is in no directory."""
    memory = Memory(server.url, ttl_s=SHORT_S)
    memory.messages = ["a"]
    assert entries(server) == {}
    wait_until(lambda: keys(server) == set(), what="its end")


def test_copies_files_and_other_ids_keep_it(server: Server, tmp_path: Any) -> None:
    """It begins anew where a file is loaded."""
    memory = ConversationMemory("a", server.url, ttl_s=LONG_S)
    memory.messages = ["x"]
    with Conversations(server.url) as directory:
        directory.copy("a", "b")
        directory.rename("a", "c")
        directory.export(tmp_path / "all", "b")
        directory.delete("b")
        directory.load(tmp_path / "all")
        for name in ("b", "c"):
            left_s = directory.info(name).ttl_s
            assert left_s is not None
            assert 0 < left_s <= LONG_S
        assert directory.stats().expiring == 2
    assert len(ends(server, "c")) == len(ends(server, "b")) == 1
    assert -1 not in ends(server, "b", "c")


def test_that_one_was_taken_away_is_kept_too(server: Server, tmp_path: Any) -> None:
    """By a copy, by another id and by a file: a worker's setting gives it none again."""
    with ConversationMemory("a", server.url, ttl_s=LONG_S) as memory:
        memory.messages = ["x"]
        expire(memory, None)
    with Conversations(server.url) as directory:
        directory.export(tmp_path / "all", "a")
        directory.copy("a", "b")
        directory.rename("a", "c")
        directory.load(tmp_path / "all")
        for name in ("a", "b", "c"):
            with ConversationMemory(name, server.url, ttl_s=LONG_S) as memory:
                memory.messages.append("y")
            assert directory.info(name).ttl_s is None
        assert directory.stats().expiring == 0
    assert set(ends(server, "a", "b", "c")) == {-1}


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_wrong_lifetime_is_an_error(open_memory: Any, wrong: Any) -> None:
    """Nothing is changed."""
    with pytest.raises((ValueError, TypeError)):
        open_memory("c-1").function("expire", wrong)


def test_it_needs_the_server(own_server: Server) -> None:
    """A lifetime is nothing that waits."""
    memory = ConversationMemory("c-1", own_server.url)
    memory.topic = "billing"
    own_server.stop()
    with pytest.raises(OfflineError):
        expire(memory, LONG_S)
    own_server.start()
    close(memory)


def test_a_web_worker_finds_an_ended_memory_ended(server: Server) -> None:
    """Who opens a memory object for each request brings nothing back, and warns of no loss."""

    def request(text: str) -> list[str]:
        memory = ConversationMemory("c-1", server.url)
        push(memory, "messages", text)
        return list(memory.messages)

    memory = ConversationMemory("c-1", server.url)
    memory.topic = "billing"
    expire(memory, SHORT_S)
    close(memory)
    del memory
    assert request("a") == ["a"]
    wait_until(lambda: b"memory:{c-1}" not in keys(server), what="the end")
    assert request("b") == ["b"]
