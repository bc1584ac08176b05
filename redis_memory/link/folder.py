"""The folder of an embedded server: where it lies, who may use it, what it holds.

lock            under flock as long as a launcher or a server lives; never removed
redis.sock      the server's socket, or a link to it where this path is too long for a socket
server.json     which server wrote the data
server.log      what launcher and server have said since the last start
server.log.1    the same of the start before
appendonlydir/  the data (appendonly.aof with servers older than 7.0)
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from redis_memory.errors import EmbeddedServerError
from redis_memory.link.binaries import SERVER_VARIABLE, Binary, Release

OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
TAIL_BYTES: Final = 2_000
WAY_OUT: Final = "set XDG_DATA_HOME, or name a folder of your own as in embedded:///folder"

# A child forked while the lock's descriptor is open would hold the lock as long as it lives.
_fork_gate = threading.RLock()
os.register_at_fork(
    before=_fork_gate.acquire,
    after_in_parent=_fork_gate.release,
    after_in_child=_fork_gate.release,
)


def default_folder() -> Path:
    """The user's own folder: `$XDG_DATA_HOME/redis_memory` or `~/.local/share/redis_memory`.

    Nothing is created. A relative XDG_DATA_HOME is ignored, as its specification demands.

    Raises:
        EmbeddedServerError: There is no home, or it cannot be written; names what to set.
    """
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():
        data = _home() / ".local" / "share"
    folder = data / "redis_memory"
    # not Path.exists: it raises for what lies in a folder that may not be searched
    existing = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EmbeddedServerError(f"{existing} cannot be written: {WAY_OUT}")
    return folder


def _home() -> Path:
    try:
        home = Path.home()
    except RuntimeError as error:
        raise EmbeddedServerError(f"this user has no home folder: {WAY_OUT}") from error
    # an empty HOME is taken for the root folder
    if os.environ.get("HOME") == "" or not home.is_absolute() or not os.access(home, os.X_OK):
        raise EmbeddedServerError(f"HOME is no folder that can be used ({home}): {WAY_OUT}")
    return home


def prepare(folder: Path) -> Path:
    """Create the folder where it is missing, for this user alone, and return its resolved path.

    An empty folder that others may enter is closed to them (mode 0700). One that holds something
    is refused: it may be shared on purpose.

    Raises:
        EmbeddedServerError: It cannot be created, belongs to somebody else, or is open to others.
    """
    folder = Path(os.path.realpath(folder))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise EmbeddedServerError(f"{folder} belongs to another user; name another folder")
        if folder.stat().st_mode & OPEN_TO_OTHERS:
            _close_to_others(folder)
    except OSError as error:
        raise EmbeddedServerError(f"{folder} cannot be used: {error.strerror}") from error
    return folder


def _close_to_others(folder: Path) -> None:
    # look at the mode again: what is in there may be the lock of one who has just closed it
    if any(folder.iterdir()) and folder.stat().st_mode & OPEN_TO_OTHERS:
        raise EmbeddedServerError(
            f"{folder} is open to other users; name an empty folder, or run chmod 700 on it"
        )
    folder.chmod(0o700)


@contextmanager
def try_lock(folder: Path) -> Iterator[int | None]:
    """Yield the descriptor that holds the folder's lock, or None while somebody else holds it.

    Leaving closes the descriptor; the lock lives on in the processes it was handed to. Forks by
    other threads wait meanwhile.

    Raises:
        EmbeddedServerError: The lock file cannot be opened.
    """
    with _fork_gate:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(folder / "lock", flags, 0o600)
        except OSError as error:
            raise EmbeddedServerError(f"{folder} cannot be written: {error.strerror}") from error
        try:
            yield descriptor if _flock(descriptor) else None
        finally:
            os.close(descriptor)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remember_writer(folder: Path, binary: Binary) -> None:
    """Note which server is going to write the data, or refuse one that may not read what is there.

    Raises:
        EmbeddedServerError: Another flavour or a newer version wrote the data. Nothing was changed.
    """
    record = folder / "server.json"
    writer = _read_writer(record)
    if writer is not None and not binary.release.reads(writer):
        raise EmbeddedServerError(
            f"the data in {folder} was written by {writer}, which {binary.release} ({binary.path}) "
            f"may not be able to read: let {SERVER_VARIABLE} name a server like the one that wrote "
            "it, or use another folder"
        )
    if writer != binary.release:
        text = json.dumps({"flavour": binary.release.flavour, "version": binary.release.version})
        fresh = record.with_suffix(".new")
        fresh.touch(0o600)
        fresh.write_text(text)
        fresh.replace(record)


def _read_writer(record: Path) -> Release | None:
    try:
        known = json.loads(record.read_bytes())
        flavour, (major, minor, patch) = known["flavour"], known["version"]
        if flavour not in ("redis", "valkey"):
            raise ValueError(flavour)
        return Release(flavour, (int(major), int(minor), int(patch)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise EmbeddedServerError(
            f"{record} is damaged, so nobody knows which server wrote the data; remove that file "
            "if it was the one that is to be started now"
        ) from error


def renew_log(folder: Path) -> Path:
    """Set the log of the last start aside; the one before it is dropped."""
    log = folder / "server.log"
    with suppress(FileNotFoundError):
        log.replace(folder / "server.log.1")
    log.touch(0o600)
    return log


def log_tail(folder: Path) -> str:
    """The last lines that launcher and server have logged, or nothing."""
    try:
        text = (folder / "server.log").read_bytes()[-TAIL_BYTES:]
    except FileNotFoundError:
        return ""
    return text.decode(errors="replace").strip()
