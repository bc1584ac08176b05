"""The server that the library starts itself: one per folder, shared by all processes of the user.

`ensure_running` finds it or starts it. The starting process leaves it to a launcher (launcher.py),
which stops it when the last client has been gone for a while; the data stays in the folder. The
lock in the folder is held by launcher and server as long as they live, and by nobody else for
longer than a start takes: whoever gets it knows that no server runs, and may start one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from redis_memory.errors import EmbeddedServerError
from redis_memory.link import binaries
from redis_memory.link.folder import (
    default_folder,
    log_tail,
    prepare,
    remember_writer,
    renew_log,
    try_lock,
)
from redis_memory.link.unix_socket import answers, place_socket, socket_path

__all__ = ["default_folder", "ensure_running", "socket_path"]

_log = logging.getLogger("redis_memory")

POLL_S: Final = 0.01
LAUNCHER: Final = Path(__file__).with_name("launcher.py")
# What a server or an interpreter may need to run. The rest, secrets among it, is none of theirs.
KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ")


def ensure_running(folder: Path, *, timeout_s: float = 10.0, linger_s: float = 5.0) -> Path:
    """Return the socket of a server that answers, starting it when needed.

    The server may stop `linger_s` seconds after its last client left. Who comes in that moment
    gets a connection error, calls this again, and has the server started again.

    Args:
        folder: Holds the data; created when missing. Processes that name the same one share it.
        timeout_s: How long to wait for the answer, in seconds, over all steps.
        linger_s: Kept by the process that starts the server; ignored when it runs already.

    Raises:
        EmbeddedServerError: There is no server to start, the folder cannot be used, another kind
            of server wrote its data, or the server does not answer in time. In the last case the
            message ends with the server's log, and a server still loading goes on doing so.

    Cost: when it runs already, one connect and one PING; else a start, about 0.1 s on an idle
    machine, more with much data. Blocks; never for longer than about `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    folder = prepare(folder)
    started = False
    while True:
        path = socket_path(folder)
        if answers(path, deadline - time.monotonic()):
            if started:
                _log.info("the embedded server in %s was started", folder)
            return path
        with try_lock(folder) as lock:
            if lock is not None:
                if started:
                    raise _failure(folder, "stopped while it was starting")
                _launch(folder, lock, deadline - time.monotonic(), linger_s)
                started = True
        if time.monotonic() >= deadline:
            raise _failure(folder, f"did not answer within {timeout_s:g} s")
        # a server that is another process's child tells nobody that it listens by now
        time.sleep(POLL_S)


def _launch(folder: Path, lock: int, timeout_s: float, linger_s: float) -> None:
    binary = binaries.choose()
    try:
        remember_writer(folder, binary)
        path = place_socket(folder)
        launch = [_interpreter(), "-I", "-S", LAUNCHER, str(lock), str(linger_s), path]
        with renew_log(folder).open("ab") as log:
            launcher = subprocess.Popen(
                [*map(str, launch), str(binary.path), *_settings(folder, path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                # C: a server refuses to start in a locale that is not installed
                env={"LC_ALL": "C"} | {k: v for k, v in os.environ.items() if k in KEPT_VARIABLES},
                pass_fds=(lock,),
                start_new_session=True,
                umask=0o077,
            )
    except OSError as error:
        raise EmbeddedServerError(f"no server can be started in {folder}: {error}") from error
    try:
        launcher.wait(max(timeout_s, 0))  # not the server's end: the launcher detaches itself
    except subprocess.TimeoutExpired as error:
        launcher.kill()
        launcher.wait()
        raise _failure(folder, "could not be launched in time") from error


def _settings(folder: Path, path: Path) -> Iterator[str]:
    settings = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "600",
        "protected-mode": "yes",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": "",  # standard output, which is the log in the folder
    }
    for name, value in settings.items():
        yield from (f"--{name}", value)


def _interpreter() -> Path:
    """A Python that runs the launcher: not always `sys.executable`, as in uwsgi or a frozen app."""
    own = Path(sys.executable or "")
    looks_right = any(word in own.name.lower() for word in ("python", "pypy"))
    if looks_right and not getattr(sys, "frozen", False):
        return own
    major, minor = sys.version_info[:2]
    for prefix in (sys.exec_prefix, sys.base_exec_prefix):
        for name in (f"python{major}.{minor}", f"python{major}", "python"):
            candidate = Path(prefix, "bin", name)
            if os.access(candidate, os.X_OK):
                return candidate
    raise EmbeddedServerError(
        f"no Python to run the launcher: {own} is none, and {sys.exec_prefix}/bin has none"
    )


def _failure(folder: Path, what: str) -> EmbeddedServerError:
    tail = log_tail(folder)
    return EmbeddedServerError(f"the server in {folder} {what}" + (f":\n{tail}" if tail else ""))
