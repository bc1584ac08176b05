"""What only the async face has to prove about an outage: tasks, cancellation, loops that end."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from redis_memory import AsyncConversationMemory, ConversationMemory, DataLossWarning, OfflineError
from redis_memory.aio import close, flush, increment, push, status
from tests.faults import FaultProxy
from tests.outages.network import DRAIN_S, GRACE_S, QUICKLY, RECONNECTS, TIMEOUT_S
from tests.waiting import async_wait_until, in_time, wait_until


@pytest.fixture
async def memory(name: str, proxy: FaultProxy) -> AsyncIterator[AsyncConversationMemory]:
    """An async memory behind the proxy that soon gives a server up."""
    async with AsyncConversationMemory(name, proxy.url, **QUICKLY) as memory:
        yield memory


def searches() -> list[asyncio.Task[Any]]:
    """The tasks of the library that look for a server."""
    return [task for task in asyncio.all_tasks() if task.get_name() == RECONNECTS]


async def test_many_tasks_wait_together(
    memory: AsyncConversationMemory, proxy: FaultProxy, other: ConversationMemory
) -> None:
    """Of many tasks that meet an outage at once each waits once, and all changes are kept."""
    await memory.log.set([])
    proxy.refuse()
    with in_time(TIMEOUT_S + 2 * GRACE_S):
        await asyncio.gather(*(push(memory, "log", number) for number in range(300)))
    assert sorted(await memory.log) == list(range(300))
    assert len(searches()) == 1
    proxy.heal()
    assert await flush(memory, DRAIN_S) == 0
    assert other.log == (await memory.log)
    assert sorted(other.log) == list(range(300))
    await async_wait_until(lambda: not searches(), what="the end of the search")


async def test_the_loop_runs_on_while_a_server_is_away(
    memory: AsyncConversationMemory, proxy: FaultProxy
) -> None:
    """Nobody who waits for a lost server keeps the other tasks from running."""
    await memory.log.set([])
    proxy.stall()
    call = asyncio.create_task(push(memory, "log", 1))
    turns = 0
    while not call.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 20
    assert await call is None
    proxy.drop()
    proxy.heal()
    assert await flush(memory, DRAIN_S) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_cancelled_tasks_double_nothing_in_an_outage(
    memory: AsyncConversationMemory, proxy: FaultProxy, other: ConversationMemory, seed: int
) -> None:
    """What was awaited to its end is there once, what was cancelled at most once, all in order."""
    choices = random.Random(seed)
    await memory.log.set([])
    done: list[int] = []

    async def work(number: int) -> None:
        await push(memory, "log", number)
        done.append(number)

    for start in range(0, 400, 10):
        if start % 100 == 40:
            proxy.refuse()
        elif start % 100 == 70:
            proxy.heal()
        tasks = [asyncio.create_task(work(number)) for number in range(start, start + 10)]
        for task in tasks:
            for _ in range(choices.randrange(10)):
                await asyncio.sleep(0)
            if choices.random() < 0.5:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    proxy.heal()
    assert await flush(memory, DRAIN_S) == 0
    await push(memory, "log", 400)
    stored = other.log.aslist()
    assert 0 < len(done) < 400
    assert stored == sorted(set(stored))
    assert {*done, 400} <= set(stored)
    assert (await status(memory)).data_loss == 0


async def test_the_idiom_does_not_wipe_what_others_began(
    memory: AsyncConversationMemory, proxy: FaultProxy, other: ConversationMemory
) -> None:
    """`if not await exists(): set([])` creates while away only what nobody created meanwhile."""
    assert not await memory.messages.exists()
    proxy.refuse()
    if not await memory.messages.exists():
        await memory.messages.set([])
    await memory.messages.append("mine")
    other.messages = ["theirs"]
    with pytest.raises(OfflineError):
        await memory.unseen.exists()
    proxy.heal()
    assert await flush(memory, DRAIN_S) == 0
    assert other.messages == (await memory.messages) == ["theirs", "mine"]


async def test_what_a_dropped_memory_left_is_delivered(
    memory: AsyncConversationMemory, proxy: FaultProxy, name: str, other: ConversationMemory
) -> None:
    """A memory object that is collected with a full queue loses nothing; the next one sees it."""
    await memory.topic.set("keeps the connections")
    dropped = AsyncConversationMemory(f"{name}-2", proxy.url, **QUICKLY)
    await dropped.log.set([])
    proxy.refuse()
    for number in range(20):
        await push(dropped, "log", number)
    del dropped
    gc.collect()
    async with AsyncConversationMemory(f"{name}-2", proxy.url, **QUICKLY) as successor:
        assert await successor.log == list(range(20))
        assert (await status(successor)).queued == 20
        await push(successor, "log", 20)
        proxy.heal()
        assert await flush(successor, DRAIN_S) == 0
        assert await successor.log == list(range(21))


async def test_closing_without_the_server_says_what_is_lost(
    proxy: FaultProxy, name: str, other: ConversationMemory
) -> None:
    """`close` waits no longer than it may, leaves no task, and counts what is lost."""
    memory = AsyncConversationMemory(name, proxy.url, **{**QUICKLY, "close_timeout_s": 0.1})
    await memory.log.set([])
    proxy.refuse()
    for number in range(4):
        await push(memory, "log", number)
    with pytest.warns(DataLossWarning, match="4 changes"):
        await close(memory)
    await async_wait_until(lambda: not searches(), what="the end of the search")
    proxy.heal()
    assert other.log == []


def test_a_later_loop_delivers_what_an_earlier_one_left(
    proxy: FaultProxy, name: str, other: ConversationMemory
) -> None:
    """`asyncio.run` twice with one memory, the server away in the first: all there, in order."""
    memory = AsyncConversationMemory(name, proxy.url, **QUICKLY)

    async def first() -> None:
        await memory.log.set([])
        proxy.refuse()
        for number in range(10):
            await push(memory, "log", number)
            await increment(memory, "count")

    async def second() -> None:
        await push(memory, "log", 10)
        assert await flush(memory, DRAIN_S) == 0
        await close(memory)

    run: Callable[[Any], None] = asyncio.run
    run(first())
    proxy.heal()
    run(second())
    assert other.log == list(range(11))
    assert other.count == 10
    wait_until(lambda: not proxy.open_connections, what="the end of the connections")
