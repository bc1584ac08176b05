"""A batch: what is written in it becomes visible at once, as a whole, or never."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import (
    ConflictError,
    ConversationMemory,
    Memory,
    ServerRefusedError,
    StaleProxyError,
    WrongKindError,
    batch,
    clear,
    compare_and_set,
    increment,
    push,
    setdefault,
    snapshot,
    transaction,
    window,
)
from tests.children import Child
from tests.faults import FaultProxy

START: dict[str, Any] = {
    "items": [3, 1, 2],
    "data": {"a": {"b": [1]}, "c": 1},
    "tags": {"x", "y"},
    "count": 5,
}


def begin_with(mem: Memory, values: dict[str, Any]) -> None:
    """Assign these attributes."""
    for name, value in values.items():
        mem[name] = value


def test_others_see_nothing_of_it_before_its_end(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """The block sees its own changes, nobody else does; then everybody sees all."""
    begin_with(mem, START)
    with batch(mem):
        mem.items.append(4)
        mem.data["a"]["b"].append(2)
        mem.tags.add("z")
        increment(mem, "count", 2)
        push(mem, "log", "first", "second")
        mem.title = "new"
        del mem["items"][0]
        inside = snapshot(mem)
        assert snapshot(other) == START
    assert inside == snapshot(other) == snapshot(mem)
    assert inside == {
        "items": [1, 2, 4],
        "data": {"a": {"b": [1, 2]}, "c": 1},
        "tags": {"x", "y", "z"},
        "count": 7,
        "log": ["first", "second"],
        "title": "new",
    }


def test_nothing_is_left_of_a_block_that_raises(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Copies, and proxies that were held before, show what they showed before, and go on."""
    begin_with(mem, START)
    items, inner, tags = mem.items, mem.data["a"]["b"], mem.tags
    with pytest.raises(KeyError), batch(mem):
        items.append(4)
        items.sort()
        inner.insert(0, 0)
        tags.clear()
        mem.count = "text"
        clear(mem)
        mem.fresh = [1]
        assert list(mem) == ["fresh"]
        raise KeyError
    assert (items, inner, tags) == ([3, 1, 2], [1], {"x", "y"})
    assert snapshot(mem) == snapshot(other) == START
    items[0] = 30
    inner.append(2)
    tags.add("z")
    assert not hasattr(mem, "fresh")
    assert snapshot(other) == {
        **START,
        "items": [30, 1, 2],
        "data": {"a": {"b": [1, 2]}, "c": 1},
        "tags": {"x", "y", "z"},
    }


def test_what_a_block_deleted_is_not_missing_when_it_raises(mem: ConversationMemory) -> None:
    """An empty list that is assigned later replaces what is there, as it does without the block."""
    mem.items = [1]
    with pytest.raises(KeyError), batch(mem):
        del mem.items
        raise KeyError
    mem.items = []
    assert mem.items == []


