"""Which conversations there are under a prefix: found by the index, told by themselves."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.directory import AT_ANY_TIME
from redis_memory.core.expressions import Condition, Predicate
from redis_memory.core.keys import NO_ID, DirectoryKeys, id_of, tag_of
from redis_memory.core.records import (
    Life,
    Record,
    lives,
    memory_key,
    moment,
    opened,
    records,
    together,
)
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.sealing import Keyring, Sealer
from redis_memory.core.values import Limits
from redis_memory.errors import CorruptValueError, DecryptionError, RedisMemoryError

Order = Literal["recent", "oldest"]
Where = str | Predicate

_PAGE: Final = 100
# Entries are told of activity once a second.
_LAG_US: Final = 2_000_000
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One conversation of a listing. The times are the server's."""

    id: str
    created: datetime
    last_activity: datetime


@dataclass(frozen=True, slots=True)
class Page(Sequence[Entry]):
    """A part of a listing; `cursor` gives the next part, None where this is the last one."""

    entries: tuple[Entry, ...]
    cursor: str | None = None

    def __getitem__(self, index: Any) -> Any:
        return self.entries[index]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order of the listing."""
        return tuple(entry.id for entry in self.entries)


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """What `reindex` found: `found` conversations; `added`, `corrected`, `removed` entries."""

    found: int
    added: int
    corrected: int
    removed: int


@dataclass(frozen=True, slots=True)
class Stats:
    """How many conversations there are, how many were active lately, how many have a lifetime."""

    conversations: int
    active_hour: int
    active_day: int
    active_week: int
    idle_month: int
    expiring: int
    oldest_activity: datetime | None
    newest_activity: datetime | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry of the index, and what its memory says."""

    tag: bytes
    score: int
    life: Life | None


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
            low = self.now_us - self.active_us - _LAG_US
        if self.idle_us is not None:
            high = self.now_us - self.idle_us
        return max(low, 0), high


def _micros(span: timedelta | float | None, name: str) -> int | None:
    if span is None:
        return None
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{name} is a timedelta or seconds, not negative")
    return int(seconds * _SECOND_US)


def _position(cursor: str, order: str) -> tuple[int, bytes]:
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii"))
        direction, score, tag = text.split(b" ", 2)
        if direction.decode() != order:
            raise ValueError("of another order")
        return int(score), tag
    except (ValueError, UnicodeError, binascii.Error) as error:
        raise ValueError("the cursor does not belong to a listing in this order") from error


