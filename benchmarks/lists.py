"""A chat in a memory and the same one in plain Redis, and the ways to append to them."""

from __future__ import annotations

from typing import Any

from rounds import WARM_CALLS, Case
from setting import CALLS, Setting, messages, packed

from redis_memory import push

ADDED = messages(WARM_CALLS + CALLS)
PACKED = packed(ADDED)


class ChatList:
    """Two lists of one length, brought back to it before each round.

    What the last round appended is taken off one by one. Assigning the list anew would leave
    megabytes of garbage to the server's Lua, and the appends that follow would pay for it.
    """

    def __init__(self, setting: Setting, length: int) -> None:
        self.length = length
        self.memory = setting.memory(f"list-{length}")
        self._client = setting.client
        self._key = f"plain:list-{length}"
        self._held: Any = None
        for message in messages(length):
            push(self.memory, "messages", message)
            self._client.rpush(self._key, *packed([message]))

    def held_proxy(self) -> Case:
        """Append by a proxy that was read once."""

        def hold() -> None:
            self._shorten()
            self._held = self.memory.messages

        return Case(lambda turn: self._held.append(ADDED[turn]), hold)

    def push(self) -> Case:
        """Append without reading."""
        return Case(lambda turn: push(self.memory, "messages", ADDED[turn]), self._shorten)

    def attribute(self) -> Case:
        """Append as everybody writes it: a read and a write."""
        return Case(lambda turn: self.memory.messages.append(ADDED[turn]), self._shorten)

    def rpush(self) -> Case:
        """Append to the plain list, with the message already packed."""
        return Case(
            lambda turn: self._client.rpush(self._key, PACKED[turn]),
            lambda: self._client.ltrim(self._key, 0, self.length - 1),
        )

    def _shorten(self) -> None:
        self._held = None
        stored = self.memory.messages
        while len(stored) > self.length:
            stored.pop()

    def check(self) -> None:
        """Both lists hold what a round appends, behind what they began with."""
        expected = messages(self.length) + ADDED
        assert list(self.memory.messages) == expected
        assert self._client.lrange(self._key, 0, -1) == packed(expected)
