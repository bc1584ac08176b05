"""The wire protocol of Redis as far as tests need it: where a message ends, what a request asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_END = b"\r\n"
_BULK = b"$=!"
# how many messages follow the head of an aggregate, per element that it announces
_ELEMENTS = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}


@dataclass(frozen=True, slots=True)
class Request:
    """One command as a client sent it: the name in capitals, and the arguments."""

    name: bytes
    arguments: tuple[bytes, ...]


Predicate = Callable[[Request], bool]


def named(*names: str) -> Predicate:
    """A predicate that is true of the commands with these names."""
    wanted = {name.upper().encode() for name in names}
    return lambda request: request.name in wanted


class Frames:
    """Cuts a stream of bytes into whole messages, RESP2 or RESP3, requests or replies.

    Cost: each byte is looked at once, however the stream was sliced.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._missing = 1

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes, and give the messages that are whole with them."""
        self._buffer += data
        while self._step():
            if not self._missing:
                yield bytes(self._buffer[: self._position])
                del self._buffer[: self._position]
                self._position, self._missing = 0, 1

    def _step(self) -> bool:
        """Pass one head, with its body if it has one; false when it has not all arrived."""
        end = self._buffer.find(_END, self._position)
        if end < 0:
            return False
        kind = bytes(self._buffer[self._position : self._position + 1])
        after, followers = end + len(_END), 0
        if kind in _BULK:
            length = int(self._buffer[self._position + 1 : end])
            after += length + len(_END) if length >= 0 else 0
        elif kind in _ELEMENTS:
            followers = _ELEMENTS[kind] * max(0, int(self._buffer[self._position + 1 : end]))
        if after > len(self._buffer):
            return False
        self._position = after
        # an attribute comes before the message it belongs to, and does not stand for it
        self._missing += followers - (kind != b"|")
        return True


def parse_request(frame: bytes) -> Request:
    """Read one whole request, an array of bulk strings or a line of words."""
    words = list(_bulk_strings(frame)) if frame.startswith(b"*") else frame.split()
    name, *arguments = words or [b""]
    return Request(name.upper(), tuple(arguments))


def _bulk_strings(frame: bytes) -> Iterator[bytes]:
    position = frame.index(_END) + len(_END)
    while position < len(frame):
        end = frame.index(_END, position)
        start = end + len(_END)
        stop = start + int(frame[position + 1 : end])
        yield frame[start:stop]
        position = stop + len(_END)
