"""What can be done with a memory: snapshot, push, window, setdefault, clear, status, close."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from redis_memory import (
    ClosedError,
    ConversationMemory,
    InvalidNameError,
    Memory,
    StaleProxyError,
    SyncedList,
    UnstorableValueError,
    WrongKindError,
    clear,
    close,
    increment,
    push,
    setdefault,
    snapshot,
    status,
    window,
)
from tests.faults import FaultProxy
from tests.servers import Server
from tests.waiting import wait_until

BOUNDS = st.none() | st.integers(-13, 13) | st.sampled_from([2**40, -(2**40), 2**70, -(2**70)])


def test_a_snapshot_holds_every_attribute_in_plain_values(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Built-in types at every depth, detached, whether they were read before or not."""
    expected = {
        "a b": [{"x": [1]}],
        "d": {"k": {1}},
        "n": 5,
        "s": {(1, 2)},
        "t": (1, [2]),
        "z": None,
    }
    for name, value in expected.items():
        mem[name] = value
    for memory in (mem, other, other):
        found = snapshot(memory)
        assert found == expected
        assert list(found) == sorted(expected)
        assert type(found["a b"]) is type(found["a b"][0]["x"]) is list
        assert type(found["d"]) is dict
        found["a b"][0]["x"].append(2)
        found["d"].clear()
    assert snapshot(mem) == snapshot(other) == expected


def test_a_snapshot_is_of_one_moment(each_url: str, conversation_id: str) -> None:
    """What was written first is never missing beside what was written later."""
    with (
        ConversationMemory(conversation_id, each_url) as writer,
        ConversationMemory(conversation_id, each_url) as reader,
        ThreadPoolExecutor(1) as pool,
    ):

        def write() -> None:
            for number in range(60):
                writer.first = [number]
                writer.second = number
                setattr(writer, f"box{number % 3}", [number])

        writing = pool.submit(write)
        while not writing.done():
            found = snapshot(reader)
            if "second" in found:
                assert found["first"][0] - found["second"] in (0, 1)
        writing.result()


def test_push_creates_a_list_and_appends_to_it(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """It returns the length after the last value, whoever appended before."""
    assert push(mem, "messages", {"role": "user"}) == 1
    assert push(other, "messages", "a", [1]) == 3
    assert push(mem, "messages") == 3
    held = mem.messages
    assert push(mem, "messages", "b") == 4
    held.append("c")
    assert held == other.messages == [{"role": "user"}, "a", [1], "b", "c"]


def test_push_does_not_read_the_list(proxy: FaultProxy, conversation_id: str) -> None:
    """One round trip of a few bytes, however long the list is."""
    with ConversationMemory(conversation_id, proxy.url) as memory:
        memory.messages = ["x" * 100] * 1_000
        push(memory, "messages", "y")
        sent, delivered = proxy.requests, proxy.delivered
        assert push(memory, "messages", "z") == 1_002
        assert proxy.requests - sent == 1
        assert proxy.delivered - delivered < 400


@pytest.mark.parametrize("value", [{"a": 1}, {1}, (1,), 5, None, "text"], ids=repr)
def test_push_and_window_want_a_list(mem: ConversationMemory, value: Any) -> None:
    """An attribute of another kind stays as it is, and the error is a TypeError as well."""
    mem.box = value
    for use in (lambda: push(mem, "box", 1), lambda: window(mem, "box")):
        with pytest.raises(WrongKindError, match="'box' exists and is no list") as caught:
            use()
        assert isinstance(caught.value, TypeError)
    assert mem.box == value


def test_push_refuses_what_cannot_be_stored(mem: ConversationMemory) -> None:
    """Of several values none is appended, and no list is created."""
    with pytest.raises(UnstorableValueError, match="messages"):
        push(mem, "messages", 1, [object()])
    assert not hasattr(mem, "messages")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 11), start=BOUNDS, stop=BOUNDS)
@example(size=5, start=-100, stop=0)
@example(size=5, start=0, stop=-100)
@example(size=5, start=3, stop=2)
@example(size=5, start=None, stop=-5)
def test_a_window_is_a_slice(
    mem: ConversationMemory, size: int, start: int | None, stop: int | None
) -> None:
    """`window(memory, name, start, stop)` is `list[start:stop]`, wherever the bounds lie."""
    values = [[number] for number in range(size)]
    mem.box = values
    found = window(mem, "box", start, stop)
    assert found == values[start:stop]
    assert type(found) is list


