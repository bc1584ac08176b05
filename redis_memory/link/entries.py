"""Entries of directories in a cluster: the node of the index may be away, or have lost them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from redis_memory.core.calls import Call

_log = logging.getLogger("redis_memory")

# What a replica that takes over may lack: the last seconds before its primary died.
_LAG_S: Final = 10.0
_MOST: Final = 100_000


class Entries:
    """The entries that this process makes, by the key that each of them goes to.

    An entry and its conversation lie at two nodes, so one may be kept and the other be missing.
    What could not be entered is `late`: it is made as soon as a node takes it. So is what was
    entered in the seconds before another node took over, since that one may lack it; an entry that
    is made twice does no harm. All links of a process share them, so the next one makes what was
    late when another one was closed.
    """

    def __init__(self) -> None:
        self.late: dict[tuple[bytes, ...], Call] = {}
        self._made: OrderedDict[tuple[bytes, ...], tuple[float, Call]] = OrderedDict()
        # which node took the last ones, by the key of the index
        self._taken_by: dict[bytes, object] = {}
        # reentrant: a signal handler may change a memory
        self._lock: Any = threading.RLock()  # its type has another name in each version of Python

    def made(self, key: bytes, call: Call, by: object) -> bool:
        """A node has taken an entry; whether there are late ones for it."""
        name = _name(key, call)
        with self._lock:
            before = self._taken_by.get(key, by)
            self._taken_by[key] = by
            self.late.pop(name, None)
            if before != by:
                for other in [one for one in self._made if one[0] == key and one != name]:
                    self._add(other, self._made.pop(other)[1])
            now_s = monotonic()
            self._made.pop(name, None)
            self._made[name] = now_s, call
            while now_s - next(iter(self._made.values()))[0] > _LAG_S or len(self._made) > _MOST:
                self._made.popitem(last=False)
            return any(late[0] == key for late in self.late)

    def missed(self, key: bytes, call: Call) -> None:
        """No node has taken an entry."""
        self._add(_name(key, call), call)

    def _add(self, name: tuple[bytes, ...], call: Call) -> None:
        if len(self.late) < _MOST:
            self.late[name] = call
        else:
            _log.error("a conversation is missing in its directory until `reindex` is called")

    def late_for(self, is_wanted: Callable[[bytes], bool]) -> list[tuple[bytes, Call]]:
        """The late ones that go to a wanted key, and that key."""
        return [(name[0], call) for name, call in list(self.late.items()) if is_wanted(name[0])]

    def drop(self, key: bytes, call: Call) -> None:
        """It is of no use to try it again."""
        self.late.pop(_name(key, call), None)

    def give_up(self, label: str) -> None:
        """Nobody makes the late ones any more: say so."""
        if self.late:
            what = "the directory lacks conversations until `reindex` is called"
            _log.error("%s: %s: %d", label, what, len(self.late))
            self.late.clear()

    def after_fork(self) -> None:
        """They belong to the parent process."""
        self._lock = threading.RLock()
        self.late.clear()
        self._made.clear()


def _name(key: bytes, call: Call) -> tuple[bytes, ...]:
    """An entry of the same conversation takes the place of the one before."""
    return key, call.arguments[0]
