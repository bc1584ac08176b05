"""Conversations in files: JSON Lines, one a line, in which every value keeps its type."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from redis_memory.core import sealed_lines, transfer
from redis_memory.core.calls import Course, Errand
from redis_memory.core.keys import id_of, normal_id, tag_of
from redis_memory.core.listing import Directory, Search
from redis_memory.core.records import Record, moment, records
from redis_memory.core.sealing import Keyring
from redis_memory.core.tagged import from_json, to_json
from redis_memory.core.transfer import OnExisting, Whole
from redis_memory.errors import (
    ArchiveError,
    ConversationExistsError,
    CorruptValueError,
    InvalidIdError,
    InvalidNameError,
    UnknownConversationError,
    UnstorableValueError,
)

# A path, or an open file of text or bytes.
File = str | os.PathLike[str] | IO[Any]

FORM: Final = 1
# How many conversations are in memory at a time.
_FEW: Final = 20
_LONGEST_LINE_BYTES: Final = 2**30


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line, or a conversation, that could not be taken; the others were."""

    where: str
    reason: str


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


def line_of(directory: Directory, record: Record) -> bytes:
    """A conversation as a line.

    Raises:
        CorruptValueError: An attribute cannot be read; it is named.
    """
    life = record.life
    if life is None:
        raise CorruptValueError("it is gone")
    values = directory.values(record)
    ttl, _ = transfer.lifetime_of(record)
    content = {
        "redis_memory": FORM,
        "id": to_json(id_of(record.tag)),
        "created": moment(life.created).isoformat(),
        "last_activity": moment(life.version).isoformat(),
        "lifetime": ttl.decode("ascii") or None,
        "attributes": to_json(values),
    }
    if directory.keyring is not None:
        content["attributes"] = sealed_lines.sealed(
            directory.keyring, record.tag, content["attributes"]
        )
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A line, understood."""

    id: str
    created: bytes
    lifetime: bytes
    values: dict[str, Any]


def parsed(line: bytes, keyring: Keyring | None = None) -> Parsed:
    """Understand a line.

    Raises:
        CorruptValueError: It is none of ours, or damaged; DecryptionError, it cannot be opened.
    """
    try:
        content = json.loads(line)
        if not isinstance(content, dict) or content.get("redis_memory") != FORM:
            raise CorruptValueError("this is no line of an archive of this form")
        conversation_id = normal_id(from_json(content["id"]))
        created = transfer.version_of(datetime.fromisoformat(content["created"]))
        lifetime = (content.get("lifetime") or "").encode("ascii")
        if lifetime:
            transfer.lifetime_ms(lifetime)
        values = from_json(
            sealed_lines.opened(keyring, tag_of(conversation_id), content["attributes"])
        )
        if not isinstance(values, dict) or not values:
            raise CorruptValueError("a conversation without attributes")
    except CorruptValueError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, InvalidIdError):
            raise CorruptValueError(str(error)) from error
        raise CorruptValueError(f"damaged: {type(error).__name__}") from None
    return Parsed(conversation_id, created, lifetime, values)


class Archive:
    """A file that is written: whole or not at all, or, when it `appends`, line after line."""

    def __init__(self, target: File, *, appends: bool = False) -> None:
        self._path = Path(target) if isinstance(target, str | os.PathLike) else None
        self._file: Any = target if self._path is None else None
        self._appends = appends
        self._part: Path | None = None
        self._is_text = isinstance(self._file, io.TextIOBase)
        self.bytes: int = 0

    def open(self) -> None:
        """Begin.

        Raises:
            ArchiveError: The file cannot be written.
        """
        if self._path is None:
            return
        try:
            if self._appends:
                self._file = self._path.open("a+b")
                self._end_line()
            else:
                handle, name = tempfile.mkstemp(
                    prefix=f".{self._path.name}.", dir=self._path.parent
                )
                self._part = Path(name)
                self._file = os.fdopen(handle, "wb")
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def _end_line(self) -> None:
        """A run that was interrupted may have left half a line."""
        if self._file.tell() > 0:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines; with `sync` they are on the disk."""
        try:
            for line in lines:
                self._file.write(line.decode("ascii") if self._is_text else line)
                self.bytes += len(line)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def sync(self) -> None:
        """Have on the disk what was written."""
        try:
            self._file.flush()
            with suppress(io.UnsupportedOperation, AttributeError):  # a file that is in memory
                os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def finish(self) -> None:
        """Have all of it on the disk, under its name."""
        self.sync()
        if self._path is None:
            return
        try:
            self._file.close()
            if self._part is not None:
                self._part.replace(self._path)
                self._part = None
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def leave(self) -> None:
        """Leave nothing half done behind; nothing after `finish`."""
        if self._path is not None and self._file is not None:
            with suppress(OSError):
                self._file.close()
        if self._part is not None:
            with suppress(OSError):
                self._part.unlink()
            self._part = None


