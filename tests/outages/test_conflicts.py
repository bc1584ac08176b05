"""What was changed while Redis was away meets what others changed: one wins, both are told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import MISSING, Conflict, conflicts, increment, push, snapshot, status
from tests.faults import Request
from tests.outages.contests import (
    BOOLEANS,
    DICT,
    KEYS,
    POLICIES,
    WHOLE,
    Case,
    Team,
    Worker,
    assigned,
    check_told,
    comparable,
    contest,
    fail,
    is_mine,
    key_set,
    merge,
)


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
        check_told(conflict, case.if_mine, wins=wins, is_newer=is_newer)
        assert not wins or conflict.theirs == case.if_theirs, name
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
        check_told(conflict, case.if_mine, wins=wins, is_newer=is_newer)
        assert conflict.theirs == case.if_theirs, name
    assert snapshot(worker.memory) == stored


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


# a function decides


def remove(conflict: Conflict) -> Any:
    """Decide for neither."""
    return MISSING


def unstorable(conflict: Conflict) -> Any:
    """Give what no memory can hold."""
    return object()


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
