"""What conversations are looked for: in which order, how active, from where on."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

from redis_memory.core.directory import AT_ANY_TIME
from redis_memory.core.expressions import Condition, Predicate
from redis_memory.core.records import Life

Order = Literal["recent", "oldest"]
Where = str | Predicate

# Entries are told of activity once a second.
LAG_US: Final = 2_000_000
SECOND_US: Final = 1_000_000


@dataclass(slots=True)
class Search:
    """What conversations are looked for, and in which order."""

    order: Order = "recent"
    idle_us: int | None = None
    active_us: int | None = None
    match: re.Pattern[str] | None = None
    where: Condition | None = None
    # where it goes on
    position: tuple[int, bytes] | None = None
    now_us: int = field(default=0)

    @classmethod
    def of(
        cls,
        order: str,
        idle_for: timedelta | float | None,
        active_within: timedelta | float | None,
        match: str | None,
        where: Where | None,
        cursor: str | None = None,
    ) -> Search:
        """What a caller's arguments mean.

        Raises:
            ValueError: An unknown order, a negative time, a cursor of another listing, or a
                condition that cannot be understood.
        """
        if order not in ("recent", "oldest"):
            raise ValueError(f"order is 'recent' or 'oldest', not {order!r}")
        return cls(
            order,  # type: ignore[arg-type]  # looked at above
            _micros(idle_for, "idle_for"),
            _micros(active_within, "active_within"),
            None if match is None else re.compile(fnmatch.translate(match)),
            None if where is None else Condition(where),
            None if cursor is None else _position(cursor, order),
        )

    def wants(self, life: Life) -> bool:
        """Is the memory as active, or as idle, as is wanted?"""
        idle_us = self.now_us - int(life.version, 16)
        if self.idle_us is not None and idle_us < self.idle_us:
            return False
        return self.active_us is None or idle_us <= self.active_us

    def bounds(self) -> tuple[int, int]:
        """Between which scores the wanted entries lie; entries lag behind a little."""
        low, high = 0, int(AT_ANY_TIME)
        if self.active_us is not None:
            low = self.now_us - self.active_us - LAG_US
        if self.idle_us is not None:
            high = self.now_us - self.idle_us
        return max(low, 0), high


def _micros(span: timedelta | float | None, name: str) -> int | None:
    if span is None:
        return None
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{name} is a timedelta or seconds, not negative")
    return int(seconds * SECOND_US)


def _position(cursor: str, order: str) -> tuple[int, bytes]:
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii"))
        direction, score, tag = text.split(b" ", 2)
        if direction.decode() != order:
            raise ValueError("of another order")
        return int(score), tag
    except (ValueError, UnicodeError, binascii.Error) as error:
        raise ValueError("the cursor does not belong to a listing in this order") from error
