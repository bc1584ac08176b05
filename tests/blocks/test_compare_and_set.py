"""compare_and_set: of many that expect the same, exactly one is the first."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from redis_memory import (
    MISSING,
    ConversationMemory,
    OfflineError,
    UnstorableValueError,
    compare_and_set,
    snapshot,
    status,
)
from redis_memory.core.scripts import SCRIPTS
from tests.faults import FaultProxy, Loss, Request

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EQUAL: list[tuple[Any, Any]] = [
    (1, 1),
    (1, 1.0),
    (1.0, True),
    (0.0, -0.0),
    (Decimal(1), 1),
    (NOON, NOON.astimezone(timezone(timedelta(hours=2)))),
    ("text", "text"),
    (None, None),
    (2**80, 2**80),
    ([1, [2]], [1.0, [2]]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1, 2}, {2, 1}),
    ({1, 2}, frozenset({1, 2})),
    (frozenset({1, 2}), {1, 2}),
    ((1, {"a": 1, "b": 2}), (1, {"b": 2, "a": 1})),
]
UNEQUAL: list[tuple[Any, Any]] = [
    (1, 2),
    (1, "1"),
    (b"a", "a"),
    (None, 0),
    ([1], (1,)),
    ([], {}),
    ("text", ["text"]),
    (math.nan, math.nan),
    (1, MISSING),
]


@pytest.mark.parametrize(("stored", "expected"), EQUAL)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_what_python_calls_equal_is_as_expected(
    mem: ConversationMemory,
    other: ConversationMemory,
    stored: Any,
    expected: Any,
    is_known: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    """Whatever its type and its spelling."""
    other.value = stored
    if is_known:
        assert mem.value == stored
    assert compare_and_set(mem, "value", expected, ["new"])
    assert other.value == mem.value == ["new"]


@pytest.mark.parametrize(("stored", "expected"), UNEQUAL)
def test_nothing_is_stored_over_another_value(
    mem: ConversationMemory, other: ConversationMemory, stored: Any, expected: Any
) -> None:
    """Also where this memory remembers another one than there is."""
    other.value = expected if expected is not MISSING else 0
    assert hasattr(mem, "value")
    other.value = stored
    assert not compare_and_set(mem, "value", expected, "new")
    assert other.value == stored or stored != stored  # noqa: PLR0124 - nan


def test_missing_creates_and_deletes(mem: ConversationMemory, other: ConversationMemory) -> None:
    """MISSING stands for "not there" on either side."""
    assert compare_and_set(mem, "value", MISSING, MISSING)
    assert compare_and_set(mem, "value", MISSING, 1)
    assert not compare_and_set(mem, "value", MISSING, 2)
    assert not compare_and_set(other, "value", MISSING, MISSING)
    assert not compare_and_set(other, "value", 2, MISSING)
    assert compare_and_set(other, "value", 1, MISSING)
    assert not hasattr(mem, "value")
    assert not compare_and_set(mem, "value", 1, 2)
    assert snapshot(other) == {}


def test_a_value_that_cannot_be_stored_is_refused(mem: ConversationMemory) -> None:
    """On either side, before anything is sent."""
    mem.value = 1
    with pytest.raises(UnstorableValueError):
        compare_and_set(mem, "value", 1, object())
    with pytest.raises(UnstorableValueError):
        compare_and_set(mem, "value", object(), 1)


def test_a_proxy_goes_on_with_what_was_set(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """The proxy may be what is expected, and the copy is the new value."""
    mem.items = [1]
    items = mem.items
    assert compare_and_set(mem, "items", items, [*items, 2])
    mem.items.append(3)
    assert other.items == [1, 2, 3]


def test_exactly_one_of_many_is_the_first(each_url: str) -> None:
    """Many that count up by it make no number twice."""
    name = uuid.uuid4().hex
    memories = [ConversationMemory(name, each_url, timeout_s=5) for _ in range(4)]
    memories[0].count = 0

    def work(memory: ConversationMemory) -> list[int]:
        made: list[int] = []
        while len(made) < 25:
            seen = memory.count
            if compare_and_set(memory, "count", seen, seen + 1):
                made.append(seen + 1)
        return made

    with ThreadPoolExecutor(len(memories)) as pool:
        made = [number for numbers in pool.map(work, memories) for number in numbers]
    assert sorted(made) == list(range(1, 101))
    assert memories[0].count == 100
    for memory in memories:
        with memory:
            pass


@pytest.mark.parametrize("how", ["reset", "eof", "half"])
@pytest.mark.parametrize("value", [0, [0]], ids=["scalar", "container"])
def test_a_lost_reply_changes_no_answer(proxy: FaultProxy, how: Loss, value: Any) -> None:
    """The answer is that of the first time it was made, 50 times."""
    shas = (SCRIPTS["exchange"].sha, SCRIPTS["assign"].sha)

    def is_change(request: Request) -> bool:
        return bool(request.arguments) and request.arguments[0] in shas

    with ConversationMemory(uuid.uuid4().hex, proxy.url, timeout_s=5) as mem:
        assert compare_and_set(mem, "value", MISSING, value)
        assert compare_and_set(mem, "value", value, value)
        for number in range(50):
            old = [number] if isinstance(value, list) else number
            new = [number + 1] if isinstance(value, list) else number + 1
            proxy.lose_replies(how=how, when=is_change)
            assert compare_and_set(mem, "value", old, new)
            proxy.lose_replies(how=how, when=is_change)
            assert not compare_and_set(mem, "value", old, new)
            proxy.heal()
        assert mem.value == new


def test_it_costs_one_round_trip(proxy: FaultProxy) -> None:
    """For a scalar, also one that is not as expected; for a container that was read before."""

    def cost(call: Callable[[], object]) -> int:
        before = proxy.requests_seen()
        call()
        return proxy.requests_seen() - before

    with ConversationMemory(uuid.uuid4().hex, proxy.url) as mem:
        mem.a, mem.b = 1, [1]
        compare_and_set(mem, "a", 1, 2)  # loads the scripts
        assert mem.b == [1]
        assert cost(lambda: compare_and_set(mem, "a", 2, 3)) == 1
        assert cost(lambda: compare_and_set(mem, "a", 2, 3)) == 1
        assert cost(lambda: compare_and_set(mem, "b", [1], [2])) == 1
        assert cost(lambda: compare_and_set(mem, "b", [1], [3])) == 1
    with ConversationMemory(mem.conversation_id, proxy.url) as mem:
        assert status(mem).online
        assert cost(lambda: compare_and_set(mem, "b", [2], [3])) <= 2


def test_offline_it_raises_and_nothing_waits(proxy: FaultProxy) -> None:
    """As `pop` does."""
    with ConversationMemory(uuid.uuid4().hex, proxy.url, timeout_s=0.3) as mem:
        mem.value, mem.box = 1, [1]
        assert mem.box == [1]
        proxy.refuse()
        assert not status(mem).online
        for name, expected in (("value", 1), ("box", [1]), ("box", [2]), ("new", MISSING)):
            with pytest.raises(OfflineError):
                compare_and_set(mem, name, expected, 2)
        assert status(mem).queued == 0
        proxy.heal()
