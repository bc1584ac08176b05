"""A value at a limit is stored and read, one over it is refused; and nothing crashes the walk."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from redis_memory.core.values import DEFAULT_LIMITS, Limits, copy_in, is_key, pack, unpack
from redis_memory.errors import ValueTooLargeError
from tests.strategies import same


def nested(levels: int, kind: str = "list") -> Any:
    """Containers of one kind inside each other."""
    value: Any = 0
    for _ in range(levels):
        match kind:
            case "list":
                value = [value]
            case "dict":
                value = {"a": value}
            case "tuple":
                value = (value,)
            case _:
                value = frozenset({value})
    return value


@pytest.mark.parametrize("kind", ["list", "dict", "tuple", "frozenset"])
def test_nesting_is_bounded_exactly(kind: str) -> None:
    """64 levels are stored and read, whatever the containers are; 65 are refused."""
    deepest = nested(DEFAULT_LIMITS.max_depth, kind)
    assert unpack(pack(deepest)) == deepest
    with pytest.raises(ValueTooLargeError, match="nested too deeply or contains itself"):
        pack(nested(DEFAULT_LIMITS.max_depth + 1, kind))


def test_levels_of_a_key_count_too() -> None:
    """A tuple that is a key lies one level below its dict."""
    limits = Limits(max_depth=3)
    assert unpack(pack({nested(2, "tuple"): 1}, limits), limits) == {((0,),): 1}
    with pytest.raises(ValueTooLargeError):
        pack({nested(3, "tuple"): 1}, limits)


@pytest.mark.parametrize(
    ("value", "nodes"),
    [
        ([0] * 9, 10),
        ({n: n for n in range(5)}, 11),
        ((1, {2, 3}, frozenset({4, (5,)})), 9),
        ({(1, 2): ([], [[]])}, 8),
        ([Decimal(1), date(2024, 1, 1), 2**70], 4),
        (["x" * 5000, b"y" * 300, b"z" * 70000, "w" * 40], 5),
    ],
)
def test_parts_are_bounded_exactly(value: Any, nodes: int) -> None:
    """A value with as many parts as the limit is stored and read; one more is refused."""
    exact, short = Limits(max_nodes=nodes), Limits(max_nodes=nodes - 1)
    assert same(unpack(pack(value, exact), exact), value)
    with pytest.raises(ValueTooLargeError, match="too many parts or contains itself"):
        pack(value, short)


def test_bytes_are_bounded_exactly() -> None:
    """A value of as many bytes as the limit is stored and read; one more is refused."""
    limits = Limits(max_value_bytes=100)
    fits = "x" * 98
    assert len(pack(fits, limits)) == 100
    assert unpack(pack(fits, limits), limits) == fits
    with pytest.raises(ValueTooLargeError, match="value has 101 bytes, at most 100"):
        pack(fits + "x", limits)


@pytest.mark.parametrize("bad", [{"max_depth": 0}, {"max_nodes": 0}, {"max_value_bytes": 0}])
def test_limits_must_leave_room(bad: dict[str, int]) -> None:
    """A limit under 1 would refuse every value."""
    with pytest.raises(ValueError, match="at least 1"):
        Limits(**bad)


def test_depth_cannot_be_raised_beyond_what_can_be_read() -> None:
    """256 levels are the most: whatever may be packed can be unpacked, and one more is refused."""
    limits = Limits(max_depth=256)
    for kind in ("list", "tuple"):
        assert unpack(pack(nested(256, kind), limits), limits) == nested(256, kind)
    with pytest.raises(ValueError, match="at most 256"):
        Limits(max_depth=257)


def test_a_value_that_contains_itself_is_refused() -> None:
    """Containing itself, directly, twice, or through others, is an error like any other."""
    loop: list[Any] = []
    loop.append(loop)
    twice: list[Any] = []
    twice += [twice, twice]
    ring: dict[str, Any] = {"a": (1, {"b": []})}
    ring["a"][1]["b"].append(ring)
    wide: list[Any] = [[n] for n in range(50_000)]
    wide.insert(0, wide)
    for value in (loop, twice, ring, wide):
        for door in (pack, copy_in):
            with pytest.raises(ValueTooLargeError, match="contains itself"):
                door(value)


def test_a_key_is_never_nested_too_deeply() -> None:
    """A tuple beyond any limit is no key, and asking about it is no crash."""
    assert is_key(nested(64, "tuple"))
    assert not is_key(nested(65, "tuple"))
    assert not is_key(nested(100_000, "tuple"))
