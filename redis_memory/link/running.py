"""The embedded server of a folder that runs: what it says of itself, and how it is stopped."""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis_memory.errors import EmbeddedServerError
from redis_memory.link.folder import try_lock
from redis_memory.link.launcher import ask, number
from redis_memory.link.unix_socket import answers, socket_path

_PATIENCE_S: Final = 1.0
_POLL_S: Final = 0.01
# The launcher, and whoever looks.
_NOT_COUNTED: Final = 2


@dataclass(frozen=True, slots=True)
class Running:
    """An embedded server: its process, how long it has run, how many others use it."""

    folder: str
    socket: str
    server: str
    process: int
    uptime_s: int
    clients: int
    bytes: int


def look(folder: Path) -> Running | None:
    """What the server of a folder says of itself; None when none answers. Nothing is created."""
    path = socket_path(folder)
    if not answers(path, _PATIENCE_S):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(os.fspath(path))
            with connection.makefile("rwb") as stream:
                told = b"".join(
                    ask(stream, b"INFO " + section)
                    for section in (b"server", b"clients", b"memory")
                )
    except OSError:
        return None
    is_valkey = re.search(rb"^valkey_version:(\S+)", told, re.MULTILINE)
    release = is_valkey or re.search(rb"^redis_version:(\S+)", told, re.MULTILINE)
    version = release[1].decode("ascii", "replace") if release else "of an unknown version"
    return Running(
        folder=os.path.realpath(folder),
        socket=str(path),
        server=f"{'Valkey' if is_valkey else 'Redis'} {version}",
        process=number(b"process_id", told),
        uptime_s=number(b"uptime_in_seconds", told),
        clients=max(number(b"connected_clients", told) - _NOT_COUNTED, 0),
        bytes=number(b"used_memory", told),
    )


def stop(folder: Path, timeout_s: float = 10.0) -> None:
    """Have the server of a folder write its data and end; wait until it has.

    Raises:
        EmbeddedServerError: It refuses, or is still there after `timeout_s`.
    """
    before = look(folder)
    refusal = _ordered(socket_path(folder), timeout_s)
    if refusal:
        raise EmbeddedServerError(f"the server in {folder} refuses to stop: {refusal}")
    until_s = time.monotonic() + timeout_s
    while True:
        with try_lock(folder) as lock:
            if lock is not None:
                return
        now = look(folder)
        if before is not None and now is not None and now.process != before.process:
            return  # somebody needed one at once, and has started the next
        if time.monotonic() > until_s:
            raise EmbeddedServerError(f"the server in {folder} is still there")
        # launcher and server tell nobody that they are gone
        time.sleep(_POLL_S)


def _ordered(path: Path, timeout_s: float) -> str:
    """Send the order; what is answered, nothing when it is obeyed."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(os.fspath(path))
            connection.sendall(b"SHUTDOWN\r\n")
            return connection.recv(1000).decode("utf-8", "replace").strip().removeprefix("-")
    except OSError:  # it is gone already
        return ""
