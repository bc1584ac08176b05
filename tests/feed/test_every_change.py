"""Every change, by whatever process and mutator, reaches every watcher: in order, none twice."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redis_memory import (
    MISSING,
    Change,
    ConversationMemory,
    clear,
    increment,
    push,
    setdefault,
    watch,
)
from tests.children import exit_code, in_child
from tests.faults import FaultProxy
from tests.feed.listeners import Diary, in_order, mirrored
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.faces import Blocking
from tests.outages.processes import adopt, leave_orphan
from tests.servers import Server
from tests.waiting import wait_until

WRITERS = 4
ROUNDS = 60
BIG = "x" * 20_000

# each change, and what is told of it: name, kind, value
MUTATIONS: list[tuple[Callable[[ConversationMemory], object], str, str, Any]] = [
    (lambda m: setattr(m, "topic", "billing"), "topic", "set", "billing"),
    (lambda m: setattr(m, "none", None), "none", "set", None),
    (lambda m: setattr(m, "pair", (1, (2, "b"))), "pair", "set", (1, (2, "b"))),
    (lambda m: setattr(m, "when", uuid.UUID(int=7)), "when", "set", uuid.UUID(int=7)),
    (lambda m: setattr(m, "topic", BIG), "topic", "set", BIG),
    (lambda m: increment(m, "count", 2), "count", "set", 2),
    (lambda m: increment(m, "count", 0.5), "count", "set", 2.5),
    (lambda m: increment(m, "large", 10**20), "large", "set", 10**20),
    (lambda m: setdefault(m, "owner", "ann"), "owner", "set", "ann"),
    (lambda m: setattr(m, "log", [1]), "log", "set", [1]),
    (lambda m: m.log.append({"a": [2]}), "log", "append", [{"a": [2]}]),
    (lambda m: m.log.extend([3, None]), "log", "append", [3, None]),
    (lambda m: push(m, "log", "p", b"q"), "log", "append", ["p", b"q"]),
    (lambda m: push(m, "log", BIG), "log", "change", [1, {"a": [2]}, 3, None, "p", b"q", BIG]),
    (lambda m: m.log.pop(), "log", "change", [1, {"a": [2]}, 3, None, "p", b"q"]),
    (lambda m: m.log[1]["a"].append(9), "log", "change", [1, {"a": [2, 9]}, 3, None, "p", b"q"]),
    (lambda m: m.log.__delitem__(slice(2, None)), "log", "change", [1, {"a": [2, 9]}]),
    (lambda m: m.log.insert(0, 0), "log", "change", [0, 1, {"a": [2, 9]}]),
    (lambda m: m.log.clear(), "log", "change", []),
    (lambda m: push(m, "fresh", 1), "fresh", "append", [1]),
    (lambda m: setattr(m, "table", {"a": 1}), "table", "set", {"a": 1}),
    (lambda m: m.table.update(b={"c": set()}), "table", "change", {"a": 1, "b": {"c": set()}}),
    (lambda m: m.table["b"]["c"].add(1), "table", "change", {"a": 1, "b": {"c": {1}}}),
    (lambda m: m.table.pop("b"), "table", "change", {"a": 1}),
    (lambda m: setattr(m, "tags", {1}), "tags", "set", {1}),
    (lambda m: m.tags.add("x"), "tags", "change", {1, "x"}),
    (lambda m: m.tags.discard(1), "tags", "change", {"x"}),
    (lambda m: delattr(m, "tags"), "tags", "delete", MISSING),
]


def told(change: Change) -> tuple[str, str, Any]:
    """What a change says, without when and by whom."""
    return change.name, change.kind, change.value


def test_each_mutator_is_told(each_url: str, name: str) -> None:
    """Each change is told once, as what it was, with its exact value and a growing version."""
    with (
        ConversationMemory(name, each_url) as memory,
        ConversationMemory(name, each_url) as other,
        watch(other, timeout_s=30) as changes,
    ):
        seen = []
        for change, *expected in MUTATIONS:
            change(memory)
            seen.append(next(changes))
            assert list(told(seen[-1])) == expected
            assert type(seen[-1].value) is type(expected[-1])
        assert in_order(seen)
        assert len({change.writer for change in seen}) == 1
        assert all(change.at.timestamp() * 1e6 == pytest.approx(change.version) for change in seen)


def test_a_clear_deletes_each_attribute(each_url: str, open_face: OpenFace, name: str) -> None:
    """`clear` is told in its place between the changes before and behind it, name by name."""
    face = open_face(name, each_url)
    writer = ConversationMemory(name, each_url)
    writer.kept = 1
    with Diary(face) as diary:
        writer.topic = "a"
        push(writer, "log", 1)
        clear(writer)
        push(writer, "log", 2)
        writer.last = True
        diary.wait(lambda changes: changes and changes[-1].name == "last")
    assert [told(change) for change in diary.changes] == [
        ("topic", "set", "a"),
        ("log", "append", [1]),
        ("kept", "delete", MISSING),
        ("log", "delete", MISSING),
        ("topic", "delete", MISSING),
        ("log", "append", [2]),
        ("last", "set", True),
    ]


def write(number: int, name: str, url: str) -> None:
    """Change everything, as one of several processes; a process's work."""
    with ConversationMemory(name, url) as memory:
        for turn in range(ROUNDS):
            push(memory, "log", (number, turn, "push"))
            memory.log.append((number, turn, "append"))
            memory.log.extend([(number, turn, "one"), (number, turn, "two")])
            memory[f"own {number}"] = turn
            increment(memory, "count")
            memory.table[number, turn % 5] = turn
            memory.table["deep"]["list"].append((number, turn))
            memory.tags.add((number, turn % 7))
            memory.tags.discard((number, (turn + 1) % 7))
            memory[f"brief {number}"] = turn
            del memory[f"brief {number}"]


