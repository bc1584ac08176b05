"""Calls that change things, as data: made on a memory in either face, and on plain containers."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.outages.faces import Face, Path

# Each mutator that waits, with the arguments of calls of it; they are made on `START`.
START: dict[type, Any] = {
    list: [3, 1, 2, 1],
    dict: {"a": 1, "b": 2, "c": 3},
    set: {1, 2, 3},
}
WAITING: dict[type, dict[str, list[tuple[Any, ...]]]] = {
    list: {
        "append": [(9,), ([9],), ({"role": "user"},)],
        "extend": [([8, 9],), ((),)],
        "insert": [(1, 9), (-1, 9), (0, [1]), (99, 9)],
        "remove": [(1,)],
        "sort": [()],
        "reverse": [()],
        "clear": [()],
        "__setitem__": [
            (1, [9]),
            (-1, 9),
            (slice(1, 3), [7, 8, 9]),
            (slice(None, None, 2), (8, 9)),
        ],
        "__delitem__": [(0,), (-1,), (slice(1, 3),), (slice(None, None, 2),)],
        "__iadd__": [((8, 9),)],
        "__imul__": [(2,), (0,)],
    },
    dict: {
        "__setitem__": [("d", [4]), ("a", None), ((1, b"x"), 1), (None, {"e": 1}), (True, 1)],
        "__delitem__": [("b",)],
        "setdefault": [("a", 5), ("d", 5), ("d",)],
        "update": [({"d": 4, "a": 0},), ([("d", 4)],)],
        "clear": [()],
        "__ior__": [({"d": 4},)],
    },
    set: {
        "add": [(9,), ((9, 9),), (1,)],
        "discard": [(1,), (9,)],
        "remove": [(1,)],
        "clear": [()],
        "update": [([8], {9})],
        "difference_update": [([1, 9], {2})],
        "intersection_update": [([1, 2, 9], {2, 1})],
        "symmetric_difference_update": [([1, 9],)],
        "__ior__": [({8, 9},)],
        "__iand__": [({1, 9},)],
        "__isub__": [({1, 9},)],
        "__ixor__": [({1, 9},)],
    },
}
# What hands something out must know that nobody else got it.
TAKING: dict[type, dict[str, list[tuple[Any, ...]]]] = {
    list: {"pop": [(), (0,), (-2,)]},
    dict: {"pop": [("b",), ("z", 5)], "popitem": [()]},
    set: {"pop": [()]},
}


@dataclass(frozen=True)
class Step:
    """One change: of a whole attribute, or by a mutator of the container at a place inside it."""

    verb: str
    name: str = ""
    arguments: tuple[Any, ...] = ()
    at: Path = ()
    options: dict[str, Any] = field(default_factory=dict)

    def make(self, face: Face) -> None:
        """Change a memory."""
        arguments = copy.deepcopy(self.arguments)
        if self.verb == "clear everything":
            face.function("clear")
        elif self.verb in ("assign", "delete", "push", "increment"):
            getattr(face, "delete" if self.verb == "delete" else self.verb)(self.name, *arguments)
        else:
            face.call(self.name, self.verb, *arguments, at=self.at, **self.options)

    def apply(self, model: dict[str, Any]) -> None:
        """Change a dict of plain values in the same way."""
        arguments = copy.deepcopy(self.arguments)
        match self.verb:
            case "clear everything":
                model.clear()
            case "assign":
                model[self.name] = arguments[0]
            case "delete":
                del model[self.name]
            case "push":
                model.setdefault(self.name, []).extend(arguments)
            case "increment":
                model[self.name] = model.get(self.name, 0) + arguments[0]
            case _:
                box = inside(model[self.name], self.at)
                getattr(box, self.verb)(*arguments, **self.options)


def inside(value: Any, path: Path) -> Any:
    """What lies at a place inside a value."""
    for step in path:
        value = value[step]
    return value


def steps(choices: Random, count: int, model: dict[str, Any], *, face: Face) -> list[Step]:
    """Changes that can wait, chosen at random, each of which can be made after those before it.

    `model` is what is stored before them, and afterwards what must be stored.
    """
    made: list[Step] = []
    while len(made) < count:
        step = _step(choices, model)
        if step is not None and step.verb not in face.lacks:
            step.apply(model)
            made.append(step)
    return made


NAMES = ("first", "second", "third", "numbers", "count")
_VALUES: tuple[Any, ...] = (
    *([1, [2, {"a": []}], 1], {"k": {"in": [1]}, "b": 1}, {1, (2, "x")}, [], {}, "text"),
    *({"deep": {"er": {1}}}, [{"role": "user", "tags": []}], ({"in": 1}, 2), 7),
)


def _step(choices: Random, model: dict[str, Any]) -> Step | None:
    name = choices.choice(NAMES)
    kind = choices.randrange(40)
    if kind == 0:
        return Step("clear everything")
    if name == "count":
        return Step("increment", name, (choices.choice([1, -2, 0.5, 10**9]),))
    if name == "numbers":
        return Step("push", name, (choices.random(), kind)[: 1 + kind % 2])
    if name not in model or kind < 6:
        return Step("assign", name, (choices.choice(_VALUES),))
    if kind < 8:
        return Step("delete", name)
    path, box = choices.choice(list(_boxes((), model[name])) or [((), None)])
    return None if box is None else _mutation(choices, name, path, box)


def _boxes(path: Path, value: Any) -> list[tuple[Path, Any]]:
    """The containers in a value that can be changed, with their places."""
    found = [(path, value)] if isinstance(value, (list, dict, set)) else []
    items: Any = ()
    if isinstance(value, (list, tuple)):
        items = enumerate(value)
    elif isinstance(value, dict):
        items = value.items()
    return found + [one for step, inner in items for one in _boxes((*path, step), inner)]


def _mutation(choices: Random, name: str, path: Path, box: Any) -> Step | None:
    verb = choices.choice(sorted(WAITING[type(box)]))
    arguments = choices.choice(WAITING[type(box)][verb])
    try:
        trial = copy.deepcopy(box)
        getattr(trial, verb)(*copy.deepcopy(arguments))
    except (LookupError, ValueError, TypeError):  # it does not fit what is there now
        return None
    if isinstance(trial, list) and len(trial) > 40:
        return None
    return Step(verb, name, arguments, path)
