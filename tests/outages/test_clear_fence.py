"""A conversation that was cleared while a worker was away stays cleared, and nothing is silent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redis_memory import (
    MISSING,
    ConversationMemory,
    clear,
    conflicts,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from redis_memory.core import queue
from tests.faults import FaultProxy
from tests.outages.contests import LIMIT_S, TIMEOUT_S, let_time_pass
from tests.servers import Server
from tests.waiting import wait_until


class Worker:
    """A memory whose network can be cut."""

    def __init__(self, name: str, server: Server, **options: Any) -> None:
        self.proxy = FaultProxy(server.url)
        self.memory = ConversationMemory(
            name, self.proxy.url, timeout_s=TIMEOUT_S, reconnect_max_s=0.05, **options
        )

    def leave(self) -> None:
        """Lose sight of the server."""
        self.proxy.refuse()
        assert not status(self.memory).online

    def come_back(self) -> None:
        """Deliver everything."""
        self.proxy.heal()
        assert flush(self.memory, LIMIT_S) == 0
        wait_until(lambda: status(self.memory).online, what="the worker to be online")


Open = Callable[..., Worker]


@pytest.fixture
def online(name: str, server: Server) -> Iterator[ConversationMemory]:
    """A worker that never loses sight of the server."""
    with ConversationMemory(name, server.url, timeout_s=5) as memory:
        yield memory


@pytest.fixture
def open_worker(name: str, server: Server, online: ConversationMemory) -> Iterator[Open]:
    """Open further workers, each behind a network of its own, that know the same conversation."""
    with ExitStack() as stack:

        def open_one(**options: Any) -> Worker:
            worker = Worker(name, server, **options)
            stack.callback(worker.proxy.close)
            stack.enter_context(worker.memory)
            stack.callback(worker.proxy.heal)
            begin(worker.memory)
            return worker

        yield open_one


OLD: dict[str, Any] = {
    "topic": "old",
    "messages": ["old"],
    "profile": {"k": "old"},
    "tags": {"old"},
    "count": 1,
    "nested": [{"tags": ["old"]}],
}


def begin(mem: ConversationMemory) -> None:
    """Store the old conversation, and know all of it."""
    for name, value in OLD.items():
        mem[name] = value
        assert mem[name] == value


def assign_scalar(mem: ConversationMemory) -> None:
    """Replace an attribute."""
    mem.topic = "queued"


def assign_new(mem: ConversationMemory) -> None:
    """Assign an attribute that was not there."""
    mem.fresh = ["queued"]


def create_new(mem: ConversationMemory) -> None:
    """What everybody writes, of an attribute that was seen to be missing."""
    mem["created"] = []


CHANGES: dict[str, tuple[str, Callable[[ConversationMemory], object]]] = {
    "assign": ("topic", assign_scalar),
    "assign a new one": ("fresh", assign_new),
    "append": ("messages", lambda mem: mem.messages.append("queued")),
    "insert": ("messages", lambda mem: mem.messages.insert(0, "queued")),
    "set an element": ("messages", lambda mem: mem.messages.__setitem__(0, "queued")),
    "sort": ("messages", lambda mem: mem.messages.sort()),
    "push": ("messages", lambda mem: push(mem, "messages", "queued")),
    "push a new one": ("log", lambda mem: push(mem, "log", "queued")),
    "set a key": ("profile", lambda mem: mem.profile.__setitem__("k", "queued")),
    "delete a key": ("profile", lambda mem: mem.profile.__delitem__("k")),
    "add": ("tags", lambda mem: mem.tags.add("queued")),
    "increment": ("count", lambda mem: increment(mem, "count", 5)),
    "increment a new one": ("sum", lambda mem: increment(mem, "sum", 5)),
    "inside": ("nested", lambda mem: mem.nested[0]["tags"].append("queued")),
    "delete": ("topic", lambda mem: mem.__delitem__("topic")),
    "clear": ("", clear),
}


@pytest.mark.parametrize("policy", ["newest", "mine", "theirs", "function"])
@pytest.mark.parametrize("when", ["before", "after", "between"])
def test_a_cleared_conversation_stays_cleared(
    online: ConversationMemory, open_worker: Open, when: str, policy: str
) -> None:
    """Nothing of what waited comes back, whenever others cleared it; each change is told."""
    asked: list[Any] = []
    worker = open_worker(conflict=asked.append if policy == "function" else policy)
    worker.leave()
    changes = {name: change for name, change in CHANGES.items() if name != "clear"}
    half = list(changes.items())[: len(changes) // 2]
    for number, (_, (_, change)) in enumerate(changes.items()):
        if number == {"before": 0, "after": -1, "between": len(half)}[when]:
            clear(online)
        change(worker.memory)
    if when == "after":
        clear(online)
    worker.come_back()
    assert snapshot(online) == {} == snapshot(worker.memory)
    told = conflicts(worker.memory)
    assert [each.name for each in told] == [name for name, _ in changes.values()]
    assert {(each.reason, each.winner) for each in told} == {("cleared", "theirs")}
    assert status(worker.memory).conflicts == len(told)
    assert asked == []
    queued = {each.name: each.mine for each in told if each.mine is not MISSING}
    assert queued["fresh"] == ["queued"]
    assert queued["log"] == ["queued"]
    assert queued["topic"] == "queued"


def test_both_cleared_is_no_conflict(online: ConversationMemory, open_worker: Open) -> None:
    """Whoever wanted it empty has lost nothing when somebody else was first."""
    worker = open_worker()
    worker.leave()
    clear(online)
    clear(worker.memory)
    worker.come_back()
    assert snapshot(online) == {}
    assert conflicts(worker.memory) == []


def test_what_follows_an_own_clear_belongs_to_the_new_conversation(
    online: ConversationMemory, open_worker: Open
) -> None:
    """A clear that waits removes what was before it, and keeps all that the worker did after it."""
    worker = open_worker()
    mem = worker.memory
    worker.leave()
    mem.topic = "before"
    push(mem, "messages", "before")
    clear(mem)
    assert not hasattr(mem, "topic")
    mem.topic = "behind"
    push(mem, "messages", "behind")
    mem.profile = {"k": "behind"}
    mem.profile["more"] = 1
    increment(mem, "count", 3)
    assert mem.messages == ["behind"]
    worker.come_back()
    assert snapshot(online) == {
        "topic": "behind",
        "messages": ["behind"],
        "profile": {"k": "behind", "more": 1},
        "count": 3,
    }
    assert snapshot(mem) == snapshot(online)
    assert conflicts(mem) == []


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_own_clears_in_a_row_are_each_made_once(
    online: ConversationMemory,
    open_worker: Open,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several own clears, in batches of any size: only what is behind the last one is there."""
    monkeypatch.setattr(queue, "_MOST_AT_ONCE", at_once)
    worker = open_worker()
    worker.leave()
    for turn in range(3):
        clear(worker.memory)
        worker.memory.topic = turn
        push(worker.memory, "messages", turn)
        worker.memory.profile = {"turn": turn}
    worker.come_back()
    assert snapshot(online) == {"topic": 2, "messages": [2], "profile": {"turn": 2}}
    assert conflicts(worker.memory) == []


