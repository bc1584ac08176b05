"""MessagePack in and out, unchecked: `values` is the door that knows the limits.

Native types are themselves, other scalars are extensions. A tuple, set or frozenset is an array
that begins with a mark, an extension that no value can hold; so containers of all kinds nest in
MessagePack's own way, and one pass without recursion reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# msgpack says nothing of its types.
from msgpack import ExtType, OutOfData, Packer, Unpacker, unpackb  # type: ignore[import-untyped]

from redis_memory.core.extensions import CONTAINER_CODE, DECODERS, ENCODERS
from redis_memory.core.headers import MARK_HEADER
from redis_memory.core.storable import container_of
from redis_memory.errors import UnstorableValueError

_MARKS: dict[type, Any] = {
    tuple: ExtType(CONTAINER_CODE, b"t"),
    set: ExtType(CONTAINER_CODE, b"s"),
    frozenset: ExtType(CONTAINER_CODE, b"f"),
}
_KINDS: dict[bytes, type] = {mark.data: kind for kind, mark in _MARKS.items()}

# msgpack's own first buffer of 256 KiB costs more to get than a chat message costs to pack.
_FIRST_BUFFER_BYTES = 1024


def encode(value: object) -> bytes:
    """Pack a checked value; equal structures of equal types give equal bytes.

    Raises:
        UnstorableValueError: A part has another type.
        ValueError: One part has 4 GiB or more.
    """
    try:
        return _pack(value, None)
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 proper does not know
        return _pack(value, "surrogatepass")


def _pack(value: object, unicode_errors: str | None) -> bytes:
    # A Packer of its own for each call: one that is shared mixes up what two threads pack.
    packer = Packer(
        default=_extend,
        strict_types=True,
        unicode_errors=unicode_errors,
        buf_size=_FIRST_BUFFER_BYTES,
    )
    packed: bytes = packer.pack(value)
    return packed


def _extend(value: Any) -> Any:
    """What msgpack packs in place of a value that it does not know."""
    kind = type(value)
    if (extension := ENCODERS.get(kind)) is not None:
        code, to_bytes = extension
        return ExtType(code, to_bytes(value))
    base = container_of(kind)
    if base is None:
        raise UnstorableValueError(f"cannot store {kind.__name__}")
    if base is tuple:
        return [_MARKS[tuple], *value]
    if base is list:
        return list.copy(value)
    if base is dict:
        return dict(dict.items(value))  # `dict.copy` would ask the methods of a proxy
    return [_MARKS[base], *_in_order(base.__iter__(value))]


def _in_order(elements: Iterable[object]) -> list[object]:
    return sorted(map(_ordered, elements), key=encode)


def _ordered(element: Any) -> object:
    """The element with every set inside it in order, so that packing it sorts nothing again."""
    kind = type(element)
    if kind is tuple:
        return [_MARKS[tuple], *map(_ordered, element)]
    if kind is frozenset:
        return [_MARKS[frozenset], *_in_order(element)]
    return element


def skip(packed: bytes) -> None:
    """Read over packed bytes to their end without building anything.

    Raises:
        ValueError: The bytes are less or more than one piece of MessagePack.
    """
    unpacker = Unpacker(max_buffer_size=len(packed))
    unpacker.feed(packed)
    try:
        unpacker.skip()
    except OutOfData as error:
        raise ValueError("bytes missing") from error
    if unpacker.tell() != len(packed):
        raise ValueError("bytes left over")


def decode(packed: bytes) -> Any:
    """Build what the bytes say, which may be more than a value of ours can hold.

    Raises:
        ValueError, TypeError, ArithmeticError, RecursionError: `encode` did not pack these bytes.
    """
    try:
        return _unpack(packed, None)
    except UnicodeDecodeError:
        return _unpack(packed, "surrogatepass")


def _unpack(packed: bytes, unicode_errors: str | None) -> Any:
    return unpackb(
        packed,
        strict_map_key=False,
        unicode_errors=unicode_errors,
        ext_hook=_restore,
        list_hook=_rebuild if MARK_HEADER in packed else None,
    )


def _restore(code: int, payload: bytes) -> object:
    if code == CONTAINER_CODE:
        kind = _KINDS.get(payload)
        if kind is None:
            raise ValueError("unknown container")
        return kind
    from_bytes = DECODERS.get(code)
    if from_bytes is None:
        raise ValueError("unknown extension")
    return from_bytes(payload)


def _rebuild(items: list[Any]) -> Any:
    """A list as it is, or what its mark, read as the type it stands for, says it is."""
    if items and type(items[0]) is type:
        return items[0](items[1:])
    return items
