"""The mutators of set as changes of a set attribute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis_memory.core import contents
from redis_memory.core.effects import Builder, Effect
from redis_memory.core.values import Limits
from redis_memory.errors import UnstorableValueError

Box = set[Any]


def add(box: Box, limits: Limits, member: object, /) -> Effect:
    hash(member)
    arguments, _ = contents.encode_members([member], limits, "value")
    return Effect("set", b"add", arguments, lambda box, _: set.add(box, member))


def update(box: Box, limits: Limits, /, *others: Iterable[object]) -> Effect | None:
    arguments, plain = contents.encode_members(set().union(*others), limits, "value")
    if not arguments:
        return None
    return Effect("set", b"add", arguments, lambda box, _: set.update(box, plain))


def discard(box: Box, limits: Limits, member: object, /) -> Effect | None:
    return difference_update(box, limits, [_frozen(member)])


def remove(box: Box, limits: Limits, member: object, /) -> Effect:
    frozen = _frozen(member)
    arguments = _storable([frozen], limits)
    if not arguments:
        raise KeyError(member)
    return Effect(
        "set",
        b"take",
        arguments[:1],
        lambda box, _: set.discard(box, frozen),
        absent=KeyError(member),
        needed=(frozen,),
    )


def pop(box: Box, limits: Limits, /) -> Effect:
    def answer(result: bytes) -> Any:
        return contents.decode_member(*contents.halves(result), limits)

    return Effect(
        "set",
        b"take",
        (),
        lambda box, result: set.discard(box, answer(result)),
        answer=answer,
        absent=KeyError("pop from an empty set"),
    )


def difference_update(box: Box, limits: Limits, /, *others: Iterable[object]) -> Effect | None:
    gone = set().union(*others)
    arguments = _storable(gone, limits)
    if not arguments:
        return None
    return Effect("set", b"discard", arguments, lambda box, _: set.difference_update(box, gone))


def intersection_update(box: Box, limits: Limits, /, *others: Iterable[object]) -> Effect | None:
    if not others:
        return None
    kept = set(others[0]).intersection(*others[1:])
    arguments = _storable(kept, limits)

    def apply(box: Box, _: bytes) -> None:
        # not `&=`: that takes the equal element of `kept`, where the stored one stays
        set.difference_update(box, [member for member in set.__iter__(box) if member not in kept])

    return Effect("set", b"keep", arguments, apply)


def symmetric_difference_update(
    box: Box, limits: Limits, other: Iterable[object], /
) -> Effect | None:
    arguments, plain = contents.encode_members(set(other), limits, "value")
    if not arguments:
        return None
    toggled = set(plain)
    return Effect(
        "set", b"toggle", arguments, lambda box, _: set.symmetric_difference_update(box, toggled)
    )


def clear(box: Box, limits: Limits, /) -> Effect:
    return Effect("set", b"empty", (), lambda box, _: set.clear(box))


def _frozen(member: object) -> object:
    """Where an element is looked up, a set stands for the frozenset that equals it."""
    member = frozenset(member) if isinstance(member, set) else member
    hash(member)
    return member


def _storable(members: Iterable[object], limits: Limits) -> list[bytes]:
    """The arguments for those members that a stored set can hold; it holds none of the others."""
    arguments: list[bytes] = []
    for member in members:
        try:
            arguments += contents.encode_members([member], limits, "value")[0]
        except UnstorableValueError:
            continue
    return arguments


BUILDERS: dict[str, Builder] = {
    "add": add,
    "discard": discard,
    "remove": remove,
    "pop": pop,
    "clear": clear,
    "update": update,
    "difference_update": difference_update,
    "intersection_update": intersection_update,
    "symmetric_difference_update": symmetric_difference_update,
    "__ior__": update,
    "__isub__": difference_update,
    "__iand__": intersection_update,
    "__ixor__": symmetric_difference_update,
}
