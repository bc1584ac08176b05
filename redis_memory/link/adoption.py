"""Journals whose owners are gone: whoever gets the lock of such an orphan delivers its changes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redis_memory.link.journal import Fsync, Journal, fork_gate
from redis_memory.link.journal_file import (
    FRESH,
    SAFELY,
    Header,
    copy_end,
    files,
    is_at,
    lock,
    read,
    read_header,
    reason,
    rename,
)

_LEFTOVER_S: Final = 86_400.0
_DAMAGED: Final = "the journal %s is damaged: %d bytes of it were set aside as %s"
_EXPIRED: Final = "the journal %s is older than %g s: it was set aside as %s, not delivered"

_log = logging.getLogger("redis_memory")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A journal whose owner is gone, and which is ours now: to deliver, then to remove."""

    header: Header
    records: list[bytes] = field(repr=False)
    journal: Journal = field(repr=False)


def adopt(
    folder: Path, server: str, max_age_s: float, *, fsync: Fsync = "always"
) -> Iterator[Orphan]:
    """Take over the journals of dead processes, the one that was changed longest ago first.

    Each is taken when the iterator reaches it, by one process only. Damaged parts and files are
    kept aside under other names, with a warning in the log; empty journals are removed.

    Args:
        folder: Where they lie; it may be missing.
        server: Journals with changes for another server are left alone.
        max_age_s: Journals whose last change is older, in seconds, are kept aside with a warning.
        fsync: As in `Journal.create`, for what is done to the journals from now on.

    Raises:
        JournalError: The folder cannot be read. A file that cannot be taken is passed by, with a
            warning.
    """
    for path in _orphans(folder.absolute()):
        journal = None
        try:
            journal = _take(path, server, fsync)
            records = [] if journal is None else _settle(journal, max_age_s)
        except OSError as error:
            _log.warning("the journal %s cannot be adopted: %s", path.name, reason(error))
            if journal is not None:
                journal.close()
            continue
        if journal is not None and records:
            yield Orphan(journal.header, records, journal)


def _orphans(folder: Path) -> list[Path]:
    """What may be adopted; what a crash has left half made long ago is removed."""
    found = []
    for path in files(folder):
        with suppress(OSError):  # somebody else may be faster
            changed_s = path.lstat().st_mtime
            if path.suffix == ".journal" and not path.name.startswith("."):
                found.append((changed_s, path))
            elif path.name.endswith(FRESH) and changed_s < time.time() - _LEFTOVER_S:
                path.unlink()
    return [path for _, path in sorted(found)]


def _take(path: Path, server: str, fsync: Fsync) -> Journal | None:
    """Lock a journal for this server whose owner is gone; None when it is no such one."""
    with fork_gate, ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | SAFELY)
        except FileNotFoundError:
            return None
        stack.callback(os.close, descriptor)
        header = read_header(descriptor)
        if header is not None and header.server != server:
            _log.debug("the journal %s is for another server", path.name)
            return None
        # whoever had the lock before may have removed, renamed or replaced the file
        if not (lock(descriptor, exclusive=True) and is_at(path, descriptor)):
            return None
        if header is None:
            size_bytes = os.fstat(descriptor).st_size
            aside = rename(path, path.with_name(f"{path.name}.damaged"), first=1)
            _log.warning(_DAMAGED, path.name, size_bytes, aside.name)
            return None
        stack.pop_all()
        return Journal(path, header, descriptor, fsync)


def _settle(journal: Journal, max_age_s: float) -> list[bytes]:
    """The records to deliver; without any, the journal is removed or set aside, and closed."""
    path, descriptor = journal.path, journal.fileno()
    _, records, whole_bytes = read(descriptor)
    status = os.fstat(descriptor)
    damaged_bytes = status.st_size - whole_bytes
    if (records or damaged_bytes) and status.st_mtime < time.time() - max_age_s:
        aside = rename(path, path.with_suffix(".expired"), first=0)
        _log.warning(_EXPIRED, path.name, max_age_s, aside.name)
        journal.close()
        return []
    if damaged_bytes:
        aside = copy_end(descriptor, whole_bytes, path.with_suffix(".damaged"))
        os.ftruncate(descriptor, whole_bytes)
        journal.size_bytes = whole_bytes
        # its age is that of the last change, or crash after crash would keep it for ever
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
        _log.warning(_DAMAGED, path.name, damaged_bytes, aside.name)
    if not records:
        journal.remove()
    return records