def test_an_own_clear_takes_what_others_had_added_before_it(
    server: Server, online: ConversationMemory, open_worker: Open
) -> None:
    """Clear means all attributes, those too that this worker has never seen."""
    worker = open_worker()
    worker.leave()
    online.unseen = ["others"]
    online.unseen_dict = {"a": 1}
    online.messages.append("others")
    clear(worker.memory)
    worker.memory.topic = "behind"
    worker.come_back()
    assert snapshot(online) == {"topic": "behind"}
    assert element_keys(server, online) == []


def element_keys(server: Server, mem: ConversationMemory) -> list[bytes]:
    """The keys that hold elements of the conversation's containers."""
    client: Any = server.client()
    names = [f":{name}".encode() for name in (*OLD, "unseen", "unseen_dict")]
    return [key for key in client.keys(f"*{mem.conversation_id}*") if key.endswith(tuple(names))]


@pytest.mark.parametrize("policy", ["newest", "theirs"])
def test_an_own_clear_does_not_take_newer_work_in_silence(
    server: Server, online: ConversationMemory, open_worker: Open, policy: str
) -> None:
    """What others store after the moment of the clear is kept, or told as lost."""
    worker = open_worker(conflict=policy)
    worker.leave()
    clear(worker.memory)
    let_time_pass(server)
    online.topic = "newer"
    push(online, "fresh", "newer")
    worker.come_back()
    stored = snapshot(online)
    told = {each.name for each in conflicts(worker.memory)}
    assert stored.get("topic") == "newer" or "topic" in told
    assert stored.get("fresh") == ["newer"] or "fresh" in told


def test_what_others_began_anew_is_left_alone(
    online: ConversationMemory, open_worker: Open
) -> None:
    """Cleared and begun again by others: nothing of the old queue gets into the new one."""
    worker = open_worker()
    worker.leave()
    for name, change in CHANGES.values():
        if name:
            change(worker.memory)
    clear(online)
    new = {"topic": "new", "messages": ["new"], "profile": {"k": "new"}, "count": 7}
    for name, value in new.items():
        online[name] = value
    worker.come_back()
    assert snapshot(online) == new
    assert {each.reason for each in conflicts(worker.memory)} == {"cleared"}
    assert len(conflicts(worker.memory)) == len(CHANGES) - 1


