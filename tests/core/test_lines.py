"""Conversations as lines: what is no line of ours is named as that, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_memory.core.lines import Parsed, parsed
from redis_memory.errors import CorruptValueError

GOOD: dict[str, Any] = {
    "redis_memory": 1,
    "id": "c-1",
    "created": "2026-01-02T03:04:05.000006+00:00",
    "last_activity": "2026-01-02T03:04:05.000006+00:00",
    "lifetime": "e1000",
    "attributes": {"topic": "billing", "box": {"$dict": [[1, {"$set": [2]}]]}},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$dict", "$set", "$int", "$bytes", "$datetime", "$timedelta"]),
            inner,
            max_size=1,
        )
    ),
    max_leaves=8,
)


def line(**changes: Any) -> bytes:
    """A line that differs from a good one."""
    return json.dumps({**GOOD, **changes}).encode()


def is_understood(given: bytes) -> bool:
    """Whether it is a line; nothing else may come of it."""
    try:
        return isinstance(parsed(given), Parsed)
    except CorruptValueError:
        return False


def test_a_good_line_is_understood() -> None:
    """Its id, its time, its lifetime and its values."""
    found = parsed(line())
    assert (found.id, found.lifetime) == ("c-1", b"e1000")
    assert found.values == {"topic": "billing", "box": {1: {2}}}
    assert int(found.created, 16) == 1_767_323_045_000_006


@given(name=st.sampled_from([*GOOD]), value=JSON)
def test_a_damaged_line_is_never_another_error(name: str, value: Any) -> None:
    """Whatever stands in the place of one of its parts."""
    is_understood(line(**{name: value}))


@given(at=st.integers(0, len(line()) - 1), byte=st.integers(0, 255))
def test_a_flipped_byte_is_never_another_error(at: int, byte: int) -> None:
    """Wherever it is."""
    damaged = bytearray(line())
    damaged[at] = byte
    is_understood(bytes(damaged))


@pytest.mark.parametrize(
    "changes",
    [
        {"created": "0001-01-01T00:00:00"},
        {"created": "9999-12-31T23:59:59.999999+00:00"},
        {"created": "1969-12-31T00:00:00+00:00"},
        {"lifetime": "e9999999999999"},
        {"lifetime": "x10"},
        {"lifetime": "e-1"},
        {"attributes": {}},
        {"attributes": {"a": {"$timedelta": 10**30}}},
        {"attributes": {"a": {"$nothing": 1}}},
        {"id": "x" * 513},
        {"redis_memory": 2},
    ],
)
def test_what_cannot_be_is_damaged(changes: dict[str, Any]) -> None:
    """Times and lifetimes that no server could have told, forms that nothing is known of."""
    assert not is_understood(line(**changes))


def test_a_deep_line_is_damaged() -> None:
    """Deeper than Python can follow."""
    assert not is_understood(b"[" * 100_000)
    assert not is_understood(line().replace(b'"billing"', b"[" * 50_000 + b"]" * 50_000))
