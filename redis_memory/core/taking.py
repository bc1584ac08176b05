"""What `pop` and its like hand out, worked out on what a block sees of the container."""

from __future__ import annotations

from typing import Any

from redis_memory.core.arguments import position
from redis_memory.core.places import detached

# Of one call: the mutator that removes what was taken ("" for none), its arguments, what is handed
# out.
Taken = tuple[str, tuple[Any, ...], Any]


def taken_here(base: type, box: Any, method: str, arguments: tuple[Any, ...]) -> Taken | None:
    """How a call of `method` takes something out of `box`; None when it takes nothing.

    Raises:
        LookupError, TypeError: What the plain type would raise.
    """
    if method == "popitem":
        return _item_from_dict(box, *arguments)
    if method != "pop":
        return None
    if base is list:
        return _from_list(box, *arguments)
    if base is dict:
        return _from_dict(box, *arguments)
    return _from_set(box, *arguments)


def _from_list(box: list[Any], index: Any = -1, /) -> Taken:
    if not box:
        raise IndexError("pop from empty list")
    at = position(box, index, "pop index out of range")
    return "__delitem__", (at,), detached(list.__getitem__(box, at))


def _from_dict(box: dict[Any, Any], key: Any, /, *default: Any) -> Taken:
    if len(default) > 1:
        raise TypeError(f"pop expected at most 2 arguments, got {len(default) + 1}")
    if key in box:
        return "__delitem__", (key,), detached(dict.__getitem__(box, key))
    if not default:
        raise KeyError(key)
    return "", (), default[0]


def _item_from_dict(box: dict[Any, Any], /) -> Taken:
    for key in reversed(dict.keys(box)):
        return "__delitem__", (key,), (key, detached(dict.__getitem__(box, key)))
    raise KeyError("popitem(): dictionary is empty")


def _from_set(box: set[Any], /) -> Taken:
    for member in set.__iter__(box):
        return "remove", (member,), member
    raise KeyError("pop from an empty set")
