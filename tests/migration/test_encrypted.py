"""A migration writes nothing in the open where values are encrypted."""

from __future__ import annotations

import pytest

from redis_memory import ConfigurationError, ConversationMemory, Conversations, snapshot
from tests.migration.faces import Migrate
from tests.migration.old import OldWorkers
from tests.servers import Server

KEY = "ab" * 32


def test_a_key_is_refused_before_anything_is_read(migrate: Migrate, server: Server) -> None:
    """The message says what to do instead."""
    with pytest.raises(ConfigurationError, match="rotate_keys"):
        migrate(server.url, encryption_key=KEY)


def test_nothing_is_added_to_an_encrypted_memory(
    migrate: Migrate, old: OldWorkers, server: Server
) -> None:
    """The report names the key that was left; the memory stays as it was."""
    old.assign("c-1", "state", "a plain text")
    with ConversationMemory("c-1", server.url, encryption_key=KEY) as memory:
        memory.topic = "billing"
        report = migrate(server.url, dry_run=False)
        assert [one.key for one in report.skipped] == ["memory:c-1:state"]
        assert "encrypted" in report.skipped[0].reason
        assert snapshot(memory) == {"topic": "billing"}


def test_what_was_brought_can_be_encrypted_afterwards(
    migrate: Migrate, old: OldWorkers, server: Server
) -> None:
    """As the message and the manual say."""
    old.assign("c-1", "log", ["a plain text"])
    migrate(server.url, dry_run=False, delete_old=True)
    with Conversations(server.url, encryption_key=KEY) as conversations:
        conversations.rotate_keys(seal_plain=True)
    client = server.client()
    assert client.lrange("memory:{c-1}:log", 0, -1)
    assert all(b"a plain text" not in each for each in client.lrange("memory:{c-1}:log", 0, -1))
    with ConversationMemory("c-1", server.url, encryption_key=KEY) as memory:
        assert memory.log == ["a plain text"]


def test_old_keys_can_be_deleted_when_the_memory_is_encrypted(
    migrate: Migrate, old: OldWorkers, server: Server
) -> None:
    """They hold in the open what is hidden now; one that has changed since stays, and is named."""
    old.assign("c-1", "log", ["a plain text"])
    old.assign("c-1", "state", "open")
    migrate(server.url, dry_run=False)
    with Conversations(server.url, encryption_key=KEY) as conversations:
        conversations.rotate_keys(seal_plain=True)
    old.assign("c-1", "state", "closed")
    report = migrate(server.url, dry_run=False, delete_old=True)
    assert (report.known, report.deleted) == (1, 1)
    assert [one.key for one in report.damaged] == ["memory:c-1:state"]
    assert old.keys() == {b"memory:c-1:state"}
    with ConversationMemory("c-1", server.url, encryption_key=KEY) as memory:
        assert snapshot(memory) == {"log": ["a plain text"], "state": "open"}
