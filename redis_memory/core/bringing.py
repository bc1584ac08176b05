"""Bringing attributes from the old layout to the new one: what to ask which server, in order.

First all keys are found, by SCAN; then, some at a time, they are read, brought by one script for
each memory, and deleted if that is wanted and they still hold what was read. Notes beside each
memory say which bytes were brought, so a run may end anywhere and be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from redis_memory.core import contents, old_layout
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.index import Candidate, Directory
from redis_memory.core.keys import Keys, check_name, tag_of
from redis_memory.core.migrating import MigrationReport, Tally
from redis_memory.core.old_layout import OldKey, OldValue, Skipped, shown
from redis_memory.core.records import lives, together
from redis_memory.core.scripts import SCRIPTS
from redis_memory.errors import (
    AccessDeniedError,
    ConfigurationError,
    CorruptValueError,
    RedisMemoryError,
    UnstorableValueError,
)

OnExisting = Literal["newest", "skip", "replace"]
# How many keys are done, and how many there are.
Progress = Callable[[int, int], object]

T = TypeVar("T")

_PAGE: Final = b"1000"
_MOST_KEYS: Final = 100
_MOST_BYTES: Final = 8 * 1024 * 1024
# A command of more than 1,048,576 parts makes the server hang up.
_MOST_ARGUMENTS: Final = 1_000_000
_TOO_LARGE: Final = (
    "larger, or nested more deeply, than a value may be: see max_value_bytes, max_nodes, max_depth"
)


class AtSource:
    """A call to the server that has the old layout."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call = call


