"""Numbers that many processes add to."""

from __future__ import annotations

from typing import Any

from redis_memory.core import contents, held, replica
from redis_memory.core.attributes import Copy
from redis_memory.core.calls import Flow
from redis_memory.core.delivery import NEEDS_ANSWER, QUEUED, Answer, deliver
from redis_memory.core.descriptor import NUMBER, wrong_kind
from redis_memory.core.flows import assign
from redis_memory.core.reading import read
from redis_memory.core.state import State

Number = int | float


def increment(state: State, name: str, by: Number) -> Flow[Number | None]:
    """Add to a number, a missing one counts as 0; the sum. One round trip.

    None while the server is away, and in a block: the sum is not known.

    Integers from 10**15 on, infinities, nan and encrypted numbers take two, and more under
    contention; those need the server's answer.

    Raises:
        TypeError: `by` is neither int nor float.
        OfflineError: The server is away, and the number is encrypted.
        WrongKindError: The attribute exists and is no number.
    """
    if type(by) not in (int, float):
        raise TypeError(f"a number is incremented by an int or a float, not {type(by).__name__}")
    attribute = state.attribute(name)
    if state.block is not None:
        yield from held.increment(state, state.block, name, by)
        return None
    was_absent = attribute.is_absent
    kind, (text,), _ = contents.encode(by, state.limits, name)
    while True:
        # an encrypted number is added to here, and stored while it is still the same
        if kind == NUMBER and state.sealer is None:
            answer = yield from deliver(state, attribute, "increment", b"", b"increment", text)
            if answer.status == b"ok":
                return _summed(state, name, answer)
            if answer.status == QUEUED:
                attribute.is_absent = was_absent
                replica.add(state, attribute, by)
                return None
        copy = yield from read(state, name, may_recall=state.sealer is None)
        current = 0 if copy is None else copy.value
        if type(current) not in (int, float):
            raise wrong_kind(name, "number")
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
        return (yield from assign(state, name, value, only_if_missing=True, may_wait=False))
    kind, (after,), _ = contents.encode(value, state.limits, name)
    attribute = state.attribute(name)
    arguments = (copy.descriptor, b"replace", kind, after)
    answer = yield from deliver(state, attribute, "assign", *arguments, waiter=NEEDS_ANSWER)
    is_stored = answer.status == b"ok"
    descriptor = answer.descriptor if is_stored else None
    attribute.copy = Copy(kind, descriptor, value) if descriptor else None
    return is_stored
