"""One name in bytes for all values that Python takes for the same dict key or set element."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isnan
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from redis_memory.core.extensions import EXACT, MICROSECOND, int_to_bytes
from redis_memory.errors import UnstorableValueError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALL_INT = 10**18
_DECIMAL_BITS = 16_384


def identity(value: Any) -> bytes:
    """Bytes that two hashable values share if and only if they are equal, as in a dict or set.

    So `1`, `1.0`, `True` and `Decimal(1)` are one, aware datetimes of the same instant are one, and
    `"a"` and `b"a"` are two. Where Python cannot find a value again, this can: every float NaN is
    one value, and so is every Decimal NaN of the same text.
    A datetime that its ZoneInfo zone has twice or not at all equals, as in Python, only the same
    clock time in the same zone.
    Ints of more than 16,384 bits equal each other, but no Decimal: converting them takes too long.

    Raises:
        UnstorableValueError: The value, or a part of it, is not hashable or cannot be stored.

    Cost: O(size), under 1 us for a str or an int; no huge exponent is ever written out.
    """
    name = _NAMES.get(type(value))
    if name is None:
        raise UnstorableValueError(f"cannot use {type(value).__name__} as a key or set element")
    return name(value)


def _none(_: None) -> bytes:
    return b"0"


def _str(value: str) -> bytes:
    return b"s" + value.encode("utf-8", "surrogatepass")


def _bytes(value: bytes) -> bytes:
    return b"b" + value


def _int(value: int) -> bytes:
    if -_SMALL_INT < value < _SMALL_INT and (value % 10 or not value):
        return b"n%d" % value
    if value.bit_length() > _DECIMAL_BITS:
        return b"i" + int_to_bytes(value)
    return _decimal(Decimal(value))


def _float(value: float) -> bytes:
    if isnan(value):
        return b"nan"
    return _int(int(value)) if value.is_integer() else _decimal(Decimal(value))


def _decimal(value: Decimal) -> bytes:
    """Digits without trailing zeros and an exponent: one text for each number."""
    if value.is_nan():
        return b"N" + EXACT.to_sci_string(value).encode("ascii")
    if not value:
        return b"n0"
    return b"n" + EXACT.to_sci_string(EXACT.normalize(value)).encode("ascii")


def _datetime(value: datetime) -> bytes:
    offset = value.utcoffset()
    clock = value.replace(tzinfo=None).isoformat()
    if offset is None:
        return b"D" + clock.encode("ascii")
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo) and value.replace(fold=1 - value.fold).utcoffset() != offset:
        return b"Z" + f"{clock}|{zone.key}".encode()
    return b"I%d" % ((value - _EPOCH) // MICROSECOND)


def _date(value: date) -> bytes:
    return b"d" + value.isoformat().encode("ascii")


def _time(value: time) -> bytes:
    """As CPython compares times: by whole seconds less those of the offset, then microseconds."""
    offset = value.utcoffset()
    if offset is None:
        return b"T" + value.replace(tzinfo=None).isoformat().encode("ascii")
    clock = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
    seconds = clock // timedelta(seconds=1) - offset // timedelta(seconds=1)
    return b"A%d.%06d" % (seconds, value.microsecond)


def _timedelta(value: timedelta) -> bytes:
    return b"l%d" % (value // MICROSECOND)


def _uuid(value: UUID) -> bytes:
    return b"u" + value.bytes


def _tuple(value: tuple[object, ...]) -> bytes:
    return b"(" + _joined(map(identity, value))


def _set(value: frozenset[object]) -> bytes:
    return b"{" + _joined(sorted(map(identity, value)))


def _joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


_NAMES: dict[type, Callable[[Any], bytes]] = {
    type(None): _none,
    bool: _int,
    int: _int,
    float: _float,
    Decimal: _decimal,
    str: _str,
    bytes: _bytes,
    datetime: _datetime,
    date: _date,
    time: _time,
    timedelta: _timedelta,
    UUID: _uuid,
    tuple: _tuple,
    frozenset: _set,
}
