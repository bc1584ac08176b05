"""The process that starts the embedded server, watches it, and stops it when nobody uses it.

Run by path and with the standard library alone, so that it is up within milliseconds:

    python -I -S launcher.py LOCK LINGER_S SOCKET SERVER [ARGUMENT ...]

LOCK is an inherited descriptor that holds the folder's lock. Launcher and server both keep it
open, and the kernel releases it when the last of them is gone, however they went. So the lock says
whether a server lives, and no second one can start beside the first, or while that is stopping.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import BufferedIOBase
from typing import Final

RETRY_S: Final = 0.01
SHORTEST_TICK_S: Final = 0.05
LONGEST_TICK_S: Final = 0.5
FIRST_CLIENT_S: Final = 10.0  # whoever asked for the server may be slow to come
PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> None:
    """Detach from whoever asked for the server, run it as long as it is used, leave no socket."""
    lock, linger_s, path, *command = arguments
    if os.fork() != 0:
        os._exit(0)  # an orphan from the start: whoever asked for the server need not reap it
    # a starter's blocked signals come along through exec
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = start(command, int(lock))
    try:
        watch(server, path, float(linger_s))
    finally:
        server.terminate()  # a clean shutdown: the data is on disk before it exits
        server.wait()
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  # importing pathlib costs more than all the rest


def start(command: list[str], lock: int) -> subprocess.Popen[bytes]:
    """Start the server as a child that does not outlive this process, even if it is killed."""
    if sys.platform == "linux":
        tie = stop_with_parent()
        # preexec_fn is safe here: this process has one thread
        server = subprocess.Popen(command, pass_fds=(lock,), preexec_fn=tie)  # noqa: PLW1509
    else:
        server = subprocess.Popen(command, pass_fds=(lock,))
        stand_guard(server.pid)
    return server


def stop_with_parent() -> Callable[[], None]:
    """Make the function that ties a child to this process: the kernel will send it SIGTERM."""
    libc = ctypes.CDLL(None, use_errno=True)
    launcher = os.getpid()

    def tie() -> None:
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != launcher:  # it died before the kernel knew of the tie
            os._exit(1)

    return tie


def stand_guard(server: int) -> None:
    """Where there is no prctl, let a process of its own stop the server after this one's death.

    Weaker than prctl: when launcher and guard are killed together, the server goes on. It is then
    found and used like any other, but stops only when it is told to.
    """
    reader, writer = os.pipe()
    if os.fork() != 0:
        os.close(reader)
        # the other end is open as long as this process lives; a byte says that the end was orderly
        atexit.register(os.write, writer, b".")
        return
    os.close(writer)
    if not os.read(reader, 1):
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGTERM)
    os._exit(0)


def watch(server: subprocess.Popen[bytes], path: str, linger_s: float) -> None:
    """Return when nobody has used the server for `linger_s` seconds, or when it is gone."""
    while server.poll() is None:
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.connect(path)
                wait_until_unused(control, linger_s)
                return
        except OSError:
            time.sleep(RETRY_S)  # not listening yet, gone, or a CLIENT KILL dropped us


def wait_until_unused(control: socket.socket, linger_s: float) -> None:
    """Return when nobody but us has been connected for `linger_s` seconds.

    Raises:
        OSError: The connection broke.
    """
    tick_s = min(LONGEST_TICK_S, max(linger_s / 2, SHORTEST_TICK_S))
    patience_s = max(linger_s, FIRST_CLIENT_S)
    arrivals, used_at = 1, time.monotonic()  # one: our own connection
    stream = control.makefile("rwb")
    while time.monotonic() - used_at < patience_s:
        # an end of stream wakes us at once
        select.select([control], [], [], tick_s)
        connected, received = census(stream)
        # arrivals too: one who came and went between two looks will want to come again
        if connected != 1 or received != arrivals:
            arrivals, used_at, patience_s = received, time.monotonic(), linger_s


def census(stream: BufferedIOBase) -> tuple[int, int]:
    """How many clients are connected, and how many connections there ever were; -1 for unknown."""
    return (
        number(b"connected_clients", ask(stream, b"INFO clients")),
        number(b"total_connections_received", ask(stream, b"INFO stats")),
    )


def number(field: bytes, text: bytes) -> int:
    """The number of one field of an INFO reply; -1 where the reply has no such field."""
    match = re.search(rb"^%s:(\d+)" % field, text, re.MULTILINE)
    return int(match[1]) if match else -1


def ask(stream: BufferedIOBase, command: bytes) -> bytes:
    """Send one command and return the text of its reply, which may be an error.

    Raises:
        OSError: The connection broke.
    """
    stream.write(command + b"\r\n")
    stream.flush()
    head = stream.readline()
    if not head:
        raise ConnectionError("the server closed the connection")
    if head.startswith(b"$"):
        return stream.read(int(head[1:]) + 2)
    return head  # an error such as BUSY, which says that somebody is using the server


if __name__ == "__main__":
    main(sys.argv[1:])
