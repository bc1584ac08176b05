"""Runs courses, which belong to no single memory: blocking here, awaited in `async_desk`."""

from __future__ import annotations

import weakref
from typing import Any, TypeVar

from redis_memory.core.calls import Call, Course, Errand
from redis_memory.errors import ClosedError
from redis_memory.link import links
from redis_memory.link.routing import Router
from redis_memory.link.scanning import is_scan, scanning
from redis_memory.link.steps import driven
from redis_memory.settings import Settings

T = TypeVar("T")


class Desk:
    """The link that courses go by. Threads may share it."""

    def __init__(self, settings: Settings, client: Any) -> None:
        self.link: links.Way = links.open_link(settings, client)
        self.is_closed: bool = False
        self._leave = weakref.finalize(self, links.release, self.link)
        self._leave.atexit = False

    def run(self, course: Course[T]) -> T:
        """Run a course to its end."""
        if self.is_closed:
            raise ClosedError("this directory was closed")
        try:
            return driven(course, self._do)
        finally:
            course.close()

    def _do(self, step: Call | Errand) -> Any:
        if isinstance(step, Errand):
            return step.work()
        # a cluster has a cursor of its own
        if is_scan(step) and not isinstance(self.link, Router):
            return driven(scanning(self.link, step), lambda each: each[0](each[1]))
        return self.link.execute(step)

    def close(self) -> None:
        """Refuse every later call; close the connections that nobody else uses."""
        self.is_closed = True
        self._leave()
        if links.is_unused(self.link):
            self.link.close()
