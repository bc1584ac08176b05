"""What was changed while Redis was away meets what others changed: one wins, both are told."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from redis_memory import (
    MISSING,
    Conflict,
    ConversationMemory,
    conflicts,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from redis_memory.core import queue
from redis_memory.memory import core_of
from tests.faults import FaultProxy, Request
from tests.servers import Server
from tests.waiting import wait_until

TIMEOUT_S = 0.15
LIMIT_S = 10.0
# more than the server's time can be misjudged by when this machine is busy
APART_US = 40_000

Change = Callable[[ConversationMemory, str], object]


class Worker:
    """A memory whose network can be cut."""

    def __init__(self, name: str, server: Server, **options: Any) -> None:
        self.told: list[Conflict] = []
        self.proxy = FaultProxy(server.url)
        self.memory = ConversationMemory(
            name,
            self.proxy.url,
            timeout_s=TIMEOUT_S,
            reconnect_max_s=0.05,
            on_conflict=self.told.append,
            **options,
        )

    def leave(self) -> None:
        """Lose sight of the server, with a change that waits."""
        self.proxy.refuse()
        self.memory.left = True
        assert status(self.memory).queued == 1

    def come_back(self) -> None:
        """Deliver everything."""
        self.proxy.heal()
        assert flush(self.memory, LIMIT_S) == 0

    def outcome(self) -> dict[tuple[str, Any], Conflict]:
        """The conflicts by name and key, after a check that all who are told of them agree."""
        found = conflicts(self.memory)
        assert self.told == found
        assert status(self.memory).conflicts == len(found)
        by_place = {(each.name, each.key): each for each in found}
        assert len(by_place) == len(found), "one place was told of twice"
        return by_place


class Team:
    """Workers on one conversation; `online` is one that never loses sight of the server."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.name = uuid.uuid4().hex
        self.server = server
        self._stack = stack
        self.online = stack.enter_context(ConversationMemory(self.name, server.url, timeout_s=5))

    def worker(self, **options: Any) -> Worker:
        worker = Worker(self.name, self.server, **options)
        self._stack.callback(worker.proxy.close)
        self._stack.enter_context(worker.memory)
        # closing must find the network whole, whatever became of the test
        self._stack.callback(worker.proxy.heal)
        return worker

    def later(self) -> None:
        """Let the server's clock move on: what comes now is newer beyond doubt."""
        begin = self._now_us()
        wait_until(lambda: self._now_us() > begin + APART_US, what="the server's clock")

    def _now_us(self) -> int:
        seconds, micros = self.server.client().time()
        return int(seconds) * 1_000_000 + int(micros)


@pytest.fixture
def team(server: Server) -> Iterator[Team]:
    """Workers on a conversation of their own."""
    with ExitStack() as stack:
        yield Team(server, stack)


def assigned(value: Any) -> Change:
    """Assign the whole attribute."""
    return lambda mem, name: mem.__setitem__(name, value)


def deleted(mem: ConversationMemory, name: str) -> None:
    """Delete the whole attribute."""
    del mem[name]


def made_again(value: Any) -> Change:
    """Delete the attribute and store another value."""

    def change(mem: ConversationMemory, name: str) -> None:
        del mem[name]
        mem[name] = value

    return change


def key_set(value: Any, key: str = "k") -> Change:
    """Set a key of a dict."""
    return lambda mem, name: mem[name].__setitem__(key, value)


def key_deleted(mem: ConversationMemory, name: str) -> None:
    """Delete the key `k` of a dict."""
    del mem[name]["k"]


def appended(value: Any) -> Change:
    """Append to a list."""
    return lambda mem, name: mem[name].append(value)


@dataclass(frozen=True)
class Case:
    """An attribute, what two do to it, and what is there when either of them wins."""

    start: Any
    mine: Change
    theirs: Change
    if_mine: Any
    if_theirs: Any


