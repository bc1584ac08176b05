"""Compare and set: of many that expect the same, exactly one is the first."""

from __future__ import annotations

from typing import Any

from redis_memory.core import contents, directory, replica
from redis_memory.core.attributes import Copy
from redis_memory.core.blocks import Block
from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import MISSING
from redis_memory.core.contests import FENCE_S
from redis_memory.core.delivery import NEEDS_ANSWER, Answer, deliver
from redis_memory.core.descriptor import CONTAINERS, split
from redis_memory.core.flows import assign, exists
from redis_memory.core.reading import read
from redis_memory.core.state import State

# What stands for the kind of the new value where the attribute is to be deleted.
_NOTHING = b"x"


class _New:
    """The value that is to be stored, encoded; `MISSING` deletes."""

    __slots__ = ("arguments", "kind", "plain")

    def __init__(self, state: State, name: str, value: Any) -> None:
        self.kind: bytes = _NOTHING
        self.arguments: list[bytes] = [FENCE_S]
        self.plain: Any = MISSING
        if value is not MISSING:
            encoded = contents.encode(value, state.limits, name)
            self.kind, self.arguments, self.plain = encoded


def compare_and_set(state: State, name: str, expected: Any, new: Any) -> Flow[bool]:
    """Store `new` if the attribute equals `expected`; whether it did.

    One round trip for a scalar that is spelled as expected, and for a container that this process
    has a copy of; else one more, and more while others change it.

    Raises:
        OfflineError: The server is away; nothing is queued.
    """
    wanted = _New(state, name, new)
    if state.block is not None:
        return (yield from _held(state, state.block, name, expected, wanted))
    if expected is MISSING:
        if new is MISSING:
            return not (yield from exists(state, name))
        return (yield from assign(state, name, new, only_if_missing=True, may_wait=False))
    kind, arguments, plain = contents.encode(expected, state.limits, name)
    if plain != plain:  # nan  # noqa: PLR0124
        return False
    if kind not in CONTAINERS:
        is_done = yield from _set_spelled(state, name, kind + arguments[0], plain, wanted)
        if is_done is not None:
            return is_done
    copy = state.attribute(name).copy
    if copy is None or kind not in CONTAINERS or not _is_known(copy):
        copy = None
    return (yield from _set_equal(state, name, copy, plain, wanted))


def _set_spelled(
    state: State, name: str, expected: bytes, plain: Any, new: _New
) -> Flow[bool | None]:
    """Store `new` over a scalar of these very bytes; None where others may be equal as well."""
    answer = yield from _exchanged(state, name, b"", b"equal", expected, new)
    if answer.status == b"ok":
        return True
    is_told = answer.descriptor is not None
    return False if is_told and not _may_equal(state, name, answer, plain) else None


def _set_equal(state: State, name: str, copy: Copy | None, plain: Any, new: _New) -> Flow[bool]:
    """Store `new` over the state of a value that is equal: of the copy, or of what is read."""
    while True:
        if copy is None or copy.value != plain:
            copy = yield from read(state, name, may_recall=False)
        if copy is None or copy.value != plain:
            return False
        answer = yield from _exchanged(state, name, copy.descriptor, b"as", b"", new)
        if answer.status == b"ok":
            return True
        copy = None


def _is_known(copy: Copy) -> bool:
    is_own = replica.is_provisional(copy.descriptor)
    return bool(copy.descriptor) and not copy.unseen and not is_own


def _may_equal(state: State, name: str, answer: Answer, expected: Any) -> bool:
    """May what is there, in other bytes than those expected, be equal all the same?"""
    if not answer.descriptor:
        return False
    descriptor, payload = split(answer.descriptor, name)
    if descriptor[:1] in CONTAINERS:
        return isinstance(expected, frozenset)
    with contents.named(name):
        value = contents.decode_scalar(descriptor[:1], payload, state.limits)
    return bool(value == expected)


def _exchanged(
    state: State, name: str, known: bytes, how: bytes, expected: bytes, new: _New
) -> Flow[Answer]:
    attribute = state.attribute(name)
    words = (known, how, expected, new.kind, *new.arguments)
    answer = yield from deliver(state, attribute, "exchange", *words, waiter=NEEDS_ANSWER)
    if answer.status == b"ok":
        attribute.resets += 1
        if new.kind == _NOTHING:
            attribute.copy, attribute.is_absent = None, True
        else:
            descriptor = answer.descriptor
            attribute.copy = Copy(new.kind, descriptor, new.plain) if descriptor else None
        if answer.result == b"empty":
            yield from directory.emptied(state)
    return answer


def _held(state: State, block: Block, name: str, expected: Any, new: _New) -> Flow[bool]:
    """The same in a block: it relies on what it has compared."""
    attribute = state.attribute(name)
    copy = yield from read(state, name)
    block.rely(attribute)
    is_same = expected is MISSING if copy is None else _equals(copy, expected)
    if not is_same or (copy is None and new.kind == _NOTHING):
        return is_same
    if new.kind == _NOTHING:
        words: tuple[bytes, ...] = (b"", b"delete", *new.arguments)
        yield from deliver(state, attribute, "delete", *words, waiter=NEEDS_ANSWER)
        replica.drop(state, attribute)
    else:
        words = (b"", b"assign", new.kind, *new.arguments)
        yield from deliver(state, attribute, "assign", *words, waiter=NEEDS_ANSWER)
        replica.store(state, attribute, new.kind, new.plain)
    attribute.resets += 1
    return True


def _equals(copy: Copy, expected: Any) -> bool:
    return expected is not MISSING and bool(copy.value == expected)
