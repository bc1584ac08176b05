"""Conversations into files and out of them: few are in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from redis_memory.archives import FEW, Archive, Lines
from redis_memory.core import transfer
from redis_memory.core.calls import Course, Errand
from redis_memory.core.index import Directory
from redis_memory.core.keys import id_of, tag_of
from redis_memory.core.lines import Damaged, lines_of, parsed
from redis_memory.core.listing import active_since, candidates
from redis_memory.core.records import Record, records
from redis_memory.core.search import Search
from redis_memory.core.transfer import OnExisting, Whole
from redis_memory.errors import (
    ConversationExistsError,
    CorruptValueError,
    InvalidNameError,
    UnknownConversationError,
    UnstorableValueError,
)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How many conversations were written, and those that cannot be read."""

    conversations: int
    bytes: int
    damaged: tuple[Damaged, ...]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of the lines of a file."""

    created: int
    replaced: int
    skipped: int
    damaged: tuple[Damaged, ...]


def export(
    directory: Directory,
    archive: Archive,
    ids: Sequence[str] | None,
    progress: Callable[[int], object] | None,
) -> Course[ExportReport]:
    """Write conversations, all of them or those with these ids; few are in memory at a time."""
    written, damaged = 0, list[Damaged]()
    try:
        yield Errand(archive.open)
        for tags in _tags(ids) if ids is not None else ():
            read = yield from records(directory.keys, tags)
            for record in read:
                if record.life is None:
                    raise UnknownConversationError(
                        f"there is no conversation {id_of(record.tag)!r}"
                    )
            written += yield from _written(directory, archive, read, damaged)
            _told(progress, written)
        if ids is None:
            begun_us = yield from directory.now_us()
            search = Search("oldest", idle_us=0, now_us=begun_us)
            while some := (yield from candidates(directory, search, FEW)):
                search.position = (some[-1].score, some[-1].tag)
                written += yield from _there(directory, archive, [one.tag for one in some], damaged)
                _told(progress, written)
            # what was active meanwhile has moved behind: it is written again, as it is then
            moved = yield from active_since(directory, begun_us)
            for at in range(0, len(moved), FEW):
                written += yield from _there(directory, archive, moved[at : at + FEW], damaged)
                _told(progress, written)
        yield Errand(archive.finish)
    finally:
        archive.leave()
    return ExportReport(written, archive.bytes, tuple(damaged))


def _told(progress: Callable[[int], object] | None, count: int) -> None:
    if progress is not None:
        progress(count)


def _tags(ids: Sequence[str]) -> Iterable[list[bytes]]:
    tags = [tag_of(one) for one in ids]
    return [tags[at : at + FEW] for at in range(0, len(tags), FEW)]


def _there(
    directory: Directory, archive: Archive, tags: Sequence[bytes], damaged: list[Damaged]
) -> Course[int]:
    read = yield from records(directory.keys, tags)
    there = [record for record in read if record.life is not None]
    return (yield from _written(directory, archive, there, damaged))


def _written(
    directory: Directory, archive: Archive, read: Iterable[Record], damaged: list[Damaged]
) -> Course[int]:
    lines, written, bad = lines_of(directory, read)
    damaged += bad
    yield Errand(partial(archive.write, lines))
    return len(written)


def load(
    directory: Directory,
    lines: Lines,
    on_existing: OnExisting,
    progress: Callable[[int], object] | None,
) -> Course[LoadReport]:
    """Store the conversations of a file; a damaged line is named, and the others are stored."""
    if on_existing not in ("skip", "replace", "error"):
        raise ValueError("on_existing is 'skip', 'replace' or 'error'")
    counts = {"created": 0, "replaced": 0, "exists": 0}
    damaged: list[Damaged] = []
    run = transfer.new_run()
    # a file without lines is not loaded either while the server is away
    yield from directory.now_us()
    try:
        yield Errand(lines.open)
        while some := (yield Errand(lines.next)):
            for number, line in some:
                try:
                    one = parsed(line, directory.keyring)
                    whole = Whole(directory, one.values, one.created)
                    whole.lifetime = transfer.lifetime_from(one.lifetime)
                    outcome = yield from transfer.store(
                        directory,
                        one.id,
                        whole,
                        replaces=on_existing == "replace",
                        token=b"%b:%d" % (run, number),
                    )
                # the line itself, or a key by a foreign hand in its place
                except (CorruptValueError, InvalidNameError, UnstorableValueError) as error:
                    damaged.append(Damaged(f"line {number}", str(error)))
                    continue
                if outcome == "exists" and on_existing == "error":
                    raise ConversationExistsError(
                        f"line {number}: there is a conversation {one.id!r} already; "
                        f"{sum(counts.values())} before it were loaded"
                    )
                counts[outcome] += 1
            _told(progress, sum(counts.values()))
    finally:
        lines.leave()
    return LoadReport(counts["created"], counts["replaced"], counts["exists"], tuple(damaged))
