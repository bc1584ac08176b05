"""Where an embedded server listens, and whether it answers there."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from redis_memory.errors import EmbeddedServerError
from redis_memory.link.folder import OPEN_TO_OTHERS

LONGEST_BYTES: Final = 103  # Linux takes 107, macOS and the BSDs 103


def socket_path(folder: Path) -> Path:
    """Where the server of this folder listens, or would listen.

    The same for all processes of the user: inside the folder, or, where that path is too long for
    a socket, in a private folder under XDG_RUNTIME_DIR or the temporary folder. A server that was
    started there leaves a link, so that a process with another environment finds it too.

    Raises:
        EmbeddedServerError: The path is too long and no private folder can be had.
    """
    folder = Path(os.path.realpath(folder))
    inside = _inside(folder)
    if _fits(inside):
        return inside
    with suppress(OSError):
        target = inside.readlink()
        if _is_private(target.parent):
            return target
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16] + ".sock"
    for shelter in _shelters():
        path = shelter / name
        if _fits(path) and _make_private(shelter):
            return path
    raise EmbeddedServerError(
        f"{folder} is too long for a socket, and no private folder can be made for it: "
        "name a shorter one, or set XDG_RUNTIME_DIR to a folder of yours with mode 0700"
    )


def place_socket(folder: Path) -> Path:
    """Clear away what a dead server left, and settle where the next one listens.

    Only for the holder of the folder's lock: nobody can be listening then.
    """
    inside = _inside(folder)
    inside.unlink(missing_ok=True)
    path = socket_path(folder)
    if path != inside:
        inside.symlink_to(path)
    return path


def answers(path: Path, timeout_s: float) -> bool:
    """Whether a server that has loaded its data listens here.

    One that answers with an error (too many clients, a full disk) is there all the same: whoever
    connects is told.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(max(timeout_s, 0.001))  # zero would mean: do not wait at all
        try:
            connection.connect(os.fspath(path))
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except OSError:
            return False
    return reply.startswith((b"+", b"-")) and not reply.startswith(b"-LOADING")


def _inside(folder: Path) -> Path:
    return folder / "redis.sock"


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_BYTES


def _shelters() -> Iterator[Path]:
    name = f"redis_memory-{os.geteuid()}"
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    # after sudo or su it may still be the folder of the user before
    if runtime.is_absolute() and _is_private(runtime):
        yield runtime / name
    yield Path(tempfile.gettempdir()).resolve() / name


def _make_private(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    return _is_private(folder)


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()  # not stat: in a folder open to all, a link may be a trap
    except OSError:
        return False
    closed = not found.st_mode & OPEN_TO_OTHERS
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and closed
