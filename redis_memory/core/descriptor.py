"""What the memory's hash says of one attribute: its kind and the versions of its changes.

The server writes it, `lua/attribute.lua` names its parts. A version is the server's time of a
change in microseconds, moved on where needed to be the largest so far; no two states share one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from redis_memory.errors import CorruptValueError, WrongKindError

LIST: Final = b"l"
DICT: Final = b"d"
SET: Final = b"e"
NUMBER: Final = b"n"
VALUE: Final = b"v"
CONTAINERS: Final = (LIST, DICT, SET)

KIND_NAMES: Final = {LIST: "list", DICT: "dict", SET: "set", NUMBER: "number", VALUE: "value"}

_CONTAINER = re.compile(rb"([lde])([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) (\d+);")
_SCALAR = re.compile(rb"([nv])([0-9a-f]+);")
# of a state that the server does not know yet; never stored
_PROVISIONAL = re.compile(rb"([lednv])([0-9a-f]+) .*\?;")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed descriptor: versions in microseconds, size in elements."""

    kind: bytes
    version: int
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
        kind, version, _base, shift, inner, size = found.groups()
        return Descriptor(kind, int(version, 16), int(shift, 16), int(inner, 16), int(size))
    if found := _SCALAR.fullmatch(descriptor):
        return Descriptor(found[1], int(found[2], 16))
    if found := _PROVISIONAL.fullmatch(descriptor):
        version = int(found[2], 16)
        return Descriptor(found[1], version, version, version)
    raise CorruptValueError(f"the stored attribute {name!r} was not written by this library")


def stored_elements(descriptor: bytes, name: str) -> int:
    """How many elements the server answers for a container: of a dict or set two for each."""
    parsed = parse(descriptor, name)
    return parsed.size if parsed.kind == LIST else 2 * parsed.size


def damaged(kind: bytes, name: str) -> CorruptValueError:
    """The error for a container whose elements are not those that its descriptor tells of."""
    return CorruptValueError(
        f"elements of the {KIND_NAMES[kind]} attribute {name!r} are missing or foreign"
    )


def wrong_kind(name: str, wanted: str) -> WrongKindError:
    """The error for an attribute that is another kind of thing than the change was meant for."""
    return WrongKindError(f"the attribute {name!r} exists and is no {wanted}")