def test_a_window_is_plain_and_leaves_the_rest(proxy: FaultProxy, conversation_id: str) -> None:
    """The last few of many messages come alone, in one round trip, detached."""
    with (
        ConversationMemory(conversation_id, proxy.url) as far,
        ConversationMemory(conversation_id, proxy.url) as near,
    ):
        near.messages = [{"n": number, "text": "x" * 100} for number in range(1_000)]
        window(far, "messages", 0, 1)
        sent, delivered = proxy.requests, proxy.delivered
        last = window(far, "messages", -2)
        assert proxy.requests - sent == 1
        assert proxy.delivered - delivered < 600
        assert [message["n"] for message in last] == [998, 999]
        last[0].clear()
        assert len(far.messages[998]) == 2


def test_a_window_of_nothing_is_an_attribute_error(mem: ConversationMemory) -> None:
    """As reading a missing attribute is."""
    with pytest.raises(AttributeError, match="'messages'") as caught:
        window(mem, "messages", 0, 5)
    assert (caught.value.name, caught.value.obj) == ("messages", mem)


@pytest.mark.parametrize("bound", [1.5, "1", [1]], ids=repr)
def test_a_window_wants_whole_numbers(mem: ConversationMemory, bound: Any) -> None:
    """What a slice refuses, this refuses."""
    mem.box = [1, 2, 3]
    with pytest.raises(TypeError):
        window(mem, "box", bound)
    with pytest.raises(TypeError):
        window(mem, "box", None, bound)


@pytest.mark.parametrize("value", [[{"a": 1}], {}, {1}, 5, None, "x", (1, [2])], ids=repr)
def test_setdefault_stores_once(
    mem: ConversationMemory, other: ConversationMemory, value: Any
) -> None:
    """The first one creates it, and everybody gets what is there then; None is there too."""
    assert setdefault(mem, "box", value) == value
    assert setdefault(other, "box", "another") == value
    assert setdefault(mem, "box", ["more"]) == value
    assert snapshot(mem) == {"box": value}


def test_setdefault_gives_what_reading_gives(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """A list comes as a proxy that writes through, for whoever created it and for the others."""
    mine = ["first"]
    setdefault(mem, "box", mine).append("second")
    found = setdefault(other, "box", [])
    assert type(found) is SyncedList
    found.append("third")
    assert mine == ["first"]
    assert mem.box == ["first", "second", "third"]


def test_of_many_workers_one_creates(each_url: str, conversation_id: str) -> None:
    """All that ask at the same moment get the same value."""
    workers, rounds = 6, 10
    barrier = threading.Barrier(workers)

    def work(worker: int) -> list[Any]:
        with ConversationMemory(conversation_id, each_url) as memory:
            found = []
            for number in range(rounds):
                barrier.wait()
                found.append(setdefault(memory, f"role{number}", {"worker": worker}).asdict())
            return found

    with ThreadPoolExecutor(workers) as pool:
        first, *others = pool.map(work, range(workers))
    assert others == [first] * (workers - 1)


def test_setdefault_refuses_what_cannot_be_stored(mem: ConversationMemory) -> None:
    """Whether there is a value already or not."""
    for _ in range(2):
        with pytest.raises(UnstorableValueError):
            setdefault(mem, "box", [object()])
        mem.box = 1
    assert mem.box == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda memory, name: push(memory, name, 1),
        increment,
        lambda memory, name: setdefault(memory, name, 1),
    ],
    ids=["push", "increment", "setdefault"],
)
@pytest.mark.parametrize("name", ["", "_hidden", "n" * 513, 5, "conversation_id"])
def test_no_function_writes_under_a_name_that_is_not_the_users(
    mem: ConversationMemory, use: Callable[[Any, Any], object], name: Any
) -> None:
    """What cannot be assigned cannot be stored by other ways."""
    with pytest.raises(InvalidNameError):
        use(mem, name)
    assert snapshot(mem) == {}


