"""How leases lie in Redis."""

from __future__ import annotations

from typing import Any

from redis_memory import ConversationMemory
from redis_memory.core.calls import Call, Head
from redis_memory.memory import core_of


def field(memory: ConversationMemory, name: str) -> bytes | None:
    """What is stored of a lease."""
    core = core_of(memory)
    head = Head(b"HGET", core.state.keys.memory)
    stored: bytes | None = core.driver.link.execute(Call(head, b"_l" + name.encode()))
    return stored


def waiters(memory: ConversationMemory, name: str) -> int:
    """How many wait for a lease."""
    stored = field(memory, name)
    return 0 if stored is None else stored.split(b" ")[3].count(b";")


def command(memory: ConversationMemory, *parts: bytes) -> Any:
    """What the server answers."""
    return core_of(memory).driver.link.execute(Call(Head(*parts)))