def test_many_processes_at_once(server: Server, open_face: OpenFace, name: str) -> None:
    """Of concurrent writers each value is told once, in each writer's order; scalars exactly."""
    face = open_face(name, server.url, timeout_s=5)
    face.assign("table", {"deep": {"list": []}})
    face.assign("tags", {0})
    face.push("log", "begun")
    begun = face.snapshot()
    with Diary(face) as diary:
        pids = [in_child(lambda n=n: write(n, name, server.url)) for n in range(WRITERS)]  # type: ignore[misc] # mypy infers no default arguments
        assert [exit_code(pid) for pid in pids] == [0] * WRITERS
        face.assign("end", True)
        diary.wait(lambda changes: changes and changes[-1].name == "end")
    assert not diary.errors
    changes = diary.changes
    assert in_order(changes)

    logged = [entry for change in changes if change.name == "log" for entry in change.value]
    assert {change.kind for change in changes if change.name == "log"} == {"append"}
    assert max(Counter(logged).values()) == 1
    parts = ("push", "append", "one", "two")
    for number in range(WRITERS):
        own = [entry for entry in logged if entry[0] == number]
        assert own == [(number, turn, part) for turn in range(ROUNDS) for part in parts]
        told_own = [change.value for change in changes if change.name == f"own {number}"]
        assert told_own == list(range(ROUNDS))
        brief = [change.value for change in changes if change.name == f"brief {number}"]
        assert brief == [value for turn in range(ROUNDS) for value in (turn, MISSING)]
    counted = [change.value for change in changes if change.name == "count"]
    assert counted == list(range(1, WRITERS * ROUNDS + 1))
    assert mirrored(changes, begun) == face.snapshot()


def test_every_watcher_is_told_the_same(server: Server, name: str) -> None:
    """Several watchers of one process and of others all see one order."""
    faces = [Blocking(name, server.url) for _ in range(3)]
    diaries = [Diary(faces[0]), *(Diary(face) for face in faces)]
    for turn in range(50):
        faces[turn % 3].push("log", turn)
        faces[(turn + 1) % 3].increment("count")
    for diary in diaries:
        diary.wait(lambda changes: len(changes) == 100)
        diary.close()
        assert [told(change) for change in diary.changes] == [
            told(change) for change in diaries[0].changes
        ]
    for face in faces:
        face.close()


def test_what_waited_is_told_when_it_is_delivered(
    server: Server, open_face: OpenFace, open_memory: OpenMemory, name: str
) -> None:
    """A replayed queue reaches the watchers as any other change, with values and order."""
    watching = open_face(name, server.url)
    with FaultProxy(server.url) as proxy, Diary(watching) as diary:
        memory = open_memory(name, proxy.url)
        memory.log = ["first"]
        proxy.refuse()
        for turn in range(200):
            push(memory, "log", turn)
        memory.topic = "away"
        increment(memory, "count", 3)
        memory.table = {"a": 1}
        proxy.heal()
        diary.wait(lambda changes: "table" in mirrored(changes))
        wait_until(lambda: mirrored(diary.changes) == watching.snapshot())
    appended = [v for c in diary.changes if c.kind == "append" for v in c.value]
    assert appended == list(range(200))
    assert in_order(diary.changes)


def test_an_adopted_journal_is_told(
    own_server: Server, open_face: OpenFace, name: str, folder: Path
) -> None:
    """What a dead process left in its journal is told to those who watch when it is delivered."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    own_server.start()
    with Diary(open_face(name, own_server.url)) as diary:
        adopt(name, own_server.url, folder)
        diary.wait(lambda changes: len(mirrored(changes).get("log", [])) == 100)
    assert mirrored(diary.changes)["log"] == list(range(100))
    assert in_order(diary.changes)
