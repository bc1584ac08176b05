"""`if not hasattr(mem, "messages"): mem.messages = []`, run by many at once, loses no message."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest

from redis_memory import ConversationMemory, clear, push, setdefault, snapshot, window
from tests.servers import Server

WORKERS = 8
ROUNDS = 12
LIMIT_S = 20.0


def by_hasattr(memory: Any, name: str, value: Any) -> None:
    """Ask whether it is there."""
    if not hasattr(memory, name):
        setattr(memory, name, value)


def by_membership(memory: Any, name: str, value: Any) -> None:
    """The same by item."""
    if name not in memory:
        memory[name] = value


def by_default(memory: Any, name: str, value: Any) -> None:
    """Take None for a missing one."""
    if getattr(memory, name, None) is None:
        setattr(memory, name, value)


def by_attribute_error(memory: Any, name: str, value: Any) -> None:
    """Try it."""
    try:
        getattr(memory, name)
    except AttributeError:
        setattr(memory, name, value)


def by_key_error(memory: Any, name: str, value: Any) -> None:
    """Try it by item."""
    try:
        memory[name]
    except KeyError:
        memory[name] = value


IDIOMS = [by_hasattr, by_membership, by_default, by_attribute_error, by_key_error]
EMPTY: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "list": ([], lambda box: box.append("theirs")),
    "dict": ({}, lambda box: box.update(theirs=1)),
    "set": (set(), lambda box: box.add("theirs")),
}


def begin_and_append(memory: ConversationMemory, worker: int, number: int) -> None:
    """What everybody writes."""
    name = f"messages{number}"
    IDIOMS[number % len(IDIOMS)](memory, name, [])
    memory[name].append((worker, number))


def check_all_are_there(memory: ConversationMemory) -> None:
    """Each worker has one message in each list."""
    for number in range(ROUNDS):
        expected = [(worker, number) for worker in range(WORKERS)]
        assert sorted(memory[f"messages{number}"]) == expected


def work_in_a_process(worker: int, url: str, conversation_id: str, start: Barrier) -> None:
    """What each child does, with a memory of its own."""
    with ConversationMemory(conversation_id, url) as memory:
        for number in range(ROUNDS):
            start.wait(LIMIT_S)
            begin_and_append(memory, worker, number)


def test_eight_processes_lose_nothing(each_server: Server, conversation_id: str) -> None:
    """All of them see the attribute missing at the same moment, again and again."""
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(WORKERS)
    children = [
        fork.Process(
            target=work_in_a_process, args=(worker, each_server.url, conversation_id, start)
        )
        for worker in range(WORKERS)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(LIMIT_S)
    assert [child.exitcode for child in children] == [0] * WORKERS
    with ConversationMemory(conversation_id, each_server.url) as memory:
        check_all_are_there(memory)


def test_eight_threads_of_one_memory_lose_nothing(mem: ConversationMemory) -> None:
    """What one thread saw missing may have been created by another thread meanwhile."""
    start = threading.Barrier(WORKERS)

    def work(worker: int) -> None:
        for number in range(ROUNDS):
            start.wait(LIMIT_S)
            begin_and_append(mem, worker, number)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    check_all_are_there(mem)


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("idiom", IDIOMS)
def test_what_was_created_meanwhile_is_kept(
    mem: ConversationMemory, other: ConversationMemory, idiom: Callable[..., None], kind: str
) -> None:
    """The empty container is created only if the attribute is still absent."""
    empty, fill = EMPTY[kind]

    class Late:
        """The memory as a worker meets it who is overtaken between its question and its answer."""

        def overtaken(self, name: str, value: Any) -> None:
            other.box = empty
            fill(other.box)
            mem[name] = value

        __setattr__ = __setitem__ = overtaken

        def __getattr__(self, name: str) -> Any:
            return getattr(mem, name)

        def __getitem__(self, name: str) -> Any:
            return mem[name]

        def __contains__(self, name: str) -> bool:
            return name in mem

    idiom(Late(), "box", empty)
    expected = type(empty)(empty)
    fill(expected)
    assert mem.box == other.box == expected


@pytest.mark.parametrize("empty", [(), frozenset()], ids=repr)
def test_the_containers_that_never_change_count_as_well(
    mem: ConversationMemory, other: ConversationMemory, empty: Any
) -> None:
    """Also an empty tuple or frozenset does not wipe what another worker has stored."""
    assert not hasattr(mem, "box")
    other.box = type(empty)(["theirs"])
    mem.box = empty
    assert mem.box == other.box == type(empty)(["theirs"])


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, None, 0, "", False], ids=repr)
def test_any_other_value_replaces(
    mem: ConversationMemory, other: ConversationMemory, value: Any
) -> None:
    """Only an empty container gives way: whatever else is assigned is meant."""
    assert not hasattr(mem, "box")
    other.box = ["theirs"]
    mem.box = value
    assert other.box == value


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_container_resets_what_was_seen(
    mem: ConversationMemory, other: ConversationMemory, kind: str
) -> None:
    """Whoever knows that there is something, or has never asked, means it."""
    empty, fill = EMPTY[kind]
    for look in (
        lambda: hasattr(mem, "box"),
        lambda: "box" in mem,
        lambda: mem.box,
        lambda: None,
    ):
        other.box = empty
        fill(other.box)
        look()
        mem.box = empty
        assert other.box == empty


def test_a_fresh_memory_that_never_looked_resets(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """An assignment without a question before it replaces what is there."""
    other.messages = ["theirs"]
    mem.messages = []
    assert other.messages == []


def test_giving_way_counts_as_seeing(mem: ConversationMemory, other: ConversationMemory) -> None:
    """The second assignment of an empty list is a reset, whatever became of the first."""
    assert not hasattr(mem, "messages")
    other.messages = ["theirs"]
    mem.messages = []
    assert other.messages == ["theirs"]
    mem.messages = []
    assert other.messages == []


@pytest.mark.parametrize(
    "remove",
    [lambda memory: delattr(memory, "messages"), clear],
    ids=["delete", "clear"],
)
def test_who_deleted_it_knows_that_it_is_absent(
    mem: ConversationMemory, other: ConversationMemory, remove: Callable[[Any], None]
) -> None:
    """After `del`, an empty list begins anew, but does not wipe what came in between."""
    mem.messages = ["old"]
    remove(mem)
    mem.messages = []
    assert other.messages == []
    remove(mem)
    other.messages = ["theirs"]
    mem.messages = []
    assert other.messages == ["theirs"]


def test_what_one_thread_saw_missing_is_its_own(mem: ConversationMemory) -> None:
    """A thread that never asked resets, and the one that saw it missing gives way."""
    assert not hasattr(mem, "messages")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(setattr, mem, "messages", ["first"]).result()
        mem.messages = []
        assert mem.messages == ["first"]
        pool.submit(setattr, mem, "messages", []).result()
    assert mem.messages == []


WAYS_TO_SEE: dict[str, Callable[[ConversationMemory], object]] = {
    "push": lambda memory: push(memory, "box", "mine"),
    "setdefault": lambda memory: setdefault(memory, "box", ["mine"]),
    "window": lambda memory: window(memory, "box"),
    "snapshot": snapshot,
    "iteration": list,
    "length": len,
    "dir": dir,
}


@pytest.mark.parametrize("see", WAYS_TO_SEE.values(), ids=list(WAYS_TO_SEE))
def test_every_way_of_seeing_it_counts(
    mem: ConversationMemory, other: ConversationMemory, see: Callable[[ConversationMemory], object]
) -> None:
    """Who has seen that the list is there, by whatever means, resets it by an empty one."""
    assert not hasattr(mem, "box")
    other.box = ["theirs"]
    see(mem)
    mem.box = []
    assert other.box == []
