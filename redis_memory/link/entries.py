"""Entries of directories in a cluster: the node of the index may be away, or have lost them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from time import monotonic
from typing import Any, Final

from redis_memory.core.calls import Call

_log = logging.getLogger("redis_memory")

# What a replica that takes over may lack: the last seconds before its primary died.
_LAG_S: Final = 10.0
_MOST: Final = 10_000


class Entries:
    """The entries that this process makes, by the key of the index and the conversation.

    An entry and its conversation lie at two nodes, so one may be kept and the other be missing.
    What could not be entered is `late`: it is made as soon as a node takes it. So is what was
    entered in the seconds before another node took over, since that one may lack it; an entry that
    is made twice does no harm. All links of a process share them, so the next one makes what was
    late when another one was closed.
    """

    def __init__(self) -> None:
        self.late: dict[bytes, dict[bytes, Call]] = {}
        self._made: dict[bytes, OrderedDict[bytes, tuple[float, Call]]] = {}
        # which node took the last ones
        self._taken_by: dict[bytes, object] = {}
        # reentrant: a signal handler may change a memory
        self._lock: Any = threading.RLock()  # its type has another name in each version of Python

    def made(self, index: bytes, call: Call, by: object) -> bool:
        """A node has taken an entry; whether there are late ones for it."""
        tag = call.arguments[0]
        with self._lock:
            made = self._made.setdefault(index, OrderedDict())
            late = self.late.setdefault(index, {})
            late.pop(tag, None)
            made.pop(tag, None)
            if self._taken_by.setdefault(index, by) != by:
                self._taken_by[index] = by
                for other, (_, entry) in made.items():
                    late.setdefault(other, entry)
                made.clear()
            now_s = monotonic()
            made[tag] = now_s, call
            while now_s - next(iter(made.values()))[0] > _LAG_S or len(made) > _MOST:
                made.popitem(last=False)
            return bool(late)

    def missed(self, index: bytes, call: Call) -> None:
        """No node has taken an entry."""
        with self._lock:
            late = self.late.setdefault(index, {})
            if len(late) < _MOST:
                late[call.arguments[0]] = call
            else:
                _log.error("a directory lacks one more conversation until reindex is called")

    def drop(self, index: bytes, call: Call) -> None:
        """It is of no use to try it again."""
        with self._lock:
            self.late[index].pop(call.arguments[0], None)

    @property
    def lacking(self) -> list[bytes]:
        """The keys of indexes that lack entries."""
        return [index for index, late in list(self.late.items()) if late]

    def late_at(self, index: bytes) -> list[Call]:
        """The entries that an index lacks."""
        with self._lock:
            return list(self.late.get(index, {}).values())

    def give_up(self, label: str) -> None:
        """Nobody makes the late ones any more: say so."""
        count = sum(map(len, self.late.values()))
        if count:
            _log.error(
                "the directory of %s lacks %d conversations until reindex is called", label, count
            )
        self.late.clear()

    def after_fork(self) -> None:
        """They belong to the parent process."""
        self._lock = threading.RLock()
        self.late.clear()
        self._made.clear()
