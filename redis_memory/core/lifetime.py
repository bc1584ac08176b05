"""The lifetime of a memory: it begins again with each change, and ends for all keys together.

It is stored in the memory's hash, so that whoever changes the memory begins it again: in the packet
of the change and before it, at most once a second and ten times in a lifetime. What a change makes
in between is given the same end by its own script.
"""

from __future__ import annotations

from typing import Any

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.clock import now_us
from redis_memory.core.descriptor import CONTAINERS
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State

_SHORTEST_S = 0.001
_LONGEST_S = 100 * 366 * 86400


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
    if not _SHORTEST_S <= ttl_s <= _LONGEST_S:
        raise ValueError("a lifetime has from 0.001 seconds up to a century")
    return round(ttl_s * 1000)


def milliseconds(stored: bytes) -> int:
    """How long a stored lifetime is."""
    return int(stored[1:])


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
    state.writer.ends_us = now_us() + ttl_ms * 1000
