"""What the library asks of the server beyond the mutators of proxies, and what the answers mean."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, SupportsIndex

from redis_memory.core import contents
from redis_memory.core.delivery import (
    Answer,
    begin,
    deliver,
    numbered,
    succeeded,
    understood,
)
from redis_memory.core.descriptor import (
    CONTAINERS,
    LIST,
    NUMBER,
    damaged,
    split,
    stored_elements,
)
from redis_memory.core.keys import name_text
from redis_memory.core.reading import read
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import Call, Copy, Flow, Head, State, Writer
from redis_memory.core.values import pack
from redis_memory.errors import CorruptValueError, WrongKindError

# Writers outlive a memory without attributes, to fence off what was sent before it was emptied.
_FENCE_S = b"604800"

# No list is as long; the server counts in 64 bits.
_BEYOND = 2**62

Number = int | float


def assign(state: State, name: str, value: Any, *, only_if_missing: bool = False) -> Flow[bool]:
    """Store a value; whether it was stored. One round trip.

    Raises:
        UnstorableValueError: A part of the value cannot be stored; nothing was sent.
    """
    attribute = state.attribute(name)
    kind, arguments, plain = contents.encode(value, state.limits, name)
    if kind in CONTAINERS or only_if_missing:
        operation = b"create" if only_if_missing else b"assign"
        answer = yield from deliver(state, attribute, "assign", b"", operation, kind, *arguments)
    else:
        answer = yield from deliver(state, attribute, "scalar", kind, *arguments)
    if answer.status != b"ok":
        return False
    attribute.copy = Copy(kind, answer.descriptor, plain) if answer.descriptor else None
    attribute.resets += 1
    return True


def delete(state: State, name: str) -> Flow[bool]:
    """Delete an attribute; whether there was one. One round trip."""
    attribute = state.attribute(name)
    answer = yield from deliver(state, attribute, "delete", b"", b"delete", _FENCE_S)
    attribute.copy = None
    attribute.resets += 1
    return answer.status == b"ok"


def names(state: State) -> Flow[list[str]]:
    """The names of the stored attributes, sorted. One round trip."""
    fields = yield Call(Head(b"HKEYS", state.keys.memory))
    return sorted(_readable(field for field in fields if not field.startswith(b"_")))


def _readable(fields: Iterable[bytes]) -> Iterator[str]:
    """Those fields that are names; a foreign one must not hide the others."""
    for field in fields:
        with suppress(CorruptValueError):
            yield name_text(field)


def exists(state: State, name: str) -> Flow[bool]:
    """Whether an attribute is stored. One round trip."""
    found = yield Call(Head(b"HEXISTS", state.keys.memory, state.attribute(name).encoded))
    return bool(found)


def ping() -> Flow[None]:
    """Ask the server whether it is there. One round trip."""
    yield Call(Head(b"PING"))


def snapshot(state: State) -> Flow[dict[str, Any]]:
    """All attributes at one moment, in plain values.

    One round trip when this process has seen the containers before, else one more: a script may
    only touch keys that were named to it.
    """
    known = {n for n, a in state.attributes.items() if a.copy and a.copy.kind in CONTAINERS}
    while True:
        asked = sorted(known)
        contents_keys = tuple(state.attribute(name).content for name in asked)
        head = Head.script(SCRIPTS["snapshot"], (state.keys.memory, *contents_keys))
        fields, *answered = yield Call(head)
        stored = {name_text(n): f for n, f in zip(fields[::2], fields[1::2], strict=True)}
        kinds = {name: field[:1] for name, field in stored.items()}
        known = {name for name, kind in kinds.items() if kind in CONTAINERS}
        if known <= set(asked):
            break
    held = dict(zip(asked, answered, strict=True))
    return {name: _plain(state, name, stored[name], held.get(name)) for name in sorted(stored)}


def _plain(state: State, name: str, field: bytes, content: list[Any] | None) -> Any:
    descriptor, payload = split(field, name)
    kind = descriptor[:1]
    if kind not in CONTAINERS or content is None:
        with contents.named(name):
            return contents.decode_scalar(kind, payload, state.limits)
    stored_as, elements = content
    is_whole = len(elements) == stored_elements(descriptor, name)
    # an empty container has no key
    if not is_whole or (elements and stored_as != (b"list" if kind == LIST else b"hash")):
        raise damaged(kind, name)
    with contents.named(name):
        return contents.decode(kind, elements, state.limits)


def push(state: State, name: str, *values: Any) -> Flow[int]:
    """Append without reading first; the length of the list then. One round trip.

    Raises:
        WrongKindError: The attribute exists and is no list.
    """
    attribute = state.attribute(name)
    packed = [pack(value, state.inside, name) for value in values]
    writer = state.writer
    if writer.unsettled:
        answer = yield from deliver(state, attribute, "append", b"", b"push", *packed)
    else:  # the same with fewer steps: it is called for every message
        call = begin(writer, attribute.head("append", writer), b"", b"push", *packed)
        reply = yield call
        if succeeded(writer, call, reply):
            return int(reply[3])
        answer = yield from understood(state, call, reply, partial(attribute.head, "append"))
    if answer.status != b"ok":
        raise _wrong_kind(name, "list")
    return int(answer.result)


def _wrong_kind(name: str, wanted: str) -> WrongKindError:
    return WrongKindError(f"the attribute {name!r} exists and is no {wanted}")


def window(state: State, name: str, start: int | None, stop: int | None) -> Flow[list[Any] | None]:
    """The elements from `start` to before `stop`, as a slice has them; None when missing.

    One round trip, O(elements returned) but for their distance from the nearer end of the list.
    """
    attribute = state.attribute(name)
    first = 0 if start is None else _bound(start)
    # LRANGE includes its end, and before 0 there is nothing: -1 would mean the last element
    last = -1 if stop is None else _bound(stop) - 1
    if last == -1 and stop is not None:
        first, last = 1, 0
    head = Head.script(SCRIPTS["window"], (attribute.memory, attribute.content), attribute.encoded)
    reply = yield Call(head, b"%d" % first, b"%d" % last)
    if reply is None:
        return None
    if reply[0][:1] != LIST:
        split(reply[0], name)
        raise _wrong_kind(name, "list")
    if reply[1] == b"damaged":
        raise damaged(LIST, name)
    with contents.named(name):
        values: list[Any] = contents.decode(LIST, reply[1], state.limits)
        return values


def _bound(index: SupportsIndex) -> int:
    """An index that the server can count with, and that lies beyond every list if this one does."""
    return max(-_BEYOND, min(operator.index(index), _BEYOND))


def setdefault(state: State, name: str, value: Any) -> Flow[Copy]:
    """Store a value unless there is one, and give the one that is there.

    One round trip for who creates it, two for everybody else.
    """
    while True:
        created = yield from assign(state, name, value, only_if_missing=True)
        attribute = state.attribute(name)
        if created and attribute.copy is not None:
            return attribute.copy
        copy = yield from read(state, name)
        if copy is not None:
            return copy


def increment(state: State, name: str, by: Number) -> Flow[Number]:
    """Add to a number, a missing one counts as 0; the sum. One round trip.

    Integers from 10**15 on, infinities and nan take two, and more under contention.

    Raises:
        TypeError: `by` is neither int nor float.
        WrongKindError: The attribute exists and is no number.
    """
    if type(by) not in (int, float):
        raise TypeError(f"a number is incremented by an int or a float, not {type(by).__name__}")
    attribute = state.attribute(name)
    kind, (text,), _ = contents.encode(by, state.limits, name)
    while True:
        if kind == NUMBER:
            answer = yield from deliver(state, attribute, "increment", b"", b"increment", text)
            if answer.status == b"ok":
                return _summed(state, name, answer)
        copy = yield from read(state, name)
        current = 0 if copy is None else copy.value
        if type(current) not in (int, float):
            raise _wrong_kind(name, "number")
        total = current + by
        if (yield from _replaced(state, name, copy, total)):
            return total


def _summed(state: State, name: str, answer: Answer) -> Number:
    total: Number = contents.decode_scalar(NUMBER, answer.result, state.limits)
    descriptor = answer.descriptor
    state.attribute(name).copy = Copy(NUMBER, descriptor, total) if descriptor else None
    return total


def _replaced(state: State, name: str, copy: Copy | None, value: Any) -> Flow[bool]:
    """Store a scalar if the attribute is still what `copy` says."""
    if copy is None:
        return (yield from assign(state, name, value, only_if_missing=True))
    kind, (after,), _ = contents.encode(value, state.limits, name)
    attribute = state.attribute(name)
    arguments = (copy.descriptor, b"replace", kind, after)
    answer = yield from deliver(state, attribute, "assign", *arguments)
    attribute.copy = None
    return answer.status == b"ok"


def clear(state: State) -> Flow[None]:
    """Delete every attribute.

    One round trip when this process has seen the containers before, else one more.
    """
    known = sorted(n for n, a in state.attributes.items() if a.copy and a.copy.kind in CONTAINERS)
    while True:
        attributes = [state.attribute(name) for name in known]
        keys = (state.keys.memory, *(attribute.content for attribute in attributes))

        def head(writer: Writer, keys: tuple[bytes, ...] = keys) -> Head:
            return Head.script(SCRIPTS["clear"], keys, writer.id, b"")

        names_given = (attribute.encoded for attribute in attributes)
        answer = yield from numbered(state, head, _FENCE_S, *names_given)
        if answer.status != b"undeclared":
            break
        known = sorted({*known, *map(name_text, answer.elements)})
    for attribute in state.attributes.values():
        attribute.copy = None
        attribute.resets += 1
