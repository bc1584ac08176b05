"""The lifetime of a memory: it begins again with each change, and ends for all keys together.

It is stored in the memory's hash, so that whoever changes the memory begins it again: in the packet
of the change and before it, at most once a second and ten times in a lifetime. What a change makes
in between is given the same end by its own script.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Any, Final

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.clock import now_us
from redis_memory.core.descriptor import CONTAINERS
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State

# How often whoever reads or changes a memory deals with its lifetime and its entry.
EVERY_S: Final = 1.0

_SHORTEST_S = 0.001
LONGEST_S = 100 * 366 * 86400
# It was taken away by `expire`, so settings give none.
NEVER: Final = b"e0"


def checked(ttl_s: float | None) -> int:
    """A lifetime in milliseconds, 0 for none.

    Raises:
        ValueError: It is not positive, or longer than a century.
        TypeError: It is no number.
    """
    if ttl_s is None:
        return 0
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float):
        raise TypeError(f"a lifetime is a number of seconds or None, not {type(ttl_s).__name__}")
    if not _SHORTEST_S <= ttl_s <= LONGEST_S:
        raise ValueError("a lifetime has from 0.001 seconds up to a century")
    return round(ttl_s * 1000)


def milliseconds(stored: bytes) -> int:
    """How long a stored lifetime is."""
    return int(stored[1:])


def ask_too(state: State, asked: Call) -> float:
    """Have a read ask, too, how long the memory stays if nobody changes it; when that was.

    At the first read and once a second, so that whoever only reads does not take the end for a
    loss; at each read after which the copy may answer, since nobody is told of the end. Else, 0.
    """
    now_s = monotonic()
    if not state.session and now_s < state.look_s:
        return 0.0
    state.look_s = now_s + EVERY_S
    asked.companions = (Call(Head(b"PTTL", state.keys.memory)),)
    return now_s


def end_s(state: State, asked: Call, begun_s: float) -> float:
    """When that is over, by the monotonic clock."""
    answers, asked.companions, asked.answers = asked.answers, (), ()
    if not answers:  # the call was led to another node without it
        return begun_s
    left_ms = answers[0]
    # a user may not be allowed to ask; -2: there is no memory
    if not isinstance(left_ms, int) or left_ms < -1:
        return inf
    state.writer.ends_us = now_us() + left_ms * 1000 if left_ms >= 0 else 0
    return begun_s + left_ms / 1000 if left_ms >= 0 else inf


def renewal(state: State, given: bytes) -> Call:
    """The call that begins the lifetime again, `given` where the memory has none of its own."""
    known = {
        attribute.content
        for attribute in list(state.attributes.values())
        if attribute.copy is not None and attribute.copy.kind in CONTAINERS
    }
    known |= {state.keys.content(name) for name in state.containers}
    keys = (state.keys.memory, state.keys.stamps, *sorted(known))
    return Call(Head.script(SCRIPTS["renew"], keys), given)


def understood(state: State, reply: Any, given: bytes) -> Flow[None]:
    """What such a call answered. One round trip more when there are containers it did not name."""
    while True:
        how, ttl_ms, *names = reply
        if how != b"undeclared":
            break
        state.containers.update(names)
        reply = yield renewal(state, given)
    # found before the change itself meets a memory that does not know its writer any more
    state.writer.expired_us = state.writer.ends_us if state.has_expired() and not any(names) else 0
    state.writer.lifetime_ms = ttl_ms
    state.writer.ends_us = now_us() + ttl_ms * 1000 if ttl_ms else 0
