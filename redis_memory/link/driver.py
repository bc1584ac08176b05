"""Runs the flows of one memory: blocking here, awaited in `async_driver`."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from redis_memory.core import directory
from redis_memory.core.blocks import Block
from redis_memory.core.calls import Call, Flow
from redis_memory.core.protection import protected
from redis_memory.core.replay import drain
from redis_memory.core.state import State
from redis_memory.core.together import beginning, committing, undo
from redis_memory.errors import (
    ClosedError,
    DataLossWarning,
    NotReplicatedError,
    RedisMemoryError,
)
from redis_memory.link.hub import BlockingLane
from redis_memory.link.link import Link
from redis_memory.link.steps import driven

T = TypeVar("T")

_log = logging.getLogger("redis_memory")

# How long what waits is delivered before other threads of the same memory have their turn.
TURN_S = 0.05
# How often somebody who waits for the queue looks at it.
LOOK_S = 0.002


class Driver:
    """One memory's state and its link; the changes of one memory keep their order."""

    __slots__ = (
        "__weakref__",
        "_reconnects",
        "is_closed",
        "leave",
        "link",
        "lock",
        "state",
        "users",
    )

    def __init__(self, state: State, link: Link | BlockingLane) -> None:
        self.state: State = state
        self.link: Link | BlockingLane = link
        self.is_closed: bool = False
        # memory objects
        self.users: int = 0
        # what is to be done when nobody needs it any more
        self.leave: weakref.finalize[..., Driver] | None = None
        self._reconnects = link.reconnects
        # reentrant: the key function of a sort may read the memory it sorts. Its type has another
        # name in each version of Python.
        self.lock: Any = threading.RLock()
        _drivers.add(self)

    def run(  # noqa: C901, PLR0912 - in one piece: each call of a function costs 0.1 us at every change
        self, flow: Flow[T], execute: Callable[[Call], Any] | None = None
    ) -> T:
        """Run a flow to its end, its calls by the link's `execute` or by another one."""
        link, shortage = self.link, None
        execute = execute or link.execute
        if self.state.sealer is not None:
            flow = protected(self.state.sealer, flow)
        with self.lock:
            if self.is_closed:
                raise ClosedError("this memory was closed")
            try:
                if self._reconnects != link.reconnects:
                    self._distrust()
                call = next(flow)
                while True:
                    if call.is_change and time.monotonic() >= self.state.writer.due_s:
                        directory.accompany(self.state, call)
                    try:
                        reply = execute(call)
                    except RedisMemoryError as error:
                        self.state.lost_us = link.lost_us
                        call = flow.throw(error)
                    else:
                        if call.companions and call.is_change:
                            driven(directory.accompanied(self.state, call), execute)
                        if self._reconnects != link.reconnects:
                            self._distrust()
                        if call.is_change and call.replicas < link.replicas:
                            shortage = max(call.replicas, 0)
                        call = flow.send(reply)
            except StopIteration as end:
                if shortage is not None:
                    raise not_replicated(shortage, link.replicas) from None
                result: T = end.value
                return result
            finally:
                if self.state.is_waiting:
                    link.wait_for(self)

    def _distrust(self) -> None:
        # while the server is away, or does not have all of ours, the copies are all there is
        if self.link.away is None and not self.state.is_waiting:
            self._reconnects = self.link.reconnects
            self.state.distrust()

    def begin_block(self, owner: object = None, *, is_strict: bool) -> Block:
        """Begin a block of changes that leave together; other threads wait until it ends.

        Raises:
            RuntimeError: This thread is in a block of this memory already.
            OfflineError: The server is away, and the block `is_strict`.
        """
        lock, state = self.lock, self.state
        lock.acquire()
        outer = state.block
        try:
            return self.run(beginning(state, owner, is_strict=is_strict, away=self.link.away))
        except BaseException:  # a signal too: nobody would end the block
            if state.block is not None and state.block is not outer:
                undo(state, state.block)
            lock.release()
            raise

    def end_block(self, block: Block, *, is_good: bool) -> None:
        """Send what a block has changed, or undo it here. Errors are those of `committing`."""
        if block.pid != os.getpid():
            return  # forked inside the block: `after_fork` has ended it here
        lock = self.lock
        try:
            if is_good:
                self.run(committing(self.state, block))
        finally:
            try:
                undo(self.state, block)
            except BaseException:  # from a signal handler, in the middle of it: it begins again
                undo(self.state, block)
                raise
            finally:
                lock.release()

    def drop_block(self, owner: object) -> None:
        """End a block that its owner could not end, as a signal handler has raised just then."""
        block = self.state.block
        if block is not None and block.owner is owner:
            self.end_block(block, is_good=False)

    def deliver(self) -> None:
        """Deliver what waits, in turns with the other threads that use the memory.

        Raises:
            OfflineError: The server is away again.
            ServerRefusedError: It refuses to store anything.
        """
        # a block may take long, and whoever delivers has other memories to serve
        while self.state.is_waiting and self.state.block is None:
            try:
                self.run(drain(self.state, time.monotonic() + TURN_S), self.link.execute_once)
            except (DataLossWarning, NotReplicatedError) as warning:
                # raised where warnings are errors; nobody is here to catch it
                _log.warning("%s", warning)
            # whoever waits for the lock would else get it by luck only: give it to them
            time.sleep(0)

    def flush(self, timeout_s: float) -> int:
        """Wait until nothing waits any more, at most so long; how many changes are left."""
        if not self.state.is_waiting:
            return 0
        until_s = time.monotonic() + timeout_s
        # what was delivered can be read only when the server does not count as away any more
        while self.state.is_waiting or self.link.away is not None:
            left_s = until_s - time.monotonic()
            if not left_s > 0:  # nor where it is nan
                break
            if self.state.is_waiting:
                self.link.wait_for(self)
            # several threads may wait here, and those that deliver know of none of them
            time.sleep(min(LOOK_S, left_s))
        return len(self.state.queue.operations)

    def lose_user(self) -> None:
        """A memory object is gone; what it left in the queue is delivered all the same."""
        self.users -= 1

    def close(self) -> None:
        """Refuse every later call; one that is running ends first.

        What waits stays in the journal; without one it is lost, and a warning says so.
        """
        with self.lock:
            self.is_closed = True
            self.link.waiting.pop(self, None)
        abandon(self.state)

    def after_fork(self) -> None:
        """Begin anew in a forked child: another writer, other connections, a lock nobody holds."""
        self.lock = threading.RLock()
        if self.state.block is not None:
            undo(self.state, self.state.block)
            self.state.distrust()  # another thread may have been in the middle of a change
        self.state.after_fork()
        self.link.after_fork()


def abandon(state: State) -> None:
    """Leave what waits to whoever adopts the journal; warn when there is none."""
    state.is_waiting = False
    lost = state.queue.abandon()
    if lost:
        message = (
            f"{lost} changes of {state.label} were never delivered, and are lost: the server was "
            "away until the memory was closed, and there is no journal"
        )
        _log.error("%s", message)
        warnings.warn(DataLossWarning(message, forgotten=lost), stacklevel=2)


def not_replicated(confirmed: int, wanted: int) -> NotReplicatedError:
    """The error for a change that too few replicas have."""
    return NotReplicatedError(
        f"the change was made, and {confirmed} of {wanted} replicas have confirmed it in time"
    )


_drivers: weakref.WeakSet[Driver] = weakref.WeakSet()


def _after_fork() -> None:
    for driver in list(_drivers):
        driver.after_fork()


os.register_at_fork(after_in_child=_after_fork)