class Directory:
    """The conversations under one prefix. The methods are flows."""

    def __init__(self, prefix: str, limits: Limits, keyring: Keyring | None = None) -> None:
        self.prefix: str = prefix
        self.keys: DirectoryKeys = DirectoryKeys(prefix)
        self.limits: Limits = limits
        self.keyring: Keyring | None = keyring

    def sealer(self, tag: bytes) -> Sealer | None:
        """What opens and seals the values of a conversation, None where they are not encrypted."""
        return None if self.keyring is None else Sealer(self.keyring, memory_key(self.keys, tag))

    def values(self, record: Record, names: Collection[str] | None = None) -> dict[str, Any]:
        """As `Record.values`, of a conversation that may be encrypted.

        Raises:
            CorruptValueError: An attribute cannot be read; of one that is encrypted and cannot be
                opened DecryptionError.
        """
        sealer = self.sealer(record.tag)
        if sealer is not None:
            record = opened(sealer, record)
        return record.values(self.limits, names)

    def now_us(self) -> Flow[int]:
        """The server's time. One round trip."""
        seconds, micros = yield Call(Head(b"TIME"))
        return int(seconds) * _SECOND_US + int(micros)

    def count(self) -> Flow[int]:
        """How many conversations there are. Three round trips."""
        now_us = yield from self.now_us()
        yield from self.sweep(now_us)
        found: int = yield Call(Head(b"ZCARD", self.keys.index))
        return found

    def sweep(self, now_us: int) -> Flow[None]:
        """Forget the conversations whose lifetime is over. One round trip when there are none."""
        while True:
            asked = Call(
                Head(b"ZRANGEBYSCORE", self.keys.expiring),
                b"-inf",
                b"%d" % now_us,
                *(b"LIMIT", b"0", b"%d" % _PAGE),
            )
            tags = yield asked
            if not tags:
                return
            found = yield from lives(self.keys, tags)
            yield from self.correct(
                [
                    Candidate(tag, int(AT_ANY_TIME) if life is None else 0, life)
                    for tag, life in zip(tags, found, strict=True)
                ]
            )
            if len(tags) < _PAGE or any(
                life and life.ends and int(life.ends) <= now_us for life in found
            ):
                return

    def correct(self, candidates: Sequence[Candidate]) -> Flow[tuple[int, int]]:
        """Bring entries in line with their memories; how many were removed, and moved.

        One round trip for each 50.
        """
        removed = moved = 0
        head = Head.script(SCRIPTS["correct"], (self.keys.index, self.keys.expiring))
        for at in range(0, len(candidates), 50):
            arguments: list[bytes] = []
            for one in candidates[at : at + 50]:
                life = one.life
                told = (life.activity, life.ends) if life else (b"", b"")
                arguments += (one.tag, b"%d" % one.score, *told)
            gone, changed = yield Call(head, *arguments)
            removed, moved = removed + gone, moved + changed
        return removed, moved

    def page(self, search: Search, limit: int) -> Flow[Page]:
        """The next conversations of a search, at most `limit`."""
        if limit < 1:
            raise ValueError("limit is 1 or more")
        if not search.now_us:
            search.now_us = yield from self.now_us()
        found: list[tuple[int, Entry]] = []
        while len(found) < limit:
            # filters that look at ids or values pass few of many
            is_narrow = search.match is not None or search.where is not None
            some = yield from self.candidates(search, _PAGE if is_narrow else limit - len(found))
            if not some:
                break
            kept = yield from self.chosen(search, some)
            for one, _ in kept:
                if len(found) == limit:
                    break
                if one.life is not None:
                    found.append((int(one.life.version, 16), _entry(one.tag, one.life)))
                search.position = (one.score, one.tag)
            else:
                search.position = (some[-1].score, some[-1].tag)
        else:
            score, tag = search.position or (0, b"")
            cursor = base64.urlsafe_b64encode(b"%b %d %b" % (search.order.encode(), score, tag))
            return Page(_in_order(found, search.order), cursor.decode())
        return Page(_in_order(found, search.order))

    def candidates(self, search: Search, most: int) -> Flow[list[Candidate]]:
        """The next entries of the index, and what their memories say; none at the end.

        Entries of conversations that are gone are removed, and not among them.
        """
        while True:
            rows = yield from self._rows(search, most)
            if not rows:
                return []
            found = yield from lives(self.keys, [tag for tag, _ in rows])
            every = [
                Candidate(tag, score, life if _id(tag) else None)
                for (tag, score), life in zip(rows, found, strict=True)
            ]
            # in the other order an entry that moves ahead would be met again
            wrong = [
                one
                for one in every
                if one.life is None
                or (search.order == "recent" and int(one.life.activity) > one.score)
                or _is_too_new(one, search.order)
            ]
            if wrong:
                yield from self.correct(wrong)
            there = [
                one for one in every if one.life is not None and not _is_too_new(one, search.order)
            ]
            if there:
                return there
            search.position = (every[-1].score, every[-1].tag)

    def _rows(self, search: Search, most: int) -> Flow[list[tuple[bytes, int]]]:
        """Entries behind the position of a search."""
        low, high = search.bounds()
        is_recent = search.order == "recent"
        command = b"ZREVRANGEBYSCORE" if is_recent else b"ZRANGEBYSCORE"
        if search.position is not None:
            at = search.position[0]
            low, high = (low, min(high, at)) if is_recent else (max(low, at), high)
        first, last = (high, low) if is_recent else (low, high)
        skipped = 0
        while True:
            reply = yield Call(
                Head(command, self.keys.index),
                b"%d" % first,
                b"%d" % last,
                b"WITHSCORES",
                *(b"LIMIT", b"%d" % skipped, b"%d" % most),
            )
            rows = [(tag, int(float(score))) for tag, score in _pairs(reply)]
            fresh = [row for row in rows if _is_behind(row, search)]
            if fresh or len(rows) < most:
                return fresh
            skipped += most

    def chosen(
        self, search: Search, some: Sequence[Candidate]
    ) -> Flow[list[tuple[Candidate, Record | None]]]:
        """Those of some candidates that are looked for, with what was read of them."""
        named = [
            one
            for one in some
            if one.life is not None
            and search.wants(one.life)
            and (search.match is None or search.match.match(_id(one.tag)))
        ]
        condition = search.where
        if condition is None:
            return [(one, None) for one in named]
        read = yield from records(self.keys, [one.tag for one in named], condition.names)
        kept: list[tuple[Candidate, Record | None]] = []
        for one, record in zip(named, read, strict=True):
            life = record.life
            if life is not None and search.wants(life) and self.satisfies(record, condition):
                kept.append((Candidate(one.tag, one.score, life), record))
        return kept

    def satisfies(self, record: Record, condition: Condition) -> bool:
        """Is a conversation as it must be? One that cannot be read is not."""
        try:
            return condition(self.values(record, condition.names))
        except CorruptValueError as error:
            # without a key nothing can be judged; one that is damaged must not hide the others
            if isinstance(error, DecryptionError) and self.keyring is None:
                raise
            return False

    def exists(self, conversation_id: str) -> Flow[bool]:
        """Whether there is a conversation. One round trip, two when there is none."""
        return (yield from self.life(conversation_id)) is not None

    def life(self, conversation_id: str) -> Flow[Life | None]:
        """What a conversation's memory says of itself, None when there is none."""
        tag = tag_of(conversation_id)
        (life,) = yield from lives(self.keys, [tag])
        if life is None:
            score = yield Call(Head(b"ZSCORE", self.keys.index), tag)
            if score is not None:
                # once more: who entered it before is seen now, and who did since has a newer score
                (life,) = yield from lives(self.keys, [tag])
                yield from self.correct([Candidate(tag, int(float(score)), life)])
        return life

    def stats(self) -> Flow[Stats]:
        """Figures about the index. Four round trips."""
        now_us = yield from self.now_us()
        yield from self.sweep(now_us)
        index = self.keys.index
        hour_us = 3600 * _SECOND_US

        def counted(low: int, high: int = int(AT_ANY_TIME)) -> Call:
            return Call(Head(b"ZCOUNT", index), b"%d" % low, b"%d" % high)

        asked = [
            Call(Head(b"ZCARD", index)),
            *(counted(now_us - hour_us * hours) for hours in (1, 24, 168)),
            counted(0, now_us - hour_us * 24 * 30),
            Call(Head(b"ZCARD", self.keys.expiring)),
            Call(Head(b"ZRANGE", index), b"0", b"0", b"WITHSCORES"),
            Call(Head(b"ZRANGE", index), b"-1", b"-1", b"WITHSCORES"),
        ]
        replies = yield from together(asked)
        for reply in replies:
            if isinstance(reply, RedisMemoryError):
                raise reply
        every, hour, day, week, month, expiring, oldest, newest = replies
        return Stats(every, hour, day, week, month, expiring, _time(oldest), _time(newest))

    def reindex(self, progress: Callable[[int], object] | None = None) -> Flow[ReindexReport]:
        """Make the index anew from the memories themselves; the only flow that scans the keys."""
        found = added = corrected = removed = 0
        cursor = b"0"
        seen: set[bytes] = set()
        while True:
            cursor, keys = yield Call(
                Head(b"SCAN"), cursor, b"MATCH", self.keys.prefix + b"{*}", b"COUNT", b"1000"
            )
            tags = [tag for tag in map(self._tag_of_key, keys) if tag is not None]
            tags = [tag for tag in dict.fromkeys(tags) if tag not in seen]
            seen.update(tags)
            counts = yield from self._reindexed(tags)
            found, added = found + counts[0], added + counts[1]
            corrected += counts[2]
            if progress is not None:
                progress(found)
            if cursor in (b"0", 0):
                break
        removed = yield from self._without_memory()
        return ReindexReport(found, added, corrected, removed)

    def _reindexed(self, tags: Sequence[bytes]) -> Flow[tuple[int, int, int]]:
        known = yield from lives(self.keys, tags)
        there = [(tag, life) for tag, life in zip(tags, known, strict=True) if life]
        scores = yield from together([Call(Head(b"ZSCORE", self.keys.index), t) for t, _ in there])
        wrong = [
            Candidate(tag, int(float(score)) if score is not None else 0, life)
            for (tag, life), score in zip(there, scores, strict=True)
            if score is None or int(float(score)) != int(life.activity) or life.ends
        ]
        yield from self.correct(wrong)
        added = sum(score is None for score in scores)
        corrected = sum(
            score is not None and abs(int(float(score)) - int(life.activity)) > _LAG_US
            for (_, life), score in zip(there, scores, strict=True)
        )
        return len(there), added, corrected

    def _without_memory(self) -> Flow[int]:
        """Remove the entries of conversations that are gone; how many there were."""
        before: int = yield Call(Head(b"ZCARD", self.keys.index))
        search = Search("oldest")
        while some := (yield from self.candidates(search, _PAGE)):
            search.position = (some[-1].score, some[-1].tag)
        after: int = yield Call(Head(b"ZCARD", self.keys.index))
        return max(before - after, 0)

    def _tag_of_key(self, key: bytes) -> bytes | None:
        """The id in the key of a memory's hash; None for any other key."""
        tag = key.removeprefix(self.keys.prefix + b"{").removesuffix(b"}")
        if len(tag) != len(key) - len(self.keys.prefix) - 2 or tag == NO_ID:
            return None
        try:
            id_of(tag)
        except CorruptValueError:
            return None
        return tag


def _is_too_new(one: Candidate, order: Order) -> bool:
    """Was it entered for a change that was refused? It is met again, at its place."""
    return (
        order == "recent" and one.life is not None and one.score - int(one.life.activity) > _LAG_US
    )


def _is_behind(row: tuple[bytes, int], search: Search) -> bool:
    if search.position is None:
        return True
    tag, score = row
    return (
        (score, tag) < search.position
        if search.order == "recent"
        else (score, tag) > search.position
    )


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _id(tag: bytes) -> str:
    try:
        return id_of(tag)
    except CorruptValueError:
        return ""


def _entry(tag: bytes, life: Life) -> Entry:
    return Entry(id_of(tag), moment(life.created), moment(life.version))


def _in_order(found: list[tuple[int, Entry]], order: str) -> tuple[Entry, ...]:
    found.sort(key=lambda pair: pair[0], reverse=order == "recent")
    return tuple(entry for _, entry in found)


def _time(row: list[bytes]) -> datetime | None:
    return datetime.fromtimestamp(float(row[1]) / _SECOND_US, UTC) if row else None
