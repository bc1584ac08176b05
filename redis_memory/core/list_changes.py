"""The mutators of list as changes of a list attribute."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

from redis_memory.core import contents
from redis_memory.core.arguments import Seen, position
from redis_memory.core.effects import Builder, Effect
from redis_memory.core.values import Limits, copy_in, pack, unpack

# below the list itself every index means another element afterwards
_ALL_MOVED = ((),)


def append(box: list[Any], limits: Limits, value: object, /) -> Effect | None:
    return extend(box, limits, (value,))


def extend(box: list[Any], limits: Limits, values: Iterable[object], /) -> Effect | None:
    packed, plain = contents.encode_values(values, limits, "value")
    return appended(packed, plain) if packed else None


def appended(packed: list[bytes], plain: list[Any]) -> Effect:
    """The change that appends these values."""
    return Effect("append", b"append", packed, lambda box, _: list.extend(box, plain))


def insert(box: list[Any], limits: Limits, index: Any, value: object, /) -> Effect:
    at = operator.index(index)
    list.insert([], at, None)  # an index beyond the machine's is refused before it is sent
    packed, plain = copy_in(value, limits)
    return Effect(
        "list",
        b"insert",
        (b"%d" % at, packed),
        lambda box, _: list.insert(box, at, plain),
        moved=_ALL_MOVED,
    )


def setitem(box: list[Any], limits: Limits, index: Any, value: Any, /) -> Effect:
    if isinstance(index, slice):
        return _rewritten(box, limits, lambda new: new.__setitem__(index, value), positional=True)
    at = position(box, index, "list assignment index out of range")
    packed, plain = copy_in(value, limits)
    return Effect(
        "list",
        b"set",
        (b"%d" % at, packed),
        lambda box, _: list.__setitem__(box, at, plain),
        moved=((at,),),
        positional=True,
        seen=lambda: (pack(list.__getitem__(box, at)),),
    )


def delitem(box: list[Any], limits: Limits, index: Any, /) -> Effect:
    if isinstance(index, slice):
        return _rewritten(box, limits, lambda new: new.__delitem__(index), positional=True)
    at = position(box, index, "list assignment index out of range")
    return Effect(
        "list",
        b"delete",
        (b"%d" % at,),
        lambda box, _: list.__delitem__(box, at),
        moved=_ALL_MOVED,
        positional=True,
        seen=lambda: (pack(list.__getitem__(box, at)),),
    )


def pop(box: list[Any], limits: Limits, index: Any = -1, /) -> Effect:
    at = operator.index(index)
    # the two ends are whatever the server holds there, so that a list serves as a work queue
    at_end = at in (0, -1) and not isinstance(index, Seen)
    if not at_end:
        at = position(box, index, "pop index out of range")
    return Effect(
        "list",
        b"take",
        (b"%d" % at, b"end" if at_end else b"seen"),
        lambda box, _: list.pop(box, at),
        answer=lambda result: unpack(result, limits),
        absent=IndexError("pop from empty list"),
        moved=_ALL_MOVED,
        positional=not at_end,
    )


def remove(box: list[Any], limits: Limits, value: object, /) -> Effect:
    packed = pack(list.__getitem__(box, list.index(box, value)), limits)

    def apply(box: list[Any], _: bytes) -> None:
        # the server removed the first with these bytes; 1 and True are equal and differ in them
        items = enumerate(list.__iter__(box))
        list.__delitem__(box, next(at for at, item in items if pack(item) == packed))

    absent = ValueError("list.remove(x): x not in list")
    return Effect("list", b"remove", (packed,), apply, absent=absent, moved=_ALL_MOVED)


def sort(box: list[Any], limits: Limits, /, **options: Any) -> Effect:
    return _rewritten(box, limits, lambda new: new.sort(**options))


def reverse(box: list[Any], limits: Limits, /) -> Effect:
    return _rewritten(box, limits, list.reverse)


def imul(box: list[Any], limits: Limits, times: Any, /) -> Effect:
    return _rewritten(box, limits, lambda new: new.__imul__(operator.index(times)))


def clear(box: list[Any], limits: Limits, /) -> Effect:
    return Effect("list", b"empty", (), lambda box, _: list.clear(box), moved=_ALL_MOVED)


def _rewritten(
    box: list[Any],
    limits: Limits,
    rewrite: Callable[[list[Any]], object],
    *,
    positional: bool = False,
) -> Effect:
    """A change worked out here; the server takes it only while `box` is the newest state."""
    new = list(list.__iter__(box))
    rewrite(new)
    packed, plain = contents.encode_values(new, limits, "value")
    return Effect(
        "list",
        b"rewrite",
        packed,
        lambda box, _: list.__setitem__(box, slice(None), plain),
        moved=_ALL_MOVED,
        positional=positional,
    )


BUILDERS: dict[str, Builder] = {
    "append": append,
    "extend": extend,
    "insert": insert,
    "pop": pop,
    "remove": remove,
    "sort": sort,
    "reverse": reverse,
    "clear": clear,
    "__setitem__": setitem,
    "__delitem__": delitem,
    "__iadd__": extend,
    "__imul__": imul,
}
