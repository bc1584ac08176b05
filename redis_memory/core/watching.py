"""What happens to a memory, as whoever watches it is told: in order, nothing twice."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from math import inf
from time import monotonic
from typing import Any, Literal

from redis_memory.core import contents, lifetime
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.conflicts import MISSING
from redis_memory.core.feed import (
    APPENDED,
    APPENDED_MANY,
    CHANGED,
    CLEARED,
    DELETED,
    LIFETIME,
    RELEASED,
    SET,
    News,
)
from redis_memory.core.keys import check_name, name_text
from redis_memory.core.places import detached
from redis_memory.core.reading import read
from redis_memory.core.state import State
from redis_memory.core.values import unpack
from redis_memory.errors import CorruptValueError, RedisMemoryError

_log = logging.getLogger("redis_memory")

# Who is so far behind is told the latest states instead of every change.
_MOST_UNTOLD = 10_000
# Of how many deleted attributes it is known when they were.
_MOST_GONE = 1_000

ChangeKind = Literal["set", "append", "change", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an attribute, by any process.

    `kind` and `value`: "set" and what was assigned; "append" and the list of what was appended;
    "change" and what the container is now, or was a moment later; "delete" and `MISSING`. After a
    gap (the connection was lost, or 10,000 changes were not fetched) what changed in it is told
    once, as a "change" or "delete" by an unknown writer, "". `version` is that of the change, also
    where the value was read later, and grows with each change of the memory; it is the server's
    time in microseconds, and `at` the same as a datetime.
    """

    name: str
    kind: ChangeKind
    value: Any = field(repr=False)
    writer: str
    version: int
    at: datetime


