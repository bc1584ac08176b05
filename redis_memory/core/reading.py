"""Bringing this process's copies up to date with what the server answers."""

from __future__ import annotations

from typing import Any

from redis_memory.core import contents, replica
from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.calls import Call, Flow
from redis_memory.core.descriptor import KIND_NAMES, split
from redis_memory.core.replay import caught_up, noticed
from redis_memory.core.state import State
from redis_memory.errors import CorruptValueError, OfflineError


def read(state: State, name: str, *, may_recall: bool = True) -> Flow[Copy | None]:
    """The newest state of an attribute, None when it is missing. One round trip.

    While the server is away the copy answers, if it `may_recall`.

    Raises:
        OfflineError: The server is away, and nothing is known of the attribute.
    """
    while True:
        if state.is_waiting and not (yield from caught_up(state)):
            if not may_recall:
                raise unknown(name)
            return replica.answer(state, name, unknown(name))
        attribute = state.attribute(name)
        asked = question(attribute)
        copy, known, generation = attribute.copy, asked.arguments[0], state.generation
        session = state.session
        try:
            reply = yield asked
        except OfflineError as error:
            if not may_recall:
                raise
            return replica.answer(state, name, error)
        if generation != state.generation or not is_still(attribute, copy, known):
            continue  # the answer speaks of a copy that is another one by now
        attribute.session = session
        if reply == b"same":
            return copy
        copy = understood(state, attribute, reply)
        if state.suspicion is None:
            return copy
        yield from noticed(state)


def unknown(name: str) -> OfflineError:
    """The error for an attribute that only the server could tell of."""
    return OfflineError(f"the server is away, and nothing is known of the attribute {name!r}")


def is_still(attribute: Attribute, copy: Copy | None, known: bytes) -> bool:
    """Is the copy the one that was asked with? A signal handler may have read or changed it."""
    return attribute.copy is copy and (copy is None or copy.descriptor is known)


def question(attribute: Attribute) -> Call:
    """The call that asks for an attribute, or whether this process's copy is still up to date."""
    copy = attribute.copy
    if copy is None:
        return Call(attribute.reader, b"")
    asked = copy.question
    if asked is None:
        asked = copy.question = Call(attribute.reader, copy.descriptor)
    elif asked.arguments[0] is not copy.descriptor:
        asked.arguments = (copy.descriptor,)
        asked.packed = b""
    return asked


def understood(state: State, attribute: Attribute, reply: list[Any]) -> Copy | None:
    """Take over what an answer other than "same" says, and return the new copy.

    `state.suspicion` is the attribute afterwards, if it is older than this process has seen it.

    Raises:
        CorruptValueError: What is stored is no value of ours; no copy is left then.
    """
    copy = attribute.copy
    attribute.copy = None
    before = (copy.descriptor if copy and copy.descriptor else attribute.before)[1:14]
    attribute.before = b""
    if before and _is_older(reply, before):
        state.suspicion = attribute.name
    if _is_missing(reply):
        attribute.seen = reply[1]
        state.contact = max(state.contact, reply[1])
        return None
    attribute.copy = _copy(state, attribute, copy, reply)
    return attribute.copy


def _is_missing(reply: list[Any]) -> bool:
    # an empty field of a foreign hand comes alone
    return len(reply) > 1 and not reply[0]


def _is_older(reply: list[Any], before: bytes) -> bool:
    """Is the attribute, or a memory in which it is missing, older than the version `before`?"""
    if _is_missing(reply):
        return bytes(reply[1]) < before
    version = bytes(reply[0][1:14])
    # the field of a foreign hand is judged elsewhere
    return len(version) == len(before) and version < before


def _copy(state: State, attribute: Attribute, copy: Copy | None, reply: list[Any]) -> Copy:
    name = attribute.name
    descriptor, payload = split(reply[0], name)
    kind = descriptor[:1]
    if len(reply) == 1:
        with contents.named(name):
            return Copy(kind, descriptor, contents.decode_scalar(kind, payload, state.limits))
    if reply[1] == b"damaged":
        raise CorruptValueError(
            f"elements of the {KIND_NAMES[kind]} attribute {name!r} are missing or foreign"
        )
    with contents.named(name):
        if reply[1] == b"tail" and copy is not None:
            copy.value.extend(contents.decode(kind, reply[2], state.limits))
            return Copy(kind, descriptor, copy.value)
        return Copy(kind, descriptor, contents.decode(kind, reply[2], state.limits))


def refill(box: Any, plain: Any) -> None:
    """Give a container, proxy or plain, other contents, without the mutators of its own type."""
    if isinstance(box, list):
        list.__setitem__(box, slice(None), plain)
    elif isinstance(box, dict):
        dict.clear(box)
        dict.update(box, plain)
    else:
        set.clear(box)
        set.update(box, plain)
