"""This process's copies while changes of its own wait: they answer reads, with those changes."""

from __future__ import annotations

from typing import Any

from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.descriptor import NUMBER
from redis_memory.core.state import State
from redis_memory.core.values import unpack

# How the descriptor of a state ends that only this process knows yet. It is never sent.
_PROVISIONAL = b"?;"


def is_provisional(descriptor: bytes) -> bool:
    """Is it the descriptor of a state that the server does not know yet?"""
    return descriptor.endswith(_PROVISIONAL)


def provisional(state: State, kind: bytes) -> bytes:
    """A descriptor for a state that only this process knows, newer than all before it."""
    state.provisional += 1
    version = b"%013x" % (int(state.contact or b"0", 16) + state.provisional)
    return kind + b" ".join([version] * 4) + b" 0" + _PROVISIONAL


def begin_waiting(state: State, attribute: Attribute, known: bytes = b"") -> None:
    """A change of the attribute waits: note the state that it began from, if it is the first."""
    if attribute.confirmed is None:
        copy = attribute.copy
        _see(state, copy)
        attribute.confirmed = (known if copy is None else copy.descriptor) or attribute.before


def _see(state: State, copy: Copy | None) -> None:
    """Have the copy show what this process has pushed, whatever others had before that."""
    if copy is not None and copy.unseen:
        copy.value.extend(unpack(part, state.limits) for part in copy.unseen)
        copy.unseen = None


def store(state: State, attribute: Attribute, kind: bytes, value: Any) -> None:
    """Hold a value that waits to be assigned."""
    begin_waiting(state, attribute)
    attribute.copy = Copy(kind, provisional(state, kind), value)
    attribute.is_absent = False


def drop(state: State, attribute: Attribute) -> None:
    """The attribute waits to be deleted."""
    begin_waiting(state, attribute)
    attribute.copy, attribute.is_absent = None, True


def extend(state: State, attribute: Attribute, kind: bytes, values: list[Any]) -> None:
    """Append to the copy of a list, if there is one."""
    copy = attribute.copy
    if copy is not None and copy.kind == kind:
        begin_waiting(state, attribute)
        copy.value.extend(values)
        copy.descriptor = provisional(state, kind)
    elif knows_absent(state, attribute.name):
        store(state, attribute, kind, values)


def add(state: State, attribute: Attribute, by: float) -> None:
    """Add to the copy, if the number is known here."""
    copy = attribute.copy
    if copy is not None and type(copy.value) in (int, float):
        store(state, attribute, NUMBER, copy.value + by)
    elif copy is None and knows_absent(state, attribute.name):
        store(state, attribute, NUMBER, by)
    else:
        begin_waiting(state, attribute)


def knows_absent(state: State, name: str) -> bool:
    """Does this process know that there is no such attribute?"""
    attribute = state.attributes.get(name)
    if attribute is None:
        return state.is_emptied
    return attribute.copy is None and (state.is_emptied or attribute.is_absent)


def answer(state: State, name: str, error: Exception) -> Copy | None:
    """What the attribute reads as while the server is away, None when it is known to be missing.

    Raises:
        The error, when nothing is known of it.
    """
    attribute = state.attributes.get(name)
    if attribute is not None and attribute.copy is not None:
        copy = attribute.copy
        # from before a reconnection and not read since, or behind what this process has pushed
        if not copy.descriptor or copy.unseen:
            begin_waiting(state, attribute)
            copy.descriptor = provisional(state, copy.kind)
        return copy
    if knows_absent(state, name):
        return None
    try:
        raise error
    finally:
        del error  # its traceback leads here: it would keep itself, and the caller's objects, alive
