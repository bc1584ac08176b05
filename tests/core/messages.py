"""Messages of the feed, and the descriptors in them, as the scripts publish them."""

from __future__ import annotations

WRITER = b"_w" + b"0123456789abcdef01"


def version(number: int) -> bytes:
    """A version, as it is written."""
    return b"%013x" % number


def scalar(number: int) -> bytes:
    """The descriptor of a scalar."""
    return b"v" + version(number) + b";"


def log(number: int, size: int) -> bytes:
    """The descriptor of a list."""
    return b"l" + b" ".join([version(number), *[version(1)] * 3, b"%d;" % size])


def message(what: bytes, name: bytes, descriptor: bytes, payload: bytes = b"") -> bytes:
    """A message as the scripts publish it."""
    return WRITER + what + b"%d:" % len(name) + name + descriptor + payload