def test_a_queue_with_an_own_clear_in_it_is_fenced_as_a_whole(
    online: ConversationMemory, open_worker: Open
) -> None:
    """Others cleared and began anew: a clear that waited does not take their new conversation."""
    worker = open_worker()
    worker.leave()
    worker.memory.topic = "before"
    clear(worker.memory)
    worker.memory.topic = "behind"
    clear(online)
    online.topic = "new"
    worker.come_back()
    assert snapshot(online) == {"topic": "new"}
    told = conflicts(worker.memory)
    assert [each.mine for each in told if each.name == "topic"] == ["before", "behind"]
    assert {each.reason for each in told} == {"cleared"}


def test_the_fence_falls_with_the_outage(online: ConversationMemory, open_worker: Open) -> None:
    """What the worker does after it has come back belongs to the conversation that is there."""
    worker = open_worker()
    worker.leave()
    worker.memory.topic = "queued"
    clear(online)
    worker.come_back()
    worker.memory.topic = "online again"
    push(worker.memory, "messages", "online again")
    assert snapshot(online) == {"topic": "online again", "messages": ["online again"]}
    worker.leave()
    worker.memory.topic = "away again"
    push(worker.memory, "messages", "away again")
    worker.come_back()
    assert snapshot(online) == {
        "topic": "away again",
        "messages": ["online again", "away again"],
    }
    assert len(conflicts(worker.memory)) == 1


def test_a_clear_before_the_outage_that_was_never_seen_fences_nothing(
    online: ConversationMemory, open_worker: Open
) -> None:
    """It was there before the server was lost sight of: what waits is made as it is online.

    An attribute that is assigned or pushed begins anew; a proxy's change of a list that is gone is
    told.
    """
    worker = open_worker()
    clear(online)
    worker.memory.heard = True
    worker.leave()
    worker.memory.topic = "queued"
    push(worker.memory, "log", "queued")
    worker.memory.messages.append("queued")
    worker.come_back()
    assert snapshot(online) == {"heard": True, "topic": "queued", "log": ["queued"]}
    told = conflicts(worker.memory)
    assert [(each.name, each.reason, each.mine) for each in told] == [
        ("messages", "gone", ["queued"])
    ]


@pytest.mark.parametrize("how", ["a read", "status", "a write"])
def test_whatever_call_met_the_outage_the_fence_begins_then(
    online: ConversationMemory, open_worker: Open, how: str
) -> None:
    """A clear after any failed call fences, though the first change was queued after it."""
    worker = open_worker()
    worker.proxy.refuse()
    if how == "a read":
        assert worker.memory.topic == "old"
    elif how == "status":
        assert not status(worker.memory).online
    else:
        worker.memory.topic = "queued"
    clear(online)
    push(worker.memory, "messages", "queued")
    worker.come_back()
    assert snapshot(online) == {}
    assert "messages" in {each.name for each in conflicts(worker.memory)}


def test_a_lost_reply_does_not_lift_the_fence(
    online: ConversationMemory, open_worker: Open
) -> None:
    """A change that was applied, then cleared by others, does not come back when sent again."""
    worker = open_worker()
    push(worker.memory, "messages", "first")  # the server knows the script from now on
    worker.proxy.lose_replies(math.inf)
    push(worker.memory, "messages", "in doubt")
    assert online.messages == ["old", "first", "in doubt"]
    push(worker.memory, "messages", "queued")
    clear(online)
    worker.come_back()
    assert snapshot(online) == {}
    told = [each for each in conflicts(worker.memory) if each.reason == "cleared"]
    assert ["queued"] in [each.mine for each in told]


def test_two_clears_by_two_that_were_away(online: ConversationMemory, open_worker: Open) -> None:
    """Each fences what the other had queued before it saw that; the later one to arrive is told."""
    first, second = open_worker(), open_worker()
    # it has heard of the server since the second one wrote
    first.memory.heard = True
    for worker, who in ((first, "first"), (second, "second")):
        worker.leave()
        clear(worker.memory)
        push(worker.memory, "log", who)
    first.come_back()
    assert snapshot(online) == {"log": ["first"]}
    second.come_back()
    assert snapshot(online) == {"log": ["first"]}
    told = conflicts(second.memory)
    assert [each.mine for each in told if each.name == "log"] == [["second"]]
    assert {each.reason for each in told} == {"cleared"}
    assert conflicts(first.memory) == []


def test_an_emptied_conversation_is_not_a_cleared_one(
    online: ConversationMemory, open_worker: Open
) -> None:
    """Others deleted every attribute one by one: what is new is stored, and no fence is up."""
    worker = open_worker()
    worker.leave()
    push(worker.memory, "log", "queued")
    worker.memory.fresh = "queued"
    for name in OLD:
        del online[name]
    worker.come_back()
    assert snapshot(online) == {"log": ["queued"], "fresh": "queued"}
    assert conflicts(worker.memory) == []
