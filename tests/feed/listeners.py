"""Who listens: watchers that note what they are told, and what the server says of listeners."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from redis_memory import AsyncConversationMemory, Change, ConversationMemory, aio, watch
from redis_memory.errors import CorruptValueError, RedisMemoryError
from tests.outages.faces import Awaited, Blocking, Face
from tests.servers import Server
from tests.waiting import wait_until

FEED = "redis-memory-feed"
LIMIT_S = 10.0


def feed_threads() -> list[threading.Thread]:
    """The threads of the library that listen."""
    return [thread for thread in threading.enumerate() if thread.name == FEED]


def listening(server: Server) -> list[dict[str, Any]]:
    """The connections of a server that listen to something, as it lists them."""
    clients: list[dict[str, Any]] = server.client().client_list()
    return [client for client in clients if int(client["sub"])]


def hears(memory: ConversationMemory | AsyncConversationMemory) -> bool:
    """Whether copies may answer: the feed is known to be alive."""
    core = memory.__dict__["_redis_memory_core"]
    feed = core._feed
    is_fresh = time.monotonic() - feed.answered_s < core.patience_s / 2
    return bool(is_fresh and core.state.session == feed.session != 0)


def has_heard(memory: ConversationMemory) -> None:
    """Wait until copies may answer."""
    wait_until(lambda: hears(memory), what="a feed that is alive")


def knows(memory: ConversationMemory | AsyncConversationMemory, name: str) -> bool:
    """Whether a read of the attribute takes no round trip now."""
    return "UNKNOWN" not in repr(memory.__dict__["_redis_memory_core"].known(name))


class Diary:
    """Watches a memory in a thread of its own, or a task, and notes what it is told.

    It has begun when it is made. `errors` are what the iteration raised; it goes on after them,
    but for the last one.
    """

    def __init__(self, face: Face, *names: str, slowly: Callable[[], object] | None = None) -> None:
        self.changes: list[Change] = []
        self.errors: list[RedisMemoryError] = []
        self._slowly = slowly or (lambda: None)
        self._names = names
        self._thread: threading.Thread | None = None
        if isinstance(face, Awaited):
            self._face: Awaited = face
            self._task = face.run(self._begun)
        elif isinstance(face, Blocking):
            self._watch = watch(face.memory, *names)
            self._thread = threading.Thread(target=self._listen)
            self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                for change in self._watch:
                    self.changes.append(change)
                    self._slowly()
            except CorruptValueError as error:  # the others are still told
                self.errors.append(error)
            except RedisMemoryError as error:
                self.errors.append(error)
                return
            else:
                return

    async def _begun(self) -> asyncio.Task[None]:
        self._async_watch = aio.watch(self._face.memory, *self._names)
        await self._async_watch.__aenter__()
        return asyncio.create_task(self._listen_in_task())

    async def _listen_in_task(self) -> None:
        while True:
            try:
                async for change in self._async_watch:
                    self.changes.append(change)
                    self._slowly()
            except CorruptValueError as error:
                self.errors.append(error)
            except RedisMemoryError as error:
                self.errors.append(error)
                return
            else:
                return

    def wait(self, is_told: Callable[[list[Change]], object], limit_s: float = LIMIT_S) -> None:
        """Wait until what was told is enough."""
        wait_until(lambda: is_told(list(self.changes)), limit_s, what="changes to be told")

    def close(self) -> None:
        """End the iteration, and wait for that."""
        if self._thread is not None:
            self._watch.close()
            self._thread.join(LIMIT_S)
            assert not self._thread.is_alive()
        else:
            self._face.run(self._end)

    async def _end(self) -> None:
        await self._async_watch.aclose()
        await asyncio.wait_for(self._task, LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def mirrored(changes: list[Change], begun: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the attributes are after these changes, for somebody who knows nothing else."""
    state: dict[str, Any] = copy.deepcopy(begun or {})
    for change in changes:
        if change.kind == "delete":
            state.pop(change.name, None)
        elif change.kind == "append":
            state[change.name] = [*state.get(change.name, []), *change.value]
        else:
            state[change.name] = copy.deepcopy(change.value)
    return state


def in_order(changes: list[Change]) -> bool:
    """Whether no version is told twice, or before an older one."""
    versions = [change.version for change in changes]
    return all(one < other for one, other in pairwise(versions))
