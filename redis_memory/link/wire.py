"""One connection, one call at a time: the bytes of a command out, the reply back."""

from __future__ import annotations

import socket
from typing import Any, Protocol

import hiredis
from redis.exceptions import RedisError

from redis_memory.core.calls import Call, Head
from redis_memory.core.scripts import BY_SHA

_READ_BYTES = 65536
# looked up, since writing one takes 0.1 us and a change has five
_MOST_SIZES = 1024
_SIZES = [b"$%d\r\n" % size for size in range(_MOST_SIZES)]


def is_unknown_script(reply: Any) -> bool:
    """Does the server not know the script yet, or not any more?"""
    return isinstance(reply, Exception) and (
        str(reply).startswith("NOSCRIPT") or type(reply).__name__ == "NoScriptError"
    )


def with_source(call: Call) -> tuple[bytes, ...]:
    """The call as EVAL, which also makes the script known to the server."""
    _, sha, *others = call.head.parts
    return (b"EVAL", BY_SHA[sha].source, *others, *call.arguments)


def _packed(call: Call) -> bytes:
    """The bytes of a call, kept with it: it may have to be sent again."""
    arguments = call.arguments
    pieces = [call.head.opening(len(arguments))]
    for part in arguments:
        size = len(part)
        pieces += (_SIZES[size] if size < _MOST_SIZES else b"$%d\r\n" % size, part, b"\r\n")
    call.packed = b"".join(pieces)
    return call.packed


def as_reply(error: Exception) -> Exception:
    """Return the error that is a reply of the server; raise one that is not."""
    if type(error).__name__ in ("ConnectionError", "TimeoutError", "InvalidResponse"):
        raise error
    return error


class Wire(Protocol):
    """A connection that carries one call at a time. Error replies are returned, not raised."""

    def call(self, call: Call) -> Any:
        """Send a call and return its reply."""

    def send(self, *parts: bytes) -> Any:
        """Send any command and return its reply."""

    def close(self) -> None:
        """Drop the connection."""


class SocketWire:
    """A connection whose socket is written and read here, without redis-py in between.

    The hot path: redis-py's `send_command` and `read_response` cost 5 us of 23 in a round trip.
    redis-py still connects, negotiates TLS and authenticates.
    """

    __slots__ = ("_connection", "_feed", "_gets", "_receive", "_send")

    def __init__(self, connection: Any, raw: socket.socket) -> None:
        self._connection = connection
        self._send = raw.sendall
        self._receive = raw.recv
        reader = hiredis.Reader()
        self._feed = reader.feed
        self._gets = reader.gets

    def call(self, call: Call) -> Any:
        """Send a call and return its reply."""
        if call.companions:
            return self._call_with(call)
        self._send(call.packed or _packed(call))
        reply = self._gets()
        while reply is False:  # hiredis' word for: not all of it has arrived
            received = self._receive(_READ_BYTES)
            if not received:
                raise ConnectionResetError("the server closed the connection")
            self._feed(received)
            reply = self._gets()
        return reply

    def _call_with(self, call: Call) -> Any:
        """Send a call behind its companions, in one packet, and return its reply."""
        packed = [_packed(each) for each in call.companions]
        packed.append(_packed(call))
        self._send(b"".join(packed))
        call.answers = answers = [self._reply() for _ in call.companions]
        reply = self._reply()
        for at, companion in enumerate(call.companions):
            if is_unknown_script(answers[at]):
                answers[at] = self.send(*with_source(companion))
        return reply

    def _reply(self) -> Any:
        reply = self._gets()
        while reply is False:
            received = self._receive(_READ_BYTES)
            if not received:
                raise ConnectionResetError("the server closed the connection")
            self._feed(received)
            reply = self._gets()
        return reply

    def send(self, *parts: bytes) -> Any:
        """Send any command and return its reply."""
        return self.call(Call(Head(*parts)))

    def close(self) -> None:
        """Drop the connection."""
        self._connection.disconnect()


class ConnectionWire:
    """A connection without a socket of its own, as fakeredis has, through redis-py's methods."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def call(self, call: Call) -> Any:
        """Send a call and return its reply."""
        if call.companions:
            call.answers = answers = []
            for companion in call.companions:
                answer = self.send(*companion.head.parts, *companion.arguments)
                if is_unknown_script(answer):
                    answer = self.send(*with_source(companion))
                answers.append(answer)
        return self.send(*call.head.parts, *call.arguments)

    def send(self, *parts: bytes) -> Any:
        """Send any command and return its reply."""
        try:
            self._connection.send_command(*parts)
            return self._connection.read_response()
        except RedisError as error:
            return as_reply(error)

    def close(self) -> None:
        """Drop the connection."""
        self._connection.disconnect()
