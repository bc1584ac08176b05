"""What a process holds never differs from what the server holds, in corners where it might."""

from __future__ import annotations

import gc
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from redis_memory import (
    ConversationMemory,
    CorruptValueError,
    StaleProxyError,
    clear,
    close,
    push,
    snapshot,
    wait_for,
)
from redis_memory.memory import core_of
from tests.faults import FaultProxy, named
from tests.servers import Server


def test_a_child_is_as_old_as_the_proxy_it_was_taken_from(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """A list inside that has not followed gives no element for what stands at the index now."""
    mem.data = {"a": [{"n": "x"}, {"n": "y"}], "b": 0}
    data = mem.data
    inside = data["a"]
    other.data["a"].insert(0, {"n": "z"})
    data["b"] = 1
    child = inside[0]
    with pytest.raises(StaleProxyError):
        child["k"] = 1
    assert other.data["a"] == [{"n": "z"}, {"n": "x"}, {"n": "y"}]


def test_two_proxies_of_one_list_inside_do_not_mix_up_its_elements(mem: ConversationMemory) -> None:
    """The same within one process."""
    mem.box = [["a", {"n": 1}]]
    box = mem.box
    held = box[0]
    box[0].insert(0, {"n": 2})
    with pytest.raises(StaleProxyError):
        held[1]["k"] = 1
    assert mem.box == [[{"n": 2}, "a", {"n": 1}]]


@pytest.mark.parametrize("between", ["delete", "empty", "clear"])
def test_a_list_changed_in_place_can_be_assigned_again(
    mem: ConversationMemory, other: ConversationMemory, between: str
) -> None:
    """After `held += ...`, assigning it is an assignment, once the attribute was another one."""
    mem.box = [1]
    held = mem.box
    held += [2]
    if between == "delete":
        del mem.box
    elif between == "empty":
        mem.box = []
    else:
        clear(mem)
    mem.box = held
    assert other.box == [1, 2]


@pytest.mark.parametrize(
    "read", [lambda mem: mem.box, lambda mem: wait_for(mem, "box")], ids=["read", "wait"]
)
def test_a_read_in_the_middle_of_a_read_is_not_taken_in_twice(
    mem: ConversationMemory,
    other: ConversationMemory,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[ConversationMemory], Any],
) -> None:
    """As a signal handler reads it, between the answer and its understanding."""
    mem.box = [1]
    assert mem.box == [1]
    push(other, "box", 2)
    link = core_of(mem).driver.link
    execute = link.execute
    held: list[Any] = []

    def interrupted(call: Any) -> Any:
        reply = execute(call)
        monkeypatch.undo()
        # held: else the next read would give out this very proxy, whatever the copy holds
        held.append(mem.box)
        return reply

    monkeypatch.setattr(link, "execute", interrupted)
    assert read(mem) == [1, 2]
    assert mem.box == [1, 2]
    assert held[0] == [1, 2]


def test_a_change_in_the_middle_of_a_change_is_not_made_twice_here(
    mem: ConversationMemory, other: ConversationMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal handler appends to the list that is being appended to."""
    mem.box = [1]
    box = mem.box
    link = core_of(mem).driver.link
    execute = link.execute
    signals = ["handler"]

    def interrupted(call: Any) -> Any:
        reply = execute(call)
        # once: the driver holds on to what it began with, and undoing the patch does not end it
        if signals:
            box.append(signals.pop())
        return reply

    monkeypatch.setattr(link, "execute", interrupted)
    box.append("outer")
    assert not signals
    assert box == mem.box == other.box == [1, "outer", "handler"]


def test_an_iterator_may_use_another_memory_and_take_its_time(server: Server) -> None:
    """Two threads whose iterators read each other's memories do not wait for each other."""
    ids = [uuid.uuid4().hex for _ in range(2)]
    memories = [ConversationMemory(id_, server.url) for id_ in ids]
    for memory in memories:
        memory.box = []
        memory.x = 1
    both = threading.Barrier(2, timeout=10)

    def values(other: ConversationMemory) -> Iterator[int]:
        both.wait()
        yield other.x

    def extend(at: int) -> None:
        memories[at].box.extend(values(memories[1 - at]))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(extend, range(2), timeout=10))
    assert [memory.box for memory in memories] == [[1], [1]]


