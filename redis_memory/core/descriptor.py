"""What the memory's hash says of one attribute: its kind and the versions of its changes.

The server writes it, `lua/attribute.lua` names its fields. As bytes it is compared whole: the
time in it makes two states of one attribute differ even where a restored backup repeats a version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from redis_memory.errors import CorruptValueError

LIST: Final = b"l"
DICT: Final = b"d"
SET: Final = b"e"
NUMBER: Final = b"n"
VALUE: Final = b"v"
CONTAINERS: Final = (LIST, DICT, SET)

KIND_NAMES: Final = {LIST: "list", DICT: "dict", SET: "set", NUMBER: "number", VALUE: "value"}

_CONTAINER = re.compile(rb"([lde])(\d+) (\d+) (\d+) (\d+) (\d+) (\d+);")
_SCALAR = re.compile(rb"([nv])(\d+) (\d+);")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed descriptor; versions count the memory's changes, `at_us` is the server's time."""

    kind: bytes
    version: int
    at_us: int
    shift: int = 0
    inner: int = 0
    size: int = 0


def split(field: bytes, name: str) -> tuple[bytes, bytes]:
    """Split a field into its descriptor and, for a scalar, the bytes of its value.

    Raises:
        CorruptValueError: The field does not begin with a descriptor.
    """
    found = _SCALAR.match(field) or _CONTAINER.fullmatch(field)
    if found is None:
        raise CorruptValueError(f"the stored attribute {name!r} was not written by this library")
    return field[: found.end()], field[found.end() :]


def parse(descriptor: bytes, name: str) -> Descriptor:
    """Parse what `split` returned first, or what a script answered."""
    if found := _CONTAINER.fullmatch(descriptor):
        version, _base, shift, inner, size, at_us = map(int, found.groups()[1:])
        return Descriptor(found[1], version, at_us, shift, inner, size)
    if found := _SCALAR.fullmatch(descriptor):
        return Descriptor(found[1], int(found[2]), int(found[3]))
    raise CorruptValueError(f"the stored attribute {name!r} was not written by this library")
