"""The public names, typed as a user meets them. Checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, assert_type
from uuid import UUID

import redis
import redis.asyncio
from pydantic import BaseModel, Field

import redis_memory
from redis_memory import (
    MISSING,
    AsyncClaim,
    AsyncConversationMemory,
    AsyncConversations,
    AsyncHandle,
    AsyncMemory,
    Claim,
    Conflict,
    ConversationInfo,
    ConversationMemory,
    Conversations,
    DataLossWarning,
    InDoubtError,
    InvalidValueError,
    LeaseLostError,
    Memory,
    OfflineError,
    Page,
    PruneReport,
    RedisMemoryError,
    Settings,
    StaleClaimError,
    StaleProxyError,
    Status,
    SyncedDict,
    SyncedList,
    SyncedSet,
    UnstorableValueError,
    aio,
    batch,
    claim,
    clear,
    close,
    compare_and_set,
    conflicts,
    expire,
    flush,
    increment,
    lock,
    push,
    retry_on_conflict,
    setdefault,
    snapshot,
    status,
    transaction,
    window,
)


class SupportCase(ConversationMemory):
    """A memory of one's own."""


class AsyncSupportCase(AsyncConversationMemory):
    """An async memory of one's own."""


class Profile(BaseModel):
    """A model."""

    name: str = ""


class TypedCase(ConversationMemory, extra="forbid"):
    """What is declared is what a checker sees."""

    messages: list[Profile] = []  # noqa: RUF012 - a declared default is fresh for each reader
    state: Literal["open", "closed"] = "open"
    profile: Profile | None = None


class AsyncTypedCase(AsyncConversationMemory):
    """Of an async memory a handle is declared, for that is what reading the attribute gives."""

    state: Annotated[AsyncHandle[Literal["open", "closed"]], Field(default="open")]
    profile: AsyncHandle[Profile]


def opening(conversation_id: UUID, client: redis.Redis) -> None:
    Memory()
    Memory("redis://localhost", prefix="app:", timeout_s=0.2)
    Memory(client=client)
    Memory(settings=Settings(max_depth=8))
    Memory(redis_hostname="localhost", redis_port=6379)
    ConversationMemory("c-42")
    mem = ConversationMemory(conversation_id, "embedded://", settings=None)
    assert_type(mem.conversation_id, str)
    with SupportCase("c-42") as case:
        assert_type(case, SupportCase)
    assert_type(repr(case), str)


