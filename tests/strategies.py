"""Hypothesis strategies for what a memory can hold, and the comparison that values come back by."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from math import isnan
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

ZONE_NAMES = ("UTC", "Europe/Paris", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe")


def texts() -> st.SearchStrategy[str]:
    """Any str, lone surrogates among them."""
    return st.one_of(
        st.text(max_size=20),
        st.text(st.characters(exclude_categories=()), max_size=5),
        st.sampled_from(["", "\ud800", "a\udfffb", "\ud83d\ude00", "\x00", "привет", "😀" * 10]),
    )


def integers() -> st.SearchStrategy[int]:
    """Ints of any size, often at the borders between encodings."""
    borders = [2**bits + step for bits in (5, 7, 8, 16, 31, 32, 63, 64, 65) for step in (-1, 0, 1)]
    return st.one_of(
        st.integers(),
        st.sampled_from(borders + [-border for border in borders]),
        st.integers(min_value=-(2**400), max_value=2**400),
    )


def decimals() -> st.SearchStrategy[Decimal]:
    """Decimals of any kind: exponents of any size, zeros with a sign, infinities, NaNs."""
    special = ["NaN", "-NaN123", "sNaN", "-sNaN7", "Infinity", "-Infinity", "-0", "0E+9", "0E-9"]
    exponents = ["1E+1000000", "-12.50E-1000000", "1.0", "1.00", "1E+999999999999999999"]
    digits = st.lists(st.integers(0, 9), min_size=1, max_size=40).map(tuple)
    return st.one_of(
        st.sampled_from(special + exponents).map(Decimal),
        st.builds(
            lambda sign, digits, exponent: Decimal((sign, digits, exponent)),
            st.integers(0, 1),
            digits,
            st.integers(-60, 60),
        ),
        st.decimals(),
    )


def zones() -> st.SearchStrategy[tzinfo]:
    """Named zones and fixed offsets, down to the microsecond."""
    day = timedelta(days=1) - timedelta(microseconds=1)
    return st.one_of(
        st.just(UTC),
        st.sampled_from(ZONE_NAMES).map(ZoneInfo),
        st.timedeltas(min_value=-day, max_value=day).map(timezone),
        st.integers(-3, 3).map(lambda n: timezone(timedelta(microseconds=n))),
    )


def datetimes() -> st.SearchStrategy[datetime]:
    """Aware and naive ones of either fold, some in the hour that a zone has twice or not at all."""
    changes = [datetime(2024, 10, 27, 2, 30), datetime(2024, 3, 31, 2, 30), datetime(2024, 4, 7, 2)]
    moments = st.one_of(st.datetimes(), st.sampled_from(changes))
    return st.builds(
        lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
        moments,
        st.none() | zones(),
        st.integers(0, 1),
    )


def times() -> st.SearchStrategy[time]:
    """Aware and naive ones of either fold."""
    return st.builds(
        lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
        st.times(),
        st.none() | zones(),
        st.integers(0, 1),
    )


def key_scalars() -> st.SearchStrategy[Any]:
    """The scalars that MessagePack knows, and that a dict key may be."""
    return st.one_of(
        st.none(), st.booleans(), integers(), st.floats(), texts(), st.binary(max_size=20)
    )


def scalars() -> st.SearchStrategy[Any]:
    """Every scalar that can be stored."""
    return st.one_of(
        key_scalars(),
        decimals(),
        datetimes(),
        times(),
        st.dates(),
        st.timedeltas(),
        st.uuids(),
    )


def keys() -> st.SearchStrategy[Any]:
    """Every dict key that can be stored."""
    return st.recursive(
        key_scalars(), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4
    )


def elements() -> st.SearchStrategy[Hashable]:
    """Every set element that can be stored."""
    return st.recursive(
        scalars().filter(_is_hashable),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)
        ),
        max_leaves=5,
    )


def values(max_leaves: int = 20) -> st.SearchStrategy[Any]:
    """Every value that can be stored: scalars, and containers of all kinds inside each other."""
    return st.recursive(
        scalars(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=6),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys(), inner, max_size=6),
            st.sets(elements(), max_size=4),
            st.frozensets(elements(), max_size=4),
        ),
        max_leaves=max_leaves,
    )


def _is_hashable(value: Any) -> bool:
    return not (type(value) is Decimal and value.is_snan())


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types at every depth.

    Stricter than `==`: 1, 1.0 and True differ, so do 1.0 and Decimal("1.00"), 0.0 and -0.0, two
    zones of the same offset, two folds, two orders of a dict; and NaN is the same as itself.
    """
    return bool(_exact(one) == _exact(other))


def _exact(value: Any) -> Any:
    """The value spelled out in tuples of ints and texts, in which equal means the same."""
    match value:
        case float():
            form: Any = "nan" if isnan(value) else struct.pack(">d", value)
        case Decimal():
            form = str(value.as_tuple())
        case datetime() | time():
            zone = value.tzinfo
            name = zone.key if isinstance(zone, ZoneInfo) else type(zone).__name__
            form = value.replace(tzinfo=None).isoformat(), value.fold, value.utcoffset(), name
        case dict():
            form = [(_exact(key), _exact(inner)) for key, inner in value.items()]
        case list() | tuple():
            form = [_exact(inner) for inner in value]
        case set() | frozenset():
            form = sorted((_exact(inner) for inner in value), key=repr)
        case _:
            form = value
    return type(value).__name__, form
