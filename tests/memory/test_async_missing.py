"""`if not await memory.messages.exists(): await memory.messages.set([])` loses no message."""

from __future__ import annotations

import asyncio
import multiprocessing
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    AsyncHandle,
    ConversationMemory,
    aio,
)
from tests.servers import Server

# what everybody writes

Idiom = Callable[[AsyncConversationMemory], Awaitable[object]]


async def ask_first(memory: AsyncConversationMemory) -> None:
    """The idiom with `exists`."""
    if not await memory.messages.exists():
        await memory.messages.set([])


async def try_first(memory: AsyncConversationMemory) -> None:
    """The idiom with an exception."""
    try:
        await memory.messages
    except AttributeError:
        await memory.messages.set([])


async def get_first(memory: AsyncConversationMemory) -> None:
    """The idiom with a default."""
    if await memory.messages.get() is None:
        await memory.messages.set([])


async def ask_in_another_task(memory: AsyncConversationMemory) -> None:
    """The idiom with a time limit, which asks in a task of its own before Python 3.12."""
    if not await asyncio.create_task(memory.messages.exists()):
        await memory.messages.set([])


async def set_in_another_task(memory: AsyncConversationMemory) -> None:
    """The idiom with a time limit on the assignment."""
    if not await memory.messages.exists():
        await asyncio.create_task(memory.messages.set([]))


IDIOMS = [ask_first, try_first, get_first, ask_in_another_task, set_in_another_task]


@pytest.mark.parametrize("idiom", IDIOMS)
async def test_tasks_that_begin_a_list_together_lose_nothing(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory, idiom: Idiom
) -> None:
    """Of many tasks, of one memory or of two, that find no list, all messages are kept."""
    for _ in range(5):
        await aio.clear(async_mem)
        await asyncio.gather(
            *(
                begin_and_append(memory, idiom, n)
                for n in range(10)
                for memory in (async_mem, async_other)
            )
        )
        assert sorted(await async_mem.messages) == sorted([*range(10), *range(10)])


async def begin_and_append(memory: AsyncConversationMemory, idiom: Idiom, item: int) -> None:
    """What every worker does."""
    await idiom(memory)
    await memory.messages.append(item)


@pytest.mark.parametrize("idiom", IDIOMS)
async def test_who_was_overtaken_while_he_asked_wipes_nothing(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory, idiom: Idiom
) -> None:
    """Between the question and the assignment, another task of the memory creates and appends."""
    begun = asyncio.Event()
    paused: Any = Paused(async_mem, begun)
    slow = asyncio.ensure_future(idiom(paused))
    await asyncio.create_task(begin_and_append(async_mem, ask_first, 1))
    begun.set()
    await slow
    assert await async_other.messages == [1]


class Paused:
    """A memory whose handle of `messages` waits for a signal before it assigns."""

    def __init__(self, memory: AsyncConversationMemory, signal: asyncio.Event) -> None:
        self._memory = memory
        self._signal = signal

    @property
    def messages(self) -> Any:
        return PausedHandle(self._memory.messages, self._signal)


class PausedHandle:
    def __init__(self, handle: AsyncHandle, signal: asyncio.Event) -> None:
        self._handle = handle
        self._signal = signal
        self.exists, self.get = handle.exists, handle.get

    def __await__(self) -> Any:
        return self._handle.__await__()

    async def set(self, value: Any) -> None:
        await self._signal.wait()
        await self._handle.set(value)


SIGHTINGS: list[Idiom] = [
    lambda memory: memory.messages.append(1),
    lambda memory: memory.messages.get(),
    lambda memory: memory.messages.exists(),
    lambda memory: aio.push(memory, "messages", 1),
    lambda memory: aio.window(memory, "messages"),
    aio.snapshot,
    lambda memory: aio.setdefault(memory, "messages", []),
    lambda memory: memory.messages.increment(),
]


@pytest.mark.parametrize("look", range(len(SIGHTINGS)))
async def test_whatever_shows_that_it_is_there_makes_an_empty_list_a_reset(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory, look: int
) -> None:
    """A memory that last saw the attribute to be there replaces it, however it saw it."""
    assert not await async_mem.messages.exists()
    is_number = look == len(SIGHTINGS) - 1
    await async_other.messages.set(5 if is_number else ["kept?"])
    await SIGHTINGS[look](async_mem)
    await async_mem.messages.set([])
    assert await async_other.messages == []


async def test_the_names_show_what_is_there(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Whoever saw a name while iterating has seen the attribute."""
    assert not await async_mem.messages.exists()
    await async_other.messages.set(["kept?"])
    assert [name async for name in async_mem] == ["messages"]
    await async_mem.messages.set([])
    assert await async_other.messages == []


async def test_an_empty_list_resets_what_was_seen(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Only what was seen to be missing is created; anything else is replaced, as it says."""
    await ask_first(async_mem)
    await async_mem.messages.append(1)
    await async_mem.messages.set([])
    assert await async_other.messages == []
    await async_other.messages.append(2)
    await asyncio.create_task(async_mem.messages.set([]))
    assert await async_other.messages == []


def append_from_many_tasks(url: str, conversation_id: str, worker: int) -> None:
    """What one of several processes does."""

    async def work() -> None:
        async with AsyncConversationMemory(conversation_id, url, timeout_s=5) as memory:
            tasks = (begin_and_append(memory, ask_first, 100 * worker + n) for n in range(25))
            await asyncio.gather(*tasks)
            await memory.count.increment(25)

    asyncio.run(work())


def test_processes_that_begin_a_list_together_lose_nothing(server: Server) -> None:
    """Several processes with several tasks each: every message and every increment is kept."""
    fork = multiprocessing.get_context("fork")
    for _ in range(3):
        name = uuid.uuid4().hex
        arguments = [(server.url, name, worker) for worker in range(4)]
        with fork.Pool(4) as pool:
            pool.starmap(append_from_many_tasks, arguments, chunksize=1)
        with ConversationMemory(name, server.url) as memory:
            assert sorted(memory.messages) == [100 * w + n for w in range(4) for n in range(25)]
            assert memory.count == 100