WHOLE = {
    "assign_assign": Case("start", assigned("mine"), assigned("theirs"), "mine", "theirs"),
    "assign_delete": Case("start", assigned("mine"), deleted, "mine", MISSING),
    "delete_assign": Case("start", deleted, assigned("theirs"), MISSING, "theirs"),
    "create_create": Case(MISSING, assigned("mine"), assigned("theirs"), "mine", "theirs"),
    "created_and_deleted": Case("start", assigned("mine"), made_again("t"), "mine", "t"),
    "to_list_to_dict": Case("start", assigned([1]), assigned({"a": 1}), [1], {"a": 1}),
    "to_set_to_scalar": Case([1], assigned({1, 2}), assigned(None), {1, 2}, None),
    "list_append": Case(["s"], assigned(["m"]), appended("t"), ["m"], ["s", "t"]),
    "delete_append": Case(["s"], deleted, appended("t"), MISSING, ["s", "t"]),
    "dict_key": Case({"k": 1}, assigned({"m": 2}), key_set(3), {"m": 2}, {"k": 3}),
    "delete_key": Case({"k": 1, "z": 0}, deleted, key_deleted, MISSING, {"z": 0}),
    "set_add": Case({1}, assigned({5}), lambda mem, name: mem[name].add(2), {5}, {1, 2}),
    "number": Case(1, assigned(10), lambda mem, name: increment(mem, name, 5), 10, 6),
    "inside": Case([[1]], assigned([]), lambda mem, name: mem[name][0].append(2), [], [[1, 2]]),
    "tuple": Case((1,), assigned((2, "m")), assigned(((),)), (2, "m"), ((),)),
}
DICT = {"k": "start", "z": 0}
KEYS = {
    "set_set": Case(DICT, key_set("mine"), key_set("theirs"), "mine", "theirs"),
    "set_delete": Case(DICT, key_set("mine"), key_deleted, "mine", MISSING),
    "delete_set": Case(DICT, key_deleted, key_set("theirs"), MISSING, "theirs"),
    "new_new": Case({}, key_set("mine"), key_set("theirs"), "mine", "theirs"),
    "set_whole": Case(DICT, key_set("mine"), assigned({"k": "theirs"}), "mine", "theirs"),
    "set_whole_without": Case(DICT, key_set("mine"), assigned({"y": 1}), "mine", MISSING),
    "delete_whole": Case(DICT, key_deleted, assigned({"k": "theirs"}), MISSING, "theirs"),
    "set_emptied": Case(DICT, key_set("mine"), lambda m, name: m[name].clear(), "mine", MISSING),
    "set_made_again": Case(DICT, key_set("mine"), made_again({"k": "t"}), "mine", "t"),
    "set_deleted_and_set": Case(
        DICT,
        key_set("mine"),
        lambda mem, name: (mem[name].pop("k"), mem[name].update(k="theirs")),
        "mine",
        "theirs",
    ),
    "container_in_key": Case(DICT, key_set(["mine"]), key_set({"t": 1}), ["mine"], {"t": 1}),
}
BOOLEANS = pytest.mark.parametrize("is_newer", [True, False], ids=["newer", "older"])
POLICIES = pytest.mark.parametrize("policy", ["newest", "mine", "theirs"])


def prepare(team: Team, worker: Worker, cases: dict[str, Case]) -> None:
    """Store what the cases begin with, and have the worker see it."""
    for name, case in cases.items():
        if case.start is not MISSING:
            team.online[name] = case.start
        assert getattr(worker.memory, name, MISSING) == case.start


def contest(team: Team, worker: Worker, cases: dict[str, Case], *, is_newer: bool) -> None:
    """Have both sides make their changes, the worker while it is away, and bring it back."""
    prepare(team, worker, cases)
    worker.leave()
    sides = [
        (team.online, [case.theirs for case in cases.values()]),
        (worker.memory, [case.mine for case in cases.values()]),
    ]
    for memory, changes in sides if is_newer else reversed(sides):
        for name, change in zip(cases, changes, strict=True):
            change(memory, name)
        team.later()
    worker.come_back()


def is_mine(policy: str, *, is_newer: bool) -> bool:
    """Whether the change of the worker that was away wins."""
    return is_newer if policy == "newest" else policy == "mine"


@POLICIES
@BOOLEANS
def test_a_contested_attribute_goes_to_whom_the_setting_says(
    team: Team, policy: str, *, is_newer: bool
) -> None:
    """Whatever either side did to the whole, the winner's state is stored and the loser's told."""
    worker = team.worker(conflict=policy)
    contest(team, worker, WHOLE, is_newer=is_newer)
    wins = is_mine(policy, is_newer=is_newer)
    stored = snapshot(team.online)
    assert stored.pop("left") is True
    kept = {name: case.if_mine if wins else case.if_theirs for name, case in WHOLE.items()}
    assert stored == {name: value for name, value in kept.items() if value is not MISSING}
    told = worker.outcome()
    assert {name for name, _ in told} == set(WHOLE)
    for name, case in WHOLE.items():
        conflict = told[name, MISSING]
        assert conflict.mine == case.if_mine, name
        assert not wins or conflict.theirs == case.if_theirs, name
        assert (conflict.winner, conflict.reason) == ("mine" if wins else "theirs", "newer")
        check_times(conflict, is_newer=is_newer)
    assert snapshot(worker.memory) == snapshot(team.online)


