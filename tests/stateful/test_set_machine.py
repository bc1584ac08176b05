"""A stored set does what a plain set does, whatever the calls."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from math import isnan
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.operators import iand, ior, isub, ixor
from tests.stateful.machines import FAMILIAR, ContainerMachine, check, plain
from tests.strategies import elements


def is_found_again(element: Any) -> bool:
    """Whether equal elements are one element to Python; a NaN equals nothing, not even itself."""
    if isinstance(element, (tuple, frozenset)):
        return all(map(is_found_again, element))
    return not (isinstance(element, (float, Decimal)) and isnan(element))


ELEMENTS = FAMILIAR | FAMILIAR | elements().filter(is_found_again)
SETS = st.sets(ELEMENTS, max_size=4)
KINDS: list[Callable[[set[Any]], Any]] = [set, list, frozenset, iter, tuple]
UNHASHABLE: list[Any] = [[], {}, ([],)]

IN_PLACE = [ior, iand, isub, ixor]
MAKING = [operator.or_, operator.and_, operator.sub, operator.xor]
UPDATES = [
    *("update", "intersection_update", "difference_update"),
    *("union", "intersection", "difference"),
]
UPDATES_BY_ONE = ["symmetric_difference_update", "symmetric_difference"]
QUESTIONS = ["isdisjoint", "issubset", "issuperset"]

WRONG: list[Callable[[Any], Any]] = [
    lambda box: box.add(),
    lambda box: box.add(1, 2),
    lambda box: box.remove(),
    lambda box: box.remove("nowhere"),
    lambda box: box.pop(1),
    lambda box: box.clear(1),
    lambda box: box.update(5),
    lambda box: box.update([1], 5),
    lambda box: box.update([[]]),
    lambda box: box.intersection_update(5),
    lambda box: box.difference_update(5),
    lambda box: box.symmetric_difference_update(5),
    lambda box: box.symmetric_difference_update(),
    lambda box: box.symmetric_difference_update([1], [2]),
    lambda box: box.symmetric_difference_update([[]]),
    lambda box: ior(box, [1]),
    lambda box: iand(box, (1,)),
    lambda box: isub(box, {1: 2}),
    lambda box: ixor(box, "a"),
    lambda box: box | [1],
    lambda box: box < [1],
    lambda box: box[0],
    hash,
]


class SetMachine(ContainerMachine):
    start: ClassVar[Any] = {1, "a", (1, "a"), frozenset({2}), None}

    def agree(self, stored: Any, expected: Any) -> bool:
        """Equal and of one type; which of 1 and True stays after `&=`, Python does not say."""
        stored = plain(stored)
        return type(stored) is type(expected) and bool(stored == expected)

    @rule(element=ELEMENTS)
    def add(self, element: Any) -> None:
        self.alike(lambda box: box.add(element))

    @rule(element=ELEMENTS)
    def discard(self, element: Any) -> None:
        self.alike(lambda box: box.discard(element))

    @rule(element=ELEMENTS)
    def remove(self, element: Any) -> None:
        self.alike(lambda box: box.remove(element))

    @rule(element=SETS)
    def look_up_a_set(self, element: set[Any]) -> None:
        self.alike(lambda box: element in box)
        self.alike(lambda box: box.discard(element))
        self.alike(lambda box: box.add(frozenset(element)))
        self.alike(lambda box: box.remove(element))

    @precondition(lambda self: self.model)
    @rule()
    def pop(self) -> None:
        element = self.box.pop()
        assert element in self.model
        self.model.remove(element)

    @precondition(lambda self: not self.model)
    @rule()
    def pop_from_nothing(self) -> None:
        self.alike(lambda box: box.pop())

    @rule(
        others=st.lists(SETS, max_size=2),
        kind=st.sampled_from(KINDS),
        name=st.sampled_from(UPDATES),
    )
    def update(self, others: list[set[Any]], kind: Callable[[Any], Any], name: str) -> None:
        self.alike(lambda box: getattr(box, name)(*map(kind, others)))

    @rule(other=SETS, kind=st.sampled_from(KINDS), name=st.sampled_from(UPDATES_BY_ONE + QUESTIONS))
    def update_by_one(self, other: set[Any], kind: Callable[[Any], Any], name: str) -> None:
        self.alike(lambda box: getattr(box, name)(kind(other)))

    @rule(name=st.sampled_from(UPDATES + UPDATES_BY_ONE + QUESTIONS))
    def update_by_itself(self, name: str) -> None:
        self.alike(lambda box: getattr(box, name)(box))

    @rule(other=SETS, kind=st.sampled_from([set, frozenset]), work=st.sampled_from(IN_PLACE))
    def work_in_place(self, other: set[Any], kind: Any, work: Callable[[Any, Any], Any]) -> None:
        self.alike(lambda box: work(box, kind(other)))

    @rule(work=st.sampled_from(IN_PLACE))
    def work_with_itself(self, work: Callable[[Any, Any], Any]) -> None:
        self.alike(lambda box: work(box, box))

    @rule(other=SETS, work=st.sampled_from(MAKING))
    def make_another(self, other: set[Any], work: Callable[[Any, Any], Any]) -> None:
        self.alike(lambda box: work(box, other))
        self.alike(lambda box: work(other, box))
        self.alike(lambda box: box.copy())

    @precondition(lambda self: len(self.model) > 6)
    @rule()
    def clear(self) -> None:
        self.alike(lambda box: box.clear())

    @rule(other=SETS, element=ELEMENTS)
    def look(self, other: set[Any], element: Any) -> None:
        self.alike(lambda box: (len(box), bool(box), element in box, set(iter(box)), sorted([1])))
        self.alike(lambda box: (box <= other, box < other, box >= other, box > other))
        self.alike(lambda box: (box == other, box != other, other <= box))

    @rule(element=st.sampled_from(UNHASHABLE))
    def use_what_is_no_element(self, element: Any) -> None:
        self.alike(lambda box: box.add(element))
        self.alike(lambda box: box.discard(element))
        self.alike(lambda box: box.remove(element))
        self.alike(lambda box: element in box)

    @rule(call=st.sampled_from(WRONG))
    def call_wrongly(self, call: Callable[[Any], Any]) -> None:
        self.alike(call)

    @rule()
    def ask_for_what_is_never_stored(self) -> None:
        self.alike(lambda box: box.discard(object))
        self.alike(lambda box: box.remove(object))
        self.alike(lambda box: box.difference_update([object, 1]))

    @rule()
    def put_what_cannot_be_stored(self) -> None:
        self.refused(lambda box: box.add(object))
        self.refused(lambda box: box.update([1, object]))
        self.refused(lambda box: ixor(box, {object}))


def test_a_stored_set_does_what_a_plain_one_does(each_url: str) -> None:
    """Same results, same types of errors, same contents for whoever reads."""
    check(SetMachine, each_url, examples=25, steps=25)
