"""Who writes: the numbers of one process's changes to one memory."""

from __future__ import annotations

import os
from collections import deque
from time import monotonic
from typing import Any

_MOST_SETTLED = 16


class Writer:
    """Numbers the changes of one process to one memory.

    `unsettled` says that something must be settled before another change takes a number: the one
    after `last` was sent, and no answer has arrived; or changes wait, and `last` is the last of
    them. `settled` is what the server said of the last ones that were: status and result by number;
    several, since a signal handler may strike while another one changes the memory. `window` are
    the changes that it acknowledged of late, to be made again should it forget them, and `newest`
    is a descriptor out of the last answer.
    """

    __slots__ = (
        "answered_at_s",
        "due_s",
        "ends_us",
        "expired_us",
        "id",
        "kept_bytes",
        "last",
        "lifetime_ms",
        "newest",
        "settled",
        "unsettled",
        "window",
    )

    def __init__(self, kept: int = 1000) -> None:
        # 9 random bytes: 2**36 writers before two may be expected to meet
        self.id: bytes = b"_w" + os.urandom(9).hex().encode()
        self.last: int = 0
        self.unsettled: bool = False
        # by the monotonic clock
        self.answered_at_s: float = monotonic()
        # when the directory is to be told again that the memory is active, by the same clock
        self.due_s: float = 0.0
        # the lifetime of the memory, None while that is not known; when it will be over, by the
        # clock of `core.clock`, 0 for never; and when it was, if a change has found it so
        self.lifetime_ms: int | None = None
        self.ends_us: int = 0
        self.expired_us: int = 0
        self.settled: dict[int, tuple[bytes, bytes]] = {}
        self.newest: bytes = b""
        self.window: deque[Any] = deque(maxlen=kept)
        self.kept_bytes: int = 0

    def settle(self, turn: int, status: bytes, result: bytes) -> None:
        """The server has said what has become of a number that no answer had come for."""
        self.settled[turn] = status, result
        if len(self.settled) > _MOST_SETTLED:
            del self.settled[next(iter(self.settled))]
        self.last = max(self.last, turn)
        self.unsettled = False
