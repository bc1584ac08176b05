"""One connection to one server, for looking at the server itself."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import hiredis
from redis.exceptions import RedisError, ResponseError

from redis_memory.errors import OfflineError
from redis_memory.link import failures
from redis_memory.link.address import Address
from redis_memory.link.cluster import NodeAddress


class Probe:
    """Commands by their names, and their replies as they come.

    `release` and `role` are what the server says at the beginning, `offset_s` is how far its clock
    is ahead of this machine's, None until somebody has asked.

    Raises:
        OfflineError: It cannot be reached.
        RedisMemoryError: It refuses us.
    """

    def __init__(self, address: Address) -> None:
        self.address: Address = address
        self.offset_s: float | None = None
        self._opened: list[Any] = []
        # where a node of a cluster is was found out before
        if address.prepare is not None and not isinstance(address, NodeAddress):
            try:
                address.prepare()
            except failures.LinkFailureError as error:
                raise OfflineError(str(error)) from error
        self._connection = self._connected()

    def _connected(self) -> Any:
        connection = self.address.connection()
        try:
            connection.connect()
        except (hiredis.ProtocolError, OSError, RedisError) as error:
            connection.disconnect()
            raise _raised(failures.from_connecting(error, self.address.label)) from error
        self._opened.append(connection)
        return connection

    def ask(self, *command: bytes) -> Any:
        """The reply to a command; an error reply is returned, not raised.

        Raises:
            OfflineError: The connection broke, or no answer came in time.
        """
        return self._exchange(self._connection, command)

    def _exchange(self, connection: Any, command: tuple[bytes, ...]) -> Any:
        try:
            if command:
                connection.send_command(*command)
            return connection.read_response()
        except ResponseError as refusal:
            return refusal
        except (hiredis.ProtocolError, OSError, RedisError) as error:
            if "AuthenticationError" in failures.class_names(error):
                return error
            raise _raised(failures.from_calling(error, self.address.label)) from error

    def hear(self, channel: bytes, message: bytes) -> Any:
        """What a second connection hears when a message is published, or why it hears nothing.

        Raises:
            OfflineError: Nothing was heard in time.
        """
        listener = self._connected()
        answer = self._exchange(listener, (b"SUBSCRIBE", channel))
        if isinstance(answer, Exception):
            return answer
        answer = self.ask(b"PUBLISH", channel, message)
        if isinstance(answer, Exception):
            return answer
        return self._exchange(listener, ())[-1]

    def info(self, section: bytes) -> dict[str, str] | None:
        """A section of INFO; None where this user may not ask, or the server does not tell."""
        reply = self.ask(b"INFO", section)
        if isinstance(reply, Exception):
            return None
        lines = [
            line for line in bytes(reply).decode("utf-8", "replace").splitlines() if ":" in line
        ]
        return dict(line.split(":", 1) for line in lines)

    def config(self, name: bytes) -> str | None:
        """A directive; None where this user may not ask, or the server does not tell."""
        reply = self.ask(b"CONFIG", b"GET", name)
        if isinstance(reply, Exception) or not reply:
            return None
        value = reply[name] if isinstance(reply, dict) else reply[1]
        return bytes(value).decode("utf-8", "replace")

    def hello(self) -> dict[str, str]:
        """What the server says of itself to everybody: product, version, role."""
        reply = self.ask(b"HELLO")
        if isinstance(reply, Exception):
            return {}
        pairs = (
            reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        )
        return {
            bytes(name).decode(): value.decode("utf-8", "replace")
            for name, value in pairs
            if isinstance(value, bytes)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._opened:
            connection.disconnect()


def _raised(error: Exception) -> Exception:
    """As callers of the library know it."""
    return OfflineError(str(error)) if isinstance(error, failures.LinkFailureError) else error
