"""Changes by index, and inside elements, meet what others did meanwhile: made there, or told."""

from __future__ import annotations

import pytest

from redis_memory import MISSING, conflicts, snapshot
from tests.outages.contests import BOOLEANS, POLICIES, Boxed, Team, is_mine

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

    team.in_turn(mine, theirs, is_newer=is_newer)
    worker.come_back()
    assert {name for name, _ in worker.outcome()} == {"set", "delete"}
    if not is_mine(policy, is_newer=is_newer):
        assert team.online.set == team.online.delete == ["a", "theirs", "c"]


# inside an element

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

    team.in_turn(mine, theirs, is_newer=is_newer)
    worker.come_back()
    assert team.online.profile["prefs"]["a"] == ("mine" if is_newer else "theirs")
    assert len(conflicts(worker.memory)) == 1
