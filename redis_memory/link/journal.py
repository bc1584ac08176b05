"""The journal: changes that wait for Redis, in a file that outlives the process that made them.

One file for each writer. Its owner holds it under flock as long as it lives; a file that nobody
holds is an orphan, which `adoption` is about. What the files look like, and what is kept aside
beside them, stands in `journal_file`.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import Final, Literal
from zlib import crc32

from redis_memory.errors import JournalError
from redis_memory.link.journal_file import (
    FRESH,
    Header,
    failure,
    fill,
    is_at,
    pack_length,
    sync_data,
    sync_folder,
)

Fsync = Literal["off", "interval", "always"]

_SYNC_PAUSES_S: Final[dict[Fsync, float | None]] = {"off": None, "interval": 0.1, "always": 0.0}
_write = os.write

# A child forked between the open of a file and its entry in `_open_journals` would hold its lock.
fork_gate: Final = threading.RLock()


class Journal:
    """The open journal of one writer, held under flock until it is closed or removed.

    All calls come from one thread at a time; only `sync` may come from another one meanwhile.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_descriptor",
        "_is_inherited",
        "_is_torn",
        "_owes_sync",
        "_sync_pause_s",
        "_synced_at_s",
        "header",
        "path",
        "size_bytes",
    )

    def __init__(self, path: Path, header: Header, descriptor: int, fsync: Fsync) -> None:
        """Take over an open, locked file; `create` and `adopt` make the journals there are."""
        self._descriptor = descriptor
        self.path: Path = path
        self.header: Header = header
        self._sync_pause_s = _SYNC_PAUSES_S[fsync]
        self._synced_at_s = monotonic()
        self._owes_sync = False
        self.size_bytes: int = os.fstat(descriptor).st_size
        self._is_torn = False
        self._is_inherited = False
        self._closing = threading.Lock()
        _open_journals.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):  # a signal handler may have cut it off before
            self._shut()

    @classmethod
    def create(cls, folder: Path, header: Header, fsync: Fsync) -> Journal:
        """Make the writer's journal, for this user alone, in a folder that is made when missing.

        Args:
            folder: Where it lies, as `<writer>.journal`, with a number behind the writer where an
                exception from a signal handler has left one that was never used.
            header: Kept with the records; whoever adopts them gets it back.
            fsync: When the disk must have what is appended: "always", before `append` returns;
                "interval", within about 0.1 s where `sync` is called that often; "off", when the
                system likes. The death of the process loses nothing in any case.

        Raises:
            JournalError: It cannot be made.
        """
        path = _free_name(folder.absolute(), header.writer)
        fresh = _fresh_name(path)
        synced = fsync != "off"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with fork_gate, ExitStack() as stack:
                fresh.unlink(missing_ok=True)
                descriptor = fill(fresh, header, (), synced=synced)
                stack.callback(os.close, descriptor)
                stack.callback(fresh.unlink, missing_ok=True)
                fresh.replace(path)
                stack.pop_all()
                journal = cls(path, header, descriptor, fsync)
            if synced:
                sync_folder(path.parent)
        except OSError as error:
            raise failure("create", path, error) from error
        return journal

    def fileno(self) -> int:
        """The open file's descriptor; -1 once the journal is closed."""
        return self._descriptor

    def append(self, record: bytes) -> None:
        """Add a record of less than 4 GiB; once this returns, the death of the process is harmless.

        Raises:
            JournalError: It cannot be written, or not synced as promised. The journal holds what
                it held before, and the next call may succeed.

        Cost: one system call and 1 us, and up to one fdatasync as `fsync` says.
        """
        if self._is_torn:
            self._restore()
        length = pack_length(len(record))
        frame = length + pack_length(crc32(record, crc32(length))) + record
        try:
            written = _write(self._descriptor, frame)
            if written != len(frame):
                raise OSError(f"the disk took only {written} of {len(frame)} bytes")
            if self._sync_pause_s is not None:
                self._sync_in_time(self._sync_pause_s)
        except BaseException as error:  # a signal handler may raise after the write as well
            self._is_torn = True
            with suppress(OSError):
                self._cut_back()
            if isinstance(error, OSError):
                raise self._failure("append to", error) from error
            raise
        self.size_bytes += written

    def _restore(self) -> None:
        try:
            self._cut_back()
        except OSError as error:
            raise self._failure("append to", error) from error

    def _cut_back(self) -> None:
        os.ftruncate(self._descriptor, self.size_bytes)
        self._is_torn = False

    def _sync_in_time(self, pause_s: float) -> None:
        self._owes_sync = True
        if monotonic() - self._synced_at_s >= pause_s:
            self._sync_now()

    def _sync_now(self) -> None:
        self._owes_sync = False  # first, for a record that comes meanwhile owes it again
        try:
            sync_data(self._descriptor)
        except BaseException:  # a signal handler's exception leaves the sync owed as well
            self._owes_sync = True
            raise
        self._synced_at_s = monotonic()

    def sync(self) -> None:
        """Let the disk have what "interval" still owes it; from any thread.

        Nothing happens when nothing is owed, as in a journal that is closed.

        Raises:
            JournalError: The disk does not take it, or the journal is that of a parent process.
        """
        with self._closing:
            if self._is_inherited:
                raise self._failure("sync")
            try:
                if self._owes_sync:
                    self._sync_now()
            except OSError as error:
                raise self._failure("sync", error) from error

    def rewrite(self, records: Iterable[bytes]) -> None:
        """Hold these records and no others; a crash leaves the old ones or the new ones.

        Raises:
            JournalError: The new file cannot be written, and the journal is as it was; or it is
                new, and the disk does not take its name.

        Cost: O(size of the records), and two syncs unless `fsync` is "off".
        """
        if self._descriptor < 0:
            raise self._failure("rewrite")
        kept = list(records)  # not in the locks: the caller's generator may take others
        fresh, synced = _fresh_name(self.path), self._sync_pause_s is not None
        try:
            with fork_gate, self._closing:
                fresh.unlink(missing_ok=True)
                self._replace(fresh, fill(fresh, self.header, kept, synced=synced))
            if synced:
                sync_folder(self.path.parent)
        except OSError as error:
            raise self._failure("rewrite", error) from error

    def _replace(self, fresh: Path, descriptor: int) -> None:
        size_bytes = os.fstat(descriptor).st_size
        try:
            fresh.replace(self.path)
        finally:
            # a signal handler may raise after the rename as well, so the path itself has the say
            if is_at(self.path, descriptor):
                self._descriptor, descriptor = descriptor, self._descriptor
                self.size_bytes = size_bytes
                self._is_torn = self._owes_sync = False
            else:
                fresh.unlink(missing_ok=True)
            os.close(descriptor)

    def remove(self) -> None:
        """Delete the file: all of it was delivered. Nothing happens once the journal is closed.

        Raises:
            JournalError: It cannot be deleted, and stays open; or it is that of a parent process.
        """
        with self._closing:
            if self._is_inherited:
                raise self._failure("remove")
            try:
                if self._descriptor >= 0 and is_at(self.path, self._descriptor):
                    self.path.unlink()
            except OSError as error:
                raise self._failure("remove", error) from error
            self._shut()

    def close(self) -> None:
        """Leave the file to whoever adopts it.

        Raises:
            JournalError: The disk does not take what "interval" still owes it; it is closed.
        """
        with self._closing:
            try:
                if self._owes_sync:
                    self._sync_now()
            except OSError as error:
                raise self._failure("close", error) from error
            finally:
                self._shut()

    def after_fork(self) -> None:
        """Let go of a parent's journal: a child that kept it open would keep its lock as well."""
        self._closing = threading.Lock()
        self._is_inherited = True
        self._shut()

    def _shut(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        self._owes_sync = False
        if descriptor >= 0:
            os.close(descriptor)

    def _failure(self, what: str, error: OSError | None = None) -> JournalError:
        if self._is_inherited:
            error = OSError("it belongs to the process that this one was forked from")
        elif self._descriptor < 0:
            error = OSError("it is closed")
        return failure(what, self.path, error or OSError("unknown"))


_open_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


def _free_name(folder: Path, writer: str) -> Path:
    """A name for a journal; no other process has a writer of that name."""
    numbers = itertools.count()
    names = (f"{writer}-{number}" if number else writer for number in numbers)
    return next(p for name in names if not os.path.lexists(p := folder / f"{name}.journal"))


def _fresh_name(path: Path) -> Path:
    return path.with_name(f".{path.name}{FRESH}")


def _after_fork() -> None:
    fork_gate.release()
    for journal in list(_open_journals):
        journal.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=fork_gate.acquire,
        after_in_parent=fork_gate.release,
        after_in_child=_after_fork,
    )
