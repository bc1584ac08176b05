"""A transaction: what was read in it is still so when what was written in it is made."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import (
    ConflictError,
    ConversationMemory,
    OfflineError,
    batch,
    clear,
    push,
    retry_on_conflict,
    snapshot,
    status,
    transaction,
    wait_for,
    window,
)
from tests.faults import FaultProxy
from tests.waiting import wait_until

READS: dict[str, Callable[[Any], Any]] = {
    "an attribute": lambda mem: mem.value,
    "hasattr": lambda mem: hasattr(mem, "value"),
    "an item": lambda mem: mem["value"],
    "a window": lambda mem: window(mem, "value"),
    "a snapshot": snapshot,
}
MISSES: dict[str, Callable[[Any], Any]] = {
    "hasattr": lambda mem: hasattr(mem, "value"),
    "getattr": lambda mem: getattr(mem, "value", None),
    "in": lambda mem: "value" in mem,
    "the names": list,
    "a snapshot": snapshot,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_what_was_read_has_not_changed(
    mem: ConversationMemory,
    other: ConversationMemory,
    read: Callable[[Any], Any],
    is_known: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    """Otherwise nothing is done, and the error names the attribute."""
    other.value, other.more = [1], 0
    if is_known:
        assert (mem.value, mem.more) == ([1], 0)
    with transaction(mem):
        read(mem)
        mem.result = 1
    assert other.result == 1
    with pytest.raises(ConflictError) as caught, transaction(mem):
        read(mem)
        mem.result = 2
        other.value.append(2)
    assert caught.value.names == ("value",)
    assert other.result == 1
    with transaction(mem):
        read(mem)
        mem.result = 3
    assert other.result == 3


@pytest.mark.parametrize("read", MISSES.values(), ids=MISSES)
def test_what_was_missing_is_still_missing(
    mem: ConversationMemory, other: ConversationMemory, read: Callable[[Any], Any]
) -> None:
    """Otherwise somebody else has created it, and this block would not have run."""
    with pytest.raises(ConflictError) as caught, transaction(mem):
        read(mem)
        mem.result = 1
        other.value = "theirs"
    assert caught.value.names == ("value",)
    assert snapshot(other) == {"value": "theirs"}


def test_a_name_that_was_in_is_in_and_may_have_another_value(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """`in` reads whether it is there, and nothing else."""
    other.value = 1
    with transaction(mem):
        assert "value" in mem
        other.value = 2
        mem.result = 1
    with pytest.raises(ConflictError), transaction(mem):
        assert "value" in mem
        del other.value
        mem.result = 2
    assert snapshot(other) == {"result": 1}


def test_what_was_only_written_may_have_changed(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Pushing and assigning read nothing."""
    other.log, other.state = [1], "old"
    with transaction(mem):
        push(mem, "log", 3)
        mem.state = "mine"
        push(other, "log", 2)
        other.state = "theirs"
    assert snapshot(other) == {"log": [1, 2, 3], "state": "mine"}


