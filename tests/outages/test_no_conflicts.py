"""What is no conflict: changes that commute, what both wanted, and a writer's own."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest

from redis_memory import ConversationMemory, conflicts, flush, increment, push, snapshot
from redis_memory.core import queue
from tests.faults import FaultProxy
from tests.outages.contests import LIMIT_S, POLICIES, Team, fail, is_replay
from tests.outages.processes import opened
from tests.servers import Server


def test_what_commutes_is_no_conflict(team: Team) -> None:
    """Appends, adds, increments, other keys and other attributes of two workers are all kept."""
    worker = team.worker()
    team.online.items = ["start"]
    team.online.tags = {"start"}
    team.online.profile = {"start": 0}
    team.online.count = 1
    both = (worker.memory, team.online)
    held = [(memory.items, memory.tags, memory.profile, memory.count) for memory in both]
    worker.leave()
    for memory, who, (items, tags, profile, _) in zip(both, "mt", held, strict=True):
        items.append(who)
        tags |= {who, "same"}
        profile[who] = who
        profile.setdefault("same", "same")
        increment(memory, "count", 10)
        push(memory, "log", who)
        memory[who] = who
        tags.discard("start")
    worker.come_back()
    assert snapshot(team.online) == {
        "items": ["start", "t", "m"],
        "tags": {"m", "t", "same"},
        "profile": {"start": 0, "m": "m", "t": "t", "same": "same"},
        "count": 21,
        "log": ["t", "m"],
        "m": "m",
        "t": "t",
        "left": True,
    }
    assert worker.outcome() == {}


@POLICIES
def test_what_both_wanted_is_no_conflict(team: Team, policy: str) -> None:
    """Nobody has lost anything when both deleted the same, or discarded it."""
    worker = team.worker(conflict=policy)
    team.online.topic = "start"
    team.online.profile = {"k": 1, "z": 2}
    team.online.tags = {1, 2}
    profile, tags = worker.memory.profile, worker.memory.tags
    assert worker.memory.topic == "start"
    worker.leave()
    for memory, one, other in (
        (worker.memory, profile, tags),
        (team.online, *(team.online.profile, team.online.tags)),
    ):
        del memory.topic
        del one["k"]
        other.discard(1)
    worker.come_back()
    assert snapshot(team.online) == {"profile": {"z": 2}, "tags": {2}, "left": True}
    assert worker.outcome() == {}


def test_an_older_value_that_was_never_seen_is_overwritten(team: Team) -> None:
    """What others did before this process last heard of the server loses as it does online."""
    worker = team.worker()
    team.online.topic = "start"
    team.online.profile = {"k": "start"}
    team.online.numbers = [1]
    held = worker.memory.profile
    assert worker.memory.topic == "start"
    team.online.topic = "unseen"
    team.online.profile["k"] = "unseen"
    team.online.numbers = ["unseen"]
    worker.memory.heard = True
    worker.leave()
    worker.memory.topic = "mine"
    held["k"] = "mine"
    worker.memory.numbers = ["mine"]
    worker.come_back()
    stored = snapshot(team.online)
    assert (stored["topic"], stored["profile"], stored["numbers"]) == (
        "mine",
        {"k": "mine"},
        ["mine"],
    )
    assert worker.outcome() == {}


# a writer and itself


def change_everything(mem: ConversationMemory) -> None:
    """One writer's changes, each of what the one before made."""
    mem.topic = "one"
    mem.numbers.append(4)
    mem.numbers[0] = 9
    mem.numbers.insert(0, 7)
    mem.numbers[1] = 8
    del mem.numbers[2]
    mem.numbers.sort()
    mem.numbers[1:2] = [5, 5]
    mem.numbers.reverse()
    mem.numbers = [*mem.numbers, 3]
    mem.numbers.append([1])
    mem.numbers[-1].append(2)
    mem.numbers *= 2
    mem.profile["k"] = [0]
    mem.profile["k"].append(1)
    mem.profile["k"][0] = "first"
    del mem.profile["k"]
    mem.profile["k"] = "last"
    mem.profile |= {"y": {"deep": []}}
    mem.profile["y"]["deep"].append(1)
    del mem.topic
    mem.topic = ["again"]
    mem.topic.append("more")
    mem.topic = {"now": "dict"}
    mem.topic["key"] = 1
    mem.topic.clear()
    mem.topic["key"] = 2
    increment(mem, "count", 2)
    mem.count = 10
    increment(mem, "count")
    mem.tags.add(5)
    mem.tags = {6}
    mem.tags ^= {6, 7}
    mem.new = {}
    mem.new["a"] = 1
    push(mem, "log", 1)
    mem.log[0] = 2
    mem.log.append(3)


