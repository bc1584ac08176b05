"""Blocks, leases and schemas of a conversation, where it is listed, moved, deleted, or ends."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    Conversations,
    LeaseLostError,
    batch,
    claim,
    clear,
    compare_and_set,
    expire,
    snapshot,
    transaction,
)
from redis_memory.core.conflicts import MISSING
from tests.directory.test_index import entries
from tests.directory.test_lifetimes import LONG_S, PTTL
from tests.directory.test_prune import keys
from tests.servers import Server


class Upgraded(ConversationMemory):
    """A memory that counts how often it was brought to its class."""

    turns: int

    @classmethod
    def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, "turns": stored.get("turns", 0) + 1}


def hidden(server: Server, name: str) -> dict[bytes, bytes]:
    """The fields of a conversation that are no attributes."""
    fields: Any = server.client().hgetall(f"memory:{{{name}}}")
    return {field: value for field, value in fields.items() if field.startswith(b"_")}


def left_ms(server: Server) -> set[int]:
    """How many milliseconds the keys of memories are from their end, at one moment."""
    found = [key for key in keys(server) if b"{c-1}" in key]
    left: Any = server.client().eval(PTTL, len(found), *found)
    return set(left)


def test_a_batch_begins_the_lifetime_again_for_all_that_it_makes(url: str, server: Server) -> None:
    """Containers that are made in a block end with the memory, and a new memory is listed."""
    with ConversationMemory("c-1", url, ttl_s=LONG_S) as memory:
        with batch(memory):
            memory.topic = "a"
            memory.log = [1]
            memory.box = {"x": 1}
        assert set(entries(server)) == {b"c-1"}
        with transaction(memory):
            memory.tags = {1}
            memory.log.append(2)
            del memory.box
        (left,) = left_ms(server)
        assert LONG_S - 5 < left / 1000 <= LONG_S


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_memory_that_a_batch_begins_anew_has_the_lifetime_of_the_setting(
    url: str, server: Server, *, is_listed: bool
) -> None:
    """Emptied and filled in one step, or emptied before: it ends all the same."""
    with ConversationMemory("c-1", url, ttl_s=LONG_S) as memory:
        memory.log = [1]
        if not is_listed:
            with ConversationMemory("c-1", url) as other:
                clear(other)
        with batch(memory):
            clear(memory)
            memory.log = [2]
            memory.box = {"x": 1}
        assert set(entries(server)) == {b"c-1"}
        (left,) = left_ms(server)
        assert LONG_S - 5 < left / 1000 <= LONG_S


def test_who_empties_a_memory_removes_it_from_the_directory(url: str, server: Server) -> None:
    """By a block, or by comparing."""
    with ConversationMemory("c-1", url) as memory:
        memory.topic = "a"
        with batch(memory):
            del memory.topic
        assert set(entries(server)) == set()
        memory.topic = "a"
        assert set(entries(server)) == {b"c-1"}
        assert compare_and_set(memory, "topic", "a", MISSING)
        assert set(entries(server)) == set()
        assert compare_and_set(memory, "topic", MISSING, "b")
        assert set(entries(server)) == {b"c-1"}


def test_writers_leases_and_epochs_stay_where_they_are(url: str, server: Server) -> None:
    """A copy has the attributes and nothing else, and what is held is held on under the old id."""
    with ConversationMemory("c-1", url) as memory, Conversations(url) as directory:
        memory.topic = "a"
        clear(memory)
        memory.topic = "b"
        held = claim(memory, "task", "me", ttl_s=30)
        assert held is not None
        directory.copy("c-1", "c-2")
        directory.rename("c-1", "c-3")
        for name in ("c-2", "c-3"):
            names = {field[:2] for field in hidden(server, name)}
            assert names == {b"_c", b"_v", b"_e", b"_r"}
            with ConversationMemory(name, url) as other:
                assert snapshot(other) == {"topic": "b"}
                assert claim(other, "task", "you", ttl_s=30) is not None
        held.renew()
        assert claim(memory, "task", "you", ttl_s=30) is None
        file = io.BytesIO()
        directory.export(file, ids=["c-2"])
        line = json.loads(file.getvalue().splitlines()[-1])
        assert "_" not in {name[0] for name in line["attributes"]}


@pytest.mark.parametrize("idle_s", [0.0, 8 * 86400.0])
def test_a_claim_outlives_the_deletion_of_its_conversation(
    url: str, server: Server, idle_s: float
) -> None:
    """Nobody else gets it because of a prune, however long nothing was changed."""
    with ConversationMemory("c-1", url) as memory, Conversations(url) as directory:
        memory.log = [1]
        held = claim(memory, "task", "me", ttl_s=30)
        assert held is not None
        client = server.client()
        if idle_s:
            key = "memory:{c-1}"
            version: Any = client.hget(key, "_version")
            long_ago = int(version, 16) - int(idle_s * 1e6)
            client.hset(key, "_version", f"{long_ago:013x}")
            client.zadd("memory:~conversations", {"c-1": long_ago})
        assert directory.prune(idle_s and idle_s - 60).ids == ("c-1",)
        held.renew()
        assert claim(memory, "task", "you", ttl_s=30) is None
        token = held.token
        held.release()
        again = claim(memory, "task", "you", ttl_s=30)
        assert again is not None
        assert again.token > token


def test_a_copy_is_of_the_same_form(url: str) -> None:
    """What was brought to a class is not brought to it again when it moves or is copied over."""
    with Upgraded("c-1", url) as memory, ConversationMemory("c-2", url) as older:
        memory.turns = 5
        older.turns = 1
        with Conversations(url) as directory:
            directory.copy("c-1", "c-3")
            directory.copy("c-1", "c-4")
            directory.copy("c-2", "c-4", replace=True)
        with Upgraded("c-3", url) as copied:
            assert copied.turns == 5
        with Upgraded("c-4", url) as copied:
            assert copied.turns == 2


def test_a_lifetime_ends_what_is_held(url: str, server: Server) -> None:
    """A claim is a part of its memory: it is lost with it, and a later one has a larger token."""
    with ConversationMemory("c-1", url) as memory:
        memory.topic = "a"
        held = claim(memory, "task", "me", ttl_s=30)
        assert held is not None
        expire(memory, LONG_S)
        server.client().pexpire("memory:{c-1}", 0)
        with pytest.raises(LeaseLostError):
            held.renew()
        again = claim(memory, "task", "you", ttl_s=30)
        assert again is not None
        assert again.token > held.token
