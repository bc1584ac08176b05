"""Every change does on encrypted values what it does on open ones."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    DataLossWarning,
    compare_and_set,
    conflicts,
    increment,
    push,
    wait_for,
    watch,
)
from tests.encryption.conftest import Open, OpenFace
from tests.faults import FaultProxy, named
from tests.memory.test_mutators import CALLS, START
from tests.servers import Server
from tests.strategies import same

EACH = [
    pytest.param(base, call, id=f"{base.__name__}-{method}-{number}")
    for base, methods in CALLS.items()
    for method, calls in methods.items()
    for number, call in enumerate(calls)
]


def _outcome(call: Callable[[Any], Any], box: Any) -> Any:
    try:
        return call(box)
    except (LookupError, ValueError, TypeError) as error:
        return type(error)


@pytest.mark.parametrize(("base", "call"), EACH)
@pytest.mark.parametrize("depth", ["whole", "inside"])
def test_every_mutator_does_what_it_does_in_the_open(
    opened: Open, name: str, base: type, call: Callable[[Any], Any], depth: str
) -> None:
    """Same result, same state here and for another reader, at the top and inside an element."""
    is_whole = depth == "whole"
    plain = copy.deepcopy(START[base])
    mem, other = opened(name), opened(name)
    mem.box = plain if is_whole else {"in": plain}
    held = mem.box if is_whole else mem.box["in"]
    expected, result = _outcome(call, plain), _outcome(call, held)
    if base is set and expected in START[set]:  # any element
        plain = START[set] - {result}
    elif expected is not plain:
        assert same(result, expected)
    seen, there = (one.box if is_whole else one.box["in"] for one in (mem, other))
    assert base(seen) == base(there) == base(held) == base(plain)


def test_equal_is_found_whatever_its_spelling(opened: Open, name: str) -> None:
    """`1`, `1.0` and `True` are one key, one element and one expected value."""
    mem, other = opened(name), opened(name)
    mem.d, mem.s, mem.n = {1: "a"}, {1, (1, 2)}, 1
    other.d[1.0] = "b"
    other.d[True] = "c"
    other.s.add(True)
    other.s.discard((1.0, 2))
    assert mem.d == {1: "c"}
    assert mem.s == {1}
    assert type(next(iter(mem.d))) is int
    assert compare_and_set(other, "n", 1.0, {"now": "more"})
    assert compare_and_set(mem, "n", {"now": "more"}, "done")
    assert not compare_and_set(mem, "n", {"now": "more"}, "lost")


def test_no_increment_is_lost(opened: Open, name: str) -> None:
    """Several workers that add to one encrypted number arrive at the exact sum."""
    workers, each = 4, 40
    memories = [opened(name, timeout_s=5) for _ in range(workers)]

    def work(mem: ConversationMemory) -> None:
        for _ in range(each):
            increment(mem, "count", 2)

    threads = [threading.Thread(target=work, args=(mem,)) for mem in memories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memories[0].count == 2 * workers * each


def test_a_lost_answer_changes_nothing_twice(
    proxy: FaultProxy, open_face: OpenFace, name: str
) -> None:
    """Changes whose answers are lost are made once, and what was popped is what is given."""
    face = open_face(name, proxy.url, timeout_s=2)
    face.assign("box", [1, 2, 3])
    face.assign("count", 1)
    face.assign("d", {"a": "x", "b": "y"})
    for act, result in (
        (lambda: face.push("box", 4), 4),
        (lambda: face.call("box", "pop"), 4),
        (lambda: face.call("d", "pop", "a"), "x"),
        (lambda: face.call("d", "popitem"), ("b", "y")),
        (lambda: face.increment("count"), 2),
    ):
        face.read("box")
        proxy.lose_replies(1, how="reset", when=named("EVALSHA"))
        assert act() == result
    assert face.snapshot() == {"box": [1, 2, 3], "count": 2, "d": {}}


def test_changes_are_told_with_their_values(opened: Open, name: str) -> None:
    """`watch` and `wait_for` give what was set and appended, as in the open."""
    mem, other = opened(name, timeout_s=5), opened(name)
    other.messages = ["a"]
    with watch(mem, timeout_s=5) as changes:
        other.state = "done"
        other.messages.append({"role": "user"})
        other.messages.extend(["b", "c"])
        other.count = 5
        told = [next(changes) for _ in range(4)]
    assert [(one.name, one.kind, one.value) for one in told] == [
        ("state", "set", "done"),
        ("messages", "append", [{"role": "user"}]),
        ("messages", "append", ["b", "c"]),
        ("count", "set", 5),
    ]
    assert wait_for(mem, "state", "done", timeout_s=5) == "done"


def test_cached_reads_are_right(opened: Open, name: str) -> None:
    """A memory in cached mode sees what others change."""
    mem, other = opened(name, read_mode="cached", timeout_s=5), opened(name)
    other.state = "open"
    assert mem.state == "open"
    other.state = "shut"
    assert wait_for(mem, "state", "shut", timeout_s=5) == "shut"
    other.box = {"a": [1]}
    assert mem.box == {"a": [1]}


def test_an_emptied_server_is_filled_again_and_the_rest_is_told(
    own_server: Server, opened: Open, name: str
) -> None:
    """What was appended is made again; a sum that cannot be is a conflict that is told."""
    mem = opened(name, own_server.url, timeout_s=5)
    mem.log = []
    for number in range(5):
        mem.log.append(number)
        increment(mem, "count")
    own_server.client().flushall()
    with pytest.warns(DataLossWarning):
        push(mem, "log", 5)
    assert mem.log == [0, 1, 2, 3, 4, 5]
    lost = [one.mine for one in conflicts(mem) if one.name == "count"]
    assert mem.count == 1
    assert lost == [2, 3, 4, 5]
