"""What a client of the soak does to its memory, by the blocking face or by the async one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from redis_memory import (
    AsyncConversationMemory,
    ConversationMemory,
    Status,
    aio,
    close,
    flush,
    increment,
    push,
    status,
    window,
)

T = TypeVar("T")


class Hands:
    """The blocking face."""

    def __init__(self, conversation_id: str, url: str, **options: Any) -> None:
        self._memory = ConversationMemory(conversation_id, url, **options)

    def push(self, name: str, value: Any) -> None:
        """Append to a list without reading it."""
        push(self._memory, name, value)

    def append(self, name: str, value: Any) -> None:
        """Read a list, and append."""
        self._memory[name].append(value)

    def increment(self, name: str, by: int) -> None:
        """Add to a number."""
        increment(self._memory, name, by)

    def assign(self, name: str, value: Any) -> None:
        """Assign an attribute."""
        self._memory[name] = value

    def put(self, name: str, key: str, value: Any) -> None:
        """Set a key of a dict."""
        self._memory[name][key] = value

    def take_out(self, name: str, key: str) -> None:
        """Delete a key of a dict."""
        del self._memory[name][key]

    def join(self, name: str, element: Any) -> None:
        """Add an element to a set."""
        self._memory[name].add(element)

    def part(self, name: str, element: Any) -> None:
        """Take an element out of a set."""
        self._memory[name].discard(element)

    def grow(self, name: str, key: str, value: Any) -> None:
        """Append to a list inside a dict."""
        self._memory[name][key].append(value)

    def read(self, name: str) -> Any:
        """Read an attribute."""
        return self._memory[name]

    def last(self, name: str, count: int) -> list[Any]:
        """Read the end of a list."""
        return window(self._memory, name, -count)

    def leave(self, limit_s: float) -> tuple[int, Status]:
        """Deliver what waits, and close; how many changes were left, and how the memory stood."""
        left, stands = flush(self._memory, limit_s), status(self._memory)
        close(self._memory)
        return left, stands


class AsyncHands:
    """The async face, in a loop that never stops, in a thread of its own."""

    def __init__(self, conversation_id: str, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="soak-loop", daemon=True).start()
        self._memory = AsyncConversationMemory(conversation_id, url, **options)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def push(self, name: str, value: Any) -> None:
        """Append to a list without reading it."""
        self._wait(aio.push(self._memory, name, value))

    def append(self, name: str, value: Any) -> None:
        """Read a list, and append."""
        self._wait(self._memory[name].append(value))

    def increment(self, name: str, by: int) -> None:
        """Add to a number."""
        self._wait(aio.increment(self._memory, name, by))

    def assign(self, name: str, value: Any) -> None:
        """Assign an attribute."""
        self._wait(self._memory[name].set(value))

    def put(self, name: str, key: str, value: Any) -> None:
        """Set a key of a dict."""
        self._wait(self._memory[name][key].set(value))

    def take_out(self, name: str, key: str) -> None:
        """Delete a key of a dict."""
        self._wait(self._memory[name][key].delete())

    def join(self, name: str, element: Any) -> None:
        """Add an element to a set."""
        self._wait(self._memory[name].add(element))

    def part(self, name: str, element: Any) -> None:
        """Take an element out of a set."""
        self._wait(self._memory[name].discard(element))

    def grow(self, name: str, key: str, value: Any) -> None:
        """Append to a list inside a dict."""
        self._wait(self._memory[name][key].append(value))

    def read(self, name: str) -> Any:
        """Read an attribute."""

        async def work() -> Any:
            return await self._memory[name]

        return self._wait(work())

    def last(self, name: str, count: int) -> list[Any]:
        """Read the end of a list."""
        return self._wait(aio.window(self._memory, name, -count))

    def leave(self, limit_s: float) -> tuple[int, Status]:
        """Deliver what waits, and close; how many changes were left, and how the memory stood."""
        left = self._wait(aio.flush(self._memory, limit_s))
        stands = self._wait(aio.status(self._memory))
        self._wait(aio.close(self._memory))
        return left, stands