def test_what_others_had_is_told_when_it_stays_too(team: Team) -> None:
    """A report holds both values in full, containers as well, whoever has won."""
    worker = team.worker(conflict="theirs")
    contest(team, worker, WHOLE, is_newer=True)
    told = worker.outcome()
    both = {name: (told[name, MISSING].mine, told[name, MISSING].theirs) for name in WHOLE}
    assert both == {name: (case.if_mine, case.if_theirs) for name, case in WHOLE.items()}


@POLICIES
@BOOLEANS
def test_a_contested_key_goes_to_whom_the_setting_says(
    team: Team, policy: str, *, is_newer: bool
) -> None:
    """Keys are contested one by one; what happened to the rest of the dict is kept."""
    worker = team.worker(conflict=policy)
    contest(team, worker, KEYS, is_newer=is_newer)
    wins = is_mine(policy, is_newer=is_newer)
    stored = snapshot(team.online)
    kept = {name: case.if_mine if wins else case.if_theirs for name, case in KEYS.items()}
    assert {name: stored[name].get("k", MISSING) for name in KEYS} == kept
    assert stored["set_whole_without"]["y"] == 1
    assert stored["set_set"]["z"] == 0
    told = worker.outcome()
    assert set(told) == {(name, "k") for name in KEYS}
    for name, case in KEYS.items():
        conflict = told[name, "k"]
        assert (conflict.mine, conflict.theirs) == (case.if_mine, case.if_theirs), name
        assert (conflict.winner, conflict.reason) == ("mine" if wins else "theirs", "newer")
        check_times(conflict, is_newer=is_newer)
    assert snapshot(worker.memory) == stored


def check_times(conflict: Conflict, *, is_newer: bool) -> None:
    """Both times are told, and they tell who was later."""
    assert conflict.mine_at is not None
    assert conflict.theirs_at is not None
    assert (conflict.mine_at > conflict.theirs_at) is is_newer


# a function decides


def remove(conflict: Conflict) -> Any:
    """Decide for neither."""
    return MISSING


def fail(conflict: Conflict) -> Any:
    """Be a function with a fault in it."""
    raise LookupError(conflict.name)


def unstorable(conflict: Conflict) -> Any:
    """Give what no memory can hold."""
    return object()


def comparable(value: Any) -> Any:
    """MISSING is no value: in the stored list of `merge` a marker stands for it."""
    return "(missing)" if value is MISSING else value


def merge(conflict: Conflict) -> Any:
    """Decide for both."""
    return ["merged", comparable(conflict.mine), comparable(conflict.theirs)]


@BOOLEANS
def test_a_function_gives_the_value(team: Team, *, is_newer: bool) -> None:
    """It is asked once for each contest, with both values, and what it returns is stored."""
    cases = {**WHOLE, **{f"key_{name}": case for name, case in KEYS.items()}}
    worker = team.worker(conflict=merge)
    contest(team, worker, cases, is_newer=is_newer)
    stored = snapshot(team.online)
    told = worker.outcome()
    assert len(told) == len(cases)
    for (name, key), conflict in told.items():
        case = cases[name]
        expected = ["merged", comparable(case.if_mine), comparable(case.if_theirs)]
        assert (stored[name] if key is MISSING else stored[name]["k"]) == expected, name
        assert (conflict.winner, conflict.reason) == ("function", "newer"), name
        assert comparable(conflict.theirs) == comparable(case.if_theirs)
        assert conflict.key == ("k" if name.startswith("key_") else MISSING)
    assert snapshot(worker.memory) == stored


DECISIONS: dict[str, Any] = {
    "missing": (remove, MISSING, "function"),
    "raising": (fail, "theirs", "theirs"),
    "unstorable": (unstorable, "theirs", "theirs"),
    "itself_theirs": (lambda conflict: conflict.theirs, "theirs", "function"),
}


