"""Blocks of an async memory: the tasks of a block belong to it, no others do."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from redis_memory import (
    MISSING,
    AsyncConversationMemory,
    ConflictError,
    OfflineError,
    aio,
)
from redis_memory.core.scripts import SCRIPTS
from tests.faults import FaultProxy, Request


async def test_others_see_nothing_of_it_before_its_end(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """The block sees its own changes, nobody else does; then everybody sees all."""
    mem, other = async_mem, async_other
    await mem.items.set([3, 1])
    async with aio.batch(mem):
        await mem.items.append(2)
        await mem.items.sort()
        await aio.push(mem, "log", "x")
        await mem.count.increment()
        await mem.data.set({"a": {}})
        await mem.data["a"]["b"].set(1)
        inside = await aio.snapshot(mem)
        assert await aio.snapshot(other) == {"items": [3, 1]}
    expected = {"items": [1, 2, 3], "log": ["x"], "count": 1, "data": {"a": {"b": 1}}}
    assert inside == expected
    assert await aio.snapshot(other) == await aio.snapshot(mem) == expected


async def test_nothing_is_left_of_a_block_that_raises(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Reads show what was there before."""
    mem, other = async_mem, async_other
    await mem.items.set([1])
    with pytest.raises(KeyError):
        async with aio.batch(mem):
            await mem.items.append(2)
            await mem.items.delete()
            await mem.more.set(1)
            raise KeyError
    assert await mem.items == [1]
    assert await aio.snapshot(other) == {"items": [1]}


