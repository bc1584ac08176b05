"""The arguments of mutators, made such that a mutator can run again on a newer state."""

from __future__ import annotations

import operator
from typing import Any

from redis_memory.core.places import Path, holds_container

_LIST_INDEXED = ("__setitem__", "__delitem__", "pop")
_LIST_KEEPS_INDEXES = ("append", "extend", "__iadd__", "__setitem__")


class Seen(int):
    """An index that means the element that was seen there, also where it is one of the two ends."""


def read_out(
    base: type, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read iterators, once and before anything else: they may take long, or use the memory."""
    if base is list:
        if method in ("extend", "__iadd__"):
            return tuple(map(list, arguments)), options
        if method == "__setitem__" and isinstance(arguments[0], slice):
            return (arguments[0], *map(list, arguments[1:])), options
    elif base is dict and method in ("update", "__ior__"):
        return (dict(*arguments, **options),), {}
    elif base is set and method not in ("add", "discard", "remove"):
        return tuple(map(set, arguments)), options
    return arguments, options


def prepared(
    base: type, box: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """As `read_out`, and with indexes counted from the start of the list as the caller sees it.

    Others may make the list longer before the change arrives; -1 would mean another element then.
    The two ends that `pop` takes from stay what they are.
    """
    arguments, options = read_out(base, method, arguments, options)
    if base is list and method in _LIST_INDEXED and arguments:
        return (_pinned(box, method, arguments[0]), *arguments[1:]), options
    return arguments, options


def _pinned(box: list[Any], method: str, index: Any) -> Any:
    if isinstance(index, slice):
        start, stop, step = index.indices(len(box))
        if step > 0:
            return slice(start, max(start, stop), step)
        return slice(start, stop if stop >= 0 else None, step) if start >= 0 else slice(0, 0, step)
    if method == "pop":
        if operator.index(index) in (0, -1):
            return index
        return Seen(position(box, index, "pop index out of range"))
    return position(box, index, "list assignment index out of range")


def position(box: list[Any], index: Any, message: str) -> int:
    """Return an index counted from the start.

    Raises:
        IndexError: There is no such element; with `message`.
    """
    at = operator.index(index)
    if at < 0:
        at += len(box)
    if not 0 <= at < len(box):
        raise IndexError(message)
    return at


def is_by_index(base: type, method: str, arguments: tuple[Any, ...]) -> bool:
    """Does the call mean an element by an index seen before?"""
    if base is not list or method not in _LIST_INDEXED:
        return False
    return method != "pop" or (bool(arguments) and isinstance(arguments[0], Seen))


def moved_paths(
    base: type, method: str, arguments: tuple[Any, ...], path: Path
) -> tuple[Path, ...]:
    """Below which paths indexes of lists mean other elements after a call at `path`."""
    if base is list:
        if method not in _LIST_KEEPS_INDEXES or isinstance(arguments[0], slice):
            return (path,)
        is_replaced = method == "__setitem__" and holds_container(arguments[1])
        return ((*path, arguments[0]),) if is_replaced else ()
    if base is dict and method in ("__setitem__", "setdefault"):
        key, *values = arguments
        return ((*path, key),) if any(map(holds_container, values)) else ()
    if base is dict and method in ("update", "__ior__"):
        return tuple((*path, key) for key, value in arguments[0].items() if holds_container(value))
    return ()