def test_a_proxy_from_before_the_block_goes_on_behind_it(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """It holds what the block did, and its indexes mean what they mean there."""
    begin_with(mem, START)
    items, inner = mem.items, mem.data["a"]["b"]
    with batch(mem):
        items.append(4)
        inner.append(2)
    items[3] = 40
    inner[1] = 20
    assert other.items == items == [3, 1, 2, 40]
    assert other.data["a"]["b"] == inner == [1, 20]


MEANT: dict[str, Callable[[Any], Any]] = {
    "an index": lambda mem: mem.items.__setitem__(0, "mine"),
    "a deletion": lambda mem: mem.items.__delitem__(0),
    "pop": lambda mem: mem.items.pop(),
    "sort": lambda mem: mem.items.sort(),
    "a slice": lambda mem: mem.items.__setitem__(slice(1, 2), []),
    "remove": lambda mem: mem.items.remove(1),
    "reverse": lambda mem: mem.items.reverse(),
}


@pytest.mark.parametrize("change", MEANT.values(), ids=MEANT)
def test_what_means_the_state_that_was_seen_needs_it(
    mem: ConversationMemory, other: ConversationMemory, change: Callable[[Any], Any]
) -> None:
    """A change by somebody else in between is a conflict that names the attribute."""
    mem.items, mem.count = [3, 1, 2], 0
    with pytest.raises(ConflictError) as caught, batch(mem):
        mem.count = 1
        change(mem)
        other.items.append(9)
    assert caught.value.names == ("items",)
    assert snapshot(mem) == {"items": [3, 1, 2, 9], "count": 0}


def test_a_place_inside_an_element_is_a_state_that_was_seen(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """A change of another part of the same attribute is a conflict too."""
    mem.data = {"a": {"b": 1}, "c": {}}
    with pytest.raises(ConflictError, match="'data'"), batch(mem):
        mem.data["a"]["b"] = 2
        other.data["c"]["d"] = 3
    assert other.data == {"a": {"b": 1}, "c": {"d": 3}}


def test_what_fits_every_state_is_applied_to_what_is_there(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Others may change the same attributes meanwhile, and nothing is lost."""
    begin_with(mem, START)
    with batch(mem):
        mem.items.append(4)
        mem.items.extend([5])
        push(mem, "items", 6)
        mem.data["k"] = "mine"
        mem.tags.add("z")
        mem.tags.discard("x")
        increment(mem, "count")
        other.items.append("theirs")
        other.data["l"] = "theirs"
        other.tags.add("theirs")
        increment(other, "count", 10)
    assert snapshot(mem) == {
        "items": [3, 1, 2, "theirs", 4, 5, 6],
        "data": {"a": {"b": [1]}, "c": 1, "l": "theirs", "k": "mine"},
        "tags": {"y", "z", "theirs"},
        "count": 16,
    }


def test_an_empty_container_creates_only_what_is_still_missing(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """The idiom that everybody writes loses nothing in a batch either."""
    with batch(mem):
        if not hasattr(mem, "items"):
            mem.items = []
        mem.items.append("mine")
        other.items = ["theirs"]
    assert mem.items == ["theirs", "mine"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda mem: push(mem, "value", 1), WrongKindError),
        (lambda mem: increment(mem, "value"), WrongKindError),
        (lambda mem: mem.box.append(1), StaleProxyError),
    ],
    ids=["push", "increment", "append"],
)
def test_a_change_that_does_not_fit_what_is_there_undoes_all(
    mem: ConversationMemory,
    other: ConversationMemory,
    change: Callable[[Any], Any],
    error: type[Exception],
) -> None:
    """Also those before it and behind it are not made."""
    mem.box = []
    with pytest.raises(error), batch(mem):
        mem.first = 1
        change(mem)
        mem.last = 1
        other.value = {"a": 1}
        other.box = {"a": 1}
    assert snapshot(mem) == {"value": {"a": 1}, "box": {"a": 1}}


def test_a_sum_that_the_server_cannot_make_undoes_all(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """It cannot be known beforehand; who reads the number first has it added here."""
    other.count = 10**15 - 1
    with pytest.raises(ServerRefusedError, match="'count'"), batch(mem):
        mem.first = 1
        increment(mem, "count", 5)
    assert snapshot(other) == {"count": 10**15 - 1}
    with batch(mem):
        assert mem.count == 10**15 - 1
        increment(mem, "count", 5)
        increment(mem, "big", 10**20)
    assert (other.count, other.big) == (10**15 + 4, 10**20)


def test_pop_hands_out_what_the_block_takes(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """The value is right if the block ends well."""
    begin_with(mem, START)
    with batch(mem):
        assert mem.items.pop() == 2
        assert mem.items.pop(0) == 3
        assert mem.data.pop("c") == 1
        assert mem.data.pop("missing", None) is None
        assert mem.data.popitem() == ("a", {"b": [1]})
        assert mem.tags.pop() in {"x", "y"}
    assert (other.items, other.data, len(other.tags)) == ([1], {}, 1)


def test_what_was_not_there_must_still_be_missing(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """An empty queue that was emptied by nobody else; a key that nobody has set meanwhile."""
    mem.items, mem.data = [], {}
    with pytest.raises(ConflictError) as caught, batch(mem):
        with pytest.raises(IndexError):
            mem.items.pop()
        assert mem.data.pop("key", "none") == "none"
        other.items.append(1)
        other.data["key"] = 1
    assert set(caught.value.names) == {"items", "data"}


def test_setdefault_and_compare_and_set_answer_in_the_block(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """What they answered is right if the block ends well, else it is a conflict."""
    mem.state = "open"
    with batch(mem):
        assert setdefault(mem, "owner", "ann") == "ann"
        assert setdefault(mem, "owner", "bob") == "ann"
        assert compare_and_set(mem, "state", "open", "closed")
        assert not compare_and_set(mem, "state", "open", "closed")
    assert snapshot(other) == {"owner": "ann", "state": "closed"}
    with pytest.raises(ConflictError, match="'next'"), batch(mem):
        setdefault(mem, "next", "ann")
        other.next = "bob"
    with pytest.raises(ConflictError, match="'state'"), batch(mem):
        assert not compare_and_set(mem, "state", "open", "closed")
        other.state = "open"


def test_clear_in_a_block_deletes_what_others_have_added(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Also containers that this memory has never seen; what the block stores behind it stays."""
    begin_with(mem, START)
    with batch(mem):
        mem.before = [1]
        clear(mem)
        mem.items = ["new"]
        push(mem, "log", 1)
        increment(mem, "count")
        other.unknown = {"a": [1]}
        assert snapshot(mem) == {"items": ["new"], "log": [1], "count": 1}
    assert snapshot(other) == {"items": ["new"], "log": [1], "count": 1}


def test_what_is_read_in_a_block_shows_pushes_from_before(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Pushed and added without looking, and read afterwards on top of what is there."""
    other.log, other.count = [1, 2], 40
    with batch(mem):
        assert push(mem, "log", 3) is None
        assert increment(mem, "count", 2) is None
        assert window(mem, "log", -2) == [2, 3]
        assert (mem.log, mem.count) == ([1, 2, 3], 42)
        assert "log" in mem
        mem.log.append(4)
    assert (other.log, other.count) == ([1, 2, 3, 4], 42)


def test_blocks_are_not_nested(mem: ConversationMemory, other: ConversationMemory) -> None:
    """The message says so, the outer block goes on, and another memory has blocks of its own."""
    outer = batch(mem)
    with outer:
        mem.a = 1
        for inner in (batch(mem), transaction(mem), outer):
            with pytest.raises(RuntimeError, match="cannot be nested"), inner:
                pass
            assert snapshot(other) == {}
        with batch(other):
            other.b = 2
        mem.c = 3
    assert snapshot(other) == {"a": 1, "b": 2, "c": 3}


def test_10_000_appends_leave_together(mem: ConversationMemory, other: ConversationMemory) -> None:
    """In one block, in their order; through a proxy that is read each time."""
    with batch(mem):
        mem.items = []
        for number in range(10_000):
            mem.items.append(number)
    assert other.items == mem.items == list(range(10_000))


def test_an_exception_that_leaves_the_block_is_the_one_that_is_raised(
    mem: ConversationMemory,
) -> None:
    """Also a KeyboardInterrupt: nothing of the block is there."""
    with pytest.raises(KeyboardInterrupt), batch(mem):
        mem.a = 1
        raise KeyboardInterrupt
    assert snapshot(mem) == {}


def test_round_trips_of_a_batch(proxy: FaultProxy) -> None:
    """One at the end, however many changes; none for an empty block."""
    with ConversationMemory("rounds", proxy.url) as mem:
        mem.items, mem.data = [1], {"a": []}
        items, inner = mem.items, mem.data["a"]
        before = proxy.requests_seen()
        with batch(mem):
            pass
        assert proxy.requests_seen() == before
        with batch(mem):
            items.append(2)
            items[0] = 0
            inner.append(1)
            mem.x = 1
            push(mem, "log", 1)
            increment(mem, "count")
            del mem.x
            assert mem.items == [0, 2]
        # the script is sent once by its name, and then loaded
        first = proxy.requests_seen() - before
        with batch(mem):
            items.append(3)
            items.pop(0)
        assert first <= 2
        assert proxy.requests_seen() - before - first == 1


def test_other_threads_wait_for_the_end(mem: ConversationMemory) -> None:
    """What another thread writes or reads meanwhile comes behind the block, as a whole."""
    mem.a = 0
    seen: list[Any] = []
    begun = threading.Event()

    def work() -> None:
        begun.set()
        seen.append(mem.a)
        mem.b = "thread"

    thread = threading.Thread(target=work)
    with batch(mem):
        mem.a = 1
        thread.start()
        assert begun.wait(5)
        mem.b = "block"
        mem.a = 2
    thread.join(5)
    assert seen == [2]
    assert mem.b == "thread"


def test_a_child_that_is_forked_inside_is_outside(
    mem: ConversationMemory, other: ConversationMemory, each_url: str
) -> None:
    """What it writes is written at once, and the parent's block goes on."""
    if each_url.startswith("memory:"):
        pytest.skip("memory:// lives in one process")
    mem.items = [1]

    def work(_: Child) -> None:
        assert mem.items == [1]
        mem.items.append("child")

    with batch(mem):
        mem.items.append("parent")
        child = Child(work)
        assert child.status() == 0
        assert other.items == [1, "child"]
    assert other.items == [1, "child", "parent"]


def test_a_block_entered_before_a_fork_ends_quietly_in_the_child(
    mem: ConversationMemory, other: ConversationMemory, each_url: str
) -> None:
    """The child leaves the `with` statement, and sends nothing of what the parent wrote."""
    if each_url.startswith("memory:"):
        pytest.skip("memory:// lives in one process")
    parent = os.getpid()
    with batch(mem):
        mem.items = ["parent"]
        child = os.fork()
    if os.getpid() != parent:
        os._exit(0)
    os.waitpid(child, 0)
    assert other.items == ["parent"]
