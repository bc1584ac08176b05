"""Keys that the server, or somebody, has removed behind everybody's back: what workers see then."""

from __future__ import annotations

import pytest

from redis_memory import ConversationMemory, CorruptValueError, push, snapshot, status
from tests.servers import Server


def test_a_container_that_is_gone_is_an_error_and_no_empty_one(server: Server, name: str) -> None:
    """Who has to read its elements hears of it; the other attributes, and a new value, are fine."""
    with ConversationMemory(name, server.url) as memory:
        memory.topic, memory.messages = "billing", ["hello"]
    assert server.client().delete(f"memory:{{{name}}}:messages") == 1
    with ConversationMemory(name, server.url) as fresh:
        with pytest.raises(CorruptValueError, match="'messages' are missing"):
            fresh.messages  # noqa: B018 - reading is what fails
        assert fresh.topic == "billing"
        fresh.messages = ["again"]
        assert snapshot(fresh) == {"topic": "billing", "messages": ["again"]}


def test_a_hash_that_is_gone_is_a_loss_for_who_has_written(server: Server, name: str) -> None:
    """The writer warns, and makes again what it keeps, so that others have it too."""
    with ConversationMemory(name, server.url) as memory:
        memory.topic, memory.messages = "billing", ["hello"]
        assert server.client().delete(f"memory:{{{name}}}") == 1
        with pytest.warns(match="2 are made again, none is lost"):
            push(memory, "messages", "again")
        assert status(memory).data_loss == 1
    with ConversationMemory(name, server.url) as fresh:
        assert fresh.topic == "billing"
        assert fresh.messages[-1] == "again"


def test_a_hash_that_is_gone_was_never_there_for_who_comes_later(server: Server, name: str) -> None:
    """Nobody can tell the end of a conversation of which nothing is left from its absence."""
    with ConversationMemory(name, server.url) as memory:
        memory.topic = "billing"
    server.client().flushall()
    with ConversationMemory(name, server.url, timeout_s=0.7) as other:
        assert not hasattr(other, "topic")


def test_a_full_server_that_evicts_nothing_refuses_and_keeps_all(
    own_server: Server, name: str
) -> None:
    """With `maxmemory-policy noeviction` a change raises, what is stored is read as before."""
    with ConversationMemory(name, own_server.url) as memory:
        memory.topic = "billing"
        own_server.client().config_set("maxmemory-policy", "noeviction")
        own_server.client().config_set("maxmemory", "1")
        with pytest.raises(RuntimeError, match="OOM"):
            memory.topic = "closed"
        assert memory.topic == "billing"
        own_server.client().config_set("maxmemory", "0")
        memory.topic = "closed"
        assert memory.topic == "closed"