# Calls without more go to the server that gets the new layout.
Move = Generator[Call | AtSource, Any, T]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. `lifetime` is what a memory gets that begins now, b"" for none.

    Where not `is_of_cluster`, the source is one server, and must not be a node of a cluster.
    """

    prefix: str
    target: Directory
    lifetime: bytes
    on_existing: OnExisting
    run: bytes
    flat: bool
    dry_run: bool
    delete_old: bool
    is_of_cluster: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    """An attribute on its way."""

    old: OldKey
    raw: bytes
    value: OldValue
    kind: bytes
    arguments: Sequence[bytes]

    @property
    def order(self) -> tuple[bool, int]:
        """The oldest first, so that each keeps its time; those of unknown time last."""
        return self.value.stamp_us == 0, self.value.stamp_us


def migrate(plan: Plan, progress: Progress | None) -> Move[MigrationReport]:
    """Bring all attributes under the prefix."""
    tally = Tally(plan.dry_run)
    if not plan.is_of_cluster:
        yield from _at_source(_alone())
    found = yield from _at_source(_found(plan, tally))
    now_us = yield from plan.target.now_us()
    done = 0
    for load in _loads(found):
        yield from _brought(plan, tally, load, now_us)
        done += len(load)
        if progress is not None:
            progress(done, len(found))
    return tally.report()


def _at_source(flow: Flow[T]) -> Move[T]:
    """Have a flow ask the server that has the old layout."""
    try:
        call = next(flow)
        while True:
            try:
                reply = yield AtSource(call)
            except RedisMemoryError as error:
                call = flow.throw(error)
            else:
                call = flow.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result


def _alone() -> Flow[None]:
    """Refuse a node of a cluster: it answers to SCAN, and has but a part of the keys."""
    try:
        told = yield Call(Head(b"HELLO"))
    except AccessDeniedError:  # who may not ask may still be welcome
        return
    fields = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=False))
    if fields.get(b"mode") == b"cluster":
        raise ConfigurationError(
            "the source is one node of a cluster, and has but a part of its keys: name the "
            "cluster, redis+cluster://host:port,host:port"
        )


def _found(plan: Plan, tally: Tally) -> Flow[list[tuple[OldKey, int]]]:
    """All keys of the old layout and their sizes, those of a memory side by side."""
    found: list[tuple[OldKey, int]] = []
    seen: set[bytes] = set()
    matching = old_layout.pattern(plan.prefix)
    cursor = b"0"
    while True:
        cursor, keys = yield Call(Head(b"SCAN"), cursor, b"MATCH", matching, *(b"COUNT", _PAGE))
        # a SCAN may give a key twice
        fresh = [key for key in dict.fromkeys(keys) if key not in seen]
        seen.update(fresh)
        sizes = yield from together([Call(Head(b"STRLEN", key)) for key in fresh])
        for key, size in zip(fresh, sizes, strict=True):
            if isinstance(size, CorruptValueError):
                if not old_layout.is_new_layout(key, plan.prefix, plan.target.prefix):
                    tally.skipped.append(Skipped(shown(key), "foreign", "another type of key"))
                continue
            if isinstance(size, RedisMemoryError):
                raise size
            tally.keys += 1
            old = old_layout.split(key, plan.prefix, flat=plan.flat)
            if isinstance(old, Skipped):
                tally.skipped.append(old)
            else:
                found.append((old, size))
        if cursor in (b"0", 0):
            break
    found.sort(key=lambda one: (one[0].conversation_id or "", one[0].key))
    return found


def _loads(found: Iterable[tuple[OldKey, int]]) -> Iterator[list[OldKey]]:
    """As many as are in memory at a time."""
    load: list[OldKey] = []
    size = 0
    for old, one_size in found:
        if load and (len(load) == _MOST_KEYS or size + one_size > _MOST_BYTES):
            yield load
            load, size = [], 0
        load.append(old)
        size += one_size
    if load:
        yield load


def _brought(plan: Plan, tally: Tally, load: Sequence[OldKey], now_us: int) -> Move[None]:
    """Bring some attributes, and delete their old keys if that is wanted."""
    raws = yield from _at_source(together([Call(Head(b"GET", old.key)) for old in load]))
    memories: dict[str | None, list[_Piece]] = {}
    for old, raw in zip(load, raws, strict=True):
        piece = _piece(plan, old, raw)
        if isinstance(piece, Skipped):
            tally.skipped.append(piece)
        elif piece is not None:
            memories.setdefault(old.conversation_id, []).append(piece)
    for pieces in memories.values():
        pieces.sort(key=lambda piece: piece.order)
    tags = {one: tag_of(one) for one in memories if one is not None}
    if not plan.dry_run:
        # before the memories, as always: who dies in between leaves an entry too many
        yield from _all_well(
            [_entry(plan, tag, memories[one][-1], now_us) for one, tag in tags.items()]
        )
    replies = yield from together([_call(plan, one, held) for one, held in memories.items()])
    safe: list[_Piece] = []
    for pieces, reply in zip(memories.values(), replies, strict=True):
        safe += _counted(tally, pieces, reply)
    if not plan.dry_run and tags:
        known = yield from lives(plan.target.keys, list(tags.values()))
        yield from plan.target.correct(
            [Candidate(tag, 0, life) for tag, life in zip(tags.values(), known, strict=True)]
        )
    if plan.delete_old:
        yield from _deleted(plan, tally, safe)


def _piece(plan: Plan, old: OldKey, raw: Any) -> _Piece | Skipped | None:
    """What a key holds, ready to be sent; None when it has vanished."""
    if raw is None:
        return None
    if isinstance(raw, CorruptValueError):
        return Skipped(shown(old.key), "foreign", "another type of key")
    if isinstance(raw, RedisMemoryError):
        raise raw
    value = old_layout.parsed(old.key, raw)
    if isinstance(value, Skipped):
        return value
    try:
        kind, arguments, _ = contents.encode(value.value, plan.target.limits, old.name)
    except UnstorableValueError:
        # its text names the place, by keys of dicts that lie there
        return Skipped(shown(old.key), "damaged", _TOO_LARGE)
    if len(arguments) > _MOST_ARGUMENTS:
        return Skipped(shown(old.key), "damaged", "too many elements for one step")
    return _Piece(old, raw, value, kind, arguments)


def _entry(plan: Plan, tag: bytes, newest: _Piece, now_us: int) -> Call:
    """Enter a conversation in the directory as active when it was active last."""
    at_us = min(newest.value.stamp_us or now_us, now_us)
    return Call(Head(b"ZADD", plan.target.keys.index), b"GT", b"%d" % at_us, tag)


def _all_well(calls: Sequence[Call]) -> Flow[None]:
    for reply in (yield from together(calls)):
        if isinstance(reply, RedisMemoryError):
            raise reply


def _call(plan: Plan, conversation_id: str | None, pieces: Sequence[_Piece]) -> Call:
    keys = Keys(plan.target.prefix, conversation_id)
    names = [check_name(piece.old.name) for piece in pieces]
    head = Head.script(
        SCRIPTS["bring"], (keys.memory, keys.memory + b"~migrated", *map(keys.content, names))
    )
    arguments = [plan.run, plan.on_existing.encode(), b"dry" if plan.dry_run else b""]
    arguments.append(plan.lifetime)
    for name, piece in zip(names, pieces, strict=True):
        value = piece.value
        count = b"%d" % len(piece.arguments)
        arguments += (name, value.digest, b"%d" % value.stamp_us, piece.kind, count)
        arguments += piece.arguments
    return Call(head, *arguments)


def _counted(tally: Tally, pieces: Sequence[_Piece], reply: Any) -> list[_Piece]:
    """Note what became of the attributes of a memory; those that it has now."""
    if isinstance(reply, CorruptValueError):
        tally.skipped += [Skipped(shown(one.old.key), "damaged", str(reply)) for one in pieces]
        return []
    if isinstance(reply, RedisMemoryError):
        raise reply
    return [
        piece
        for piece, letter in zip(pieces, reply, strict=True)
        if tally.count(piece.old, letter, len(piece.raw))
    ]


def _deleted(plan: Plan, tally: Tally, safe: Sequence[_Piece]) -> Move[None]:
    """Delete old keys that still hold what was brought."""
    if plan.dry_run:
        tally.deleted += len(safe)
        return
    calls = [Call(Head.script(SCRIPTS["discard"], (one.old.key,)), one.raw) for one in safe]
    replies = yield from _at_source(together(calls))
    for piece, reply in zip(safe, replies, strict=True):
        if isinstance(reply, RedisMemoryError):
            raise reply
        tally.deleted += reply == b"ok"
        if reply == b"changed":
            tally.changed.append(shown(piece.old.key))
