"""Watches the shared list and counter of the soak, without any code of the library."""

from __future__ import annotations

import threading
from typing import Any

import msgpack  # type: ignore[import-untyped]
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.background import THREAD_NAME

PAUSE_S = 0.005


class Observer:
    """Sees each later state of the list begin with the earlier one, and the counter only grow."""

    def __init__(self, url: str, memory: str) -> None:
        once = Retry(NoBackoff(), 0)
        self._client = redis.Redis.from_url(url, protocol=2, retry=once, socket_timeout=1.0)
        self._list, self._memory = f"{memory}:log", memory
        self.entries: list[bytes] = []
        self.count: int = 0
        self.looks: int = 0
        self.troubles: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch; a second call does nothing."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """End, after a last look at the server, which must run."""
        self.stop()
        self.look()
        self._client.close()

    def _watch(self) -> None:
        while not self._stop.wait(PAUSE_S):
            try:
                self.look()
            except redis.RedisError:  # it was killed, or is loading
                continue

    def look(self) -> None:
        """Compare what is stored now with what was stored before."""
        known = len(self.entries)
        # the last known entry once more: it must still be there
        tail: Any = self._client.lrange(self._list, max(known - 1, 0), -1)
        field: Any = self._client.hget(self._memory, "count") or b"n;0"
        count = int(field.partition(b";")[2])
        if known and tail[:1] != self.entries[-1:]:
            self.troubles.append(f"observer: entry {known - 1} of the list has changed or is gone")
        if count < self.count:
            self.troubles.append(f"observer: the counter fell from {self.count} to {count}")
        self.entries += tail[1:] if known else tail
        self.count = count
        self.looks += 1

    def log(self) -> list[tuple[str, int]]:
        """All entries ever seen, in their order: client and number."""
        return [tuple(msgpack.unpackb(entry)) for entry in self.entries]
