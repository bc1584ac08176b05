"""The mutators of dict as changes of a dict attribute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis_memory.core import contents
from redis_memory.core.effects import Builder, Effect
from redis_memory.core.places import holds_container
from redis_memory.core.values import Limits, identity
from redis_memory.errors import UnstorableValueError

Box = dict[Any, Any]


def _put(operation: bytes, limits: Limits, items: Iterable[tuple[Any, Any]]) -> Effect | None:
    arguments, plain = contents.encode_items(items, limits, "value")
    if not arguments:
        return None
    return Effect(
        "dict",
        operation,
        arguments,
        lambda box, _: dict.update(box, plain),
        moved=tuple((key,) for key, value in plain.items() if holds_container(value)),
    )


def setitem(box: Box, limits: Limits, key: Any, value: object, /) -> Effect | None:
    hash(key)
    return _put(b"put", limits, [(key, value)])


def update(box: Box, limits: Limits, /, *others: Any, **named: Any) -> Effect | None:
    return _put(b"put", limits, dict(*others, **named).items())


def setdefault(box: Box, limits: Limits, key: Any, default: object = None, /) -> Effect | None:
    hash(key)
    change = _put(b"default", limits, [(key, default)])
    if change is not None:
        store = change.apply
        # asked here too: while the server is away, nobody else has looked whether it is there
        change.apply = lambda box, result: None if key in box else store(box, result)
    return change


def delitem(box: Box, limits: Limits, key: Any, /) -> Effect:
    return Effect(
        "dict",
        b"take",
        (_asked(box, key),),
        lambda box, _: dict.pop(box, key, None),
        absent=KeyError(key),
        needed=(key,),
    )


def _asked(box: Box, key: Any) -> bytes:
    """The canonical form of a key that is asked for; b"" for one that no stored dict has."""
    hash(key)
    try:
        return identity(key)
    except UnstorableValueError:
        if key in box:  # a subclass of str perhaps, equal to a key and still not one
            raise
        return b""


def pop(box: Box, limits: Limits, key: Any, /, *default: Any) -> Effect:
    if len(default) > 1:
        raise TypeError(f"pop expected at most 2 arguments, got {len(default) + 1}")
    change = delitem(box, limits, key)
    change.answer = lambda result: contents.decode_item(*contents.halves(result), limits)[1]
    change.default = default
    change.needed = ()  # only the server knows
    return change


def popitem(box: Box, limits: Limits, /) -> Effect:
    def answer(result: bytes) -> tuple[Any, Any]:
        return contents.decode_item(*contents.halves(result), limits)

    return Effect(
        "dict",
        b"take",
        (),
        lambda box, result: dict.pop(box, answer(result)[0], None),
        answer=answer,
        absent=KeyError("popitem(): dictionary is empty"),
    )


def clear(box: Box, limits: Limits, /) -> Effect:
    return Effect("dict", b"empty", (), lambda box, _: dict.clear(box))


BUILDERS: dict[str, Builder] = {
    "update": update,
    "setdefault": setdefault,
    "pop": pop,
    "popitem": popitem,
    "clear": clear,
    "__setitem__": setitem,
    "__delitem__": delitem,
    "__ior__": update,
}
