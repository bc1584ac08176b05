"""Attributes as a whole, one or all of them: assign, delete, ask for, clear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from redis_memory.core import contents, directory, held, lifetime, replica
from redis_memory.core.attributes import Copy
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.contests import FENCE_S
from redis_memory.core.delivery import (
    MAY_WAIT,
    NEEDS_ANSWER,
    QUEUED,
    Waiter,
    begin,
    deliver,
    numbered,
    succeeded,
    understood,
    wait,
)
from redis_memory.core.descriptor import CONTAINERS, split
from redis_memory.core.keys import name_text
from redis_memory.core.reading import read, unknown
from redis_memory.core.records import plain
from redis_memory.core.replay import caught_up
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.core.writer import Writer
from redis_memory.errors import CorruptValueError, OfflineError


def assign(
    state: State,
    name: str,
    value: Any,
    *,
    only_if_missing: bool = False,
    may_wait: bool = True,
) -> Flow[bool]:
    """Store a value; whether it was stored. One round trip.

    Raises:
        UnstorableValueError: A part of the value cannot be stored; nothing was sent.
    """
    attribute = state.attribute(name)
    kind, arguments, plain = contents.encode(value, state.limits, name)
    waiter = MAY_WAIT if may_wait else NEEDS_ANSWER
    if kind in CONTAINERS or only_if_missing:
        operation = b"create" if only_if_missing else b"assign"
        answer = yield from deliver(
            state, attribute, "assign", b"", operation, kind, *arguments, waiter=waiter
        )
    elif state.writer.unsettled or state.block is not None:
        answer = yield from deliver(state, attribute, "scalar", kind, *arguments)
    else:  # the same with fewer steps: nothing but appending is done more often
        writer = state.writer
        call = begin(writer, attribute.head("scalar", writer), kind, *arguments)
        try:
            reply = yield call
        except OfflineError as error:
            answer = wait(state, call, error, waiter)
        else:
            if succeeded(state, writer, call, reply):
                attribute.copy = Copy(kind, reply[2], plain)
                attribute.resets += 1
                return True
            answer = yield from understood(state, call, reply, partial(attribute.head, "scalar"))
    if answer.status == QUEUED:
        is_hidden = state.block is not None and not held.shows(state, attribute)
        if only_if_missing and (is_hidden or attribute.copy is not None):
            return False
        replica.store(state, attribute, kind, plain)
    elif answer.status != b"ok":
        return False
    else:
        attribute.copy = Copy(kind, answer.descriptor, plain) if answer.descriptor else None
    attribute.resets += 1
    return True


def delete(state: State, name: str) -> Flow[bool]:
    """Delete an attribute; whether there was one. One round trip, four for the last one.

    While the server is away there was one unless this process knows that there was none.
    """
    attribute = state.attribute(name)
    if state.block is None:
        is_absent = replica.knows_absent(state, name)
    elif (yield from held.is_there(state, state.block, name)):
        is_absent = False
    else:
        return False
    waiter = NEEDS_ANSWER if is_absent else MAY_WAIT
    try:
        answer = yield from deliver(
            state, attribute, "delete", b"", b"delete", FENCE_S, waiter=waiter
        )
    except OfflineError:
        if is_absent:
            return False
        raise
    attribute.resets += 1
    if answer.status == QUEUED:
        replica.drop(state, attribute)
        return True
    attribute.copy, attribute.is_absent = None, True
    if answer.result == b"empty":
        yield from directory.emptied(state)
    return answer.status == b"ok"


def names(state: State) -> Flow[list[str]]:
    """The names of the stored attributes, sorted. One round trip."""
    block = state.block
    if block is not None and block.is_emptied:
        return held.names_shown(state, block, [])
    yield from present(state)
    stored = yield Call(Head(b"HKEYS", state.keys.memory))
    fields = [field for field in stored if not field.startswith(b"_")]
    found = sorted(_readable(fields))
    state.found(found)
    if block is None:
        return found
    block.note_names(fields)
    return held.names_shown(state, block, found)


def present(state: State) -> Flow[None]:
    """Before a question that only the server can answer: deliver what waits.

    Raises:
        OfflineError: Something goes on waiting.
    """
    if state.is_waiting and (state.block is not None or not (yield from caught_up(state))):
        raise OfflineError("the server is away, and only it can answer this")


def _readable(fields: Iterable[bytes]) -> Iterator[str]:
    """Those fields that are names; a foreign one must not hide the others."""
    for field in fields:
        with suppress(CorruptValueError):
            yield name_text(field)


def exists(state: State, name: str) -> Flow[bool]:
    """Whether an attribute is stored. One round trip."""
    encoded, block = state.attribute(name).encoded, state.block
    if block is not None and held.knows(state, state.attribute(name)):
        return (yield from held.is_known_there(state, block, name))
    if state.is_waiting and not (yield from caught_up(state)):
        return replica.answer(state, name, unknown(name)) is not None
    try:
        found = yield Call(Head(b"HEXISTS", state.keys.memory, encoded))
    except OfflineError as error:
        return replica.answer(state, name, error) is not None
    if block is not None:
        block.note_there(encoded, is_there=bool(found))
    if found:
        state.found((name,))
    elif state.attribute(name).copy is None:  # else a read will see what has become of it
        state.forget(name)
    return bool(found)


def ping() -> Flow[None]:
    """Ask the server whether it is there. One round trip."""
    yield Call(Head(b"PING"))


def snapshot(state: State) -> Flow[dict[str, Any]]:
    """All attributes at one moment, in plain values.

    One round trip when this process has seen the containers before, else one more: a script may
    only touch keys that were named to it.
    """
    block = state.block
    if block is not None and block.is_emptied:
        return held.overlaid(state, block, {})
    stored, values = yield from survey(state)
    if block is None:
        return values
    for name, descriptor in stored.items():
        block.note_read(state.attribute(name), descriptor)
    block.note_names([state.attribute(name).encoded for name in stored])
    return held.overlaid(state, block, values)


def survey(state: State) -> Flow[tuple[dict[str, bytes], dict[str, Any]]]:
    """Descriptors and plain values of all attributes at one moment, as the server has them."""
    yield from present(state)
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
    elements = dict(zip(asked, answered, strict=True))
    state.found(stored)
    limits = state.limits
    values = {n: plain(limits, n, stored[n], elements.get(n)) for n in sorted(stored)}
    return {name: split(field, name)[0] for name, field in stored.items()}, values


def setdefault(state: State, name: str, value: Any) -> Flow[Copy]:
    """Store a value unless there is one, and give the one that is there.

    One round trip for who creates it, two for everybody else.
    """
    while True:
        if state.block is not None and (copy := (yield from read(state, name))) is not None:
            return copy
        try:
            created = yield from assign(state, name, value, only_if_missing=True, may_wait=False)
        except OfflineError as error:
            known = replica.answer(state, name, error)
            if known is None:  # others may be creating it: only the server knows who is first
                raise
            return known
        attribute = state.attribute(name)
        if created and attribute.copy is not None:
            return attribute.copy
        copy = yield from read(state, name)
        if copy is not None:
            return copy


def expire(state: State, ttl_s: float | None) -> Flow[None]:
    """Give the memory a lifetime, or None.

    Raises:
        OfflineError: The server is away.
    """
    ttl_ms = lifetime.checked(ttl_s)
    yield from present(state)
    yield from directory.expire(state, ttl_ms)


def clear(state: State, waiter: Waiter = MAY_WAIT) -> Flow[None]:
    """Delete every attribute.

    Four round trips when this process has seen the containers before, else one more.
    """
    if state.block is not None:
        state.block.hold_clear(state.attributes.values(), FENCE_S)
        _forget_all(state, QUEUED)
        return
    known = {n for n, a in state.attributes.items() if a.copy and a.copy.kind in CONTAINERS}
    while True:
        contents_keys = tuple(state.attribute(name).content for name in sorted(known))
        keys = (state.keys.memory, state.keys.memory, state.keys.stamps, *contents_keys)

        def head(writer: Writer, keys: tuple[bytes, ...] = keys) -> Head:
            return Head.script(SCRIPTS["clear"], keys, writer.id, b"")

        answer = yield from numbered(state, head, b"", b"clear", FENCE_S, waiter=waiter)
        if answer.status != b"undeclared":
            break
        known |= set(map(name_text, answer.elements))
    _forget_all(state, answer.status)
    if answer.status != QUEUED:
        yield from directory.emptied(state)


def _forget_all(state: State, status: bytes) -> None:
    for attribute in state.attributes.values():
        if status == QUEUED:
            replica.begin_waiting(state, attribute)
        attribute.copy, attribute.is_absent = None, True
        attribute.resets += 1
    state.is_emptied = status == QUEUED
