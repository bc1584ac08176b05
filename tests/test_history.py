"""The checker of histories finds each fault that it is there for, and no other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.history import History


@pytest.fixture
def history() -> History:
    """Two writers, two readers, and nothing wrong."""
    made = History(final=["a1", "b1", "a2", "b2", "a3"])
    for value in made.final:
        made.append(str(value)[0], value)
    for length in (0, 2, 2, 5):
        made.read("reader", made.final[:length])
    made.read("other", made.final[:3])
    return made


Break = Callable[[History], object]


def each(*breaks: Break) -> Break:
    """Several things go wrong together."""

    def spoil(history: History) -> None:
        for one in breaks:
            one(history)

    return spoil


FAULTS: dict[str, tuple[Break, list[str]]] = {
    "lost": (
        lambda history: history.append("b", "b3"),
        ["lost of b: 'b3'"],
    ),
    "lost at the end": (
        each(lambda history: history.final.pop(), lambda history: history.reads.clear()),
        ["lost of a: 'a3'"],
    ),
    "twice": (
        lambda history: history.final.append("b1"),
        ["there more than once: 'b1'"],
    ),
    "twice at once": (
        each(lambda history: history.final.insert(0, "a1"), lambda history: history.reads.clear()),
        ["there more than once: 'a1'"],
    ),
    "from nowhere": (
        lambda history: history.final.append("c1"),
        ["appended by nobody: 'c1'"],
    ),
    "out of order": (
        lambda history: history.appended["b"].reverse(),
        ["out of order, of b: 'b1' before 'b2'"],
    ),
    "read too early": (
        lambda history: history.read("other", ["a1", "b1", "b2"]),
        ["read 1 of other is no beginning of the list, from 2 on"],
    ),
    "read and gone": (
        lambda history: history.read("other", [*history.final, "a4"]),
        ["read 1 of other is no beginning of the list, from 5 on"],
    ),
    "a read that goes back": (
        lambda history: history.read("reader", history.final[:4]),
        ["read 4 of reader shows 4 values after one that showed 5"],
    ),
    "two at once": (
        each(lambda history: history.final.append("a2"), lambda history: history.append("b", "b9")),
        ["lost of b: 'b9'", "there more than once: 'a2'"],
    ),
    "many": (
        lambda history: history.appended.update(c=[f"c{number}" for number in range(7)]),
        ["lost of c: 'c0', 'c1', 'c2', 'c3', 'c4' and 2 more"],
    ),
}


@pytest.mark.parametrize(("spoil", "faults"), FAULTS.values(), ids=list(FAULTS))
def test_each_fault_is_found_and_named(history: History, spoil: Break, faults: list[str]) -> None:
    """One thing goes wrong, and exactly that is told."""
    spoil(history)
    assert history.faults() == faults


def test_a_good_history_has_no_faults(history: History) -> None:
    """Nothing is told where nothing is wrong, nor of a history in which nothing happened."""
    assert history.faults() == []
    assert History().faults() == []


def test_what_is_in_doubt_may_be_there_once_or_not(history: History) -> None:
    """Neither is a fault; twice is one."""
    history.doubtful |= {"d1", "d2"}
    history.final.append("d1")
    assert history.faults() == []
    history.final.append("d1")
    assert history.faults() == ["there more than once: 'd1'"]


def test_readers_may_see_different_beginnings(history: History) -> None:
    """One reader that is behind another is no fault."""
    history.read("late", history.final[:1])
    assert history.faults() == []


@pytest.mark.parametrize("twice", ["appended", "doubtful"])
def test_a_value_that_was_appended_twice_cannot_be_judged(history: History, twice: str) -> None:
    """The values must be unique; who gives others is told, not answered."""
    if twice == "appended":
        history.append("b", "a1")
    else:
        history.doubtful.add("a1")
    with pytest.raises(ValueError, match="'a1'"):
        history.faults()


@given(turns=st.lists(st.sampled_from("abc"), max_size=12), data=st.data())
def test_any_interleaving_is_good_and_any_damage_is_found(
    turns: list[str], data: st.DataObject
) -> None:
    """Whatever the order of the writers; one value taken out, doubled or moved is told."""
    history = History()
    for number, writer in enumerate(turns):
        history.append(writer, number)
        history.final.append(number)
        if data.draw(st.booleans()):
            history.read(writer, history.final)
    assert history.faults() == []
    if not turns:
        return
    at = data.draw(st.integers(0, len(turns) - 1))
    for final in damaged(history.final, at):
        spoiled = copy.deepcopy(history)
        spoiled.final = final
        assert spoiled.faults()


def damaged(final: list[Hashable], at: int) -> list[list[Hashable]]:
    """The list without the value at an index, and with it twice."""
    value = final[at]
    return [final[:at] + final[at + 1 :], [*final, value], [value, *final]]
