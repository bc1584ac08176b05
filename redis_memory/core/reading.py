"""Bringing this process's copies up to date with what the server answers."""

from __future__ import annotations

from typing import Any

from redis_memory.core import contents
from redis_memory.core.descriptor import KIND_NAMES, split
from redis_memory.core.state import Attribute, Call, Copy, Flow, State
from redis_memory.errors import CorruptValueError


def read(state: State, name: str) -> Flow[Copy | None]:
    """The newest state of an attribute, None when it is missing. One round trip."""
    attribute = state.attribute(name)
    while True:
        asked = question(attribute)
        copy, known, generation = attribute.copy, asked.arguments[0], state.generation
        reply = yield asked
        if generation != state.generation or not is_still(attribute, copy, known):
            continue  # the answer speaks of a copy that is another one by now
        return copy if reply == b"same" else understood(state, attribute, reply)


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


def understood(state: State, attribute: Attribute, reply: list[Any] | None) -> Copy | None:
    """Take over what an answer other than "same" says, and return the new copy.

    Raises:
        CorruptValueError: What is stored is no value of ours; no copy is left then.
    """
    copy = attribute.copy
    attribute.copy = None
    attribute.copy = _copy(state, attribute, copy, reply)
    return attribute.copy


def _copy(
    state: State, attribute: Attribute, copy: Copy | None, reply: list[Any] | None
) -> Copy | None:
    if reply is None:
        return None
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
