"""A proxy that is held writes through to where it came from, and loses nothing of the others."""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_memory import ConversationMemory, UnstorableValueError, snapshot
from tests.faults import FaultProxy
from tests.operators import iadd, imul


def test_a_held_proxy_writes_through(mem: ConversationMemory, other: ConversationMemory) -> None:
    """`m = mem.messages`, and later `m.append(x)`, is one change that everybody sees."""
    mem.messages = []
    held = mem.messages
    held.append({"role": "user"})
    held.extend([{"role": "assistant"}])
    assert held == other.messages == [{"role": "user"}, {"role": "assistant"}]


def test_a_held_nested_proxy_writes_through(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """So does what was taken out of a proxy, and the proxy that it was taken out of follows."""
    mem.profile = {"prefs": {"a": 0, "tags": ["x"]}}
    profile = mem.profile
    prefs = profile["prefs"]
    tags = prefs["tags"]
    prefs["a"] = 1
    tags.append("y")
    tags += ["z"]
    expected = {"prefs": {"a": 1, "tags": ["x", "y", "z"]}}
    assert other.profile == mem.profile == expected
    assert profile == expected
    assert prefs == expected["prefs"]


def test_a_proxy_outlives_the_expression_it_came_from(each_url: str, conversation_id: str) -> None:
    """It keeps what it needs, even when nobody holds the memory any more."""
    held = ConversationMemory(conversation_id, each_url).__enter__()
    held.box = [[1]]
    inner = held.box[0]
    held = None  # type: ignore[assignment]
    inner.append(2)
    with ConversationMemory(conversation_id, each_url) as memory:
        assert memory.box == [[1, 2]]


def test_a_proxy_is_brought_up_to_date_by_its_own_changes(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """What others did shows in it with its own next change, and not before."""
    mem.messages = ["a"]
    held = mem.messages
    other.messages.append("b")
    assert held == ["a"]
    held.append("c")
    assert held == ["a", "b", "c"]
    other.messages[0] = "A"
    held.append("d")
    assert held == mem.messages == ["A", "b", "c", "d"]


@pytest.mark.parametrize("value", [[{"a": [1]}], {"a": {"b": [1]}}, {1, (2, 3)}], ids=repr)
def test_two_reads_are_independent(mem: ConversationMemory, value: Any) -> None:
    """`a = mem.x; b = mem.x` are two snapshots: changing through one leaves the other as it was."""
    mem.x = value
    one, two = mem.x, mem.x
    assert one is not two
    before = copy.deepcopy(two)
    one.clear()
    assert one == mem.x == type(before)()
    assert two == before
    three = mem.x
    assert not three
    assert two == before


def test_reading_again_gives_the_state_of_now(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Also after the first proxy was let go, and whatever was done through it."""
    mem.x = [[1]]
    for number in range(3):
        mem.x.append([number])
        mem.x[0].append(number)
        other.x[-1].append("other")
    assert mem.x == [[1, 0, 1, 2], *([number, "other"] for number in range(3))]
    del mem.x[1:]
    other.x[0].clear()
    assert mem.x == [[]]


def test_an_iterator_sees_the_list_it_began_with(mem: ConversationMemory) -> None:
    """Reading the attribute again inside a loop over it does not disturb the loop."""
    mem.x = [1, 2, 3]
    seen = []
    for item in mem.x:
        mem.x.append(item * 10)
        seen.append(item)
    assert seen == [1, 2, 3]
    assert mem.x == [1, 2, 3, 10, 20, 30]
    mem.d = {"a": 1, "b": 2}
    for key in mem.d:
        mem.d[key * 2] = 0
    for key, value in mem.d.items():
        assert mem.d.pop(key) == value
    assert mem.d == {}


def test_negative_indexes_count_from_the_end_that_was_seen(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """`held[-1]` is the element that was last when it was read, though others have appended."""
    mem.x = ["a", ["b"]]
    held = mem.x
    last = held[-1]
    other.x.append("c")
    last.append("mine")
    held[-3] = "A"
    other.x.append("d")
    held[-1] = "C"
    assert other.x == ["A", ["b", "mine"], "C", "d"]
    with pytest.raises(IndexError):
        held[-5] = 0


def test_a_slice_means_what_was_seen_though_others_append(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Appends of others are kept behind it, and it never takes them in."""
    mem.x = [1, 2, 3, 4]
    held = mem.x
    other.x.append(5)
    held[2:] = ["c", "d", "e"]
    assert mem.x == held == [1, 2, "c", "d", "e", 5]
    other.x.append(6)
    del held[:-2]
    assert mem.x == ["e", 5, 6]
    other.x.append(7)
    held[::-2] = ["z", "y"]
    assert mem.x == ["y", 5, "z", 7]


@pytest.mark.parametrize(
    "call",
    [
        lambda box: box.sort(),
        lambda box: box.reverse(),
        lambda box: imul(box, 2),
        lambda box: box.clear(),
        lambda box: box.insert(0, 7),
        lambda box: box.remove(2),
        lambda box: box.pop(0),
    ],
    ids=["sort", "reverse", "repeat", "clear", "insert", "remove", "pop"],
)
def test_a_change_of_the_whole_list_is_made_on_the_state_of_now(
    mem: ConversationMemory, other: ConversationMemory, call: Callable[[Any], Any]
) -> None:
    """What means no particular index works on what the others have made of the list."""
    mem.x = [3, 2, 1]
    held = mem.x
    other.x.insert(0, 0)
    other.x.append(9)
    model = [0, 3, 2, 1, 9]
    call(held)
    call(model)
    assert held == mem.x == other.x == model


def appending(other: ConversationMemory, way: Callable[[Any], Any], values: Any) -> Iterator[Any]:
    """The values, while another worker appends between any two of them."""
    for value in values:
        way(other).append(f"other {value}")
        yield value


@pytest.mark.parametrize(
    ("start", "way", "assign"),
    [
        pytest.param(
            *([], lambda memory: memory.x, lambda memory, value: setattr(memory, "x", value)),
            id="attribute",
        ),
        pytest.param(
            {"k": []},
            lambda memory: memory.x["k"],
            lambda memory, value: operator.setitem(memory.x, "k", value),
            id="in a dict",
        ),
        pytest.param(
            [0, []],
            lambda memory: memory.x[-1],
            lambda memory, value: operator.setitem(memory.x, -1, value),
            id="in a list",
        ),
    ],
)
def test_nothing_is_lost_beside_an_operator(
    mem: ConversationMemory,
    other: ConversationMemory,
    start: Any,
    way: Callable[[Any], Any],
    assign: Callable[[Any, Any], None],
) -> None:
    """`+=` keeps what others append before it, and between its change and its assignment."""
    mem.x = start
    result = iadd(way(mem), appending(other, way, ["a", "b"]))
    way(other).append("later")
    assign(mem, result)
    assert way(other) == way(mem) == ["other a", "other b", "a", "b", "later"]


def test_operators_on_attributes_and_items(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Each operator that changes in place works as a statement, and ends as with plain values."""
    mem.messages, mem.tags, mem.profile = [1], {1, 2, 3}, {"a": 1}
    mem.deep = {"list": [1], "set": {1, 2}, "dict": {}, "n": 1}
    mem.messages += [2]
    mem.messages *= 2
    mem["messages"] += (3,)
    mem.tags |= {4}
    mem.tags -= {1}
    mem.tags &= {2, 4, 5}
    mem.tags ^= {2, 6}
    mem.profile |= {"b": 2}
    mem.deep["list"] += [2]
    mem.deep["list"] *= 2
    mem.deep["set"] ^= {1, 3}
    mem.deep["dict"] |= {"a": 1}
    mem.deep["n"] += 1
    assert snapshot(other) == {
        "messages": [1, 2, 1, 2, 3],
        "tags": {4, 6},
        "profile": {"a": 1, "b": 2},
        "deep": {"list": [1, 2, 1, 2], "set": {2, 3}, "dict": {"a": 1}, "n": 2},
    }


def test_the_result_of_an_operator_can_be_assigned_elsewhere(mem: ConversationMemory) -> None:
    """Only at its own place is the assignment left out: anywhere else it copies."""
    mem.x, mem.y, mem.z = [1], [0], {"k": [0]}
    held = mem.x
    held += [2]
    mem.y = held
    held += [3]
    mem.z["k"] = held
    assert (mem.x, mem.y, mem.z) == ([1, 2, 3], [1, 2], {"k": [1, 2, 3]})
    mem.x = held
    other = held
    held.clear()
    mem.x = other
    assert mem.x == []


def test_threads_and_workers_lose_nothing_to_each_other(
    each_url: str, conversation_id: str
) -> None:
    """`+=` statements by many at once, on an attribute and inside one: every element is kept."""
    rounds, workers = 25, 4
    start = threading.Barrier(workers)

    def work(worker: int) -> None:
        with ConversationMemory(conversation_id, each_url) as memory:
            start.wait()
            for number in range(rounds):
                memory.messages += [(worker, number)]
                memory.profile["seen"] |= {(worker, number)}
                memory.profile["log"] += [(worker, number)]

    with ConversationMemory(conversation_id, each_url) as memory:
        memory.messages, memory.profile = [], {"seen": set(), "log": []}
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
        all_of_them = {(worker, number) for worker in range(workers) for number in range(rounds)}
        state = snapshot(memory)
    for log in (state["messages"], state["profile"]["log"]):
        assert len(log) == len(all_of_them)
        for worker in range(workers):
            assert [number for by, number in log if by == worker] == list(range(rounds))
    assert state["profile"]["seen"] == all_of_them


@pytest.mark.parametrize(
    "way",
    [lambda box: box, lambda box: box[0], lambda box: box[0]["k"]],
    ids=["whole", "inside", "far inside"],
)
def test_a_value_that_cannot_be_stored_changes_nothing(
    proxy: FaultProxy, conversation_id: str, way: Callable[[Any], Any]
) -> None:
    """It is refused before anything is sent, and the proxy stays as it was."""
    start = [{"k": [1, 2]}]
    with ConversationMemory(conversation_id, proxy.url) as memory:
        memory.x = start
        box = memory.x
        held = way(box)
        sent = proxy.requests
        uses: list[Callable[[], Any]] = [
            lambda: operator.setitem(held, next(iter(held)) if isinstance(held, dict) else 0, len),
            lambda: held.update(a=1, b=len) if isinstance(held, dict) else held.extend([1, len]),
            lambda: held.setdefault("z", [len]) if isinstance(held, dict) else held.append([len]),
        ]
        for use in uses:
            with pytest.raises(UnstorableValueError, match="builtin_function"):
                use()
        assert proxy.requests == sent
        assert box == memory.x == start


def test_extend_is_seen_whole_or_not_at_all(each_url: str, conversation_id: str) -> None:
    """No reader ever sees a part of what one call has added."""
    batch, rounds = 7, 40
    with (
        ConversationMemory(conversation_id, each_url) as writer,
        ConversationMemory(conversation_id, each_url) as reader,
        ThreadPoolExecutor(1) as pool,
    ):
        writer.x, writer.d = [], {}
        held, items = writer.x, writer.d

        def write() -> None:
            for number in range(rounds):
                held.extend([number] * batch)
                items.update({(number, at): number for at in range(batch)})

        writing = pool.submit(write)
        while not writing.done():
            assert len(reader.x) % batch == 0
            assert len(reader.d) % batch == 0
        writing.result()
        assert len(reader.x) == len(reader.d) == rounds * batch


def test_one_extend_may_be_long(mem: ConversationMemory, other: ConversationMemory) -> None:
    """More elements than a server script can pass on at once are still one change."""
    mem.x = ["first"]
    mem.x.extend(range(20_000))
    assert other.x == ["first", *range(20_000)]
    other.x.reverse()
    assert mem.x == [*range(19_999, -1, -1), "first"]
