"""What can be stored: the types, the limits, and the walk that holds a value against both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import repeat
from typing import Any, TypeAlias
from uuid import UUID

from redis_memory.errors import UnstorableValueError, ValueTooLargeError

NATIVE_TYPES: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
SCALAR_TYPES: frozenset[type] = NATIVE_TYPES | {
    *(datetime, date, time, timedelta),
    *(UUID, Decimal),
}
KEY_TYPES: frozenset[type] = NATIVE_TYPES | {tuple}

Container: TypeAlias = type[Any]  # list, dict, set, frozenset or tuple
_CONTAINERS: frozenset[type] = frozenset({list, dict, set, frozenset, tuple})
_PROXIED = (list, dict, set)

_Trail: TypeAlias = "tuple[_Trail, object] | None"
_SHORT_NAME = 40
_SHORT_INT = 10**12
_MOST_LEVELS = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """How large one value may be; a value at a limit is stored, one over it is refused.

    Args:
        max_value_bytes: Bytes of the packed value.
        max_depth: Containers inside each other, from 1 to 256; a list in a list is 2.
        max_nodes: The value itself and everything in it, dict keys counted as well.

    Raises:
        ValueError: A limit is out of range.
    """

    max_value_bytes: int = 16 * 1024 * 1024
    max_depth: int = 64
    max_nodes: int = 1_000_000

    def __post_init__(self) -> None:
        if min(self.max_value_bytes, self.max_depth, self.max_nodes) < 1:
            raise ValueError("each limit must be at least 1")
        # MessagePack's own parser stops at 511 levels in its older versions.
        if self.max_depth > _MOST_LEVELS:
            raise ValueError(f"max_depth must be at most {_MOST_LEVELS}")


DEFAULT_LIMITS = Limits()


def is_key(value: object) -> bool:
    """Whether the value may be a dict key: str, int, float, bool, None, bytes, or tuples of those.

    Cost: O(1), but for tuples, which are looked through at every depth.
    """
    try:
        check(value, as_key=True)
    except UnstorableValueError:
        return False
    return True


def is_flat(value: Any, limits: Limits) -> bool:
    """Whether a value needs no walk: a native scalar, or a small enough list or dict of such.

    Cost: O(1) for a scalar; for a list or dict one pass in C.
    """
    kind = type(value)
    if kind is dict:
        return (
            2 * len(value) < limits.max_nodes
            and NATIVE_TYPES.issuperset(map(type, value))
            and NATIVE_TYPES.issuperset(map(type, value.values()))
        )
    if kind is list:
        return len(value) < limits.max_nodes and NATIVE_TYPES.issuperset(map(type, value))
    return kind in NATIVE_TYPES


def container_of(kind: type) -> Container | None:
    """The built-in container that values of this type are stored as, None for any other type.

    A subclass would come back as its base and is none, but for a proxy: a subclass of list, dict
    or set with `_synced_ = True`, whose own storage holds plain values.
    """
    if kind in _CONTAINERS:
        return kind
    if getattr(kind, "_synced_", False) is True:
        return next((base for base in _PROXIED if issubclass(kind, base)), None)
    return None


def check(
    value: object,
    limits: Limits = DEFAULT_LIMITS,
    path: str = "value",
    *,
    as_key: bool = False,
) -> None:
    """Refuse a value that holds a part of another type, too many parts, or too many levels.

    Raises:
        UnstorableValueError: A part cannot be stored; the message names its path, never its value.
        ValueTooLargeError: More levels or more parts than the limits allow.

    Cost: O(parts); the scalars of a container are looked at in C, all at once.
    """
    if type(value) in (NATIVE_TYPES if as_key else SCALAR_TYPES):
        return
    nodes = 1
    pending: list[tuple[Any, int, _Trail, bool]] = [(value, 1, None, as_key)]
    while pending:
        part, depth, trail, in_key = pending.pop()
        base = container_of(type(part))
        if base is None or (in_key and base is not tuple):
            raise UnstorableValueError(_refusal(type(part), _place(path, trail), in_key))
        nodes += base.__len__(part) * (2 if base is dict else 1)
        _check_size(depth, nodes, limits, path)
        if base is dict and not NATIVE_TYPES.issuperset(map(type, dict.keys(part))):
            keys = (key for key in dict.keys(part) if type(key) not in NATIVE_TYPES)
            pending.extend((key, depth + 1, trail, True) for key in keys)
        scalars = NATIVE_TYPES if in_key else SCALAR_TYPES
        if scalars.issuperset(
            map(type, dict.values(part) if base is dict else base.__iter__(part))
        ):
            continue
        pending.extend(
            (child, depth + 1, trail if in_key else (trail, step), in_key)
            for step, child in _steps(part, base)
            if type(child) not in scalars
        )


def _check_size(depth: int, nodes: int, limits: Limits, path: str) -> None:
    if depth > limits.max_depth:
        raise ValueTooLargeError(
            f"{path} is nested too deeply or contains itself: "
            f"at most {limits.max_depth} levels can be stored"
        )
    if nodes > limits.max_nodes:
        raise ValueTooLargeError(
            f"{path} has too many parts or contains itself: "
            f"at most {limits.max_nodes} can be stored"
        )


def _steps(part: Any, base: Container) -> Iterable[tuple[object, object]]:
    if base is dict:
        return dict.items(part)
    if base is list or base is tuple:
        return enumerate(base.__iter__(part))
    return zip(repeat(None), base.__iter__(part))


def _refusal(kind: type, place: str, in_key: bool) -> str:  # noqa: FBT001  # one private caller
    if in_key:
        return (
            f"cannot use {kind.__name__} as a dict key at {place}: a key is str, int, float, bool, "
            "None, bytes, or a tuple of those"
        )
    bases = (base for base in kind.__mro__ if base in SCALAR_TYPES or base in _CONTAINERS)
    if (base := next(bases, None)) is not None:
        return (
            f"cannot store {kind.__name__} at {place}: it would come back as a plain "
            f"{base.__name__}, so convert it to one"
        )
    return f"cannot store {kind.__name__} at {place}"


def _place(path: str, trail: _Trail) -> str:
    steps = []
    while trail is not None:
        trail, step = trail
        steps.append(f"[{_named(step)}]")
    return path + "".join(reversed(steps))


def _named(step: object) -> str:
    if type(step) is str and len(step) <= _SHORT_NAME:
        return repr(step)
    if type(step) is int and abs(step) < _SHORT_INT:
        return repr(step)
    return "..."
