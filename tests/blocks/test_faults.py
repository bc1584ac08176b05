"""Blocks are made exactly once and as a whole, whatever happens on the way and to the server."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redis_memory import (
    ConflictError,
    ConversationMemory,
    DataLossWarning,
    InDoubtError,
    OfflineError,
    QueueFullError,
    batch,
    clear,
    conflicts,
    flush,
    increment,
    push,
    snapshot,
    status,
    transaction,
)
from redis_memory.core.scripts import SCRIPTS
from tests.alarms import interrupted
from tests.children import Child
from tests.faults import FaultProxy, Loss, Request
from tests.outages.processes import adopt, stored
from tests.servers import Server
from tests.waiting import wait_until

QUICKLY: dict[str, Any] = {"timeout_s": 0.3, "reconnect_max_s": 0.05, "close_timeout_s": 1.0}


def is_block(request: Request) -> bool:
    """Whether a request sends a block."""
    script = SCRIPTS["together"]
    return bool(request.arguments) and request.arguments[0] in (script.sha, script.source)


@pytest.fixture
def mem(name: str, proxy: FaultProxy) -> Iterator[ConversationMemory]:
    """A memory behind the proxy, that soon gives a server up."""
    with ConversationMemory(name, proxy.url, **QUICKLY) as memory:
        yield memory


@pytest.fixture
def other(name: str, server: Server) -> Iterator[ConversationMemory]:
    """The same conversation past the proxy."""
    with ConversationMemory(name, server.url, timeout_s=5) as memory:
        yield memory


def lose_server(mem: ConversationMemory, proxy: FaultProxy) -> None:
    """Take the server away, and have this process notice."""
    proxy.refuse()
    assert not status(mem).online


def find_server(mem: ConversationMemory, proxy: FaultProxy) -> None:
    """Give the server back, and wait until nothing waits any more."""
    proxy.heal()
    assert flush(mem, 8) == 0
    wait_until(lambda: status(mem).online)


@pytest.mark.parametrize("how", ["reset", "eof", "half"])
@pytest.mark.parametrize("opener", [batch, transaction])
def test_a_lost_reply_makes_nothing_twice(
    name: str,
    other: ConversationMemory,
    proxy: FaultProxy,
    how: Loss,
    opener: Any,
) -> None:
    """The same block is sent again under its number, 50 times."""
    # patient: a busy machine must not make of a lost reply a lost server
    with ConversationMemory(name, proxy.url, timeout_s=10) as mem:
        mem.items, mem.count = [], 0
        items = mem.items
        for number in range(50):
            proxy.lose_replies(how=how, when=is_block)
            with opener(mem):
                items.append(number)
                increment(mem, "count")
                push(mem, "log", number)
            proxy.heal()
        assert items == list(range(50))
    assert snapshot(other) == {"items": list(range(50)), "count": 50, "log": list(range(50))}


def test_a_lost_refusal_is_a_refusal(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """The answer that arrives at last is that of the first time."""
    mem.items = [1]
    for _ in range(10):
        proxy.lose_replies(when=is_block)
        with pytest.raises(ConflictError) as caught, batch(mem):
            mem.items[0] = 2
            mem.more = 1
            other.items = [1]
        assert caught.value.names == ("items",)
        proxy.heal()
    assert snapshot(other) == {"items": [1]}


def test_a_batch_waits_as_one_change(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """While the server is away it is readable here; then it is made as a whole."""
    mem.items, mem.data, mem.count = [1, 2, 3], {"a": {"b": []}}, 5
    assert (mem.items, mem.data, mem.count) == ([1, 2, 3], {"a": {"b": []}}, 5)
    lose_server(mem, proxy)
    items = mem.items
    with batch(mem):
        items.append(4)
        items[0] = 10
        mem.data["a"]["b"].append(1)
        increment(mem, "count", 2)
        push(mem, "log", "x")
        mem.fresh = {"k": 1}
        mem.fresh["l"] = 2
    assert status(mem).queued == 1
    items.append(5)
    assert (items, mem.count) == ([10, 2, 3, 4, 5], 7)
    assert other.count == 5
    find_server(mem, proxy)
    expected = {
        "items": [10, 2, 3, 4, 5],
        "data": {"a": {"b": [1]}},
        "count": 7,
        "log": ["x"],
        "fresh": {"k": 1, "l": 2},
    }
    assert snapshot(other) == snapshot(mem) == expected
    assert conflicts(mem) == []


def test_a_batch_that_raises_while_the_server_is_away_leaves_nothing(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """Behind changes that wait already; those are made."""
    mem.items, mem.count = [1], 5
    assert mem.items == [1]
    lose_server(mem, proxy)
    mem.items.append(2)
    with pytest.raises(KeyError), batch(mem):
        mem.items.append(3)
        mem.count = 6
        clear(mem)
        raise KeyError
    assert (mem.items, mem.count, status(mem).queued) == ([1, 2], 5, 1)
    mem.items.append(4)
    find_server(mem, proxy)
    assert snapshot(other) == snapshot(mem) == {"items": [1, 2, 4], "count": 5}


@pytest.mark.parametrize("is_applied", [True, False], ids=["applied", "not applied"])
def test_a_batch_that_meets_the_outage_at_its_end_waits(
    mem: ConversationMemory,
    other: ConversationMemory,
    proxy: FaultProxy,
    is_applied: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    """Whether the server has made it or not: in the end it is made once."""
    mem.items, mem.state = [1], "old"
    items = mem.items
    with batch(mem):
        items.append(2)
        mem.state = "new"
        push(mem, "log", 1)
        if is_applied:
            proxy.lose_replies(math.inf, how="timeout")
        else:
            proxy.stall()
    assert status(mem).queued == 1
    assert mem.items == [1, 2]
    mem.state = "newer"
    mem.items.append(3)
    find_server(mem, proxy)
    assert snapshot(other) == {"items": [1, 2, 3], "state": "newer", "log": [1]}
    assert conflicts(mem) == []


def test_changes_in_a_batch_that_waited_meet_those_of_others_one_by_one(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """What is not made is reported, and the rest is made."""
    mem.items, mem.state, mem.count = [1, 2], "old", 0
    assert (mem.items, mem.state) == ([1, 2], "old")
    lose_server(mem, proxy)
    with batch(mem):
        mem.items[0] = "mine"
        mem.items.append(3)
        mem.state = "mine"
        increment(mem, "count")
    other.items.insert(0, "theirs")
    other.state = "theirs"
    increment(other, "count", 10)
    find_server(mem, proxy)
    assert snapshot(other) == {"items": ["theirs", 1, 2, 3], "state": "theirs", "count": 11}
    told = [(each.name, each.reason, each.winner, each.mine) for each in conflicts(mem)]
    assert told == [("items", "moved", "theirs", "mine"), ("state", "newer", "theirs", "mine")]


def test_one_bad_change_in_a_batch_that_waited_does_not_hold_up_the_others(
    name: str, mem: ConversationMemory, other: ConversationMemory, server: Server, proxy: FaultProxy
) -> None:
    """A foreign key in the way refuses that one, which is reported; those behind it are made."""
    mem.items, mem.log = [1], ["a"]
    lose_server(mem, proxy)
    with batch(mem):
        push(mem, "items", 2)
        push(mem, "log", "b")
        push(mem, "items", 3)
    client: Any = server.client()
    client.delete(f"memory:{{{name}}}:log")
    client.set(f"memory:{{{name}}}:log", "foreign")
    find_server(mem, proxy)
    assert other.items == [1, 2, 3]
    told = [(each.name, each.reason, each.mine) for each in conflicts(mem)]
    assert told == [("log", "refused", ["b"])]


def test_a_function_that_decides_is_not_asked_in_the_middle(
    name: str, server: Server, proxy: FaultProxy
) -> None:
    """The newer one wins there, and it is reported."""
    asked: list[Any] = []
    with (
        ConversationMemory(name, proxy.url, conflict=asked.append, **QUICKLY) as mem,
        ConversationMemory(name, server.url) as other,
    ):
        mem.state = "old"
        lose_server(mem, proxy)
        other.state = "theirs"
        with batch(mem):
            mem.state = "mine"
            mem.more = 1
        find_server(mem, proxy)
        assert asked == []
        assert snapshot(other) == {"state": "mine", "more": 1}
        assert [(each.name, each.winner) for each in conflicts(mem)] == [("state", "mine")]


def test_clear_in_a_batch_that_waits(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """It deletes what the server knows and this process does not, and what follows is kept."""
    other.unknown, other.value = [1], 1
    assert mem.value == 1
    lose_server(mem, proxy)
    with batch(mem):
        mem.before = 1
        clear(mem)
        mem.items = [1]
    find_server(mem, proxy)
    assert snapshot(other) == {"items": [1]}


def test_what_hands_out_something_does_not_wait(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """A batch with `pop` in it raises at its end, and nothing of it is made."""
    mem.items = [1, 2]
    items = mem.items
    lose_server(mem, proxy)
    with pytest.raises(OfflineError), batch(mem):
        mem.more = 1
        assert items.pop() == 2
    assert items == [1, 2]
    assert status(mem).queued == 0
    find_server(mem, proxy)
    assert snapshot(other) == {"items": [1, 2]}


def test_an_end_in_doubt_is_all_or_nothing(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """A transaction whose answer never comes was made as a whole, and once."""
    mem.a = mem.b = 0
    for number in range(1, 4):
        with pytest.raises(InDoubtError), transaction(mem):
            mem.a = mem.b = number
            proxy.lose_replies(math.inf, how="timeout")
        find_server(mem, proxy)
        assert mem.a == mem.b == other.a
        mem.a = mem.b = number


def test_a_full_queue_takes_nothing_of_a_batch(
    name: str, server: Server, proxy: FaultProxy
) -> None:
    """The block raises, and reads show what was there before."""
    with (
        ConversationMemory(name, proxy.url, queue_operations=1, **QUICKLY) as mem,
        ConversationMemory(name, server.url) as other,
    ):
        mem.a = 0
        lose_server(mem, proxy)
        mem.a = 1
        with pytest.raises(QueueFullError), batch(mem):
            mem.a = 2
            mem.b = 2
        assert mem.a == 1
        find_server(mem, proxy)
        assert snapshot(other) == {"a": 1}


def test_a_batch_in_a_journal_is_made_by_the_next_process(
    name: str, own_server: Server, folder: Path
) -> None:
    """As one change, by whoever opens the folder."""

    def work(child: Child) -> None:
        mem = ConversationMemory(name, own_server.url, journal=folder, **QUICKLY)
        mem.items = [1]
        items = mem.items
        child.tell()
        child.wait()
        assert not status(mem).online
        with batch(mem):
            items.append(2)
            mem.more = {"a": 1}
        assert status(mem).queued == 1
        child.tell()
        child.wait()

    child = Child(work)
    child.reached()
    own_server.stop()
    child.go()
    child.reached()
    child.kill()
    own_server.start()
    adopt(name, own_server.url, folder)
    assert stored(name, own_server) == {"items": [1, 2], "more": {"a": 1}}


@pytest.fixture
def keeping_server() -> Iterator[Server]:
    """A server that loses nothing when it is killed."""
    with Server(appendonly="yes", appendfsync="always") as server:
        yield server


def test_a_killed_server_has_all_of_a_batch_or_nothing(name: str, keeping_server: Server) -> None:
    """Readers and the server that is started again see whole batches only, in their order."""
    server = keeping_server
    stop = threading.Event()
    torn: list[dict[str, Any]] = []

    def read() -> None:
        with ConversationMemory(name, server.url, timeout_s=0.5) as reader:
            while not stop.is_set():
                try:
                    seen = snapshot(reader)
                except OfflineError:
                    continue
                if seen and not (seen["count"] == seen["number"] == len(seen["items"])):
                    torn.append(seen)

    thread = threading.Thread(target=read)
    thread.start()
    made = 0
    with ConversationMemory(name, server.url, timeout_s=5) as mem:
        for _ in range(5):
            server_killer = threading.Timer(0.05, server.kill)
            server_killer.start()
            while server_killer.is_alive():
                made += 1
                with batch(mem):
                    mem.number = made
                    push(mem, "items", made)
                    increment(mem, "count")
            server_killer.join()
            server.start()
            assert flush(mem, 8) == 0
            wait_until(lambda: status(mem).online)
            assert snapshot(mem) == {
                "number": made,
                "items": list(range(1, made + 1)),
                "count": made,
            }
    stop.set()
    thread.join(10)
    assert torn == []


def test_a_batch_that_the_server_forgot_is_made_again(name: str, own_server: Server) -> None:
    """It is remembered as other changes are, and made again as a whole."""
    with ConversationMemory(name, own_server.url, timeout_s=1) as mem:
        mem.items = [0]
        with batch(mem):
            mem.items.append(1)
            mem.count = 1
        own_server.client().flushall()
        with pytest.warns(DataLossWarning):
            mem.more = 1
        assert snapshot(mem) == {"items": [0, 1], "count": 1, "more": 1}


def test_a_connection_that_breaks_in_the_middle_changes_nothing(
    mem: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """The block goes on with what it has seen and done; the end tells whether that is still so."""
    mem.items, mem.data, mem.count = [1, 2], {"a": [1]}, 1
    items, inner = mem.items, mem.data["a"]
    for is_good in (True, False):
        try:
            with transaction(mem):
                assert mem.count == 1
                items.append(3)
                inner.append(2)
                proxy.drop()
                assert not hasattr(mem, "title")
                items[0] = 10
                inner[0] = 20
                assert (mem.items, mem.data) == ([10, 2, 3], {"a": [20, 2]})
                if not is_good:
                    raise KeyError
        except KeyError:
            pass
        else:
            assert snapshot(other) == {"items": [10, 2, 3], "data": {"a": [20, 2]}, "count": 1}
            other.items, other.data = [1, 2], {"a": [1]}
            items, inner = mem.items, mem.data["a"]
    assert (items, inner) == ([1, 2], [1])
    items.append(3)
    inner.append(2)
    assert snapshot(other) == {"items": [1, 2, 3], "data": {"a": [1, 2]}, "count": 1}


def test_a_server_that_lost_its_data_in_the_middle_is_noticed(
    name: str, own_server: Server
) -> None:
    """What the block relied on is made again, and is another state by then."""
    with ConversationMemory(name, own_server.url, timeout_s=1) as mem:
        mem.items = [1]

        def work() -> None:
            with transaction(mem):
                mem.items.append(2)
                own_server.client().flushall()

        with pytest.warns(DataLossWarning), pytest.raises(ConflictError):
            work()
        assert mem.items == [1]
        with transaction(mem):
            mem.items.append(3)
        assert mem.items == [1, 3]


def test_an_interrupt_anywhere_leaves_all_or_nothing(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """At any line of the library, also while the block is sent; and the next block works."""
    mem.number, mem.items = 0, []

    def work(number: int) -> None:
        with batch(mem):
            mem.number = number
            mem.items.append(number)
            push(mem, "log", number)

    for number in itertools.count(1):
        is_cut = interrupted(
            partial(work, number),
            number,
            # real signals are not seen between the end of a call and the release of a lock
            within=lambda path: "redis_memory/core" in path or path.endswith("/face.py"),
            at_the_end_of_with=False,
        )
        seen = snapshot(other)
        items = seen["items"]
        assert items == seen.get("log", []) == sorted(set(items))
        assert seen["number"] == (items[-1] if items else 0)
        assert mem.items == items
        if not is_cut:
            break
    assert items[-1] == number
