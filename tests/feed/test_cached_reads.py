"""Cached reads: no round trip, own writes at once, others' as soon as they are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest

from redis_memory import (
    ClosedError,
    ConversationMemory,
    batch,
    clear,
    close,
    increment,
    push,
    setdefault,
    snapshot,
    wait_for,
)
from redis_memory.link.driver import Driver
from redis_memory.memory import core_of
from tests.children import exit_code, in_child
from tests.faults import FaultProxy, Request
from tests.feed.listeners import has_heard, hears, knows
from tests.memory.test_missing import IDIOMS
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.faces import Face
from tests.servers import Server
from tests.waiting import wait_until

CACHED: dict[str, Any] = {"read_mode": "cached", "timeout_s": 5}
WORKERS = 8
VALUES = {"topic": "a", "log": [1, {"a": 2}], "table": {"a": [1]}, "tags": {1}, "pair": (1, [2])}


def is_asked(request: Request) -> bool:
    """Whether a request is more than the feed sends."""
    return request.name not in {b"PING", b"SUBSCRIBE", b"UNSUBSCRIBE"}


def ready(face: Face) -> None:
    """Wait until its copies may answer."""
    wait_until(lambda: hears(face.memory))  # type: ignore[attr-defined] # both faces have one


def test_a_second_read_asks_nobody(open_face: OpenFace, name: str, proxy: FaultProxy) -> None:
    """Whatever the type, and what is missing too: the first read is the last request."""
    face = open_face(name, proxy.url, **CACHED)
    for attribute, value in VALUES.items():
        face.assign(attribute, value)
    ready(face)
    for attribute, value in VALUES.items():
        assert face.read(attribute) == value
    assert not face.has("nothing")
    asked = proxy.requests_seen(is_asked)
    for _ in range(20):
        for attribute, value in VALUES.items():
            read = face.read(attribute)
            assert read == value
            assert type(read) is type(face.read(attribute))
            assert face.has(attribute)
        assert not face.has("nothing")
    assert proxy.requests_seen(is_asked) == asked


WRITES: list[tuple[Callable[[ConversationMemory], object], str, Any]] = [
    (lambda m: setattr(m, "topic", "b"), "topic", "b"),
    (lambda m: setattr(m, "topic", [1]), "topic", [1]),
    (lambda m: increment(m, "count"), "count", 1),
    (lambda m: increment(m, "count", 10**16), "count", 10**16 + 1),
    (lambda m: m.log.append(3), "log", [1, {"a": 2}, 3]),
    (lambda m: m.log.extend([4, 5]), "log", [1, {"a": 2}, 3, 4, 5]),
    (lambda m: push(m, "log", 6), "log", [1, {"a": 2}, 3, 4, 5, 6]),
    (lambda m: m.log.pop(), "log", [1, {"a": 2}, 3, 4, 5]),
    (lambda m: m.log.__setitem__(0, 0), "log", [0, {"a": 2}, 3, 4, 5]),
    (lambda m: m.log[1].update(b=3), "log", [0, {"a": 2, "b": 3}, 3, 4, 5]),
    (lambda m: m.log.__delitem__(slice(1, None)), "log", [0]),
    (lambda m: m.log.__imul__(3), "log", [0, 0, 0]),
    (lambda m: m.table["a"].append(2), "table", {"a": [1, 2]}),
    (lambda m: m.table.setdefault("b", 1), "table", {"a": [1, 2], "b": 1}),
    (lambda m: m.table.popitem(), "table", {"a": [1, 2]}),
    (lambda m: m.tags.__ior__({2}), "tags", {1, 2}),
    (lambda m: m.tags.remove(1), "tags", {2}),
    (lambda m: m.pair[1].append(3), "pair", (1, [2, 3])),
    (lambda m: delattr(m, "topic"), "topic", None),
    (lambda m: setdefault(m, "topic", "c"), "topic", "c"),
    (lambda m: setdefault(m, "topic", "d"), "topic", "c"),
    (lambda m: push(m, "fresh", 1), "fresh", [1]),
    (clear, "log", None),
    (lambda m: setattr(m, "log", []), "log", []),
]


def test_own_writes_are_seen_at_once(each_url: str, name: str) -> None:
    """Behind each write the next read shows it, also where others change the same attributes."""
    with (
        ConversationMemory(name, each_url, **CACHED) as memory,
        ConversationMemory(name, each_url) as other,
    ):
        for attribute, value in VALUES.items():
            memory[attribute] = value
        has_heard(memory)
        for write, attribute, expected in WRITES:
            for known in (*VALUES, "count", "fresh"):
                getattr(memory, known, None)
            write(memory)
            assert getattr(memory, attribute, None) == expected, (attribute, expected)
            assert getattr(other, attribute, None) == expected


BLOCKS: list[tuple[Callable[[ConversationMemory, ConversationMemory], object], str, Any]] = [
    (lambda m, _: increment(m, "count", 2), "count", 3),
    (lambda m, _: push(m, "log", 3), "log", [1, 3]),
    (lambda m, _: m.log.append(3), "log", [1, 3]),
    (lambda m, o: (m.log.append(3), o.log.append(2)), "log", [1, 2, 3]),
    (lambda m, o: (m.table.update(b=3), o.table.update(a=2)), "table", {"a": 2, "b": 3}),
    (lambda m, _: push(m, "fresh", 1), "fresh", [1]),
    (lambda m, _: setattr(m, "topic", "b"), "topic", "b"),
    (lambda m, _: delattr(m, "topic"), "topic", None),
]


@pytest.mark.parametrize(("write", "attribute", "expected"), BLOCKS)
def test_a_block_is_seen_before_the_feed_tells_of_it(
    write: Callable[[ConversationMemory, ConversationMemory], object],
    attribute: str,
    expected: Any,
    each_url: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a batch the next read shows it, also what was changed without being read."""
    with (
        ConversationMemory(name, each_url, **CACHED) as memory,
        ConversationMemory(name, each_url) as other,
    ):
        memory.topic, memory.count, memory.log, memory.table = "a", 1, [1], {"a": 1}
        has_heard(memory)
        for known in ("topic", "count", "log", "table", "fresh"):
            wait_until(lambda: (getattr(memory, known, None), knows(memory, known))[1])  # noqa: B023 - called here
        monkeypatch.setattr("redis_memory.core.feed.hear", lambda *_: None)
        with batch(memory):
            write(memory, other)
        assert getattr(memory, attribute, None) == expected


