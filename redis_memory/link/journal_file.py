"""The files of the journals: what lies in them, who holds them, what is kept aside.

<writer>.journal          the header, then the records
<writer>.expired          an orphan that was too old to be delivered
<writer>.damaged-<n>      what followed the last whole frame of an orphan
<name>.damaged-<n>        an orphan whose header cannot be read, as it was
.<writer>.journal.new     what is about to become a journal

Header and records are frames: the payload's length and a CRC-32 of length and payload, each as
four bytes with the lowest first, then the payload. The header's payload is JSON; a record is any
bytes.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from redis_memory.errors import JournalError

_HEAD_BYTES: Final = 8
_MOST_HEADER_BYTES: Final = 1_000_000  # whatever begins with a longer frame is no journal
_OWN_NAMES: Final = re.compile(r"[^.].*\.(journal|expired(-\d+)?|damaged-\d+)", re.DOTALL)
FRESH: Final = ".new"
SAFELY: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)

pack_length: Callable[[int], bytes] = Struct("<I").pack
_unpack_head = Struct("<II").unpack
sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True, slots=True)
class Header:
    """Whose changes a journal holds, and when it was begun.

    `created_s` is the wall clock's, in seconds since 1970; `clock_us` is, at the same moment, that
    of the clock by which the changes are dated, which begins anew with each `boot`.
    """

    server: str
    prefix: str
    conversation_id: str | None
    writer: str
    boot: str
    created_s: float
    clock_us: int = 0


@dataclass(frozen=True, slots=True)
class Peek:
    """What a journal, or a file kept aside, holds; without a readable header all is damaged."""

    header: Header | None
    records: list[bytes] = field(repr=False)
    damaged_bytes: int
    is_held: bool


def journals(folder: Path) -> list[Path]:
    """The journals in a folder, and the files that were kept aside, by name.

    Raises:
        JournalError: The folder cannot be read.
    """
    return sorted(path for path in files(folder) if _OWN_NAMES.fullmatch(path.name))


def peek(path: Path) -> Peek:
    """Look into a journal, or a file that was kept aside, and change nothing.

    Who tries to adopt it in that very moment takes it for one that is held.

    Raises:
        JournalError: It cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | SAFELY)
        try:
            is_held = not lock(descriptor, exclusive=False)
            if not is_held:  # closing is not enough: a child forked just now shares the lock
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            header, records, whole_bytes = read(descriptor)
            damaged_bytes = os.fstat(descriptor).st_size - whole_bytes
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failure("read", path, error) from error
    return Peek(header, records, max(damaged_bytes, 0), is_held)


def files(folder: Path) -> list[Path]:
    """The regular files in a folder; none when it is missing."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry) for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"cannot look for journals in {folder}: {reason(error)}") from error


def is_at(path: Path, descriptor: int) -> bool:
    """Whether this name is still that of the open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def lock(descriptor: int, *, exclusive: bool) -> bool:
    """Try to get the lock of an open file; False while somebody else holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH))
    except BlockingIOError:
        return False
    return True


def fill(path: Path, header: Header, records: Iterable[bytes], *, synced: bool) -> int:
    """Make a locked file with header and records, or none; returns its descriptor."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | SAFELY
    descriptor = os.open(path, flags, 0o600)
    try:
        if not lock(descriptor, exclusive=True):
            raise OSError("somebody else has locked it")
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(_frame(json.dumps(asdict(header)).encode("ascii")))
            file.writelines(map(_frame, records))
        if synced:
            sync_data(descriptor)
    except BaseException:  # also after a signal handler's exception no half file may stay
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _frame(payload: bytes) -> bytes:
    length = pack_length(len(payload))
    return length + pack_length(crc32(payload, crc32(length))) + payload


def _frames(descriptor: int) -> Iterator[tuple[bytes, int]]:
    """The payloads up to the first damaged frame, each with the offset of its end."""
    end, most = 0, _MOST_HEADER_BYTES
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        while len(head := file.read(_HEAD_BYTES)) == _HEAD_BYTES:
            length, checksum = _unpack_head(head)
            if length > min(most, size_bytes - end - _HEAD_BYTES):
                return
            payload = file.read(length)
            if crc32(payload, crc32(head[:4])) != checksum:
                return
            end += _HEAD_BYTES + length
            most = size_bytes
            yield payload, end


def read_header(descriptor: int) -> Header | None:
    """The header of an open file, None when it is damaged."""
    first = next(_frames(descriptor), None)
    return _parse_header(first[0]) if first is not None else None


def read(descriptor: int) -> tuple[Header | None, list[bytes], int]:
    """Header, records, and the bytes of the whole frames; none of them without a header."""
    header: Header | None = None
    records: list[bytes] = []
    whole_bytes = 0
    for payload, end in _frames(descriptor):
        if header is not None:
            records.append(payload)
        elif (header := _parse_header(payload)) is None:
            break
        whole_bytes = end
    return header, records, whole_bytes


def _parse_header(payload: bytes) -> Header | None:
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    match fields:
        case {
            "server": str(server),
            "prefix": str(prefix),
            "conversation_id": (str() | None) as conversation_id,
            "writer": str(writer),
            "boot": str(boot),
            "created_s": (int() | float()) as created_s,
            "clock_us": int() as clock_us,
        }:
            return Header(server, prefix, conversation_id, writer, boot, created_s, clock_us)
    return None


def rename(path: Path, aside: Path, *, first: int) -> Path:
    """Give a file the first of the names `aside`, `aside-1`, ... that is free; returns it."""
    taken, descriptor = _reserve(aside, first)
    os.close(descriptor)
    try:
        return path.replace(taken)
    except BaseException:  # also after a signal handler's exception the reserved name is given back
        taken.unlink()
        raise


def copy_end(descriptor: int, start_bytes: int, aside: Path) -> Path:
    """Copy an open file's end to the first free one of `aside-1`, ..., synced; returns its name."""
    taken, copy = _reserve(aside, 1)
    try:
        with os.fdopen(copy, "wb") as target, os.fdopen(descriptor, "rb", closefd=False) as source:
            source.seek(start_bytes)
            shutil.copyfileobj(source, target)
            target.flush()
            sync_data(copy)
        sync_folder(aside.parent)
    except BaseException:  # also after a signal handler's exception no part of a copy may stay
        taken.unlink()
        raise
    return taken


def _reserve(aside: Path, number: int) -> tuple[Path, int]:
    """Create and open the first file of that name and a number that does not exist; 0 is none."""
    while True:
        path = aside.with_name(f"{aside.name}-{number}" if number else aside.name)
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o600)
        except FileExistsError:
            number += 1


def sync_folder(folder: Path) -> None:
    """Let the disk have the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | SAFELY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failure(what: str, path: Path, error: OSError) -> JournalError:
    """The error for what could not be done with a journal."""
    return JournalError(f"cannot {what} the journal {path}: {reason(error)}")


def reason(error: OSError) -> str:
    """Why the system refused, without the path that the message has already."""
    return error.strerror or str(error)
