"""The async memories keep the promises of the blocking ones, awaited through handles."""

from __future__ import annotations

import asyncio
import copy
import json
import multiprocessing
import pickle
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import redis.asyncio

from redis_memory import (
    AsyncConversationMemory,
    AsyncHandle,
    AsyncMemory,
    ClosedError,
    ConfigurationError,
    ConversationMemory,
    InvalidNameError,
    UnstorableValueError,
    WrongKindError,
    aio,
    snapshot,
)
from tests.faults import FaultProxy
from tests.servers import Server
from tests.strategies import same

Use = Callable[[Any], Awaitable[object]]

# what a handle, a memory or a conversation might take for itself, and names that are no identifiers
NAMES = ["items", "update", "set", "get", "append", "lock", "class", "a b", "größe", "\ud800", "}"]


@pytest.fixture
def blocking(each_url: str, conversation_id: str) -> Iterator[ConversationMemory]:
    """The same memory through the blocking face."""
    with ConversationMemory(conversation_id, each_url) as memory:
        yield memory


# attributes


async def test_what_one_worker_sets_another_reads(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """A write has been applied when its `await` returns, whoever reads it."""
    await async_mem.topic.set("billing")
    assert await async_other.topic == "billing"
    await async_other.topic.set("refunds")
    assert await async_mem.topic == "refunds"


async def test_a_missing_attribute_raises_attribute_error(
    async_mem: AsyncConversationMemory,
) -> None:
    """Reading and deleting say so; `exists` is false, and `get` gives its default."""
    with pytest.raises(AttributeError, match="'topic'") as caught:
        await async_mem.topic
    assert (caught.value.name, caught.value.obj) == ("topic", async_mem)
    with pytest.raises(AttributeError, match="'topic'"):
        await async_mem.topic.delete()
    assert not await async_mem.topic.exists()
    assert await async_mem.topic.get() is None
    assert await async_mem.topic.get("none yet") == "none yet"


async def test_a_missing_item_raises_key_error(async_mem: AsyncConversationMemory) -> None:
    """By item, a missing attribute is a missing key, as in the blocking face."""
    with pytest.raises(KeyError, match="topic"):
        await async_mem["topic"]
    with pytest.raises(KeyError, match="topic"):
        await async_mem["topic"].delete()
    with pytest.raises(KeyError, match="topic"):
        await async_mem["topic"]["inside"]
    with pytest.raises(KeyError, match="topic"):
        await async_mem["topic"].append(1)
    assert not await async_mem["topic"].exists()
    assert await async_mem["topic"].get("none yet") == "none yet"


async def test_a_deleted_attribute_is_gone_for_everybody(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Deleting is deleting, for containers and scalars alike."""
    await async_mem.topic.set("billing")
    await async_mem.messages.set([1, 2])
    await async_mem.topic.delete()
    await async_other.messages.delete()
    assert not await async_other.topic.exists()
    assert not await async_mem.messages.exists()


async def test_none_is_a_value(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """An attribute that holds None is there."""
    await async_mem.topic.set(None)
    assert await async_other.topic.exists()
    assert await async_other.topic.get("a default") is None


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_belongs_to_the_user(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory, name: str
) -> None:
    """A name is an attribute and an item, whatever it spells."""
    await async_mem[name].set([name])
    assert await getattr(async_other, name) == await async_other[name] == [name]
    assert [each async for each in async_other] == [name]
    await async_mem[name].append("more")
    assert await async_other[name] == [name, "more"]
    await getattr(async_mem, name).delete()
    assert not await async_other[name].exists()


@pytest.mark.parametrize("name", ["", "_hidden", "n" * 513, 5, None])
async def test_a_name_that_cannot_be_stored_is_missing_and_cannot_be_written(
    async_mem: AsyncConversationMemory, name: Any
) -> None:
    """Reading and deleting meet a missing key; only writing says what is wrong with the name."""
    with pytest.raises(KeyError):
        await async_mem[name]
    with pytest.raises(KeyError):
        await async_mem[name].delete()
    assert not await async_mem[name].exists()
    assert await async_mem[name].get(1) == 1
    with pytest.raises(InvalidNameError):
        await async_mem[name].set(1)
    assert [each async for each in async_mem] == []


async def test_names_are_iterated_in_order(async_mem: AsyncConversationMemory) -> None:
    """`async for` gives the stored names sorted."""
    for name in ("b", "a", "c d"):
        await async_mem[name].set({name})
    assert [name async for name in async_mem] == ["a", "b", "c d"]


async def test_the_conversation_id_is_read_only(
    async_mem: AsyncConversationMemory, conversation_id: str
) -> None:
    """It can be neither changed nor deleted, by attribute or by item."""
    with pytest.raises(AttributeError, match="conversation_id"):
        async_mem.conversation_id = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="conversation_id"):
        del async_mem.conversation_id
    with pytest.raises(InvalidNameError, match="read-only"):
        await async_mem["conversation_id"].set("other")
    with pytest.raises(KeyError):
        await async_mem["conversation_id"].delete()
    assert async_mem.conversation_id == conversation_id
    assert [name async for name in async_mem] == []


async def test_no_function_writes_the_conversation_id(async_mem: AsyncConversationMemory) -> None:
    """An attribute that could never be read is never stored."""
    writes: list[Use] = [
        lambda memory: memory["conversation_id"].increment(),
        lambda memory: aio.increment(memory, "conversation_id"),
        lambda memory: aio.push(memory, "conversation_id", 1),
        lambda memory: aio.setdefault(memory, "conversation_id", 1),
    ]
    for write in writes:
        with pytest.raises(InvalidNameError, match="read-only"):
            await write(async_mem)
    assert await aio.snapshot(async_mem) == {}


async def test_names_with_an_underscore_are_never_stored(
    async_mem: AsyncConversationMemory,
) -> None:
    """They are ordinary Python attributes of one object."""
    async_mem._note = "here only"
    assert async_mem._note == "here only"
    del async_mem._note
    with pytest.raises(AttributeError):
        async_mem._note  # noqa: B018
    with pytest.raises(AttributeError):
        del async_mem._note
    assert [name async for name in async_mem] == []


def test_dir_shows_nothing_of_the_library(each_url: str) -> None:
    """No public name but `conversation_id` stands between a user and his own."""
    memory = AsyncConversationMemory("c-42", each_url)
    assert [name for name in dir(memory) if name[0] != "_"] == ["conversation_id"]
    assert memory


async def test_assigning_copies(async_mem: AsyncConversationMemory) -> None:
    """The caller's own list is never changed and never becomes live."""
    mine: dict[str, Any] = {"tags": ["a"]}
    await async_mem.profile.set(mine)
    await async_mem.profile["tags"].append("b")
    assert mine == {"tags": ["a"]}
    mine["tags"].append("c")
    assert await async_mem.profile == {"tags": ["a", "b"]}


async def test_a_value_that_cannot_be_stored_is_refused_by_its_place(proxy: FaultProxy) -> None:
    """The message names the offending part, nothing is sent, and what was there stays."""
    async with AsyncMemory(proxy.url, timeout_s=5) as memory:
        await memory.box.set(["before"])
        sent = proxy.requests
        with pytest.raises(UnstorableValueError, match=r"box\['a'\]\[1\]"):
            await memory.box.set({"a": [1, object()]})
        with pytest.raises(UnstorableValueError, match=r"new\[0\]"):
            await aio.push(memory, "new", [object()])
        assert proxy.requests == sent
        with pytest.raises(UnstorableValueError):
            await memory.box.append({1, 2}.__iter__())
        assert await memory.box == ["before"]


async def test_both_faces_see_each_others_changes(
    async_mem: AsyncConversationMemory, blocking: ConversationMemory
) -> None:
    """A blocking worker and an async one share one state."""
    blocking.messages = ["blocking"]
    await async_mem.messages.append("async")
    held = blocking.messages
    await async_mem.messages.insert(0, "first")
    held.append("held")
    assert await async_mem.messages == blocking.messages == held
    assert held == ["first", "blocking", "async", "held"]
    await async_mem.topic.set("billing")
    assert blocking.topic == "billing"
    del blocking.topic
    assert not await async_mem.topic.exists()


# what cannot be awaited


def test_what_cannot_be_awaited_says_what_to_write(each_url: str) -> None:
    """Plain assignment, deletion, `in` and iteration raise TypeError with the awaited form."""
    memory = AsyncMemory(each_url)
    uses: dict[str, Callable[[], object]] = {
        "await memory.topic.set(value)": lambda: setattr(memory, "topic", 1),
        "await memory.topic.delete()": lambda: delattr(memory, "topic"),
        "await memory['a b'].set(value)": lambda: memory.__setitem__("a b", 1),
        "await memory['a b'].delete()": lambda: memory.__delitem__("a b"),
        "await memory['topic'].exists()": lambda: "topic" in memory,
        "async for name in memory": lambda: list(memory),
        "await memory.box[0].set(value)": lambda: memory.box.__setitem__(0, 1),
        "await memory.box['a'][0].set(value)": lambda: memory.box["a"].__setitem__(0, 1),
        "await memory.box['a'][0].delete()": lambda: memory.box["a"].__delitem__(0),
        "for item in await memory.box": lambda: list(memory.box),
        "for item in await memory.box['a']": lambda: list(memory.box["a"]),
        "'a' in await memory.box[0]": lambda: "a" in memory.box[0],
        "if await memory.box": lambda: not memory.box,
        "if await memory.box[0]": lambda: not memory.box[0],
    }
    for advice, use in uses.items():
        with pytest.raises(TypeError) as caught:
            use()
        assert f"`{advice}`" in str(caught.value)


def test_a_handle_is_not_to_be_used_as_its_value(each_url: str) -> None:
    """Where `await` was forgotten, Python's operators refuse instead of answering something."""
    handle: Any = AsyncMemory(each_url).count
    uses: list[Callable[[], object]] = [
        lambda: handle + 1,
        lambda: handle < 1,
        lambda: handle == 1,
        lambda: handle != 1,
        lambda: len(handle),
        handle,
        lambda: json.dumps(handle),
    ]
    for use in uses:
        with pytest.raises(TypeError):
            use()


# handles


async def test_a_handle_touches_no_network(proxy: FaultProxy) -> None:
    """Making one, and one below it, sends nothing; awaiting it does."""
    async with AsyncMemory(proxy.url) as memory:
        handle = memory.profile["prefs"]["tags"][0]
        assert isinstance(handle, AsyncHandle)
        assert proxy.connections == proxy.requests == 0
        with pytest.raises(AttributeError, match="'profile'"):
            await handle
        assert proxy.requests > 0


async def test_a_held_handle_reads_the_state_of_now(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """A handle names a place; each use finds what lies there then."""
    handle = async_mem.profile["tags"]
    await async_other.profile.set({"tags": ["a"]})
    assert await handle == ["a"]
    await async_other.profile.set({"tags": ["b"]})
    await handle.append("c")
    assert await handle == await async_other.profile["tags"] == ["b", "c"]


async def test_a_place_inside_is_read_and_written(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """Keys and indexes lead to a place at any depth, and every verb works there."""
    await async_mem.profile.set({"prefs": {"theme": "dark"}, "tags": ["a", {"n": 1}]})
    assert await async_other.profile["prefs"]["theme"] == "dark"
    await async_mem.profile["prefs"]["size"].set(12)
    await async_mem.profile["tags"][-1]["n"].set(2)
    await async_mem.profile["tags"][0].set("first")
    await async_mem.profile["prefs"]["theme"].delete()
    assert await async_other.profile == {"prefs": {"size": 12}, "tags": ["first", {"n": 2}]}
    assert await async_mem.profile["prefs"].exists()
    assert not await async_mem.profile["prefs"]["theme"].exists()
    assert not await async_mem.profile["tags"][9].exists()
    assert not await async_mem.nothing["there"].exists()
    assert await async_mem.profile["prefs"]["theme"].get("none") == "none"
    assert await async_mem.profile["prefs"]["size"].get("none") == 12


async def test_a_missing_place_inside_raises_what_the_value_raises(
    async_mem: AsyncConversationMemory,
) -> None:
    """KeyError from a dict, IndexError from a list, TypeError where there is nothing inside."""
    await async_mem.profile.set({"tags": ["a"], "size": 12})
    with pytest.raises(KeyError, match="theme"):
        await async_mem.profile["theme"]
    with pytest.raises(KeyError, match="theme"):
        await async_mem.profile["theme"].delete()
    with pytest.raises(IndexError):
        await async_mem.profile["tags"][1]
    with pytest.raises(IndexError):
        await async_mem.profile["tags"][1].set("b")
    with pytest.raises(TypeError):
        await async_mem.profile["size"]["unit"]
    with pytest.raises(TypeError, match="whole attribute"):
        await async_mem.profile["size"].increment()
    assert await async_mem.profile == {"tags": ["a"], "size": 12}


async def test_handles_are_awaited_together(async_mem: AsyncConversationMemory) -> None:
    """`asyncio.gather` and `wait_for` take handles as they are."""
    for number, name in enumerate("abc"):
        await async_mem[name].set(number)
    together = await asyncio.gather(async_mem.a, async_mem.b, async_mem.c)
    assert list(together) == [0, 1, 2]
    assert await asyncio.wait_for(async_mem.c, 5) == 2


async def test_slices_are_places_too(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """A slice of a list is read, assigned and deleted like an index."""
    await async_mem.box.set([0, 1, 2, 3, 4])
    assert await async_mem.box[1:3] == [1, 2]
    await async_mem.box[1:3].set(["one", "two", "more"])
    assert await async_other.box == [0, "one", "two", "more", 3, 4]
    await async_mem.box[::2].delete()
    assert await async_other.box == ["one", "more", 4]


async def test_increments_add_up(
    async_mem: AsyncConversationMemory, async_other: AsyncConversationMemory
) -> None:
    """A missing number counts as 0, and each call returns its own sum."""
    assert await async_mem.count.increment() == 1
    assert await async_other.count.increment(2) == 3
    assert await async_mem.count.increment(0.5) == 3.5
    sums: list[Any] = await asyncio.gather(*(async_mem.visits.increment() for _ in range(50)))
    assert sorted(sums) == list(range(1, 51))
    await async_mem.topic.set("billing")
    with pytest.raises(WrongKindError, match="'topic'"):
        await async_mem.topic.increment()


# functions


async def test_the_functions_do_what_their_twins_do(
    async_mem: AsyncConversationMemory,
    async_other: AsyncConversationMemory,
    blocking: ConversationMemory,
) -> None:
    """snapshot, push, window, increment, setdefault and clear, awaited."""
    assert await aio.push(async_mem, "log", 1, 2, 3) == 3
    assert await aio.window(async_other, "log", -2) == [2, 3]
    assert await aio.window(async_other, "log", 0, 1) == [1]
    assert await aio.increment(async_mem, "count", 2) == 2
    assert await aio.setdefault(async_mem, "owner", ["a"]) == ["a"]
    assert await aio.setdefault(async_other, "owner", ["b"]) == ["a"]
    state = await aio.snapshot(async_other)
    assert same(state, {"count": 2, "log": [1, 2, 3], "owner": ["a"]})
    assert same(state, snapshot(blocking))
    with pytest.raises(AttributeError, match="'nothing'"):
        await aio.window(async_mem, "nothing")
    with pytest.raises(WrongKindError, match="'count'"):
        await aio.push(async_mem, "count", 1)
    await aio.clear(async_other)
    assert await aio.snapshot(async_mem) == snapshot(blocking) == {}


async def test_status_says_how_a_memory_stands(proxy: FaultProxy) -> None:
    """Online with the time of a round trip; offline without raising, and without a value."""
    async with AsyncMemory(proxy.url, timeout_s=0.3) as memory:
        await memory.topic.set("secret value")
        standing = await aio.status(memory)
        assert standing.online
        assert standing.server in proxy.url
        assert standing.round_trip_s is not None
        assert 0 < standing.round_trip_s < 1
        assert (standing.reconnects, standing.data_loss) == (0, 0)
        proxy.refuse()
        standing = await aio.status(memory)
        assert not standing.online
        assert standing.round_trip_s is None
        assert "secret" not in repr(standing)
        proxy.heal()
        await is_online_again(memory)
        standing = await aio.status(memory)
        assert standing.round_trip_s is not None
        assert standing.reconnects > 0


async def is_online_again(memory: AsyncMemory) -> None:
    """Wait until the memory has found its server."""
    is_online = False
    async with asyncio.timeout(5):
        while not is_online:
            is_online = (await aio.status(memory)).online
            await asyncio.sleep(0.002)


# opening, closing, travelling


async def test_leaving_a_with_block_closes_the_memory(each_url: str, conversation_id: str) -> None:
    """Whoever uses it, or a handle from it, afterwards meets ClosedError; closing again is fine."""
    async with AsyncConversationMemory(conversation_id, each_url) as memory:
        await memory.messages.set([1])
        handle = memory.messages
    uses: list[Use] = [
        lambda memory: memory.messages,
        lambda memory: memory.messages.set([]),
        lambda memory: memory.messages.append(1),
        lambda memory: memory.messages.exists(),
        lambda memory: memory.messages.get(),
        lambda _: handle.append(2),
        lambda memory: aiter(memory).__anext__(),
        aio.snapshot,
        aio.status,
        lambda memory: aio.push(memory, "messages", 1),
    ]
    for use in uses:
        with pytest.raises(ClosedError):
            await use(memory)
    await aio.close(memory)
    async with AsyncConversationMemory(conversation_id, each_url) as again:
        assert await again.messages == [1]


async def test_a_memory_may_be_closed_before_it_was_used(each_url: str) -> None:
    """Opening one connects to nothing, so there is nothing to end."""
    memory = AsyncMemory(each_url)
    await aio.close(memory)
    with pytest.raises(ClosedError):
        await memory.topic


async def test_one_memory_closed_leaves_the_others_open(server: Server) -> None:
    """Memories of one loop share their connections until the last of them is closed."""
    baseline = len(server.client().client_list())
    memories = [AsyncConversationMemory(f"c-{n}", server.url) for n in range(3)]
    for number, memory in enumerate(memories):
        await memory.number.set(number)
    await aio.close(memories[0])
    with pytest.raises(ClosedError):
        await memories[0].number
    assert await memories[1].number == 1
    await aio.close(memories[1])
    assert await memories[2].number == 2
    await aio.close(memories[2])
    assert len(server.client().client_list()) == baseline


async def test_a_client_of_the_users_says_where_the_server_is(
    server: Server, conversation_id: str
) -> None:
    """It is used for its address alone: it stays open, and has no part in the traffic."""
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        async with AsyncConversationMemory(conversation_id, client=client) as memory:
            await memory.messages.set([b"bytes"])
            assert await memory.messages == [b"bytes"]
            with pytest.raises(TypeError, match="open it with a url"):
                pickle.dumps(memory)
        assert await client.ping()
    with (
        pytest.raises(ConfigurationError, match="asyncio"),
        redis.Redis.from_url(server.url) as wrong,
    ):
        AsyncMemory(client=wrong)


def test_repr_says_what_it_is_and_how_it_stands(server: Server) -> None:
    """Class, conversation, server and state; a handle its place; never a value or a password."""
    url = server.tcp_url.replace("//", "//:hunter2@")
    memory = AsyncConversationMemory("c-42", url, prefix="p:")
    start = f"<AsyncConversationMemory: conversation 'c-42' at {server.tcp_url}"
    assert repr(memory) == f"{start}, not yet connected>"
    place = repr(memory.profile["prefs"][0])
    assert place == "<AsyncHandle profile['prefs'][0] of conversation 'c-42'>"
    assert "hunter2" not in repr(memory.__dict__) + place


async def test_repr_follows_the_connection(proxy: FaultProxy) -> None:
    """After each call the memory shows as online or offline, and in the end as closed."""
    async with AsyncMemory(proxy.url, timeout_s=0.3) as memory:
        proxy.refuse()
        await memory.topic.set("secret value")
        assert "offline" in repr(memory)
        assert "secret" not in repr(memory)
        proxy.heal()
        assert await aio.flush(memory, 5) == 0
        await memory.topic.set("secret value")
        assert "online" in repr(memory)
        assert "secret" not in repr(memory)
    assert "closed" in repr(memory)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
async def test_a_copy_is_another_door_to_the_same_memory(
    async_mem: AsyncConversationMemory, how: Callable[[Any], AsyncConversationMemory]
) -> None:
    """Class, conversation, settings and private names are those of the original."""
    async_mem._note = "private"
    await async_mem.topic.set("billing")
    async with how(async_mem) as twin:
        assert type(twin) is AsyncConversationMemory
        assert twin.conversation_id == async_mem.conversation_id
        assert vars(twin)["_note"] == "private"
        await twin.topic.set("refunds")
    assert await async_mem.topic == "refunds"


def append_elsewhere(pickled: bytes) -> list[str]:
    """What a worker does with a memory that it was sent."""

    async def append() -> list[str]:
        async with pickle.loads(pickled) as memory:
            await memory.messages.append("there")
            return list(await memory.messages)

    return asyncio.run(append())


async def test_a_spawned_process_opens_what_it_was_sent(
    server: Server, conversation_id: str
) -> None:
    """A pickled memory carries its address, and opens its own connection there."""
    spawn = multiprocessing.get_context("spawn")
    async with AsyncConversationMemory(conversation_id, server.url) as memory:
        await memory.messages.set(["here"])
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            work = pool.submit(append_elsewhere, pickle.dumps(memory))
            seen = await asyncio.wrap_future(work)
        assert seen == await memory.messages == ["here", "there"]
