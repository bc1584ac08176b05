"""What stands behind one async memory, and what each task has seen of it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from redis_memory.core.calls import Flow
from redis_memory.core.state import State
from redis_memory.face import Core
from redis_memory.link import links
from redis_memory.link.async_driver import AsyncDriver, ReadOnly
from redis_memory.proxies import changing
from redis_memory.settings import Settings
from redis_memory.telemetry.async_kinds import async_driver_kind

T = TypeVar("T")
Task = asyncio.Task[Any]

_NO_GUARD: AbstractContextManager[Any] = nullcontext()


def current_task() -> Task | None:
    """The task that runs now, None outside of any."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs
        return None


class _SeenByTask:
    """The names that a task last saw to be missing."""

    def __init__(self) -> None:
        self._by_task: weakref.WeakKeyDictionary[Task, set[str]] = weakref.WeakKeyDictionary()

    @property
    def missing(self) -> set[str]:
        return self._by(current_task())

    @contextmanager
    def shared(self, name: str, task: Task | None) -> Iterator[None]:
        """Let the task that runs now see of one name what another one saw, and the reverse."""
        here, there = self.missing, self._by(task)
        if name in there:
            here.add(name)
        try:
            yield
        finally:
            (there.add if name in here else there.discard)(name)

    def _by(self, task: Task | None) -> set[str]:
        return set() if task is None else self._by_task.setdefault(task, set())


class AsyncCore(Core):
    """What stands behind one async memory object."""

    __slots__ = ("driver", "seen_by_task")
    is_awaited = True

    def __init__(self, state: State, settings: Settings, client: Any) -> None:
        # changes that a memory object of before left behind come first
        orphan = links.async_orphan(settings, client, state.identity)
        self.driver: AsyncDriver = orphan or async_driver_kind(settings)(state, settings, client)
        self.driver.users += 1
        weakref.finalize(self, self.driver.lose_user).atexit = False
        self.seen_by_task: _SeenByTask = _SeenByTask()
        is_injected = client is not None
        seen = self.seen_by_task
        super().__init__(self.driver.state, settings, ReadOnly(), seen, is_injected=is_injected)
        self.follow(settings, client)

    @property
    def guard(self) -> AbstractContextManager[Any]:
        """Nothing: the tasks of one loop change copies in turns."""
        return _NO_GUARD

    async def close(self) -> None:
        """Close the memory, and the connections if it was the last one to use them."""
        self.leave()
        await self.driver.close()

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        return await self.driver.run(flow)

    def inside(self, value: Any, step: Any) -> Any:
        """What lies below a step into what an attribute reads as."""
        return value[step]

    def changing(
        self, box: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Flow[Any]:
        """The flow of a mutator of what lies at a place."""
        return changing(box, method, arguments, options)