@pytest.mark.parametrize(("decide", "kept", "winner"), DECISIONS.values(), ids=list(DECISIONS))
@BOOLEANS
def test_a_function_may_delete_or_fail(
    team: Team, decide: Callable[[Conflict], Any], kept: Any, winner: str, *, is_newer: bool
) -> None:
    """MISSING deletes; one that raises, or gives what cannot be stored, leaves theirs."""
    cases = {
        "whole": Case("start", assigned("mine"), assigned("theirs"), "mine", "theirs"),
        "key": Case(DICT, key_set("mine"), key_set("theirs"), "mine", "theirs"),
        "behind": Case("start", assigned("mine"), lambda mem, name: None, "mine", "theirs"),
    }
    worker = team.worker(conflict=decide)
    contest(team, worker, cases, is_newer=is_newer)
    stored = snapshot(team.online)
    assert stored.get("whole", MISSING) == kept
    assert stored["key"].get("k", MISSING) == kept
    assert stored["behind"] == "mine"
    told = worker.outcome()
    assert set(told) == {("whole", MISSING), ("key", "k")}
    assert {(each.mine, each.theirs, each.winner) for each in told.values()} == {
        ("mine", "theirs", winner)
    }


# only a part of a change is contested


@POLICIES
def test_only_contested_keys_of_an_update_are_decided(team: Team, policy: str) -> None:
    """One call that sets five keys: two of them met others, and the rest is stored as it was."""
    worker = team.worker(conflict=policy)
    team.online.profile = {"a": 0, "b": 0, "c": 0, 1: 0}
    profile = worker.memory.profile
    worker.leave()
    profile.update({"a": "m", "b": "m", "new": "m", 1: "m", (2, "t"): "m"})
    team.later()
    team.online.profile.update({"b": "t", 1.0: "t", "z": "t"})
    worker.come_back()
    contested = "m" if policy == "mine" else "t"
    assert team.online.profile == {
        "a": "m",
        "b": contested,
        "c": 0,
        1: contested,
        "new": "m",
        (2, "t"): "m",
        "z": "t",
    }
    assert worker.memory.profile == team.online.profile
    found = conflicts(worker.memory)
    assert [(each.name, each.mine, each.theirs) for each in found] == [("profile", "m", "t")] * 2
    assert [each.key for each in found] == ["b", 1]


def test_a_function_is_asked_about_each_contested_key(team: Team) -> None:
    """What it gives for one key does not touch the others; MISSING removes that key alone."""
    asked = []

    def decide(conflict: Conflict) -> Any:
        asked.append(conflict.key)
        return MISSING if conflict.key == "b" else f"{conflict.mine}+{conflict.theirs}"

    worker = team.worker(conflict=decide)
    team.online.profile = dict.fromkeys("abcd", 0)
    profile = worker.memory.profile
    worker.leave()
    profile.update(a="m", b="m", c="m")
    team.online.profile.update(b="t", c="t")
    worker.come_back()
    assert asked == ["b", "c"]
    assert team.online.profile == {"a": "m", "c": "m+t", "d": 0}


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


# what is no conflict


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


def test_what_others_do_during_the_call_that_fails_is_contested(team: Team) -> None:
    """From the last answer on nothing is known, so a change from then on is told."""
    worker = team.worker()
    team.online.topic = "start"
    worker.memory.topic = "seen"

    def meanwhile(request: Request) -> bool:
        if team.online.topic == "seen":
            team.online.topic = "theirs"
        return True

    worker.proxy.reset_before(math.inf, when=meanwhile)
    worker.memory.topic = "mine"
    worker.come_back()
    assert team.online.topic == "mine"
    told = worker.outcome()["topic", MISSING]
    assert (told.mine, told.theirs, told.winner) == ("mine", "theirs", "mine")


@POLICIES
@pytest.mark.parametrize("how", ["a read", "status", "a write"])
def test_whatever_call_met_the_outage_it_began_then(team: Team, policy: str, how: str) -> None:
    """What others do after any call of this process has failed is contested."""
    worker = team.worker(conflict=policy)
    team.online.topic = "start"
    assert worker.memory.topic == "start"
    worker.proxy.refuse()
    if how == "a read":
        assert worker.memory.topic == "start"
    elif how == "status":
        assert not status(worker.memory).online
    else:
        worker.memory.left = True
    team.online.topic = "theirs"
    team.later()
    worker.memory.topic = "mine"
    worker.come_back()
    assert team.online.topic == ("theirs" if policy == "theirs" else "mine")
    assert [(each.mine, each.theirs) for each in conflicts(worker.memory)] == [("mine", "theirs")]


