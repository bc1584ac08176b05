"""A stored list does what a plain list does, whatever the calls."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.operators import iadd, imul
from tests.stateful.machines import FAMILIAR, VALUES, ContainerMachine, check

NEAR = st.integers(-7, 7)
INDEXES = NEAR | st.sampled_from([10**30, -(10**30)])
BOUNDS = st.none() | st.integers(-7, 7)
SLICES = st.builds(slice, BOUNDS, BOUNDS, st.none() | st.integers(-3, 3))
SEVERAL = st.lists(VALUES, max_size=4)
KINDS: list[Callable[[list[Any]], Any]] = [list, tuple, iter, lambda values: (v for v in values)]

WRONG: list[Callable[[Any], Any]] = [
    lambda box: box[1.0],
    lambda box: box["a"],
    lambda box: operator.setitem(box, "a", 1),
    lambda box: operator.setitem(box, 1.5, 1),
    lambda box: operator.setitem(box, slice(None), 5),
    lambda box: operator.setitem(box, slice(0, 1), None),
    lambda box: operator.setitem(box, slice("a", None), []),
    lambda box: operator.delitem(box, None),
    lambda box: box.append(),
    lambda box: box.append(1, 2),
    lambda box: box.extend(5),
    lambda box: box.extend(None),
    lambda box: box.extend(1 // value for value in (1, 0)),
    lambda box: box.insert("a", 1),
    lambda box: box.insert(1),
    lambda box: box.insert(1.0, 1),
    lambda box: box.pop("a"),
    lambda box: box.pop(0, 2),
    lambda box: box.pop(1.0),
    lambda box: box.remove(),
    lambda box: box.remove("nowhere"),
    lambda box: box.index("nowhere"),
    lambda box: box.sort(1),
    lambda box: box.sort(key=5),
    lambda box: box.sort(colour=5),
    lambda box: box.sort(key=lambda value: 1 // 0),
    lambda box: box.reverse(1),
    lambda box: box.clear(1),
    lambda box: box + 5,
    lambda box: operator.add(box, (1,)),
    lambda box: box * "a",
    lambda box: iadd(box, 5),
    lambda box: imul(box, "a"),
    lambda box: imul(box, 1.0),
    lambda box: box < 5,
    hash,
]


def kind_of(value: Any) -> str:
    """The plain type's name: what a list of anything can be sorted by."""
    return type(value).__name__.removeprefix("Synced").lower()


class ListMachine(ContainerMachine):
    start: ClassVar[Any] = [1, "a", [2, {"b": [3]}], {"c": {4}}]

    @rule(value=VALUES)
    def append(self, value: Any) -> None:
        self.alike(lambda box: box.append(value))

    @rule(several=SEVERAL, kind=st.sampled_from(KINDS))
    def extend(self, several: list[Any], kind: Callable[[list[Any]], Any]) -> None:
        self.alike(lambda box: box.extend(kind(several)))

    @rule(several=SEVERAL, kind=st.sampled_from(KINDS))
    def add_in_place(self, several: list[Any], kind: Callable[[list[Any]], Any]) -> None:
        self.alike(lambda box: iadd(box, kind(several)))

    @rule(index=INDEXES, value=VALUES)
    def insert(self, index: int, value: Any) -> None:
        self.alike(lambda box: box.insert(index, value))

    @rule(index=NEAR)
    def pop_at(self, index: int) -> None:
        self.alike(lambda box: box.pop(index))

    @rule()
    def pop(self) -> None:
        self.alike(lambda box: box.pop())

    @rule(value=FAMILIAR)
    def remove(self, value: Any) -> None:
        self.alike(lambda box: box.remove(value))

    @rule(index=INDEXES, value=VALUES)
    def set(self, index: int, value: Any) -> None:
        self.alike(lambda box: operator.setitem(box, index, value))

    @rule(index=SLICES, several=SEVERAL, kind=st.sampled_from(KINDS))
    def set_slice(self, index: slice, several: list[Any], kind: Callable[[list[Any]], Any]) -> None:
        self.alike(lambda box: operator.setitem(box, index, kind(several)))

    @rule(index=SLICES)
    def set_slice_to_itself(self, index: slice) -> None:
        self.alike(lambda box: operator.setitem(box, index, box))

    @rule(index=INDEXES | SLICES)
    def delete(self, index: int | slice) -> None:
        self.alike(lambda box: operator.delitem(box, index))

    @precondition(lambda self: len(self.model) < 10)
    @rule(times=st.integers(-1, 2))
    def repeat_in_place(self, times: int) -> None:
        self.alike(lambda box: imul(box, times))

    @rule(key=st.sampled_from([None, kind_of, len]), reverse=st.booleans())
    def sort(self, key: Callable[[Any], Any] | None, reverse: bool) -> None:  # noqa: FBT001
        self.alike(lambda box: box.sort(key=key, reverse=reverse))

    @rule()
    def reverse(self) -> None:
        self.alike(lambda box: box.reverse())

    @precondition(lambda self: len(self.model) > 6)
    @rule()
    def clear(self) -> None:
        self.alike(lambda box: box.clear())

    @rule(index=INDEXES | SLICES)
    def get(self, index: int | slice) -> None:
        self.alike(lambda box: box[index])

    @rule(value=FAMILIAR, start=st.integers(-7, 7))
    def find(self, value: Any, start: int) -> None:
        self.alike(lambda box: (value in box, box.count(value)))
        self.alike(lambda box: box.index(value))
        self.alike(lambda box: box.index(value, start))

    @rule(several=SEVERAL)
    def combine(self, several: list[Any]) -> None:
        self.alike(lambda box: [box + several, several + box, box * 2, 2 * box, box + box])

    @rule()
    def look(self) -> None:
        self.alike(lambda box: [len(box), list(box), list(reversed(box)), box.copy(), bool(box)])
        self.alike(lambda box: [item for item in box if isinstance(item, (list, dict, set))])

    @rule(call=st.sampled_from(WRONG))
    def call_wrongly(self, call: Callable[[Any], Any]) -> None:
        self.alike(call)

    @rule(index=st.integers(-3, 3))
    def put_what_cannot_be_stored(self, index: int) -> None:
        self.refused(lambda box: box.append(object()))
        self.refused(lambda box: box.extend([1, [object()]]))
        self.refused(lambda box: box.insert(index, object()))
        self.refused(lambda box: operator.setitem(box, slice(index, None), [1, object()]))


def test_a_stored_list_does_what_a_plain_one_does(each_url: str) -> None:
    """Same results, same types of errors, same contents for whoever reads."""
    check(ListMachine, each_url, examples=25, steps=25)