async def test_tasks_that_are_started_inside_belong_to_it(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """`gather` of several changes neither waits for itself nor leaves anything out."""
    mem, other = async_mem, async_other
    async with asyncio.timeout(5):
        async with aio.batch(mem):
            await asyncio.gather(mem.a.set(1), mem.b.set(2), aio.push(mem, "log", 1))
            assert await aio.snapshot(other) == {}
            assert [*await asyncio.gather(mem.a, mem.b, mem.log)] == [1, 2, [1]]
    assert await aio.snapshot(other) == {"a": 1, "b": 2, "log": [1]}


async def test_other_tasks_wait_for_the_end(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """What they write comes behind the block; a task of the block that outlives it does so too."""
    mem, other = async_mem, async_other
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def outside() -> Any:
        await begun.wait()
        seen = await mem.a.get("missing")
        await mem.a.set("outside")
        return seen

    async def late() -> None:
        await go_on.wait()
        await mem.late.set(1)

    task = asyncio.create_task(outside())
    async with aio.batch(mem):
        begun.set()
        await mem.a.set("inside")
        await asyncio.sleep(0)
        later = asyncio.create_task(late())
        assert await mem.a == "inside"
        assert await aio.snapshot(other) == {}
    assert await asyncio.wait_for(task, 5) == "inside"
    go_on.set()
    await asyncio.wait_for(later, 5)
    assert await aio.snapshot(other) == {"a": "outside", "late": 1}


async def test_blocks_are_not_nested(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Not in the task that has begun one, nor in those that it has started."""
    mem, other = async_mem, async_other

    async def nested() -> None:
        async with aio.transaction(mem):
            pytest.fail("it has begun")

    async with aio.batch(mem):
        await mem.a.set(1)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="cannot be nested"):
                await asyncio.wait_for(asyncio.create_task(nested()), 5)
        async with aio.batch(other):
            await other.b.set(2)
        await mem.c.set(3)
    assert await aio.snapshot(other) == {"a": 1, "b": 2, "c": 3}


async def test_a_transaction_needs_what_it_read(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Also what it read to be missing; `retry_on_conflict` runs it again."""
    mem, other = async_mem, async_other
    runs = 0

    @aio.retry_on_conflict
    async def work() -> None:
        nonlocal runs
        async with aio.transaction(mem):
            runs += 1
            count = await mem.count.get(0)
            if runs < 3:
                await other.count.increment(10)
            await mem.count.set(count + 1)

    await work()
    assert runs == 3
    assert await other.count == 21
    with pytest.raises(ConflictError) as caught:
        async with aio.transaction(mem):
            assert not await mem.owner.exists()
            await other.owner.set("other")
            await mem.owner.set("mine")
    assert caught.value.names == ("owner",)


async def test_tasks_that_add_in_transactions_lose_nothing(
    async_mem: AsyncConversationMemory,
) -> None:
    """Of one memory: they take turns, and none meets a conflict."""
    mem = async_mem
    await mem.count.set(0)

    async def add() -> None:
        for _ in range(10):
            async with aio.transaction(mem):
                await mem.count.set(await mem.count + 1)

    await asyncio.wait_for(asyncio.gather(*(add() for _ in range(5))), 20)
    assert await mem.count == 50


async def test_compare_and_set_is_awaited(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """With the answers of the blocking one, in a block as well."""
    mem, other = async_mem, async_other
    assert await aio.compare_and_set(mem, "state", MISSING, "open")
    assert not await aio.compare_and_set(other, "state", MISSING, "mine")
    assert await aio.compare_and_set(other, "state", "open", "closed")
    async with aio.batch(mem):
        assert await aio.compare_and_set(mem, "state", "closed", MISSING)
    assert await aio.snapshot(other) == {}


async def test_a_cancelled_block_is_made_as_a_whole_or_not_at_all(
    proxy: FaultProxy, url: str, conversation_id: str
) -> None:
    """Wherever the cancellation strikes: in the body, or while the block is sent."""
    dice = random.Random(7)
    async with (
        AsyncConversationMemory(conversation_id, proxy.url) as mem,
        AsyncConversationMemory(conversation_id, url) as other,
    ):
        await mem.items.set([])
        proxy.delay(reply_s=0.001)

        async def work(number: int) -> None:
            async with aio.batch(mem):
                await mem.items.append(number)
                await mem.number.set(number)
                await aio.push(mem, "log", number)

        for number in range(1, 80):
            task = asyncio.create_task(work(number))
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            if dice.random() < 0.5:
                await asyncio.wait([task], timeout=0.001 * dice.randrange(6))
            task.cancel()
            await asyncio.wait([task])
            seen = await aio.snapshot(other)
            assert seen["items"] == seen.get("log", []) == sorted(set(seen["items"]))
            assert seen.get("number", 0) == (seen["items"][-1] if seen["items"] else 0)
        proxy.heal()
        await asyncio.wait_for(work(1000), 5)
        assert (await other.items)[-1] == await other.number == 1000


async def test_a_lost_reply_makes_nothing_twice(
    proxy: FaultProxy, url: str, conversation_id: str
) -> None:
    """The same block is sent again under its number."""

    def is_block(request: Request) -> bool:
        return bool(request.arguments) and request.arguments[0] == SCRIPTS["together"].sha

    async with (
        AsyncConversationMemory(conversation_id, proxy.url, timeout_s=5) as mem,
        AsyncConversationMemory(conversation_id, url) as other,
    ):
        for number in range(20):
            proxy.lose_replies(when=is_block)
            async with aio.batch(mem):
                await aio.push(mem, "log", number)
                await mem.count.increment()
            proxy.heal()
        assert await aio.snapshot(other) == {"log": list(range(20)), "count": 20}


async def test_a_batch_waits_as_one_change(
    proxy: FaultProxy, url: str, conversation_id: str
) -> None:
    """While the server is away; a transaction cannot."""
    options: dict[str, Any] = {"timeout_s": 0.3, "reconnect_max_s": 0.05}
    async with (
        AsyncConversationMemory(conversation_id, proxy.url, **options) as mem,
        AsyncConversationMemory(conversation_id, url) as other,
    ):
        await mem.items.set([1])
        proxy.refuse()
        assert not (await aio.status(mem)).online
        async with aio.batch(mem):
            await mem.items.append(2)
            await mem.more.set(1)
        assert (await aio.status(mem)).queued == 1
        assert await mem.items == [1, 2]
        with pytest.raises(OfflineError):
            async with aio.transaction(mem):
                pytest.fail("it has begun")
        proxy.heal()
        assert await aio.flush(mem, 8) == 0
        assert await aio.snapshot(other) == {"items": [1, 2], "more": 1}
