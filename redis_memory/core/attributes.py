"""One attribute as one process knows it: where it lies, and the copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from redis_memory.core.calls import Call, Head
from redis_memory.core.keys import Keys, check_name
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.writer import Writer

# The scripts that note when something was deleted, or look into such notes.
_KEEPS_STAMPS = frozenset(
    {"list", "dict", "set", "assign", "swap", "increment", "delete", "clear", "exchange"}
)


@dataclass(slots=True)
class Copy:
    """This process's copy of one attribute, as of `descriptor`.

    Plain values in it are never changed in place below their top level: proxies share them.
    `question` is the call that asks whether it is still up to date. `unseen` are the packed values
    that this process has pushed since.
    """

    kind: bytes
    descriptor: bytes
    value: Any
    question: Call | None = None
    unseen: list[bytes] | None = None


class Attribute:
    """One attribute of one memory: where it lies, and this process's copy of it.

    While changes of it wait, `confirmed` is the descriptor of the last state of the server's that
    the copy began from. `before` is that of a copy which is not followed any more, b"" without one.
    `is_absent`: it was last seen to be missing, and this process has not changed it since; `seen`
    is the memory's version then. `newest` is the newest version that the feed has told of, and
    `session` the session of the feed in which it was read: nothing was missed since.
    """

    __slots__ = (
        "_heads",
        "before",
        "checked_s",
        "confirmed",
        "content",
        "copy",
        "encoded",
        "ends_s",
        "is_absent",
        "memory",
        "name",
        "newest",
        "reader",
        "resets",
        "seen",
        "session",
        "stamps",
    )

    def __init__(self, keys: Keys, name: str) -> None:
        self.name: str = name
        self.encoded: bytes = check_name(name)
        self.memory: bytes = keys.memory
        self.content: bytes = keys.content(self.encoded)
        self.reader: Head = Head.script(SCRIPTS["read"], (self.memory, self.content), self.encoded)
        self.stamps: bytes = keys.stamps
        self.copy: Copy | None = None
        self.confirmed: bytes | None = None
        self.before: bytes = b""
        self.is_absent: bool = False
        self.seen: bytes = b""
        self.newest: bytes = b""
        self.session: int = -1
        # when it was read last, by the monotonic clock, where copies may answer
        self.checked_s: float = 0.0
        # when the memory ends, by the same clock, as far as that read tells
        self.ends_s: float = inf
        # how often this process has assigned or deleted it as a whole
        self.resets: int = 0
        self._heads: dict[str, Head] = {}

    def head(self, script: str, writer: Writer) -> Head:
        """The head of a change of this attribute by `writer`, the only one until `forget_heads`."""
        self.is_absent = False
        head = self._heads.get(script)
        if head is None:
            keys: tuple[bytes, ...] = (self.memory, self.content)
            if script in _KEEPS_STAMPS:
                keys = (*keys, self.stamps)
            head = self._heads[script] = Head.script(SCRIPTS[script], keys, writer.id, self.encoded)
        return head

    def confirm(self, session: int, ends_s: float = inf) -> None:
        """It was read just now; the session of the feed was this one before."""
        self.session = session
        if session:
            self.checked_s, self.ends_s = monotonic(), ends_s

    def doubt(self) -> None:
        """Do not follow the copy any more: it only answers while the server is away."""
        copy = self.copy
        known = self.confirmed if self.confirmed is not None else copy.descriptor if copy else b""
        self.before = known or self.before
        self.confirmed = None
        self.session = -1
        if copy is not None:
            copy.descriptor = b""

    def forget_heads(self) -> None:
        """Another writer takes over."""
        self._heads.clear()
