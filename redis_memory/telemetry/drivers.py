"""Drivers and desks that measure what they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis_memory.core.calls import Call, Course, Flow
from redis_memory.core.state import State
from redis_memory.link.async_desk import AsyncDesk
from redis_memory.link.async_driver import AsyncDriver
from redis_memory.link.desk import Desk
from redis_memory.link.driver import Driver
from redis_memory.link.hub import BlockingLane
from redis_memory.link.link import Link
from redis_memory.settings import Settings
from redis_memory.telemetry.operations import Tally, is_counted

T = TypeVar("T")


class MeasuredDriver(Driver):
    """Runs the flows of one memory, and measures them."""

    __slots__ = ("tally",)

    def __init__(self, state: State, link: Link | BlockingLane, *, with_ids: bool = False) -> None:
        super().__init__(state, link)
        self.tally: Tally = Tally(link.address, state, with_ids=with_ids)

    def run(self, flow: Flow[T], execute: Callable[[Call], Any] | None = None) -> T:
        """Run a flow to its end."""
        with self.tally.operation(flow) as operation, self.lock:
            try:
                return super().run(operation.counted(flow), execute)
            finally:
                self.tally.count()


class MeasuredAsyncDriver(AsyncDriver):
    """Runs the flows of one memory in an event loop, and measures them."""

    def __init__(self, state: State, settings: Settings, client: Any = None) -> None:
        super().__init__(state, settings, client)
        self.tally: Tally = Tally(self.address, state, with_ids=settings.telemetry_ids)

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        with self.tally.operation(flow) as operation:
            return await super().run(operation.counted(flow))

    async def _run(
        self, flow: Flow[T], attached: Any, execute: Callable[[Call], Awaitable[Any]]
    ) -> T:
        try:
            if is_counted(flow):
                return await super()._run(flow, attached, execute)
            # the beginning and the end of a block, and what waited
            with self.tally.operation(flow) as operation:
                return await super()._run(operation.counted(flow), attached, execute)
        finally:
            self.tally.count()


class MeasuredDesk(Desk):
    """Runs courses, and measures them."""

    def __init__(self, settings: Settings, client: Any) -> None:
        super().__init__(settings, client)
        self.tally: Tally = Tally(self.link.address, with_ids=False)

    def run(self, course: Course[T]) -> T:
        """Run a course to its end."""
        with self.tally.operation(course) as operation:
            return super().run(operation.counted(course))


class MeasuredAsyncDesk(AsyncDesk):
    """Runs courses in an event loop, and measures them."""

    def __init__(self, settings: Settings, client: Any) -> None:
        super().__init__(settings, client)
        self.tally: Tally = Tally(self.address, with_ids=False)

    async def run(self, course: Course[T]) -> T:
        """Run a course to its end."""
        with self.tally.operation(course) as operation:
            return await super().run(operation.counted(course))
