"""What the tests of the command share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_memory import ConversationMemory
from tests.cli.commands import Commands
from tests.servers import Server

Begin = Callable[..., ConversationMemory]


@pytest.fixture
def command(server: Server) -> Iterator[Commands]:
    """Runs commands on `server`."""
    commands = Commands(server.url)
    yield commands
    commands.close()


@pytest.fixture
def begin(url: str) -> Begin:
    """Begin a conversation with some attributes; `topic`, if none is given."""

    def begun(conversation_id: str, prefix: str = "memory:", **values: Any) -> ConversationMemory:
        memory = ConversationMemory(conversation_id, url, prefix=prefix)
        for name, value in (values or {"topic": "billing"}).items():
            memory[name] = value
        return memory

    return begun
