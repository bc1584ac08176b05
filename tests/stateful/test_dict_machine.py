"""A stored dict does what a plain dict does, whatever the calls; its order included."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from math import isnan
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.operators import ior
from tests.stateful.machines import FAMILIAR, VALUES, ContainerMachine, check
from tests.strategies import keys


def is_found_again(key: Any) -> bool:
    """Whether equal keys are one key to Python; a NaN equals nothing, not even itself."""
    if isinstance(key, tuple):
        return all(map(is_found_again, key))
    return not (isinstance(key, float) and isnan(key))


KEYS = FAMILIAR | FAMILIAR | keys().filter(is_found_again)
DICTS = st.dictionaries(KEYS, VALUES, max_size=3)
KINDS: list[Callable[[dict[Any, Any]], Any]] = [
    dict,
    lambda items: list(items.items()),
    lambda items: iter(items.items()),
]
UNHASHABLE: list[Any] = [[], {}, set(), ([],)]
# hashable, so that they may be asked for; only Decimal(1) and the like equal a key
NO_KEYS: list[Any] = [frozenset(), frozenset({1}), Decimal(1), Decimal("0.5"), object, len]

WRONG: list[Callable[[Any], Any]] = [
    lambda box: box.update(5),
    lambda box: box.update([1]),
    lambda box: box.update([(1, 2, 3)]),
    lambda box: box.update({}, {}),
    lambda box: box.update([([], 1)]),
    lambda box: ior(box, 5),
    lambda box: ior(box, [1]),
    lambda box: box | 5,
    lambda box: box | [("a", 1)],
    lambda box: box.pop(),
    lambda box: box.pop(1, 2, 3),
    lambda box: box.popitem(1),
    lambda box: box.setdefault(),
    lambda box: box.setdefault(1, 2, 3),
    lambda box: box.clear(1),
    lambda box: box.get(),
    lambda box: box.get(1, 2, 3),
    lambda box: box < {},
    lambda box: box + box,
    hash,
]


class DictMachine(ContainerMachine):
    start: ClassVar[Any] = {"a": 1, "b": [2, {"c": [3]}], 1: {"d": {4}}, (1, "a"): None}

    @rule(key=KEYS, value=VALUES)
    def set(self, key: Any, value: Any) -> None:
        self.alike(lambda box: operator.setitem(box, key, value))

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        self.alike(lambda box: operator.delitem(box, key))

    @rule(key=KEYS, default=VALUES)
    def pop(self, key: Any, default: Any) -> None:
        self.alike(lambda box: box.pop(key, default))
        self.alike(lambda box: box.pop(key))

    @rule()
    def popitem(self) -> None:
        self.alike(lambda box: box.popitem())

    @rule(key=KEYS, default=VALUES)
    def setdefault(self, key: Any, default: Any) -> None:
        self.alike(lambda box: box.setdefault(key))
        self.alike(lambda box: box.setdefault(key, default))

    @rule(items=DICTS, kind=st.sampled_from(KINDS))
    def update(self, items: dict[Any, Any], kind: Callable[[dict[Any, Any]], Any]) -> None:
        self.alike(lambda box: box.update(kind(items)))

    @rule(items=DICTS, named=st.dictionaries(st.sampled_from("abcx"), VALUES, max_size=3))
    def update_by_name(self, items: dict[Any, Any], named: dict[str, Any]) -> None:
        self.alike(lambda box: box.update(**named))
        self.alike(lambda box: box.update(items, **named))

    @rule(items=DICTS, kind=st.sampled_from(KINDS))
    def unite_in_place(self, items: dict[Any, Any], kind: Callable[[dict[Any, Any]], Any]) -> None:
        self.alike(lambda box: ior(box, kind(items)))

    @precondition(lambda self: len(self.model) > 6)
    @rule()
    def clear(self) -> None:
        self.alike(lambda box: box.clear())

    @rule(key=KEYS, default=VALUES)
    def get(self, key: Any, default: Any) -> None:
        self.alike(lambda box: [key in box, box.get(key), box.get(key, default)])
        self.alike(lambda box: box[key])

    @rule(items=DICTS)
    def combine(self, items: dict[Any, Any]) -> None:
        self.alike(lambda box: [box | items, items | box, box | box, box.copy(), dict(box)])
        self.alike(lambda box: [box == items, box != items, {**items, **box}])

    @rule()
    def look(self) -> None:
        self.alike(lambda box: [len(box), bool(box), list(box), list(reversed(box))])
        self.alike(lambda box: [list(box.keys()), list(box.values()), list(box.items())])
        self.alike(lambda box: [list(reversed(box.keys())), list(reversed(box.items()))])
        self.alike(lambda box: [len(box.items()), list(reversed(box.values()))])
        self.alike(lambda box: [("a", 1) in box.items(), 1 in box.values(), "a" in box.keys()])  # noqa: SIM118
        self.alike(lambda box: box.keys() & {"a", 1})

    @precondition(lambda self: self.model)  # an empty dict does not look at what it is asked for
    @rule(key=st.sampled_from(UNHASHABLE))
    def use_what_is_no_key_at_all(self, key: Any) -> None:
        self.alike(lambda box: operator.setitem(box, key, 1))
        self.alike(lambda box: operator.delitem(box, key))
        self.alike(lambda box: box.pop(key, None))
        self.alike(lambda box: box.setdefault(key, None))
        self.alike(lambda box: box.get(key))
        self.alike(lambda box: key in box)

    @rule(key=st.sampled_from(NO_KEYS))
    def ask_for_what_is_never_stored(self, key: Any) -> None:
        self.alike(lambda box: [key in box, box.get(key)])
        self.alike(lambda box: box.pop(key, None))
        self.alike(lambda box: operator.delitem(box, key))

    @rule(call=st.sampled_from(WRONG))
    def call_wrongly(self, call: Callable[[Any], Any]) -> None:
        self.alike(call)

    @rule(key=FAMILIAR)
    def put_what_cannot_be_stored(self, key: Any) -> None:
        self.refused(lambda box: operator.setitem(box, key, object()))
        self.refused(lambda box: operator.setitem(box, frozenset(), 1))
        self.refused(lambda box: box.update({key: 1, "b": [object()]}))
        self.refused(lambda box: box.setdefault(key, object()))


def test_a_stored_dict_does_what_a_plain_one_does(each_url: str) -> None:
    """Same results, same types of errors, same contents in the same order for whoever reads."""
    check(DictMachine, each_url, examples=25, steps=25)
