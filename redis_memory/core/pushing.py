"""Lists that nobody reads as a whole: append without reading, and look through a window."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any, SupportsIndex

from redis_memory.core import contents, replica
from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.delivery import MAY_WAIT, QUEUED, begin, deliver, succeeded, understood, wait
from redis_memory.core.descriptor import LIST, damaged, split, wrong_kind
from redis_memory.core.held import knows, shows
from redis_memory.core.places import detached
from redis_memory.core.reading import read, unknown
from redis_memory.core.replay import caught_up
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.core.values import pack, unpack
from redis_memory.errors import OfflineError

# Own values that a copy lacks, and that are kept for reads while the server is away.
_MOST_UNSEEN = 1000

# No list is as long; the server counts in 64 bits.
_BEYOND = 2**62


def push(state: State, name: str, *values: Any) -> Flow[int | None]:
    """Append without reading first; the length of the list then. One round trip.

    None while the server is away: the length is not known.

    Raises:
        WrongKindError: The attribute exists and is no list.
    """
    attribute = state.attribute(name)
    packed = [pack(value, state.inside, name) for value in values]
    writer, was_absent = state.writer, attribute.is_absent
    if writer.unsettled or state.block is not None:
        copy = attribute.copy
        if copy is not None and copy.kind != LIST and shows(state, attribute):
            raise wrong_kind(name, "list")
        answer = yield from deliver(state, attribute, "append", b"", b"push", *packed)
    else:  # the same with fewer steps: it is called for every message
        call = begin(writer, attribute.head("append", writer), b"", b"push", *packed)
        try:
            reply = yield call
        except OfflineError as error:
            answer = wait(state, call, error, MAY_WAIT)
        else:
            if succeeded(state, writer, call, reply):
                if attribute.copy is not None:
                    _note_push(attribute, packed)
                return int(reply[3])
            answer = yield from understood(state, call, reply, partial(attribute.head, "append"))
    if answer.status == QUEUED:
        attribute.is_absent = was_absent
        if state.block is not None and not shows(state, attribute):
            return None
        replica.extend(state, attribute, LIST, [unpack(part, state.limits) for part in packed])
        return None
    if answer.status != b"ok":
        raise wrong_kind(name, "list")
    _note_push(attribute, packed)
    return int(answer.result)


def _note_push(attribute: Attribute, packed: list[bytes]) -> None:
    """Keep what was pushed beside the copy, for reads while the server is away."""
    copy = attribute.copy
    if copy is None or copy.kind != LIST:
        return
    if copy.unseen is None:
        copy.unseen = packed
    else:
        copy.unseen += packed
        if len(copy.unseen) > _MOST_UNSEEN:
            # who pushes so much and never reads knows the list no more
            attribute.doubt()
            attribute.copy = None


def window(state: State, name: str, start: int | None, stop: int | None) -> Flow[list[Any] | None]:
    """The elements from `start` to before `stop`, as a slice has them; None when missing.

    One round trip, O(elements returned) but for their distance from the nearer end of the list.
    """
    attribute = state.attribute(name)
    if state.block is not None and knows(state, attribute):
        copy = yield from read(state, name)
        return None if copy is None else _slice(copy, name, start, stop)
    if state.is_waiting and not (yield from caught_up(state)):
        return _window_here(state, name, start, stop, unknown(name))
    first = 0 if start is None else _bound(start)
    # LRANGE includes its end, and before 0 there is nothing: -1 would mean the last element
    last = -1 if stop is None else _bound(stop) - 1
    if last == -1 and stop is not None:
        first, last = 1, 0
    head = Head.script(SCRIPTS["window"], (attribute.memory, attribute.content), attribute.encoded)
    try:
        reply = yield Call(head, b"%d" % first, b"%d" % last)
    except OfflineError as error:
        return _window_here(state, name, start, stop, error)
    if state.block is not None:
        state.block.note_read(attribute, reply[0] if reply else b"")
    if reply is None:
        if attribute.copy is None:
            state.forget(name)
        return None
    state.found((name,))
    if reply[0][:1] != LIST:
        split(reply[0], name)
        raise wrong_kind(name, "list")
    if reply[1] == b"damaged":
        raise damaged(LIST, name)
    with contents.named(name):
        values: list[Any] = contents.decode(LIST, reply[1], state.limits)
        return values


def _window_here(
    state: State, name: str, start: int | None, stop: int | None, error: OfflineError
) -> list[Any] | None:
    """The same of the copy here, while the server is away."""
    copy = replica.answer(state, name, error)
    return None if copy is None else _slice(copy, name, start, stop)


def _slice(copy: Copy, name: str, start: int | None, stop: int | None) -> list[Any]:
    if copy.kind != LIST:
        raise wrong_kind(name, "list")
    values: list[Any] = detached(copy.value[start:stop])
    return values


def _bound(index: SupportsIndex) -> int:
    """An index that the server can count with, and that lies beyond every list if this one does."""
    return max(-_BEYOND, min(operator.index(index), _BEYOND))
