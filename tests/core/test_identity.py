"""Two values have one identity if and only if Python takes them for the same key or element."""

from __future__ import annotations

import time as clock
from collections.abc import Hashable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import isnan
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from redis_memory.core.values import identity, pack, unpack
from redis_memory.errors import UnstorableValueError
from tests.strategies import elements

PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
TENTH = 0.1
FLOAT_TENTH = Decimal(TENTH)
IN_FOLD = datetime(2024, 10, 27, 2, 30)

NEAR = st.one_of(
    st.integers(-3, 3),
    st.booleans(),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e300, float("inf"), float("-inf"), 2**53, 2.0**53]),
    st.sampled_from(["0", "-0", "0E+7", "1", "1.00", "5E-1", "-3E0", "Infinity", "0.1"]).map(
        Decimal
    ),
    st.sampled_from([0.1, 10**300, 10**23, 1e23, Decimal(10) ** 23, FLOAT_TENTH]),
    st.sampled_from(["", "a", "n1", "1", b"", b"a", b"n1", None]),
    st.sampled_from([date(2024, 7, 1), time(12), time(12, fold=1), timedelta(1), UUID(int=1)]),
    st.sampled_from([time(12, tzinfo=timezone(timedelta(hours=h))) for h in (0, 1)]),
    st.just(time(13, tzinfo=timezone(timedelta(hours=1)))),
    st.sampled_from([NOON, NOON.astimezone(PARIS), NOON.replace(tzinfo=None)]),
    st.sampled_from([NOON.replace(tzinfo=PARIS), NOON.astimezone(timezone(timedelta(hours=-9)))]),
    st.sampled_from(
        [IN_FOLD.replace(tzinfo=zone, fold=f) for zone in (PARIS, UTC) for f in (0, 1)]
    ),
    st.just(IN_FOLD.replace(tzinfo=PARIS).astimezone(UTC)),
)
NEAR_ELEMENTS = st.recursive(
    NEAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(tuple), st.frozensets(inner, max_size=3)
    ),
    max_leaves=4,
)


def holds_nan(value: Any) -> bool:
    """Whether a part of the value does not equal itself."""
    if isinstance(value, tuple | frozenset):
        return any(map(holds_nan, value))
    return isinstance(value, float | Decimal) and isnan(value)


@given(NEAR_ELEMENTS, NEAR_ELEMENTS)
@example(1, True)
@example(1, 1.0)
@example(1, Decimal("1.00"))
@example(0.5, Decimal("0.5"))
@example(0.1, Decimal("0.1"))
@example(0.1, FLOAT_TENTH)
@example(-0.0, 0)
@example(10**23, 1e23)
@example(10**1000, Decimal("1E+1000"))
@example(10**4000 + 1, Decimal(10**4000 + 1))
@example(float("inf"), Decimal("Infinity"))
@example("a", b"a")
@example((1, (2.0,)), (True, (Decimal(2),)))
@example(("a", "b"), ("ab",))
@example(("a", "b"), ("asb",))
@example(frozenset({1, (2, 3)}), frozenset({(2.0, 3), True}))
@example(frozenset(), ())
@example(date(2024, 7, 1), datetime(2024, 7, 1))
@example(NOON, NOON.astimezone(PARIS))
@example(NOON, NOON.replace(tzinfo=None))
@example(IN_FOLD, IN_FOLD.replace(fold=1))
@example(IN_FOLD.replace(tzinfo=PARIS), IN_FOLD.replace(tzinfo=PARIS, fold=1))
@example(IN_FOLD.replace(tzinfo=PARIS), datetime(2024, 10, 27, 0, 30, tzinfo=UTC))
@example(
    datetime.min.replace(tzinfo=timezone(timedelta(hours=9))), datetime.min.replace(tzinfo=UTC)
)
@example(datetime.max.replace(tzinfo=timezone(-timedelta(hours=9))), datetime.max)
def test_one_identity_means_equal(one: Hashable, other: Hashable) -> None:
    """Equal values of any types have the same bytes, unequal ones never have."""
    assert (identity(one) == identity(other)) == (one == other)


@given(elements(), elements())
def test_one_identity_means_equal_for_any_two_elements(one: Hashable, other: Hashable) -> None:
    """The same holds for any two storable elements that equal themselves."""
    assume(not holds_nan(one) and not holds_nan(other))
    assert (identity(one) == identity(other)) == (one == other)


@given(st.floats(allow_nan=False) | st.decimals(allow_nan=False, places=3) | st.integers())
def test_numbers_of_one_amount_have_one_identity(number: Any) -> None:
    """A number is found again as each other type that can hold it exactly."""
    forms: list[Any] = [Decimal(number), Decimal(number) * 1]
    if abs(number) != float("inf"):
        exact = Fraction(number)
        forms += [form for form in (float(exact), int(exact)) if abs(number) < 2**1000]
    for form in forms:
        assert (identity(form) == identity(number)) == (form == number)


@given(elements())
def test_a_stored_element_is_found_again(value: Hashable) -> None:
    """What was read has the identity of what was written; NaN, which equals nothing, has too."""
    assert identity(unpack(pack(value))) == identity(value)


def test_nan_is_one_value() -> None:
    """Each float NaN is the same one, inside tuples as well; a Decimal NaN is known by its text."""
    assert identity(float("nan")) == identity(-float("nan"))
    assert identity((float("nan"),)) == identity((float("nan"),))
    assert identity(Decimal("NaN")) == identity(Decimal("NaN"))
    texts = ["NaN", "-NaN", "NaN1", "sNaN"]
    names = {identity(Decimal(text)) for text in texts} | {identity(float("nan"))}
    assert len(names) == len(texts) + 1


def test_huge_numbers_are_named_at_once() -> None:
    """No exponent is written out, and no long number converted: milliseconds, and few bytes."""
    begin = clock.monotonic()
    assert len(identity(Decimal("1E+1000000"))) < 30
    assert len(identity(Decimal("-1.5E-999999999999999999"))) < 30
    assert identity(Decimal("10E+1000000")) == identity(Decimal("1E+1000001"))
    assert identity(1 << 10_000_000) != identity(1 << 10_000_001)
    assert identity(Decimal("7" * 1_000_000)) == identity(Decimal("7" * 1_000_000 + ".0"))
    assert clock.monotonic() - begin < 5


@pytest.mark.parametrize("value", [[], {}, {1}, ([],), frozenset({(1, 2j)}), object(), bytearray()])
def test_what_is_no_element_has_no_identity(value: Any) -> None:
    """Unhashable and unstorable values are refused by their type."""
    with pytest.raises(UnstorableValueError, match=r"^cannot use \w+ as a key or set element$"):
        identity(value)
