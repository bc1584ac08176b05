"""What happened to changes that waited and met others: reported, never dropped in silence."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

_log = logging.getLogger("redis_memory")

_MOST_KEPT = 1000


class _Missing:
    """The type of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


class _Exists:
    """The type of `EXISTS`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "EXISTS"


MISSING: Final = _Missing()
# any value, where something is waited for
EXISTS: Final = _Exists()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two changes of the same thing, of which one was made while Redis was away.

    `name` is the attribute and `key` the key of a dict, of one inside an element the path of keys
    to it, `MISSING` where the whole attribute is meant. `mine` is what this process had set,
    `theirs` what others had; `MISSING` for a deletion. `winner` is "mine", "theirs", or "function"
    for a value that the memory's own function gave.
    `reason`: "newer" (who came later has won, or whom the setting says), "cleared" (the memory was
    cleared meanwhile), "moved" (what was changed by its position is not there any more), "gone"
    (the attribute is, or is of another kind), "refused" (the server's words are in `detail`),
    "in doubt" (made once or not at all: the server forgot this writer). The times are the
    server's, None where it told none. The values are not in the repr.
    """

    name: str
    key: Any
    mine: Any
    theirs: Any
    winner: Literal["mine", "theirs", "function"]
    reason: str
    mine_at: datetime | None = None
    theirs_at: datetime | None = None
    detail: str = ""

    def __repr__(self) -> str:
        key = "" if self.key is MISSING else f"[{self.key!r}]"
        return f"<Conflict about {self.name}{key}: {self.reason}, {self.winner} stays>"


Policy = Literal["newest", "mine", "theirs"] | Callable[[Conflict], Any]


class Conflicts:
    """The conflicts of one memory: the last 1,000, and how many there were."""

    def __init__(
        self,
        policy: Policy = "newest",
        tell: Callable[[Conflict], object] | None = None,
    ) -> None:
        self.policy: Policy = policy
        self.tell: Callable[[Conflict], object] | None = tell
        self.kept: deque[Conflict] = deque(maxlen=_MOST_KEPT)
        self.count: int = 0

    def like(self) -> Conflicts:
        """Others of another memory, decided and told in the same way."""
        return Conflicts(self.policy, self.tell)

    @property
    def word(self) -> bytes:
        """The policy as the server is told it."""
        return b"ask" if callable(self.policy) else self.policy.encode()

    def report(self, label: str, conflict: Conflict) -> None:
        """Keep a conflict, log it without its values, and tell the user's own function."""
        self.kept.append(conflict)
        self.count += 1
        _log.warning(
            "conflict in %s about %r: %s, %s stays",
            label,
            conflict.name,
            conflict.reason,
            conflict.winner,
        )
        if self.tell is not None:
            try:
                self.tell(conflict)
            except Exception:  # noqa: BLE001 - the user's code; what it is told of has happened
                _log.exception("on_conflict raised an exception")