class Watcher:
    """What is to be told of the attributes `names`, of all without any.

    `ring` is called, in the feed's thread, when there may be something to tell.
    """

    def __init__(self, names: tuple[str, ...], ring: Callable[[], object]) -> None:
        self.names: dict[str, bytes] = {name: check_name(name) for name in names}
        self._ring = ring
        self._untold: deque[News] = deque()
        # how often something may not have been heard of, and how many of these were surveyed
        self._gaps: int = 1
        self._surveyed: int = 0
        self._has_begun: bool = False
        # when the memory ends, by the monotonic clock, as far as is known; it may have another
        # lifetime since
        self.ends_s: float = inf
        self._has_other_end: bool = False
        # of each attribute that is there, the version told last; and of those that are gone
        self._told: dict[str, bytes] = {}
        self._gone: dict[str, bytes] = {}

    def hear(self, news: News) -> None:
        """Something was changed."""
        if news.what == LIFETIME:
            self._has_other_end = True
            self._ring()
            return
        if news.what == RELEASED or (self.names and news.name and news.name not in self.names):
            return
        if len(self._untold) >= _MOST_UNTOLD:
            if self._gaps == self._surveyed:
                _log.warning(
                    "a watch is %d changes behind, and skips to what is stored", _MOST_UNTOLD
                )
            self._gaps += 1
        else:
            self._untold.append(news)
        self._ring()

    def wake(self) -> None:
        """The feed was lost, or listens again."""
        self._gaps += 1
        self._ring()

    def beginning(self, state: State) -> Flow[None]:
        """Note what there is. One round trip."""
        yield from self._survey(state)

    def telling(self, state: State) -> Flow[Change | None]:
        """The next change, None when there is none. No round trip when it came with its value.

        Raises:
            OfflineError: The server is needed for it, and away; ask again later.
            CorruptValueError: What is stored is no value of ours; the next call goes on behind it.
        """
        while True:
            if self._gaps != self._surveyed:
                yield from self._survey(state)
            if not self._untold:
                if not (yield from self._has_ended(state)):
                    return None
                self._gaps += 1
                continue
            # taken out when it is told: a cancellation may strike in between
            news = self._untold[0]
            change = None
            if news.what == CLEARED:
                yield from self._clear(state, news)
                continue
            if news.version > max(self._told.get(news.name, b""), self._gone.get(news.name, b"")):
                try:
                    change = yield from self._change(state, news)
                except ValueError as error:
                    self._untold.popleft()
                    if isinstance(error, RedisMemoryError):
                        raise
                    raise CorruptValueError(
                        f"what the feed told of the attribute {news.name!r} is no value of ours"
                    ) from error
            self._untold.popleft()
            if change is not None:
                return change

    def _has_ended(self, state: State) -> Flow[bool]:
        """Is the memory gone, though nobody has told so? No round trip before its time is over."""
        if not self._has_other_end and monotonic() < self.ends_s:
            return False
        self._has_other_end = False
        asked = Call(Head(b"HMGET", state.keys.memory), b"_created")
        (created,) = yield from self._asking(state, asked)
        return created is None and bool(self._told)

    def _asking(self, state: State, asked: Call) -> Flow[Any]:
        """Ask, and for the end of the memory too."""
        begun_s = lifetime.ask_too(state, asked)
        answer = yield asked
        self.ends_s = lifetime.end_s(state, asked, begun_s) if begun_s else inf
        return answer

    def _survey(self, state: State) -> Flow[None]:
        """Compare what is stored with what was told. One round trip."""
        gaps, memory = self._gaps, state.keys.memory
        if self.names:
            asked = Call(Head(b"HMGET", memory), b"_version", *self.names.values())
            found = yield from self._asking(state, asked)
            version, fields = found[0] or b"", dict(zip(self.names, found[1:], strict=True))
        else:
            found = yield from self._asking(state, Call(Head(b"HGETALL", memory)))
            by_name = dict(zip(found[::2], found[1::2], strict=True))
            version, fields = by_name.get(b"_version", b""), dict(_attributes(by_name))
        self._surveyed = gaps
        stored = {name: value for name, value in fields.items() if value}
        if self._has_begun:
            self._compare(stored, version)
        else:
            self._has_begun = True
            # what happened before is told to nobody, also where it is heard of late
            self._told = {name: _version(value) for name, value in stored.items()}
            while self._untold and self._untold[0].version <= version:
                self._untold.popleft()

    def _compare(self, stored: dict[str, bytes], version: bytes) -> None:
        changed = []
        newest = max([*self._told.values(), *self._gone.values()], default=b"0")
        # the server may be back with an older state: that is told too, as if it came next
        beyond = (b"%013x" % number for number in count(int(newest, 16) + 1))
        for name, value in stored.items():
            if _version(value) != self._told.get(name):
                news = News.of(CHANGED, name, value)
                if news.version <= max(self._told.get(name, b""), self._gone.get(name, b"")):
                    news.version = next(beyond)
                changed.append(news)
        # the memory may be gone as a whole, and its version with it
        changed += [
            News.of(DELETED, name, (version if version > newest else next(beyond)) + b";")
            for name in self._told
            if name not in stored
        ]
        # what was heard before is told in its turn
        changed += [self._untold.popleft() for _ in range(len(self._untold))]
        self._untold.extendleft(sorted(changed, key=lambda news: news.version, reverse=True))

    def _clear(self, state: State, news: News) -> Flow[None]:
        """What was there is gone, in the order of the names. One round trip."""
        created = yield Call(Head(b"HGET", state.keys.memory), b"_created")
        self._untold.popleft()
        if created and created < news.version:
            # one that had waited, and has left alone what was newer
            self._gaps += 1
            return
        for name in sorted(self._told, reverse=True):
            gone = News.of(DELETED, name, news.descriptor)
            gone.writer = news.writer
            self._untold.appendleft(gone)

    def _change(self, state: State, news: News) -> Flow[Change | None]:
        kind: ChangeKind = "change"
        version, payload = news.version, news.payload
        value: Any = MISSING
        if news.what == DELETED:
            kind = "delete"
        elif news.what == APPENDED:
            kind, value = "append", [unpack(payload, state.limits)]
        elif news.what == APPENDED_MANY:
            kind, value = (
                "append",
                [unpack(part, state.limits) for part in contents.pieces(payload)],
            )
        elif news.what == SET and payload:
            kind = "set"
            value = contents.decode_scalar(news.descriptor[:1], payload, state.limits)
        else:
            copy = yield from read(state, news.name, may_recall=False)
            if copy is None:
                return None  # it was deleted since, and that will be heard of
            version = copy.descriptor[1:14]
            kind = "set" if news.what == SET and version == news.version else "change"
            value = detached(copy.value)
        if kind == "delete":
            self._gone[news.name] = version
            self._told.pop(news.name, None)
            if len(self._gone) > _MOST_GONE:
                del self._gone[next(iter(self._gone))]
        else:
            self._told[news.name] = version
            self._gone.pop(news.name, None)
        # of a value that was read a moment later, too: so versions only grow
        micros = int(news.version, 16)
        return Change(
            news.name,
            kind,
            value,
            news.writer.decode().removeprefix("_w"),
            micros,
            datetime.fromtimestamp(micros / 1e6, UTC),
        )


def _attributes(fields: dict[bytes, bytes]) -> Iterator[tuple[str, bytes]]:
    """The attributes among the fields of a memory, without what a foreign hand has named."""
    for name, value in fields.items():
        if not name.startswith(b"_"):
            with suppress(CorruptValueError):
                yield name_text(name), value


def _version(field: bytes) -> bytes:
    """The version in the stored field of an attribute."""
    return field[1:14]