def wrong_openings() -> None:
    ConversationMemory()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ConversationMemory(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memory(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memory(prefix=b"app:")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memory(settings={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Settings(timeout_seconds=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ConversationMemory("c-42").conversation_id = "c-43"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def attributes(mem: Memory) -> None:
    # an attribute may hold anything: its type is the reader's to state
    assert_type(mem.topic, Any)
    assert_type(mem["a b"], Any)
    topic: str = mem.topic
    messages: SyncedList[dict[str, str]] = mem.messages
    mem.messages += [{"role": "user"}]
    mem.count += 1
    mem.topic = topic
    mem.messages = []
    mem["a b"] = messages
    del mem.topic, mem["a b"]
    assert_type("topic" in mem, bool)
    assert_type(list(mem), list[str])
    assert_type(len(mem), int)
    assert_type(dir(mem), list[str])
    assert_type(getattr(mem, "topic", None), Any | None)


def declared(case: TypedCase) -> None:
    assert_type(case.messages, list[Profile])
    assert_type(case.profile, Profile | None)
    case.messages.append(Profile())
    case.state = "closed"
    assert_type(case.undeclared, Any)
    case.state = "gone"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    case.messages.append(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    if case.profile is not None:
        assert_type(case.profile.name, str)


async def declared_async(case: AsyncTypedCase) -> None:
    assert_type(await case.state, Literal["open", "closed"])
    assert_type(await case.profile, Profile)
    await case.state.set("closed")
    await case.state.set("gone")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await case.profile["name"].set("Ann")
    assert_type(await case.undeclared, Any)


def refused(error: InvalidValueError) -> None:
    assert_type(error.reasons, dict[str, str])
    value: ValueError = error
    raise value


def lists(messages: SyncedList[dict[str, str]]) -> None:
    plain: list[dict[str, str]] = messages
    assert_type(messages.aslist(), list[dict[str, str]])
    assert_type(messages.append({"role": "user"}), None)
    assert_type(messages.pop(), dict[str, str])
    for message in messages:
        assert_type(message, dict[str, str])
    messages.append("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    messages.extend(plain)
    messages += plain
    messages[1:2] = plain
    del messages[0]


def dicts(profile: SyncedDict[str, int]) -> None:
    plain: dict[str, int] = profile
    assert_type(profile.asdict(), dict[str, int])
    assert_type(profile.pop("age"), int)
    assert_type(profile.popitem(), tuple[str, int])
    for key in profile:
        assert_type(key, str)
    profile["age"] = 42
    profile["age"] = "42"  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    profile.update(plain, height=180)
    profile |= plain


def sets(tags: SyncedSet[str]) -> None:
    plain: set[str] = tags
    assert_type(tags.asset(), set[str])
    assert_type(tags.add("new"), None)
    assert_type(tags | plain, set[str])
    assert_type(tags.pop(), str)
    tags.add(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tags |= plain
    tags &= plain


def functions(mem: Memory) -> None:
    assert_type(snapshot(mem), dict[str, Any])
    assert_type(push(mem, "messages", {"role": "user"}, {"role": "system"}), int | None)
    assert_type(window(mem, "messages", -20), list[Any])
    assert_type(window(mem, "messages", stop=5), list[Any])
    assert_type(increment(mem, "count"), int | float | None)
    assert_type(increment(mem, "cost", 0.25), int | float | None)
    assert_type(compare_and_set(mem, "state", "open", MISSING), bool)
    with batch(mem) as batched:
        assert_type(batched, Memory)
    with transaction(mem) as read:
        assert_type(read, Memory)
    assert_type(setdefault(mem, "owner", []), Any)
    assert_type(clear(mem), None)
    assert_type(close(mem), None)
    standing = status(mem)
    assert_type(standing, Status)
    assert_type(standing.online, bool)
    assert_type(standing.server, str)
    assert_type(standing.round_trip_s, float | None)
    assert_type(standing.read_mode, Literal["strong", "cached"])
    assert_type(standing.reconnects, int)
    assert_type(standing.data_loss, int)
    standing.online = False  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    snapshot("c-42")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    increment(mem, "count", "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def settings(environment: Settings) -> None:
    assert_type(environment.timeout_s, float)
    assert_type(environment.prefix, str)
    assert_type(environment.address, str | None)
    assert_type(environment.max_value_bytes, int)
    assert_type(environment.close_timeout_s, float)
    assert_type(environment.journal, Path | None)
    Settings(conflict=lambda conflict: conflict.mine, durability="server")
    Settings(conflict="oldest")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def errors(mem: Memory) -> None:
    try:
        mem.topic = "billing"
    except InDoubtError as error:
        offline: OfflineError = error
        connection: ConnectionError = offline
        root: RedisMemoryError = offline
        raise root from connection
    except StaleProxyError as error:
        lookup: LookupError = error
        raise lookup from None
    except UnstorableValueError as error:
        kind: TypeError = error
        raise kind from None
    warning: UserWarning = DataLossWarning("lost", forgotten=2, repaired=1)
    raise warning


def of_an_outage(mem: Memory) -> None:
    assert_type(flush(mem, 5), int)
    assert_type(flush(mem, timeout_s=0.5), int)
    assert_type(conflicts(mem), list[Conflict])
    for conflict in conflicts(mem):
        assert_type(conflict.name, str)
        assert_type(conflict.key, Any)
        assert_type(conflict.mine, Any)
        assert_type(conflict.theirs, Any)
        assert_type(conflict.winner, Literal["mine", "theirs", "function"])
        assert_type(conflict.reason, str)
        assert_type(conflict.mine_at, datetime | None)
        assert_type(conflict.theirs_at, datetime | None)
        if conflict.key is MISSING:
            conflict.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    flush(mem)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    standing = status(mem)
    assert_type(standing.queued, int)
    assert_type(standing.queued_bytes, int)
    assert_type(standing.conflicts, int)
    assert_type(standing.reason, str | None)
    Memory(conflict="mine", on_conflict=print, journal="/var/lib/app", durability="replicas:1")


def leases(mem: Memory) -> None:
    with lock(mem) as token:
        assert_type(token, int)
    with lock(mem, name="summary", ttl_s=0.5, wait_s=0):
        pass
    task = claim(mem, "task", "me", ttl_s=30)
    assert_type(task, Claim | None)
    claim(mem, "task", "me", 30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    if task is not None:
        with task as same:
            assert_type(same, Claim)
        assert_type((task.name, task.owner, task.token), tuple[str, str, int])
        assert_type(task.lost, threading.Event)
        assert_type(task.renew(), None)
        assert_type(task.release(), bool)
        assert_type(task.write(state="done", result=[1]), None)
    errors: list[type[RuntimeError]] = [LeaseLostError, StaleClaimError]
    assert errors


async def async_leases(mem: AsyncMemory) -> None:
    async with aio.lock(mem, "summary", wait_s=0) as token:
        assert_type(token, int)
    task = await aio.claim(mem, "task", "me", ttl_s=30)
    assert_type(task, AsyncClaim | None)
    if task is not None:
        async with task as same:
            assert_type(same, AsyncClaim)
        assert_type(task.lost, asyncio.Event)
        assert_type(await task.renew(), None)
        assert_type(await task.release(), bool)
        assert_type(await task.write(state="done"), None)


def losses(warning: DataLossWarning) -> None:
    assert_type(warning.forgotten, int)
    assert_type(warning.repaired, int)


async def async_opening(client: redis.asyncio.Redis) -> None:
    AsyncMemory("redis://localhost", prefix="app:", timeout_s=0.2)
    AsyncMemory(client=client)
    async with AsyncSupportCase("c-42") as case:
        assert_type(case, AsyncSupportCase)
        assert_type(case.conversation_id, str)
    async with AsyncConversationMemory(UUID(int=42)) as mem:
        assert_type(mem, AsyncConversationMemory)
    AsyncConversationMemory()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def async_attributes(mem: AsyncMemory) -> None:
    handles: list[AsyncHandle] = [mem.topic, mem["a b"], mem.profile["prefs"][0]]
    assert_type(await handles[0], Any)
    assert_type(await mem.topic, Any)
    assert_type(await mem.profile["prefs"], Any)
    assert_type(await mem.topic.get(), Any)
    assert_type(await mem.topic.get("none"), Any)
    assert_type(await mem.topic.exists(), bool)
    assert_type(await mem.topic.set("billing"), None)
    assert_type(await mem.topic.delete(), None)
    assert_type(await mem.count.increment(), int | float | None)
    assert_type(await mem.count.increment(0.5), int | float | None)
    async for name in mem:
        assert_type(name, str)
    messages: SyncedList[dict[str, str]] = await mem.messages
    assert_type(messages.aslist(), list[dict[str, str]])


async def async_mutators(mem: AsyncMemory) -> None:
    assert_type(await mem.messages.append({"role": "user"}), None)
    assert_type(await mem.messages.extend([1, 2]), None)
    assert_type(await mem.messages.insert(0, 1), None)
    assert_type(await mem.messages.pop(), Any)
    assert_type(await mem.messages.remove(1), None)
    assert_type(await mem.messages.sort(key=str, reverse=True), None)
    assert_type(await mem.messages.reverse(), None)
    assert_type(await mem.messages.clear(), None)
    assert_type(await mem.profile.popitem(), tuple[Any, Any])
    assert_type(await mem.profile.setdefault("tags", []), Any)
    assert_type(await mem.profile.update({"age": 42}, name="Ann"), None)
    assert_type(await mem.tags.add("new"), None)
    assert_type(await mem.tags.discard("new"), None)
    assert_type(await mem.tags.difference_update({1}, {2}), None)
    assert_type(await mem.tags.intersection_update({1}, {2}), None)
    assert_type(await mem.tags.symmetric_difference_update({1}), None)
    await mem.messages.append()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@retry_on_conflict
def counted(mem: Memory, by: int) -> str:
    return str(by)


@retry_on_conflict(attempts=3)
async def counted_later(mem: AsyncMemory) -> int:
    return 1


async def blocks(mem: Memory, amem: AsyncMemory) -> None:
    assert_type(counted(mem, 1), str)
    assert_type(await counted_later(amem), int)
    async with aio.batch(amem) as batched:
        assert_type(batched, AsyncMemory)
    async with aio.transaction(amem) as read:
        assert_type(read, AsyncMemory)
    assert_type(await aio.compare_and_set(amem, "state", MISSING, 1), bool)


async def async_functions(mem: AsyncMemory) -> None:
    assert_type(await aio.snapshot(mem), dict[str, Any])
    assert_type(await aio.push(mem, "messages", 1, 2), int | None)
    assert_type(await aio.window(mem, "messages", 0, 5), list[Any])
    assert_type(await aio.increment(mem, "count", 2), int | float | None)
    assert_type(await aio.setdefault(mem, "owner", []), Any)
    assert_type(await aio.clear(mem), None)
    assert_type(await aio.flush(mem, 5), int)
    assert_type(await aio.conflicts(mem), list[Conflict])
    assert_type(await aio.status(mem), Status)
    assert_type(await aio.close(mem), None)


async def not_for_the_other_face(mem: Memory, amem: AsyncMemory) -> None:
    snapshot(amem)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await aio.snapshot(mem)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with amem:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


def everything_is_declared() -> None:
    assert_type(redis_memory.__all__, list[str])


def the_directory(path: Path, memory: Memory) -> None:
    with Conversations("redis://localhost", prefix="app:", timeout_s=0.2) as directory:
        page = directory.list("oldest", where=lambda found: found["state"] == "open", limit=10)
        assert_type(page, Page)
        assert_type(page.ids, tuple[str, ...])
        assert_type(page.cursor, str | None)
        assert_type(directory.count(), int)
        assert_type(directory.info("c-1"), ConversationInfo)
        assert_type(directory.prune(60.0, keep={"c-1"}, archive_to=path), PruneReport)
        directory.export(path, ["c-1"])
        directory.load(path, "replace")
    expire(memory, 60)
    expire(memory, None)


async def the_directory_awaited(memory: AsyncMemory) -> None:
    async with AsyncConversations("redis://localhost") as directory:
        assert_type(await directory.list(), Page)
        assert_type(await directory.delete("c-1"), bool)
    await aio.expire(memory, 60)
