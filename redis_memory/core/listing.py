"""Listings: pages of conversations, found by the index, told by themselves."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.expressions import Condition
from redis_memory.core.index import Candidate, Directory
from redis_memory.core.keys import id_of
from redis_memory.core.records import Life, Record, lives, moment, records
from redis_memory.core.search import LAG_US, Order, Search
from redis_memory.errors import CorruptValueError, DecryptionError

_PAGE: Final = 100


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


def page(directory: Directory, search: Search, limit: int) -> Flow[Page]:
    """The next conversations of a search, at most `limit`."""
    if limit < 1:
        raise ValueError("limit is 1 or more")
    if not search.now_us:
        search.now_us = yield from directory.now_us()
    found: list[tuple[int, Entry]] = []
    while len(found) < limit:
        # filters that look at ids or values pass few of many
        is_narrow = search.match is not None or search.where is not None
        some = yield from candidates(directory, search, _PAGE if is_narrow else limit - len(found))
        if not some:
            break
        kept = yield from chosen(directory, search, some)
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


def candidates(directory: Directory, search: Search, most: int) -> Flow[list[Candidate]]:
    """The next entries of the index, and what their memories say; none at the end.

    Entries of conversations that are gone are removed, and not among them.
    """
    while True:
        rows = yield from _rows(directory, search, most)
        if not rows:
            return []
        found = yield from lives(directory.keys, [tag for tag, _ in rows])
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
        is_tidy = not wrong or (yield from directory.tidy(wrong))
        there = [
            one
            for one in every
            if one.life is not None and not (is_tidy and _is_too_new(one, search.order))
        ]
        if there:
            return there
        search.position = (every[-1].score, every[-1].tag)


def active_since(directory: Directory, since_us: int) -> Flow[list[bytes]]:
    """The ids, as they stand in keys, whose entries have moved behind a score, at one moment.

    Who goes through the entries in parts may miss one that moves ahead of each of them.
    """
    asked = Call(Head(b"ZRANGEBYSCORE", directory.keys.index), b"(%d" % since_us, b"+inf")
    tags: list[bytes] = yield asked
    return [tag for tag in tags if _id(tag)]


def _rows(directory: Directory, search: Search, most: int) -> Flow[list[tuple[bytes, int]]]:
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
            Head(command, directory.keys.index),
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
    directory: Directory, search: Search, some: Sequence[Candidate]
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
    read = yield from records(directory.keys, [one.tag for one in named], condition.names)
    kept: list[tuple[Candidate, Record | None]] = []
    for one, record in zip(named, read, strict=True):
        life = record.life
        if life is not None and search.wants(life) and satisfies(directory, record, condition):
            kept.append((Candidate(one.tag, one.score, life), record))
    return kept


def satisfies(directory: Directory, record: Record, condition: Condition) -> bool:
    """Is a conversation as it must be? One that cannot be read is not."""
    try:
        return condition(directory.values(record, condition.names))
    except CorruptValueError as error:
        # without a key nothing can be judged; one that is damaged must not hide the others
        if isinstance(error, DecryptionError) and directory.keyring is None:
            raise
        return False


def _is_too_new(one: Candidate, order: Order) -> bool:
    """Was it entered for a change that was refused? It is met again, at its place."""
    return (
        order == "recent" and one.life is not None and one.score - int(one.life.activity) > LAG_US
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