def test_a_key_function_may_change_what_it_sorts(mem: ConversationMemory) -> None:
    """What it appends is kept."""
    mem.box = [3, 1, 2]
    box = mem.box

    def key(value: int) -> int:
        if len(box) == 3:
            box.append(9)
        return value

    box.sort(key=key)
    assert box == mem.box == [1, 2, 3, 9]


def test_requests_of_several_threads_share_a_few_writers(server: Server) -> None:
    """A worker that opens a memory for each request does not register a writer for each."""
    name = uuid.uuid4().hex

    def request(number: int) -> None:
        memory = ConversationMemory(name, server.url)
        push(memory, "messages", number)
        close(memory)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(request, range(200)))
    fields: Any = server.client().hkeys(f"memory:{{{name}}}")
    assert len([field for field in fields if field.startswith(b"_w")]) <= 8


def test_a_memory_that_is_collected_leaves_no_connection(server: Server) -> None:
    """Also where each was opened with a client of its own."""
    control = server.client()
    before = len(control.client_list())
    for _ in range(5):
        client = redis.Redis(unix_socket_path=str(server.socket))
        memory = ConversationMemory(uuid.uuid4().hex, client=client)
        memory.x = 1
        del memory
        client.close()
    gc.collect()
    assert len(control.client_list()) <= before + 1


def test_a_negative_index_never_becomes_the_end(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """`pop(-len)` means the first element that was seen, not whatever comes first now."""
    mem.box = [1, 2, 3]
    held = mem.box
    other.box.insert(0, 99)
    with pytest.raises(StaleProxyError):
        held.pop(-3)
    assert mem.box.pop(-4) == 99
    assert other.box == [1, 2, 3]


def test_clear_leaves_no_value_behind(server: Server, conversation_id: str) -> None:
    """Not even one that another writer took last, and whose answer might have been lost."""
    with (
        ConversationMemory(conversation_id, server.url) as mem,
        ConversationMemory(conversation_id, server.url) as other,
    ):
        mem.box = ["secret"]
        assert mem.box.pop() == "secret"
        clear(other)
        stored = server.client().hgetall(f"memory:{{{conversation_id}}}")
        assert not [value for value in stored.values() if b"secret" in value]
        mem.box = [1]
        assert other.box == [1]


def test_a_refusal_stays_the_same_when_its_answer_is_lost(
    server: Server, proxy: FaultProxy
) -> None:
    """Another type of key is told as such, whether it is heard the first or the second time."""
    name = uuid.uuid4().hex
    with ConversationMemory(name, proxy.url, timeout_s=5) as mem:
        mem.box = [1]
        server.client().set(f"memory:{{{name}}}:box", "foreign")
        proxy.lose_replies(1, when=named("EVALSHA"))
        with pytest.raises(CorruptValueError):
            push(mem, "box", 2)


def test_a_foreign_field_hides_no_attribute(server: Server, conversation_id: str) -> None:
    """Names are listed without it; who asks for everything is told."""
    with ConversationMemory(conversation_id, server.url) as mem:
        mem.topic = "billing"
        server.client().hset(f"memory:{{{conversation_id}}}", b"\xff\xfe", b"z")
        assert list(mem) == ["topic"]
        assert mem.topic == "billing"
        with pytest.raises(CorruptValueError):
            snapshot(mem)


def test_an_intersection_keeps_the_stored_spelling(mem: ConversationMemory) -> None:
    """Of equal elements, the one that is stored stays, here as on the server."""
    mem.box = {1, 2, 3}
    box = mem.box
    box &= {True, 7}
    assert [type(member) for member in box] == [type(member) for member in mem.box] == [int]


def test_names_that_were_only_asked_for_are_forgotten(mem: ConversationMemory) -> None:
    """A process that asks for ever more names grows with the last thousand of them only."""
    for number in range(2100):
        assert not hasattr(mem, f"question{number}")
    mem.answer = [1] * 10
    assert len(mem.answer) == 10
    del mem.answer
    core = core_of(mem)
    assert len(core.state.attributes) <= 1024 + 1
    assert not core.spares
