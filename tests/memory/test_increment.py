"""A counter is exact, whoever adds to it, however large it grows."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from math import inf, nan
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from redis_memory import ConversationMemory, WrongKindError, increment
from tests.strategies import same

BORDER = 10**15
NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([BORDER - 1, BORDER, 1 - BORDER, -BORDER, 2**63, 2**64, -(2**63), 10**40]),
    st.integers(-(10**18), 10**18),
    st.floats(),
    st.sampled_from([0.1, 0.2, 0.5, -0.0, 1e15, 1e16, 1e22, 5e-324, 1.7976931348623157e308, inf]),
)


def test_a_counter_counts(mem: ConversationMemory, other: ConversationMemory) -> None:
    """A missing one begins at 0, and each call returns the sum."""
    assert increment(mem, "count") == 1
    assert increment(other, "count") == 2
    assert increment(mem, "count", 40) == 42
    assert increment(other, "count", -50) == -8
    assert mem.count == other.count == -8
    mem.count = 5
    assert increment(other, "count", by=0) == 5


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(NUMBERS, min_size=1, max_size=6), start=st.none() | NUMBERS)
@example(steps=[0.1, inf], start=None)
@example(steps=[1e16, inf], start=0.0)
@example(steps=[0.1, 0.2, -0.3], start=None)
@example(steps=[BORDER - 1, 1, 1, -1, -1, -1], start=None)
@example(steps=[BORDER - 1] * 12, start=None)
@example(steps=[1, 0.5, 10**20, nan], start=BORDER)
@example(steps=[-0.0, -0.0], start=-0.0)
def test_sums_are_those_of_python(
    mem: ConversationMemory, other: ConversationMemory, steps: list[Any], start: Any
) -> None:
    """Ints of any size stay exact, floats round as they do here, and a float makes a float."""
    total: Any = 0
    if start is None:
        if hasattr(mem, "count"):
            del mem.count
    else:
        mem.count = total = start
    for number, step in enumerate(steps):
        worker = (mem, other)[number % 2]
        try:
            expected = total + step
        except OverflowError:  # an int beyond every float
            with pytest.raises(OverflowError):
                increment(worker, "count", step)
            continue
        total = expected
        assert same(increment(worker, "count", step), total)
        assert same(other.count, total)
    assert same(mem.count, total)


@pytest.mark.parametrize("value", [True, None, "1", b"1", [1], {"a": 1}, {1}, (1,)], ids=repr)
def test_only_a_number_is_incremented(mem: ConversationMemory, value: Any) -> None:
    """Anything else stays as it is, a bool as well."""
    mem.count = value
    with pytest.raises(WrongKindError, match="'count' exists and is no number"):
        increment(mem, "count")
    assert mem.count == value


@pytest.mark.parametrize("by", [True, None, "1", 1j, [1]], ids=repr)
def test_only_a_number_can_be_added(mem: ConversationMemory, by: Any) -> None:
    """Nothing is stored for anything else."""
    with pytest.raises(TypeError, match=type(by).__name__):
        increment(mem, "count", by)
    assert not hasattr(mem, "count")


@pytest.mark.parametrize(("start", "step"), [(0, 1), (0, 0.5), (BORDER - 60, 1), (10**20, 10**20)])
def test_no_increment_is_lost(each_url: str, conversation_id: str, start: int, step: float) -> None:
    """Many workers at once reach the exact sum, and no two get the same one."""
    workers, rounds = 4, 30
    barrier = threading.Barrier(workers)

    def work(_: int) -> list[Any]:
        with ConversationMemory(conversation_id, each_url) as memory:
            barrier.wait()
            return [increment(memory, "count", step) for _ in range(rounds)]

    with ConversationMemory(conversation_id, each_url) as memory:
        memory.count = start
        with ThreadPoolExecutor(workers) as pool:
            sums = [total for found in pool.map(work, range(workers)) for total in found]
        assert memory.count == start + workers * rounds * step
    assert sorted(sums) == [start + number * step for number in range(1, workers * rounds + 1)]
