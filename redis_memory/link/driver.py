"""Runs the flows of one memory: blocking here, awaited in `async_driver`."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TypeVar

from redis_memory.core.state import Flow, State
from redis_memory.errors import ClosedError, RedisMemoryError
from redis_memory.link.link import Link

T = TypeVar("T")


class Driver:
    """One memory's state and its link; the changes of one memory keep their order."""

    __slots__ = ("__weakref__", "_lock", "_reconnects", "is_closed", "link", "state")

    def __init__(self, state: State, link: Link) -> None:
        self.state: State = state
        self.link: Link = link
        self.is_closed: bool = False
        self._reconnects = link.reconnects
        # reentrant: the key function of a sort may read the memory it sorts
        self._lock = threading.RLock()
        _drivers.add(self)

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        link = self.link
        with self._lock:
            if self.is_closed:
                raise ClosedError("this memory was closed")
            try:
                if self._reconnects != link.reconnects:
                    self._distrust()
                call = next(flow)
                while True:
                    try:
                        reply = link.execute(call)
                    except RedisMemoryError as error:
                        call = flow.throw(error)
                    else:
                        if self._reconnects != link.reconnects:
                            self._distrust()
                        call = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result

    def _distrust(self) -> None:
        self._reconnects = self.link.reconnects
        self.state.distrust()

    def close(self) -> None:
        """Refuse every later call; one that is running ends first."""
        with self._lock:
            self.is_closed = True

    def after_fork(self) -> None:
        """Begin anew in a forked child: another writer, other connections, a lock nobody holds."""
        self._lock = threading.RLock()
        self.state.renew_writer()
        self.link.after_fork()


_drivers: weakref.WeakSet[Driver] = weakref.WeakSet()


def _after_fork() -> None:
    for driver in list(_drivers):
        driver.after_fork()


os.register_at_fork(after_in_child=_after_fork)
