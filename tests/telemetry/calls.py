"""Whatever a program can ask a memory or a directory for."""

from __future__ import annotations

from pathlib import Path

import redis_memory
from redis_memory import (
    MISSING,
    AsyncConversationMemory,
    AsyncConversations,
    ConversationMemory,
    Conversations,
    aio,
)


def _attributes(memory: ConversationMemory) -> None:
    memory.topic = "billing"
    memory.messages = []
    memory.messages.append({"tags": ["a"]})
    memory.messages[0]["tags"].append("b")
    memory.messages *= 2
    memory.by_name = {"ann": 1}
    memory.by_name["ben"] = 2
    assert (memory.topic, "topic" in memory, len(memory)) == ("billing", True, 3)
    assert redis_memory.push(memory, "messages", 1) == 3
    assert redis_memory.window(memory, "messages", -1) == [1]
    assert redis_memory.increment(memory, "count") == 1
    assert redis_memory.setdefault(memory, "topic", 1) == "billing"
    assert redis_memory.compare_and_set(memory, "topic", "billing", MISSING)
    assert redis_memory.snapshot(memory)


def _blocks_and_waits(memory: ConversationMemory) -> None:
    redis_memory.expire(memory, 100)
    with redis_memory.batch(memory):
        memory.topic = "closed"
    with redis_memory.transaction(memory):
        memory.topic = memory.count
    with redis_memory.lock(memory):
        del memory.topic
    claim = redis_memory.claim(memory, "triage", "ann", ttl_s=30)
    assert claim is not None
    claim.write(state="open")
    claim.renew()
    claim.release()
    assert redis_memory.wait_for(memory, "state", "open", timeout_s=5) == "open"
    watch = redis_memory.watch(memory, "state", timeout_s=5)
    memory.state = "done"
    assert next(watch).value == "done"
    watch.close()
    assert redis_memory.status(memory).online


def _directory(url: str, file: Path) -> None:
    with Conversations(url, telemetry="on") as directory:
        assert directory.count() == len(directory.list()) == directory.stats().conversations == 1
        (entry,) = directory.list()
        assert directory.exists(entry.id)
        assert directory.info(entry.id).id == entry.id
        directory.copy(entry.id, "a copy")
        directory.rename("a copy", "another")
        assert directory.delete("another")
        directory.export(file)
        directory.load(file)
        directory.prune(dry_run=True)
        directory.reindex()


def everything(memory: ConversationMemory, url: str, file: Path) -> None:
    """Call whatever the blocking face offers."""
    _attributes(memory)
    _blocks_and_waits(memory)
    _directory(url, file)
    redis_memory.clear(memory)


async def everything_awaited(memory: AsyncConversationMemory, url: str, file: Path) -> None:
    """Call whatever the async face offers."""
    await memory.topic.set("billing")
    await memory.messages.set([])
    await memory.messages.append({"tags": ["a"]})
    await memory.messages[0]["tags"].append("b")
    await memory.by_name.set({"ann": 1})
    await memory.by_name["ben"].set(2)
    await memory.by_name["ben"].delete()
    assert (await memory.topic, await memory.topic.exists()) == ("billing", True)
    assert await aio.push(memory, "messages", 1) == 2
    assert await aio.window(memory, "messages", -1) == [1]
    assert await memory.count.increment() == 1
    assert await aio.setdefault(memory, "topic", 1) == "billing"
    assert await aio.compare_and_set(memory, "topic", "billing", MISSING)
    assert await aio.snapshot(memory)
    await aio.expire(memory, 100)
    async with aio.batch(memory):
        await memory.topic.set("closed")
    async with aio.transaction(memory):
        await memory.topic.set(await memory.count)
    async with aio.lock(memory):
        await memory.topic.delete()
    claim = await aio.claim(memory, "triage", "ann", ttl_s=30)
    assert claim is not None
    await claim.write(state="open")
    await claim.renew()
    await claim.release()
    assert await aio.wait_for(memory, "state", "open", timeout_s=5) == "open"
    assert (await aio.status(memory)).online
    async with AsyncConversations(url, telemetry="on") as directory:
        assert await directory.count() == 1
        assert len(await directory.list()) == (await directory.stats()).conversations
        await directory.export(file)
        await directory.load(file)
        await directory.prune(dry_run=True)
        await directory.reindex()
    await aio.clear(memory)