def test_an_attribute_that_came_back_is_another_one(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Deleted and stored again with the same value: somebody has been there."""
    other.value = 1
    with pytest.raises(ConflictError), transaction(mem):
        assert mem.value == 1
        del other.value
        other.value = 1
        mem.result = 1


def test_a_read_only_transaction_has_seen_one_moment(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Two attributes that are changed together are never seen apart."""
    other.a = other.b = 1
    with pytest.raises(ConflictError), transaction(mem):
        first = mem.a
        with batch(other):
            other.a = other.b = 2
        assert (first, mem.b) == (1, 2)
    with transaction(mem):
        assert (mem.a, mem.b) == (2, 2)


def test_clear_in_a_transaction(mem: ConversationMemory, other: ConversationMemory) -> None:
    """What was read before it counts, what is read behind it is missing."""
    other.a, other.b = 1, [1]
    with transaction(mem):
        assert mem.a == 1
        clear(mem)
        assert not hasattr(mem, "b")
        mem.c = 1
    assert snapshot(other) == {"c": 1}


def test_retry_on_conflict_runs_the_function_again(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Bare, and with arguments; it reads anew, and gives up in the end."""
    other.count = 0
    runs: list[int] = []

    @retry_on_conflict
    def add(by: int) -> int:
        with transaction(mem):
            runs.append(mem.count)
            if len(runs) < 3:
                other.count += 10
            mem.count += by
        return int(mem.count)

    assert add(1) == 21
    assert runs == [0, 10, 20]

    @retry_on_conflict(attempts=3)
    def fail() -> None:
        runs.append(0)
        raise ConflictError(("count",))

    with pytest.raises(ConflictError):
        fail()
    assert len(runs) == 6
    with pytest.raises(ValueError, match="once at least"):
        retry_on_conflict(attempts=0)


async def test_retry_on_conflict_awaits_a_coroutine_function() -> None:
    """Its pauses are awaited too."""
    runs: list[int] = []

    @retry_on_conflict(attempts=4)
    async def work(to: int) -> int:
        runs.append(to)
        if len(runs) < to:
            raise ConflictError(("x",))
        return to

    assert await work(3) == 3
    assert runs == [3, 3, 3]


def test_threads_that_add_in_transactions_lose_nothing(each_url: str) -> None:
    """Each by its own memory: read, add, write, again on a conflict."""
    name = uuid.uuid4().hex
    memories = [ConversationMemory(name, each_url, timeout_s=5) for _ in range(3)]
    memories[0].count = 0

    def work(memory: ConversationMemory) -> None:
        @retry_on_conflict(attempts=200)
        def add() -> None:
            with transaction(memory):
                memory.count += 1

        for _ in range(30):
            add()

    threads = [threading.Thread(target=work, args=(memory,)) for memory in memories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert memories[0].count == 90
    for memory in memories:
        with memory:
            pass


def test_round_trips_of_a_transaction(proxy: FaultProxy) -> None:
    """Three reads and three writes: 2 when the reads are known, 4 otherwise."""
    name = uuid.uuid4().hex
    with (
        ConversationMemory(name, proxy.url) as mem,
        ConversationMemory(name, proxy.url) as other,
    ):
        other.a, other.b, other.c = [1], {"k": 1}, 3

        def work() -> int:
            before = proxy.requests_seen()
            with transaction(mem):
                box, items, count = mem.a, mem.b, mem.c
                box.append(count)
                items["n"] = count
                mem.c = count + 1
            return proxy.requests_seen() - before

        for _ in range(2):  # loads the scripts
            work()
        assert work() == 2
        mem2 = ConversationMemory(name, proxy.url, timeout_s=0.4)
        with mem2:
            assert status(mem2).online
            before = proxy.requests_seen()
            with transaction(mem2):
                mem2.x = [mem2.a, mem2.b, mem2.c]
                mem2.y = mem2.z = 1
            assert proxy.requests_seen() - before <= 5


def test_a_transaction_needs_the_server(proxy: FaultProxy) -> None:
    """At its beginning and at its end; nothing of it waits."""
    with ConversationMemory(
        uuid.uuid4().hex, proxy.url, timeout_s=0.3, reconnect_max_s=0.05
    ) as mem:
        mem.a = 1
        with pytest.raises(OfflineError), transaction(mem):
            assert mem.a == 1
            mem.a = 2
            proxy.refuse()
        with pytest.raises(OfflineError), transaction(mem):
            pytest.fail("it has begun")
        mem.b = 1
        assert status(mem).queued
        with pytest.raises(OfflineError), transaction(mem):
            pytest.fail("it has begun")
        proxy.heal()
        wait_until(lambda: status(mem).online and not status(mem).queued)
        assert snapshot(mem) == {"a": 1, "b": 1}


def test_nobody_waits_inside_for_what_others_do(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """`wait_for` is an error where it could only wait in vain; what is so already is returned."""
    other.there = 1
    with pytest.raises(RuntimeError, match="in vain"), transaction(mem):
        assert wait_for(mem, "there", timeout_s=5) == 1
        wait_for(mem, "value", timeout_s=5)
    with pytest.raises(RuntimeError, match="in vain"), batch(mem):
        mem.value = 1
        wait_for(mem, "value", 2, timeout_s=5)
    timer = threading.Timer(0.05, setattr, (other, "value", 2))
    with batch(mem):
        timer.start()
        assert wait_for(mem, "value", 2, timeout_s=5) == 2
    timer.join()
