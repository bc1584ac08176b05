"""Two changes of the same keys of a dict inside an element: which of them are contested."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from redis_memory.core.conflicts import MISSING
from redis_memory.core.operations import Recipe
from redis_memory.core.places import step_into
from redis_memory.core.values import Limits, unpack

_ONE = ("__setitem__", "__delitem__")
_SEVERAL = ("update", "__ior__")


@dataclass(frozen=True, slots=True)
class Contested:
    """A key that both have given another value; `MISSING` for none."""

    key: Any
    mine: Any
    theirs: Any


def contested(recipe: Recipe, before: bytes, now: bytes, limits: Limits) -> list[Contested]:
    """The keys that a change means to set, and that others have changed since it was made.

    Raises:
        LookupError, TypeError: The place is gone.
    """
    if recipe.base != "dict" or recipe.method not in (*_ONE, *_SEVERAL):
        return []
    then, there = (_leaf(recipe, element, limits) for element in (before, now))
    return [
        Contested(key, mine, there.get(key, MISSING))
        for key, mine in wanted(recipe).items()
        if there.get(key, MISSING) not in (then.get(key, MISSING), mine)
    ]


def _leaf(recipe: Recipe, element: bytes, limits: Limits) -> dict[Any, Any]:
    leaf = unpack(element, limits)
    for step in recipe.path:
        leaf = step_into(leaf, step)
    if not isinstance(leaf, dict):
        raise TypeError("no dict is at this place any more")
    return leaf


def wanted(recipe: Recipe) -> dict[Any, Any]:
    """What the change means to set, by key; `MISSING` for what it deletes."""
    if recipe.method == "__delitem__":
        return {recipe.arguments[0]: MISSING}
    if recipe.method == "__setitem__":
        return {recipe.arguments[0]: recipe.arguments[1]}
    return dict(recipe.arguments[0])


def settled(recipe: Recipe, values: dict[Any, Any]) -> Recipe | None:
    """The change with other values, by key; None when none is left.

    A method that sets several keys deletes none: what is `MISSING` there is left as it is.
    """
    if recipe.method in _ONE and values:
        (key, value), *_ = values.items()
        if value is MISSING:
            return replace(recipe, method="__delitem__", arguments=(key,))
        return replace(recipe, method="__setitem__", arguments=(key, value))
    kept = {key: value for key, value in values.items() if value is not MISSING}
    return replace(recipe, arguments=(kept,)) if kept else None