EVERYTHING = {"topic": "start", "numbers": [1, 2, 3], "profile": {"z": 0}, "count": 0, "tags": {1}}


@pytest.fixture
def expected(server: Server) -> dict[str, Any]:
    """What `change_everything` leaves behind when it is done online."""
    with ConversationMemory(uuid.uuid4().hex, server.url, timeout_s=5) as memory:
        for name, value in EVERYTHING.items():
            memory[name] = value
        change_everything(memory)
        return snapshot(memory)


@pytest.mark.parametrize("policy", ["newest", "mine", "theirs", "function"])
@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_a_writer_never_meets_itself(
    team: Team,
    expected: dict[str, Any],
    policy: str,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own waiting changes do not contest each other, in batches of any size, sent twice too."""
    monkeypatch.setattr(queue, "_MOST_AT_ONCE", at_once)
    worker = team.worker(conflict=fail if policy == "function" else policy)
    for name, value in EVERYTHING.items():
        worker.memory[name] = value
        assert worker.memory[name] == value
    assert not hasattr(worker.memory, "log")
    cut = [True]
    # not `refuse`: what heals it would forget the replies that are to be lost then
    worker.proxy.reset_before(math.inf, when=lambda _: bool(cut))
    worker.memory.left = True
    change_everything(worker.memory)
    worker.proxy.lose_replies(3, when=is_replay)
    cut.clear()
    assert flush(worker.memory, LIMIT_S) == 0
    assert worker.proxy.lost == 3
    assert worker.outcome() == {}
    assert snapshot(team.online) == {**expected, "left": True}


@POLICIES
@pytest.mark.parametrize("is_first", [True, False], ids=["insert", "append"])
def test_a_change_in_doubt_that_was_made_is_made_once_and_contests_nothing(
    team: Team, policy: str, *, is_first: bool
) -> None:
    """Its answer was lost, more of the same waits behind it: the server knows the first already."""
    worker = team.worker(conflict=policy)
    worker.memory.log = ["start"]
    log = worker.memory.log
    log.append("first")
    log.insert(0, "zero")  # the server knows both scripts from now on
    worker.proxy.lose_replies(math.inf)
    log.insert(3, "in doubt") if is_first else log.append("in doubt")
    assert team.online.log == ["zero", "start", "first", "in doubt"]
    log.append("behind")
    log.extend(["far", "behind"])
    log[3] = "sure"
    log.sort()
    worker.come_back()
    assert team.online.log == ["behind", "behind", "far", "first", "start", "sure", "zero"]
    assert worker.outcome() == {}


@pytest.mark.parametrize("is_other_key", [False, True])
@pytest.mark.parametrize("count", [3, 1500])
def test_a_late_arrival_is_no_conflict_with_its_own_writer(
    name: str, server: Server, proxy: FaultProxy, count: int, *, is_other_key: bool
) -> None:
    """A change that the network brings late does not beat the later ones of the same writer."""
    with opened(name, proxy.url) as memory:
        memory.table = {"key": -1, "other": -1}
        held = memory.table
        held["key"] = -2  # the server knows the script from now on
        proxy.stall()
        held["key"] = 0
        for number in range(1, count):
            held["other" if is_other_key else "key"] = number
        held["key"] = count
        proxy.heal()
        assert flush(memory, 2 * LIMIT_S) == 0
        assert memory.table["key"] == count
        assert conflicts(memory) == []
