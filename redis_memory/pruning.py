"""Pruning: deleting the conversations that have been idle for long, and none that has not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Final

from redis_memory.archives import Archive
from redis_memory.core.calls import Course, Errand
from redis_memory.core.expressions import Condition, Predicate
from redis_memory.core.index import Candidate, Directory
from redis_memory.core.keys import id_of, normal_id
from redis_memory.core.lines import Damaged, lines_of
from redis_memory.core.listing import candidates
from redis_memory.core.records import Life, Record, records, together
from redis_memory.core.search import Search
from redis_memory.core.transfer import removal
from redis_memory.errors import RedisMemoryError

# Who is spared: a condition, or ids.
Keep = str | Predicate | Collection[str]

# How many are deleted in one go: what other clients of the server may have to wait for.
_PACKET: Final = 2
# Writers and queues live no longer; what was idle for longer needs no fence.
_FENCE_US: Final = 7 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a prune did, or with `dry_run` would have done.

    `pruned` conversations with these `ids` are gone, and `bytes_freed` with them. Of the others
    that were `examined`: `kept` were not wanted or spared, `active` were changed during the run,
    `damaged` could not be read and were left alone.
    """

    dry_run: bool
    examined: int
    pruned: int
    kept: int
    active: int
    bytes_freed: int
    ids: tuple[str, ...]
    damaged: tuple[Damaged, ...]
    archived: int
    seconds: float


@dataclass(slots=True)
class _Tally:
    """The report in the making."""

    dry_run: bool
    begun_s: float = field(default_factory=monotonic)
    examined: int = 0
    kept: int = 0
    active: int = 0
    archived: int = 0
    bytes_freed: int = 0
    ids: list[str] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)

    def report(self) -> PruneReport:
        """How far it has come."""
        return PruneReport(
            self.dry_run,
            self.examined,
            len(self.ids),
            self.kept,
            self.active,
            self.bytes_freed,
            tuple(self.ids),
            tuple(self.damaged),
            self.archived,
            monotonic() - self.begun_s,
        )


class Spared:
    """Who is to be kept."""

    def __init__(self, keep: Keep | None) -> None:
        self.condition: Condition | None = None
        self.ids: frozenset[str] = frozenset()
        if isinstance(keep, str) or callable(keep):
            self.condition = Condition(keep)
        elif keep is not None:
            self.ids = frozenset(map(normal_id, keep))


def prune(
    directory: Directory,
    search: Search,
    spared: Spared,
    archive: Archive | None,
    batch: int,
    progress: Callable[[PruneReport], object] | None,
    *,
    dry_run: bool,
) -> Course[PruneReport]:
    """Delete what is looked for, but for those that are spared or were changed meanwhile."""
    if batch < 1:
        raise ValueError("batch is 1 or more")
    tally = _Tally(dry_run)
    search.now_us = yield from directory.now_us()
    writes = archive is not None and not dry_run
    try:
        if archive is not None and writes:
            yield Errand(archive.open)
        while some := (yield from candidates(directory, search, batch)):
            search.position = (some[-1].score, some[-1].tag)
            tally.examined += len(some)
            reads_all = archive is not None
            chosen = yield from _chosen(directory, search, spared, some, tally, reads_all=reads_all)
            if archive is not None:
                chosen = yield from _archived(directory, archive, chosen, tally)
            yield from _removed(directory, search.now_us, chosen, tally)
            if progress is not None:
                progress(tally.report())
        if archive is not None and writes:
            yield Errand(archive.finish)
    finally:
        if archive is not None:
            archive.leave()
    return tally.report()


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A conversation that is to go, as it was when it was looked at."""

    tag: bytes
    score: int
    life: Life
    record: Record | None


def _chosen(
    directory: Directory,
    search: Search,
    spared: Spared,
    some: Sequence[Candidate],
    tally: _Tally,
    *,
    reads_all: bool,
) -> Course[list[_Chosen]]:
    """Those of some conversations that are to go."""
    idle = [
        _Chosen(one.tag, one.score, one.life, None)
        for one in some
        if one.life is not None and search.wants(one.life) and id_of(one.tag) not in spared.ids
    ]
    conditions = [one for one in (search.where, spared.condition) if one is not None]
    if conditions or reads_all:
        names: set[str] | None = set()
        for condition in conditions:
            names = None if names is None or condition.names is None else names | {*condition.names}
        read = yield from records(
            directory.keys, [one.tag for one in idle], None if reads_all else names
        )
        idle = [
            _Chosen(record.tag, one.score, life, record)
            for one, record in zip(idle, read, strict=True)
            if (life := record.life) is not None
            and search.wants(life)
            and _is_to_go(directory, search.where, spared.condition, record, tally)
        ]
    tally.kept += len(some) - len(idle)
    return idle


def _is_to_go(
    directory: Directory,
    where: Condition | None,
    keep: Condition | None,
    record: Record,
    tally: _Tally,
) -> bool:
    try:
        if where is not None and not where(directory.values(record, where.names)):
            return False
        return keep is None or not keep(directory.values(record, keep.names))
    except RedisMemoryError as error:  # what cannot be read is left alone
        tally.damaged.append(Damaged(id_of(record.tag), str(error)))
        return False


def _archived(
    directory: Directory, archive: Archive, chosen: list[_Chosen], tally: _Tally
) -> Course[list[_Chosen]]:
    """Those that are on the disk now; of a dry run those that could be."""
    lines, written, damaged = lines_of(
        directory, (one.record for one in chosen if one.record is not None)
    )
    tally.damaged += damaged
    tally.kept += len(chosen) - len(written)
    if lines and not tally.dry_run:
        yield Errand(partial(archive.write, lines))
        yield Errand(archive.sync)
        tally.archived += len(lines)
    are_safe = {record.tag for record in written}
    return [one for one in chosen if one.tag in are_safe]


def _removed(
    directory: Directory, now_us: int, chosen: list[_Chosen], tally: _Tally
) -> Course[None]:
    """Delete those that have not been changed since they were looked at."""
    containers = {one.tag: one.record.containers if one.record else [] for one in chosen}
    left, gone = chosen, list[_Chosen]()
    while left:
        calls = [
            removal(
                directory,
                one.tag,
                containers[one.tag],
                one.life.version,
                b"dry" if tally.dry_run else _how(one, now_us),
            )
            for one in left
        ]
        replies = yield from together(calls, _PACKET)
        again: list[_Chosen] = []
        for one, asked, reply in zip(left, calls, replies, strict=True):
            if isinstance(reply, RedisMemoryError):
                tally.damaged.append(Damaged(id_of(one.tag), str(reply)))
                tally.kept += 1
                continue
            outcome, size, *names = reply
            if outcome == b"undeclared":
                containers[one.tag] = [*containers[one.tag], *names]
                again.append(one)
            elif outcome == b"ok" or (outcome == b"gone" and asked.attempts > 1):
                # deleted just now, or by the call whose answer was lost
                tally.ids.append(id_of(one.tag))
                tally.bytes_freed += size
                gone.append(one)
            elif outcome == b"active":
                tally.active += 1
            else:
                gone.append(one)
        left = again
    if not tally.dry_run:
        yield from directory.tidy([Candidate(one.tag, one.score, None) for one in gone])


def _how(one: _Chosen, now_us: int) -> bytes:
    return b"whole" if now_us - int(one.life.version, 16) > _FENCE_US else b"fence"
