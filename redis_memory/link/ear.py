"""What a feed sends and hears on its connection."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

import hiredis

from redis_memory.core.calls import Head

_READ_BYTES = 65536
# A connection without a socket of its own cannot be waited for together with a wake-up call.
_LOOK_S = 0.002


class Ear(Protocol):
    """What is sent and heard on the connection. Error replies are returned, not raised."""

    def send(self, commands: list[tuple[bytes, ...]]) -> None:
        """Send commands without waiting for their answers."""
        raise NotImplementedError

    def replies(self, timeout_s: float) -> Iterator[Any]:
        """What has arrived, when something does or somebody has called, or after so long."""
        raise NotImplementedError

    def close(self) -> None:
        """Listen no more."""


class SocketEar:
    """Of a connection with a socket; whoever has changed what is wanted calls by another one."""

    def __init__(self, connection: Any, wake: socket.socket) -> None:
        self._socket: Any = connection._sock
        self._wake = wake
        self._reader = hiredis.Reader()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(wake, selectors.EVENT_READ)
        # TLS may hold bytes that the system no longer tells of
        self._pending: Any = getattr(self._socket, "pending", None)

    def send(self, commands: list[tuple[bytes, ...]]) -> None:
        """Send commands without waiting for their answers."""
        packed = [Head(*command).opening(0) for command in commands]
        self._socket.sendall(b"".join(packed))

    def replies(self, timeout_s: float) -> Iterator[Any]:
        """What has arrived, when something does or somebody has called, or after so long."""
        is_ready = self._pending is not None and self._pending()
        for key, _ in () if is_ready else self._selector.select(timeout_s):
            if key.fileobj is self._wake:
                with suppress(BlockingIOError):
                    self._wake.recv(_READ_BYTES)
            else:
                is_ready = True
        if not is_ready:
            return
        received = self._socket.recv(_READ_BYTES)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        self._reader.feed(received)
        while (reply := self._reader.gets()) is not False:
            yield reply

    def close(self) -> None:
        """Listen no more."""
        self._selector.close()


class FakeEar:
    """Of fakeredis, which has no socket."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def send(self, commands: list[tuple[bytes, ...]]) -> None:
        """Send commands without waiting for their answers."""
        for command in commands:
            self._connection.send_command(*command)

    def replies(self, timeout_s: float) -> Iterator[Any]:
        """What has arrived within a moment."""
        if self._connection.can_read(timeout=min(timeout_s, _LOOK_S)):
            yield self._connection.read_response()

    def close(self) -> None:
        """Listen no more."""
