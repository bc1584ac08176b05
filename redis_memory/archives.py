"""Archives: files of lines that are written safely, and read some lines at a time."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from redis_memory.errors import ArchiveError

# A path, or an open file of text or bytes.
File = str | os.PathLike[str] | IO[Any]

# How many conversations are in memory at a time.
FEW: Final = 20
_LONGEST_LINE_BYTES: Final = 2**30


class Archive:
    """A file that is written: whole or not at all, or, when it `appends`, line after line."""

    def __init__(self, target: File, *, appends: bool = False) -> None:
        self._path = Path(target) if isinstance(target, str | os.PathLike) else None
        self._file: Any = target if self._path is None else None
        self._appends = appends
        self._part: Path | None = None
        # one of `tempfile` holds the file itself
        self._is_text = isinstance(getattr(target, "file", target), io.TextIOBase)
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
                self._file = self._path.open("a+b", buffering=0)
                # a file that is new is found after a crash once its folder is synced, too
                _sync_folder(self._path)
            elif self._path.exists() and not self._path.is_file():
                # a device or a pipe: a file must not take its place
                self._file = self._path.open("wb")
            else:
                # where a link leads to: the file is replaced there, and the link stays
                self._path = Path(os.path.realpath(self._path))
                folder = self._path.parent
                handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=folder)
                self._part = Path(name)
                self._file = os.fdopen(handle, "wb")
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def _append(self, lines: Sequence[bytes]) -> None:
        """Write lines that no other run writes into."""
        with _alone(self._file):
            rest = memoryview(b"".join(lines))
            # a run that was interrupted may have left half a line, also since this one began
            if self._file.seek(0, os.SEEK_END) > 0:
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    rest = memoryview(b"\n" + rest)
            while rest:
                rest = rest[self._file.write(rest) :]

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines; with `sync` they are on the disk."""
        try:
            if self._appends and self._path is not None:
                self._append(lines)
                self.bytes += sum(map(len, lines))
                return
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
                _sync(self._file.fileno())
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
            _sync_folder(self._path)
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


@contextmanager
def _alone(file: IO[bytes]) -> Iterator[None]:
    """Keep other runs out meanwhile."""
    with suppress(OSError):  # not every file system has locks
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a pipe or a device has nothing that could be synced
            raise


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        _sync(folder)
    finally:
        os.close(folder)


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
            while len(found) < FEW:
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
