"""What all benchmarks share: a server, a plain client, the number of rounds, chat messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it says nothing of its types
import redis
from server import Server

from redis_memory import ConversationMemory

PREFIX = "bench:"
CALLS = 100
TEXT = (
    "I was charged twice for the order of last week; the second payment does not show on the "
    "invoice. Could you please look into it, and tell me when the money is back on my account?"
)


def message(number: int) -> dict[str, Any]:
    """A chat message of about 230 bytes, packed; no two are the same."""
    return {"id": f"msg-{number:08}", "role": "user", "content": TEXT, "at": 1.7e9 + number}


def messages(count: int) -> list[dict[str, Any]]:
    """As many messages."""
    return [message(number) for number in range(count)]


def packed(values: Iterable[object]) -> list[bytes]:
    """Each value as plain MessagePack, as somebody without the library would store it."""
    return [msgpack.packb(value) for value in values]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how much is measured.

    Args:
        server: Empty at first.
        client: redis-py with its pool: what everything is compared with.
        rounds: How often each case is timed.
        shrink: What sizes are divided by, to see quickly that everything runs.
    """

    server: Server
    client: redis.Redis
    rounds: int
    shrink: int

    def memory(self, conversation_id: str) -> ConversationMemory:
        """A conversation on the server; each call opens another one, with a copy of its own."""
        return ConversationMemory(conversation_id, self.server.url, prefix=PREFIX)

    def sizes(self, *sizes: int) -> list[int]:
        """Lengths or counts, shrunk; none twice."""
        return sorted({max(10, size // self.shrink) for size in sizes})

    def bytes_read(self) -> int:
        """How many bytes the server has read from all its connections, by its own count."""
        stats: Any = self.client.info("stats")
        count: int = stats["total_net_input_bytes"]
        return count