def test_what_another_thread_creates_is_not_read_as_missing(
    each_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that began when nothing was there leaves alone what was created meanwhile."""
    with ConversationMemory(name, each_url, **CACHED) as memory:
        has_heard(memory)
        wait_until(lambda: not hasattr(memory, "topic") and knows(memory, "topic"))
        core, lock = core_of(memory), core_of(memory).guard

        def guard(_: object) -> AbstractContextManager[Any]:
            monkeypatch.setattr(type(core), "guard", lock)
            memory.topic = "mine"
            return lock

        monkeypatch.setattr("redis_memory.core.feed.hear", lambda *_: None)
        monkeypatch.setattr(type(core), "guard", property(guard))
        hasattr(memory, "topic")
        assert memory.topic == "mine"


def test_what_another_thread_has_in_a_block_is_not_read(
    each_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read during which a block begins, and is undone, shows nothing of that block."""
    with ConversationMemory(name, each_url, **CACHED) as memory:
        memory.topic = "a"
        has_heard(memory)
        wait_until(lambda: memory.topic == "a" and knows(memory, "topic"))
        core = core_of(memory)
        feed, run = core._feed, Driver.run
        written, is_read = threading.Event(), threading.Event()

        def write() -> None:
            with suppress(ZeroDivisionError), batch(memory):
                memory.topic = "never stored"
                written.set()
                is_read.wait(10)
                raise ZeroDivisionError

        writer = threading.Thread(target=write)

        class Late:
            """Lets the block begin in the middle of a read."""

            @property
            def answered_s(self) -> float:
                core._feed = feed
                writer.start()
                assert written.wait(10)
                return feed.answered_s if feed is not None else 0.0

        def runs(driver: Driver, flow: Any, *arguments: Any) -> Any:
            if threading.current_thread() is not writer:
                is_read.set()  # the reader waits for the end of the block
            return run(driver, flow, *arguments)

        monkeypatch.setattr(Driver, "run", runs)
        monkeypatch.setattr(core, "_feed", Late())
        assert memory.topic == "a"
        is_read.set()
        writer.join()
        assert memory.topic == "a"


def test_held_proxies_show_what_they_do(each_url: str, name: str) -> None:
    """A held proxy, and one inside it, write through, and reads of the attribute show it."""
    with (
        ConversationMemory(name, each_url, **CACHED) as memory,
        ConversationMemory(name, each_url) as other,
    ):
        memory.log = [{"notes": []}]
        has_heard(memory)
        held, inner = memory.log, memory.log[0]["notes"]
        held.append(1)
        assert memory.log == held == [{"notes": []}, 1]
        inner.append("x")
        assert memory.log == [{"notes": ["x"]}, 1]
        push(other, "log", 2)
        held.append(3)
        assert held == memory.log == [{"notes": ["x"]}, 1, 2, 3]


def test_what_others_do_is_seen_soon(each_url: str, open_face: OpenFace, name: str) -> None:
    """Each remote change is read within moments, without a wish to see it; the missing too."""
    face = open_face(name, each_url, **CACHED)
    with ConversationMemory(name, each_url) as other:
        ready(face)
        assert not face.has("log")
        other.log = []
        wait_until(lambda: face.has("log"), 1.0)
        for turn in range(30):
            push(other, "log", turn)
            wait_until(lambda: face.read("log")[-1:] == [turn], 1.0)  # noqa: B023 - called here
        assert face.read("log") == list(range(30))
        other.log[3] = "changed"
        wait_until(lambda: face.read("log")[3] == "changed", 1.0)
        del other.log
        wait_until(lambda: not face.has("log"), 1.0)
        other.topic = "a"
        wait_until(lambda: face.has("topic"), 1.0)
        clear(other)
        wait_until(lambda: not face.has("topic"), 1.0)


def test_two_memories_of_one_process_see_each_other(each_url: str, name: str) -> None:
    """So do two objects of one conversation in one process, both cached."""
    with (
        ConversationMemory(name, each_url, **CACHED) as one,
        ConversationMemory(name, each_url, **CACHED) as two,
    ):
        one.log = two.tags = []
        for turn in range(30):
            one.log.append(turn)
            wait_until(lambda: len(two.log) == turn + 1, 1.0)  # noqa: B023 - called here
            two.tags = [turn]
            wait_until(lambda: one.tags == [turn], 1.0)  # noqa: B023


def test_many_workers_create_once(server: Server, name: str) -> None:
    """`if not hasattr(mem, "messages"): mem.messages = []` of 8 cached workers loses nothing."""

    def work(worker: int) -> None:
        with ConversationMemory(name, server.url, **CACHED) as memory:
            has_heard(memory)
            wait_for(memory, "go", timeout_s=10)
            for number in range(20):
                IDIOMS[number % len(IDIOMS)](memory, f"messages{number}", [])
                memory[f"messages{number}"].append((worker, number))

    pids = [in_child(lambda worker=worker: work(worker)) for worker in range(WORKERS)]  # type: ignore[misc] # mypy infers no default arguments
    with ConversationMemory(name, server.url) as memory:
        memory.go = True
        assert [exit_code(pid) for pid in pids] == [0] * WORKERS
        for number in range(20):
            expected = [(worker, number) for worker in range(WORKERS)]
            assert sorted(memory[f"messages{number}"]) == expected


def test_threads_share_a_cached_memory(each_url: str, name: str) -> None:
    """Threads that read and write one memory see their own writes, and no version goes back."""
    failures: list[BaseException] = []

    def work(memory: ConversationMemory, own: str) -> None:
        try:
            seen = 0
            for turn in range(150):
                memory[own] = turn
                assert memory[own] == turn
                memory.log.append((own, turn))
                mine = [entry[1] for entry in memory.log if entry[0] == own]
                assert mine == list(range(turn + 1))
                increment(memory, "count")
                assert memory.count > seen
                seen = memory.count
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            failures.append(error)

    with ConversationMemory(name, each_url, **CACHED) as memory:
        memory.log = []
        threads = [threading.Thread(target=work, args=(memory, f"own{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert memory.count == 600


def test_a_closed_memory_answers_nothing(each_url: str, name: str) -> None:
    """A read after `close` raises, though a copy would have answered."""
    memory = ConversationMemory(name, each_url, **CACHED)
    memory.topic = "a"
    has_heard(memory)
    assert memory.topic == "a"
    close(memory)
    with pytest.raises(ClosedError):
        _ = memory.topic
    with pytest.raises(ClosedError):
        hasattr(memory, "other")


def test_both_sides_of_a_fork_are_right(server: Server, name: str) -> None:
    """Parent and child go on in cached mode, each with a feed of its own."""
    with ConversationMemory(name, server.url, **CACHED) as memory:
        memory.log = ["parent"]
        has_heard(memory)
        assert memory.log == ["parent"]

        def work() -> None:
            assert memory.log == ["parent"]
            memory.log.append("child")
            assert memory.log == ["parent", "child"]
            wait_until(lambda: hears(memory) and memory.log and knows(memory, "log"))
            memory.told = True
            wait_until(lambda: memory.log[-1] == "parent again")

        pid = in_child(work)
        wait_until(lambda: getattr(memory, "told", False))
        assert memory.log == ["parent", "child"]
        assert hears(memory)
        push(memory, "log", "parent again")
        assert exit_code(pid) == 0


def test_offline_copies_answer_and_back_again(
    server: Server, open_face: OpenFace, name: str
) -> None:
    """Away, reads show the copies with own waiting writes; back, what others did meanwhile."""
    with FaultProxy(server.url) as proxy, ConversationMemory(name, server.url) as other:
        face = open_face(name, proxy.url, read_mode="cached")
        face.assign("topic", "a")
        face.assign("log", [1])
        ready(face)
        assert face.read("topic") == "a"
        proxy.refuse()
        other.topic = "meanwhile"
        push(other, "log", "theirs")
        face.push("log", 2)
        assert face.read("log") == [1, 2]
        assert face.status().queued
        assert face.read("topic") == "a"
        proxy.heal()
        assert face.flush() == 0
        wait_until(lambda: face.read("topic") == "meanwhile")
        assert face.read("log") == [1, "theirs", 2]
        ready(face)
        assert face.snapshot() == snapshot(other)


def test_a_new_memory_reads_before_it_hears(
    open_memory: OpenMemory, server: Server, name: str
) -> None:
    """What is read before the feed listens is asked again, so that nothing is missed between."""
    with ConversationMemory(name, server.url) as other:
        for turn in range(40):
            other.turn = turn
            memory = open_memory(name, server.url, read_mode="cached")
            assert memory.turn == turn
            other.turn = -turn
            wait_until(lambda: memory.turn == -turn, 1.0)  # noqa: B023 - called here
            close(memory)
