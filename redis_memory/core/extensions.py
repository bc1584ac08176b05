"""Scalars that MessagePack lacks: how each becomes the payload of an extension, and back.

The codes are part of what lies in Redis: a code is never used again for something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Exact whatever the caller's own context says; parsing nonsense raises instead of giving NaN.
EXACT = Context(
    prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, capitals=1, clamp=0, traps=[InvalidOperation]
)
MICROSECOND = timedelta(microseconds=1)

# Zone names become file names; this pattern leaves no way out of the folder of zones.
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", re.ASCII)
_LONGEST_ZONE_NAME = 64

_Moment = TypeVar("_Moment", datetime, time)


def int_to_bytes(value: int) -> bytes:
    """An int of any size as two's complement, most significant byte first."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _int_from_bytes(payload: bytes) -> int:
    return int.from_bytes(payload, "big", signed=True)


def _decimal_to_bytes(value: Decimal) -> bytes:
    return EXACT.to_sci_string(value).encode("ascii")


def _decimal_from_bytes(payload: bytes) -> Decimal:
    return Decimal(payload.decode("ascii"), EXACT)


def _timedelta_to_bytes(value: timedelta) -> bytes:
    return int_to_bytes(value // MICROSECOND)


def _timedelta_from_bytes(payload: bytes) -> timedelta:
    return timedelta(microseconds=_int_from_bytes(payload))


def _date_to_bytes(value: date) -> bytes:
    return value.isoformat().encode("ascii")


def _date_from_bytes(payload: bytes) -> date:
    return date.fromisoformat(payload.decode("ascii"))


def _moment_to_bytes(value: datetime | time) -> bytes:
    """Fold, clock, microseconds east, zone: `0|2024-05-01T12:00:00|7200000000|Europe/Paris`."""
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    name = zone if zone is not None and _is_zone_name(zone) else ""
    offset = value.utcoffset()
    # apart from the clock: `fromisoformat` drops the microseconds of an offset under a second
    east = "" if offset is None else offset // MICROSECOND
    return f"{value.fold}|{value.replace(tzinfo=None).isoformat()}|{east}|{name}".encode("ascii")


def _moment_from_bytes(kind: type[_Moment], payload: bytes) -> _Moment:
    fold, clock, east, name = payload.decode("ascii").split("|")
    offset = timezone(timedelta(microseconds=int(east))) if east else None
    fixed = kind.fromisoformat(clock).replace(tzinfo=offset, fold=int(fold))
    if not name or (zone := _zone(name)) is None:
        return fixed
    local = fixed.replace(tzinfo=zone)
    # Where the rules of the zone differ from the writer's, the instant counts more than the name.
    return local if local.utcoffset() == fixed.utcoffset() else fixed


def _is_zone_name(name: str) -> bool:
    return len(name) <= _LONGEST_ZONE_NAME and _ZONE_NAME.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    """The zone of that name, None where it is not known; asked of the disk once per name."""
    if not _is_zone_name(name):
        raise ValueError("no name of a zone")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown, no zone file, a folder
        return None


def _datetime_from_bytes(payload: bytes) -> datetime:
    return _moment_from_bytes(datetime, payload)


def _time_from_bytes(payload: bytes) -> time:
    return _moment_from_bytes(time, payload)


def _uuid_to_bytes(value: UUID) -> bytes:
    return value.bytes


def _uuid_from_bytes(payload: bytes) -> UUID:
    return UUID(bytes=payload)


CONTAINER_CODE = 1

ENCODERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    int: (2, int_to_bytes),  # only those that MessagePack cannot hold, below -2**63 or from 2**64
    Decimal: (3, _decimal_to_bytes),
    datetime: (4, _moment_to_bytes),
    date: (5, _date_to_bytes),
    time: (6, _moment_to_bytes),
    timedelta: (7, _timedelta_to_bytes),
    UUID: (8, _uuid_to_bytes),
}

DECODERS: dict[int, Callable[[bytes], object]] = {
    2: _int_from_bytes,
    3: _decimal_from_bytes,
    4: _datetime_from_bytes,
    5: _date_from_bytes,
    6: _time_from_bytes,
    7: _timedelta_from_bytes,
    8: _uuid_from_bytes,
}
