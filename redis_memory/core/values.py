"""How a value becomes bytes and comes back: equal, of the same type, or not at all.

Values are None, bool, int, float, str, bytes, datetime, date, time, timedelta, UUID, Decimal, and
list, dict, set, frozenset and tuple of values; exactly these types. Packed, they are MessagePack
with extensions; nothing is ever evaluated or unpickled.

A datetime or time keeps its fold and its offset, and the name of a `zoneinfo.ZoneInfo` zone where
the reader knows that zone and its rules give the same offset. Any other tzinfo, and the name of a
`datetime.timezone`, becomes a plain `datetime.timezone` of the same offset.
"""

from __future__ import annotations

from typing import Any

from redis_memory.core.encoding import decode, encode, skip
from redis_memory.core.headers import has_more_nodes
from redis_memory.core.identity import identity
from redis_memory.core.sealing import is_sealed
from redis_memory.core.storable import (
    DEFAULT_LIMITS,
    KEY_TYPES,
    NATIVE_TYPES,
    SCALAR_TYPES,
    Limits,
    check,
    is_flat,
    is_key,
)
from redis_memory.errors import (
    CorruptValueError,
    DecryptionError,
    UnstorableValueError,
    ValueTooLargeError,
)

__all__ = [
    "DEFAULT_LIMITS",
    "KEY_TYPES",
    "NATIVE_TYPES",
    "SCALAR_TYPES",
    "Limits",
    "copy_in",
    "identity",
    "is_key",
    "pack",
    "unpack",
]

# Up to here, headers that promise more than they hold make msgpack allocate less than a megabyte.
_HARMLESS_BYTES = 512

_DAMAGE = (ValueError, TypeError, ArithmeticError, RecursionError)


def pack(value: object, limits: Limits = DEFAULT_LIMITS, path: str = "value") -> bytes:
    """The bytes of a value: the same ones for equal structures of equal types and dict order.

    Args:
        value: Read, never changed. Of a proxy, its own storage is read.
        limits: What the value must not exceed.
        path: How messages name the value.

    Raises:
        UnstorableValueError: A part has a type that cannot be stored; the message names its path.
        ValueTooLargeError: Too many bytes, parts or levels, or the value contains itself.

    Cost: O(size); under 1 us for a chat message.
    """
    if not is_flat(value, limits):
        check(value, limits, path)
    return _packed(value, limits, path)


def _packed(value: object, limits: Limits, path: str) -> bytes:
    """Pack a value that has been checked."""
    try:
        packed = encode(value)
    except ValueError as error:
        raise ValueTooLargeError(f"a part of {path} has 4 GiB or more") from error
    if len(packed) > limits.max_value_bytes:
        raise ValueTooLargeError(
            f"{path} has {len(packed)} bytes, at most {limits.max_value_bytes} can be stored"
        )
    return packed


def unpack(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """The value of packed bytes, in plain types.

    Whatever `pack` gives within the same limits is read. Bytes that break a limit are refused
    before the parts beyond it are built.

    Raises:
        CorruptValueError: The bytes are no value of ours; never another error, whatever they are.
        DecryptionError: The same, as they are encrypted.

    Cost: O(size); under 1 us for a chat message. Beyond `max_nodes` bytes the parts are counted
    first, about 0.1 us each.
    """
    size = len(data)
    if size > limits.max_value_bytes:
        raise CorruptValueError(
            f"{size} bytes are no value: at most {limits.max_value_bytes} are stored"
        )
    try:
        return _read(data, limits)
    except UnstorableValueError as error:
        raise CorruptValueError(f"{size} bytes are no value: {error}") from error
    except _DAMAGE as error:
        if is_sealed(data):
            raise DecryptionError("it is encrypted, and no encryption_key is set here") from None
        # without the cause: its message may quote what the bytes hold
        raise CorruptValueError(f"{size} bytes are no value: {type(error).__name__}") from None


def _read(data: bytes, limits: Limits) -> Any:
    if len(data) > _HARMLESS_BYTES:
        skip(data)
    # A part takes a byte at least, so that most values need no counting.
    if len(data) > limits.max_nodes and has_more_nodes(data, limits.max_nodes):
        raise ValueTooLargeError(f"more than {limits.max_nodes} parts")
    value = decode(data)
    if not is_flat(value, limits):
        check(value, limits)
    return value


def copy_in(value: Any, limits: Limits = DEFAULT_LIMITS, path: str = "value") -> tuple[bytes, Any]:
    """Let a value in: its bytes, and a plain copy that shares no changeable part with it.

    The copy is what `unpack` gives for these bytes.

    Raises:
        UnstorableValueError: As `pack` does.
        ValueTooLargeError: As `pack` does.

    Cost: O(size); about 1 us for a chat message, about as much as `pack` and `unpack` for others.
    """
    kind = type(value)
    if kind is dict or kind is list:
        # copied before it is packed: another thread may change the original in between
        value = value.copy()
        if is_flat(value, limits):
            return _packed(value, limits, path), value
    packed = pack(value, limits, path)
    return packed, (value if kind in NATIVE_TYPES else decode(packed))