def test_clear_deletes_every_attribute(mem: ConversationMemory, other: ConversationMemory) -> None:
    """Of all kinds, whether this worker has read them or not; what was held is stale."""
    mem.topic, mem.messages, mem.profile, mem.tags = "billing", [1], {"a": [1]}, {1}
    held, nested = mem.messages, mem.profile["a"]
    for clearing in (other, mem):
        clear(clearing)
        assert list(mem) == list(other) == []
        assert snapshot(mem) == {}
        assert not hasattr(mem, "messages")
    with pytest.raises(StaleProxyError):
        held.append(2)
    with pytest.raises(StaleProxyError):
        nested.append(2)
    mem.messages = ["new"]
    assert other.messages == ["new"]


def test_clear_leaves_nothing_behind_but_its_fence(server: Server, conversation_id: str) -> None:
    """One small key, which expires, keeps late writers from bringing the old state back."""
    with ConversationMemory(conversation_id, server.url) as memory:
        memory.messages, memory.profile, memory.topic = ["x" * 1_000] * 100, {"a": 1}, "x"
        clear(memory)
        admin: Any = server.client()
        (key,) = admin.keys()
        assert admin.memory_usage(key) < 1_000
        assert 0 < admin.ttl(key) <= 7 * 86_400
        memory.topic = "new"
        assert admin.ttl(key) == -1
        del memory.topic
        assert 0 < admin.ttl(key) <= 7 * 86_400


def test_status_says_how_a_memory_stands(proxy: FaultProxy, server: Server) -> None:
    """Online or not, where, how long a round trip takes, how often it connected again."""
    with Memory(proxy.url, timeout_s=0.5, prefix=f"{uuid.uuid4()}:") as memory:
        memory.topic = "secret value"
        now = status(memory)
        assert (now.online, now.reconnects, now.data_loss) == (True, 0, 0)
        assert (now.server, now.read_mode) == (f"redis://127.0.0.1:{proxy.port}", "strong")
        assert now.round_trip_s is not None
        assert 0 < now.round_trip_s < 0.5
        assert "secret" not in repr(now)
        proxy.refuse()
        away = status(memory)
        assert (away.online, away.round_trip_s) == (False, None)
        proxy.heal()
        wait_until(lambda: status(memory).online, what="the memory to find the server again")
        back = status(memory)
        assert back.reconnects > now.reconnects


@pytest.mark.parametrize(
    "use",
    [
        lambda memory: memory.box,
        lambda memory: memory["box"],
        lambda memory: setattr(memory, "box", 1),
        lambda memory: delattr(memory, "box"),
        lambda memory: "box" in memory,
        list,
        len,
        dir,
        snapshot,
        clear,
        status,
        lambda memory: push(memory, "box", 1),
        lambda memory: window(memory, "box"),
        lambda memory: increment(memory, "n"),
        lambda memory: setdefault(memory, "box", 1),
    ],
    ids=[
        *("read", "item", "write", "delete", "in", "iter", "len", "dir", "snapshot", "clear"),
        *("status", "push", "window", "increment", "setdefault"),
    ],
)
def test_a_closed_memory_says_so(mem: ConversationMemory, use: Callable[[Any], object]) -> None:
    """Whatever is asked of it; closing it once more does nothing."""
    mem.box = [[1]]
    held, inner = mem.box, mem.box[0]
    close(mem)
    close(mem)
    for call in (lambda: use(mem), lambda: held.append(1), lambda: inner.append(1)):
        with pytest.raises(ClosedError):
            call()
    assert held == [[1]]


def test_closing_one_memory_leaves_the_others(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Memories share connections, and the last one to be closed closes them."""
    mem.topic = "billing"
    close(mem)
    assert other.topic == "billing"
    other.topic = "refunds"
    assert other.topic == "refunds"


def test_the_last_memory_to_be_closed_closes_the_connections(own_server: Server) -> None:
    """The server is left without any client but the one that counts."""
    admin = own_server.client()
    memories = [ConversationMemory(each, own_server.url) for each in "abc"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda memory: setattr(memory, "topic", 1), memories))
    for memory in memories[:2]:
        close(memory)
    assert memories[2].topic == 1
    assert len(admin.client_list()) > 1
    close(memories[2])
    wait_until(lambda: len(admin.client_list()) == 1, what="the connections to end")