def _unwritable(path: Path | None, error: OSError) -> ArchiveError:
    where = "the archive" if path is None else f"the archive {path}"
    return ArchiveError(f"cannot write {where}: {error.strerror or type(error).__name__}")


class Lines:
    """A file that is read, some lines at a time."""

    def __init__(self, source: File) -> None:
        self._path = Path(source) if isinstance(source, str | os.PathLike) else None
        self._file: Any = source
        self._number = 0

    def open(self) -> None:
        """Begin.

        Raises:
            ArchiveError: The file cannot be read.
        """
        if self._path is not None:
            try:
                self._file = self._path.open("rb")
            except OSError as error:
                raise _unreadable(self._path, error) from error

    def next(self) -> list[tuple[int, bytes]]:
        """The next lines and their numbers; none at the end."""
        found: list[tuple[int, bytes]] = []
        try:
            while len(found) < _FEW:
                line = self._file.readline(_LONGEST_LINE_BYTES)
                if not line:
                    break
                self._number += 1
                encoded = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
                if encoded.strip():
                    found.append((self._number, encoded))
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(self._path, error) from error
        return found

    def leave(self) -> None:
        """Close what `open` has opened."""
        if self._path is not None and hasattr(self._file, "close"):
            self._file.close()


def _unreadable(path: Path | None, error: Exception) -> ArchiveError:
    where = "the archive" if path is None else f"the archive {path}"
    reason = getattr(error, "strerror", None) or type(error).__name__
    return ArchiveError(f"cannot read {where}: {reason}")


def lines_of(
    directory: Directory, read: Iterable[Record]
) -> tuple[list[bytes], list[Record], list[Damaged]]:
    """Records as lines, those that have become one, and those that cannot be read."""
    lines: list[bytes] = []
    written: list[Record] = []
    damaged: list[Damaged] = []
    for record in read:
        try:
            lines.append(line_of(directory, record))
            written.append(record)
        except CorruptValueError as error:
            damaged.append(Damaged(id_of(record.tag), str(error)))
    return lines, written, damaged


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
        # what was active meanwhile has moved behind: it is written again, as it is then
        begun_us = yield from directory.now_us()
        searches = [] if ids is not None else [Search("oldest", idle_us=0, now_us=begun_us)]
        while searches:
            search = searches.pop()
            while some := (yield from directory.candidates(search, _FEW)):
                search.position = (some[-1].score, some[-1].tag)
                read = yield from records(directory.keys, [one.tag for one in some])
                there = [record for record in read if record.life is not None]
                written += yield from _written(directory, archive, there, damaged)
                _told(progress, written)
            if search.now_us == begun_us:
                now_us = yield from directory.now_us()
                last = Search("oldest", idle_us=0, now_us=now_us)
                last.position = (begun_us, b"\xff")
                searches = [last] if now_us > begun_us else []
        yield Errand(archive.finish)
    finally:
        archive.leave()
    return ExportReport(written, archive.bytes, tuple(damaged))


def _told(progress: Callable[[int], object] | None, count: int) -> None:
    if progress is not None:
        progress(count)


def _tags(ids: Sequence[str]) -> Iterable[list[bytes]]:
    tags = [tag_of(one) for one in ids]
    return [tags[at : at + _FEW] for at in range(0, len(tags), _FEW)]


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
    now_us = yield from directory.now_us()
    try:
        yield Errand(lines.open)
        while some := (yield Errand(lines.next)):
            for number, line in some:
                try:
                    one = parsed(line, directory.keyring)
                    whole = Whole(directory, one.values, one.created)
                    whole.lifetime = transfer.lifetime_from(one.lifetime, now_us)
                except (CorruptValueError, InvalidNameError, UnstorableValueError) as error:
                    damaged.append(Damaged(f"line {number}", str(error)))
                    continue
                outcome = yield from transfer.store(
                    directory,
                    one.id,
                    whole,
                    replaces=on_existing == "replace",
                    token=b"%b:%d" % (run, number),
                )
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