def is_replay(request: Request) -> bool:
    """Whether a request delivers what waited."""
    return request.name == b"EVALSHA" and any(part[:2] == b"_w" for part in request.arguments)


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


@pytest.mark.parametrize("policy", ["newest", "mine", "theirs", "function"])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_lost_replies_tell_each_contest_once(
    team: Team, policy: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decided is not decided again when its answer was lost, and it is told once."""
    monkeypatch.setattr(queue, "_MOST_AT_ONCE", at_once)
    worker = team.worker(conflict=merge if policy == "function" else policy)
    cases = {**WHOLE, **{f"key_{name}": case for name, case in KEYS.items()}}
    prepare(team, worker, cases)
    cut = [True]
    worker.proxy.reset_before(math.inf, when=lambda _: bool(cut))
    worker.memory.left = True
    worker.proxy.lose_replies(4, when=is_replay)
    for name, case in cases.items():
        case.mine(worker.memory, name)
        push(worker.memory, "log", name)
        case.theirs(team.online, name)
    cut.clear()
    assert flush(worker.memory, LIMIT_S) == 0
    assert worker.proxy.lost == 4
    assert team.online.log == list(cases)
    told = worker.outcome()
    assert {name for name, _ in told} == set(cases)
    for (name, _), conflict in told.items():
        assert conflict.mine == cases[name].if_mine, name


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


# two that are away


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("later", [0, 1])
def test_of_two_that_were_away_the_later_change_wins(team: Team, first: int, later: int) -> None:
    """Whoever comes back first: of two changes made offline the one made later is stored."""
    pair = [team.worker(), team.worker()]
    team.online.topic = "start"
    team.online.profile = {"k": "start"}
    team.online.gone = "start"
    for worker in pair:
        worker.memory.count = 0  # each has seen the newest state, and knows all of it
        assert snapshot(worker.memory) == snapshot(team.online)
        assert worker.memory.profile == {"k": "start"}
        worker.leave()
    names = ("early", "late")
    for worker, who in zip(pair if later else reversed(pair), names, strict=True):
        worker.memory.topic = who
        worker.memory.profile["k"] = who
        worker.memory.profile[who] = 1
        worker.memory.fresh = [who]
        push(worker.memory, "log", who)
        increment(worker.memory, "count")
        team.later()
    del pair[later].memory.gone
    team.later()
    pair[1 - later].memory.gone = "late"
    for worker in (pair[first], pair[1 - first]):
        worker.come_back()
    stored = snapshot(team.online)
    assert sorted(stored.pop("log")) == ["early", "late"]
    assert stored == {
        "topic": "late",
        "profile": {"k": "late", "early": 1, "late": 1},
        "fresh": ["late"],
        "count": 2,
        "gone": "late",
        "left": True,
    }
    check_second(pair[1 - first], "early" if first == later else "late")
    assert {name for name, _ in pair[first].outcome()} <= {"left"}


def check_second(worker: Worker, who: str) -> None:
    """Who comes back second is told of each contest, and who has won it."""
    told = worker.outcome()
    winner = "mine" if who == "late" else "theirs"
    other = "early" if who == "late" else "late"
    place = told["topic", MISSING], told["profile", "k"], told["fresh", MISSING]
    assert [each.winner for each in place] == [winner] * 3
    assert [each.mine for each in place] == [who, who, [who]]
    assert [each.theirs for each in place] == [other, other, [other]]


def test_three_that_were_away_agree_in_any_order(team: Team) -> None:
    """A change that lost to one that lost is still older than the winner."""
    workers = [team.worker() for _ in range(3)]
    for worker in workers:
        worker.leave()
    for number, worker in enumerate(workers):
        worker.memory.topic = number
        team.later()
    for number in (1, 0, 2):
        workers[number].come_back()
    assert team.online.topic == 2
    told = [worker.outcome()["topic", MISSING] for worker in (workers[0], workers[2])]
    assert [(each.mine, each.theirs, each.winner) for each in told] == [
        (0, 1, "theirs"),
        (2, 1, "mine"),
    ]


@BOOLEANS
def test_a_late_change_is_dated_by_when_it_was_made(team: Team, *, is_newer: bool) -> None:
    """What somebody delivered meanwhile counts as of when it was made, not when it arrived."""
    early, late = team.worker(), team.worker()
    team.online.topic = "start"
    for worker in (early, late):
        assert worker.memory.topic == "start"
        worker.leave()
    first, second = (early, late) if is_newer else (late, early)
    first.memory.topic = "first"
    team.later()
    second.memory.topic = "second"
    team.later()
    early.come_back()
    late.come_back()
    assert team.online.topic == "second"


# what is told, and where


def test_values_are_told_to_the_program_alone(
    team: Team, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The loser is in `conflicts`, in `on_conflict` and counted; no value is in a log or a repr."""
    caplog.set_level(logging.DEBUG)
    worker = team.worker()
    team.online.topic = "start"
    team.online.profile = {"plain key": "start"}
    team.online.numbers = ["start"]
    held = worker.memory.profile, worker.memory.numbers
    worker.leave()
    worker.memory.topic = "secret of mine"
    held[0]["plain key"] = "secret of mine"
    held[1][0] = "secret of mine"
    team.later()
    team.online.topic = "secret of theirs"
    team.online.profile["plain key"] = "secret of theirs"
    team.online.numbers.insert(0, "secret of theirs")
    worker.come_back()
    found = conflicts(worker.memory)
    assert len(found) == 3
    assert all("secret of mine" in repr(each.mine) for each in found)
    shown = [repr(found), str(found), repr(worker.told), repr(status(worker.memory))]
    text = "\n".join([*shown, repr(worker.memory), caplog.text, *capfd.readouterr()])
    assert "secret" not in text
    for name in ("topic", "profile", "numbers"):
        assert caplog.text.count(f"about '{name}'") == 1
    assert status(worker.memory).conflicts == 3


def test_a_failing_listener_stops_nothing(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    """`on_conflict` that raises is logged, and everything behind it is delivered and told."""
    proxy = team.worker()
    proxy.memory.topic = proxy.memory.other = "start"

    def tell(conflict: Conflict) -> None:
        raise ValueError("listener")

    core_of(proxy.memory).state.conflicts.tell = tell
    proxy.leave()
    proxy.memory.topic = proxy.memory.other = "mine"
    team.later()
    team.online.topic = team.online.other = "theirs"
    push(proxy.memory, "log", 1)
    proxy.come_back()
    assert [each.name for each in conflicts(proxy.memory)] == ["topic", "other"]
    assert team.online.log == [1]
    assert caplog.text.count("on_conflict raised") == 2


def test_only_the_last_thousand_are_kept_and_all_are_counted(team: Team) -> None:
    """An endless row of conflicts takes bounded memory."""
    worker = team.worker()
    worker.leave()
    names = [f"n{number}" for number in range(1005)]
    for name in names:
        worker.memory[name] = "mine"
    with ExitStack() as stack:
        other = stack.enter_context(ConversationMemory(team.name, team.server.url, timeout_s=5))
        for name in names:
            other[name] = "theirs"
    worker.come_back()
    assert [each.name for each in conflicts(worker.memory)] == names[5:]
    assert status(worker.memory).conflicts == len(worker.told) == 1005
    conflicts(worker.memory).clear()
    assert len(conflicts(worker.memory)) == 1000


# by position

Boxed = Callable[[Any], object]
POSITIONAL: dict[str, Boxed] = {
    "set": lambda box: box.__setitem__(1, "mine"),
    "set_last": lambda box: box.__setitem__(-1, "mine"),
    "delete": lambda box: box.__delitem__(1),
    "slice": lambda box: box.__setitem__(slice(0, 2), ["mine"]),
    "delete_slice": lambda box: box.__delitem__(slice(1, None)),
    "sort": lambda box: box.sort(reverse=True),
    "reverse": lambda box: box.reverse(),
    "repeat": lambda box: box.__imul__(2),
}
MOVES: dict[str, Boxed] = {
    "insert": lambda box: box.insert(0, "theirs"),
    "delete": lambda box: box.__delitem__(0),
    "pop": lambda box: box.pop(),
    "remove": lambda box: box.remove("b"),
    "sort": lambda box: box.sort(key=lambda each: (each != "c", each)),
    "reverse": lambda box: box.reverse(),
    "slice": lambda box: box.__setitem__(slice(0, 1), ["x", "y"]),
    "clear": lambda box: box.clear(),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=list(MOVES))
@POLICIES
def test_a_position_that_moved_is_refused(team: Team, move: Boxed, policy: str) -> None:
    """No change by an index lands on another element; each is told, and the next one is made."""
    worker = team.worker(conflict=policy)
    start = ["a", "b", "c"]
    for name in POSITIONAL:
        team.online[name] = list(start)
        assert worker.memory[name] == start
    worker.leave()
    for name, change in POSITIONAL.items():
        change(worker.memory[name])
        worker.memory[name].append("behind")
        move(team.online[name])
    expected = list(start)
    move(expected)
    worker.come_back()
    stored = snapshot(team.online)
    assert {name: stored[name] for name in POSITIONAL} == {
        name: [*expected, "behind"] for name in POSITIONAL
    }
    told = worker.outcome()
    assert {(name, each.reason, each.winner) for (name, _), each in told.items()} == {
        (name, "moved", "theirs") for name in POSITIONAL
    }
    assert told["set", MISSING].mine == "mine"


def test_an_append_moves_nothing(team: Team) -> None:
    """Elements keep their places when others append, so that single ones may be set and deleted."""
    worker = team.worker()
    team.online.kept = ["a", "b", "c"]
    team.online.less = ["a", "b", "c"]
    team.online.sorted = ["c", "b", "a"]
    boxes = [worker.memory[name] for name in ("kept", "less", "sorted")]
    worker.leave()
    boxes[0][-1] = "mine"
    del boxes[1][1]
    boxes[2].sort()
    for name in ("kept", "less", "sorted"):
        team.online[name].append("theirs")
    worker.come_back()
    assert team.online.kept == ["a", "b", "mine", "theirs"]
    assert team.online.less == ["a", "c", "theirs"]
    # sorted was worked out from another list than this one
    assert team.online.sorted == ["c", "b", "a", "theirs"]
    assert [(each.name, each.reason) for each in conflicts(worker.memory)] == [("sorted", "moved")]


@POLICIES
@BOOLEANS
def test_an_element_that_others_set_meanwhile_is_contested(
    team: Team, policy: str, *, is_newer: bool
) -> None:
    """`l[1] = x` is made while that element is what was seen, else it is told; so is `del l[1]`."""
    worker = team.worker(conflict=policy)
    for name in ("set", "delete"):
        team.online[name] = ["a", "b", "c"]
        assert worker.memory[name]
    worker.leave()

    def mine() -> None:
        worker.memory.set[1] = "mine"
        del worker.memory.delete[1]

    def theirs() -> None:
        team.online.set[1] = "theirs"
        team.online.delete[1] = "theirs"

    for change in (theirs, mine) if is_newer else (mine, theirs):
        change()
        team.later()
    worker.come_back()
    assert {name for name, _ in worker.outcome()} == {"set", "delete"}
    if not is_mine(policy, is_newer=is_newer):
        assert team.online.set == team.online.delete == ["a", "theirs", "c"]


NESTED: dict[str, Boxed] = {
    "set": lambda box: box[1].__setitem__(0, "mine"),
    "delete": lambda box: box[1].__delitem__(0),
    "sort": lambda box: box[1].sort(reverse=True),
    "reverse": lambda box: box[1].reverse(),
    "append": lambda box: box[1].append("mine"),
    "deep": lambda box: box[2]["tags"].append("mine"),
    "deep_set": lambda box: box[2]["tags"].__setitem__(0, "mine"),
}


def test_a_place_inside_an_element_that_moved_is_refused(team: Team) -> None:
    """Others inserted before it: no change inside lands in another element."""
    worker = team.worker()
    start = [["x"], ["a", "b"], {"tags": ["t"]}]
    for name in NESTED:
        team.online[name] = start
        assert worker.memory[name] == start
    worker.leave()
    for name, change in NESTED.items():
        change(worker.memory[name])
        team.online[name].insert(0, ["theirs"])
    worker.come_back()
    stored = snapshot(team.online)
    assert {name: stored[name] for name in NESTED} == {
        name: [["theirs"], *start] for name in NESTED
    }
    told = worker.outcome()
    assert {(name, each.reason) for (name, _), each in told.items()} == {
        (name, "moved") for name in NESTED
    }


def test_positions_inside_an_element_that_others_changed_are_refused(team: Team) -> None:
    """Others inserted inside the same element: an index in it is refused, an append is made."""
    worker = team.worker()
    start = [["x"], ["a", "b"], {"tags": ["t"]}]
    names = ("set", "delete", "sort", "append")
    for name in names:
        team.online[name] = start
        assert worker.memory[name] == start
    worker.leave()
    for name in names:
        NESTED[name](worker.memory[name])
        team.online[name][1].insert(0, "theirs")
    worker.come_back()
    stored = snapshot(team.online)
    refused = [["x"], ["theirs", "a", "b"], {"tags": ["t"]}]
    made = [["x"], ["theirs", "a", "b", "mine"], {"tags": ["t"]}]
    assert {name: stored[name] for name in names} == {
        **dict.fromkeys(names, refused),
        "append": made,
    }
    assert {name for name, _ in worker.outcome()} == set(names) - {"append"}


def test_a_reverse_inside_an_element_that_others_changed_is_refused(team: Team) -> None:
    """It was worked out from another list than the one that is there."""
    worker = team.worker()
    team.online.items = [["a", "b"], ["c", "d"]]
    items = worker.memory.items
    worker.leave()
    items[0].reverse()
    items[1].sort()
    for inner in team.online.items:
        inner.insert(0, "theirs")
    worker.come_back()
    assert team.online.items == [["theirs", "a", "b"], ["theirs", "c", "d"]]
    assert [each.reason for each in conflicts(worker.memory)] == ["moved", "moved"]


def test_changes_at_two_places_inside_one_value_are_both_kept(team: Team) -> None:
    """Different leaves of one nested value are no conflict."""
    worker = team.worker()
    start = {"prefs": {"a": 1, "tags": [], "deep": {"x": {}}}}
    team.online.profile = start
    team.online.items = [start]
    assert worker.memory.profile
    assert worker.memory.items
    worker.leave()
    for mine in (worker.memory.profile, worker.memory.items[0]):
        mine["prefs"]["mine"] = 1
        mine["prefs"]["deep"]["x"]["mine"] = 1
        mine["prefs"]["tags"].append("mine")
    for theirs in (team.online.profile, team.online.items[0]):
        theirs["prefs"]["theirs"] = 1
        theirs["prefs"]["deep"]["x"]["theirs"] = 1
    worker.come_back()
    both = {"mine": 1, "theirs": 1}
    expected = {"prefs": {"a": 1, "tags": ["mine"], "deep": {"x": both}, **both}}
    assert team.online.profile == expected
    assert team.online.items == [expected]
    assert worker.outcome() == {}


@BOOLEANS
def test_the_same_leaf_inside_a_value_is_contested(team: Team, *, is_newer: bool) -> None:
    """`mem.profile["prefs"]["a"]` set by both: the later one stays, and the loser is told."""
    worker = team.worker()
    team.online.profile = {"prefs": {"a": 0}}
    held = worker.memory.profile["prefs"]
    worker.leave()

    def mine() -> None:
        held["a"] = "mine"

    def theirs() -> None:
        team.online.profile["prefs"]["a"] = "theirs"

    for change in (theirs, mine) if is_newer else (mine, theirs):
        change()
        team.later()
    worker.come_back()
    assert team.online.profile["prefs"]["a"] == ("mine" if is_newer else "theirs")
    assert len(conflicts(worker.memory)) == 1


def test_what_is_gone_or_of_another_kind_is_told(team: Team) -> None:
    """A change of a container that others deleted or replaced by another kind is never silent."""
    changes: dict[str, Boxed] = {
        "append": lambda box: box.append("mine"),
        "insert": lambda box: box.insert(0, "mine"),
        "extend": lambda box: box.extend(["mine"]),
    }
    worker = team.worker()
    names = [f"{name}_{what}" for name in changes for what in ("gone", "kind")]
    for name in names:
        team.online[name] = ["start"]
        assert worker.memory[name]
    worker.leave()
    for name in names:
        change = changes[name.partition("_")[0]]
        change(worker.memory[name])
        if name.endswith("gone"):
            del team.online[name]
        else:
            team.online[name] = {"theirs": 1}
    worker.come_back()
    stored = snapshot(team.online)
    assert {name: stored.get(name) for name in names} == {
        name: None if name.endswith("gone") else {"theirs": 1} for name in names
    }
    assert {(name, each.reason) for (name, _), each in worker.outcome().items()} == {
        (name, "gone") for name in names
    }
