"""The directory of a prefix is kept beside its memories: entered with a change, corrected after it.

An entry is made in the packet of a change and before it, at most once a second for a memory and a
process, so no round trip is spent on it, and whoever is killed in between leaves an entry too many
and never a conversation without one. Whoever acts on an entry looks at the memory first.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from time import monotonic
from typing import Final

from redis_memory.core import lifetime
from redis_memory.core.calls import Apart, Call, Entering, Flow, Head
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.errors import RedisMemoryError

_log = logging.getLogger("redis_memory")

_MOST_TOLD: Final = 100
_told: set[tuple[str, str]] = set()

# Later than every last activity, in microseconds.
AT_ANY_TIME: Final = b"9000000000000000"


def accompany(state: State, change: Call) -> None:
    """Have a change enter its conversation in the directory, and begin its lifetime again."""
    renewal = lifetime.renewal(state, state.lifetime)
    entered = (_entry(state),) if state.conversation_id is not None else ()
    change.companions = (*entered, renewal)
    change.packed = b""


def _entry(state: State) -> Call:
    keys = state.directory
    head = Head.script(SCRIPTS["enter"], (keys.index, keys.expiring))
    known = _known(state)
    return Entering(head, state.keys.tag, b"" if known is None else b"%d" % known)


def _known(state: State) -> int | None:
    """The milliseconds of the lifetime, as far as this process knows."""
    known = state.writer.lifetime_ms
    if known is None and state.lifetime:
        known = lifetime.milliseconds(state.lifetime)
    return known


def accompanied(state: State, change: Call) -> Flow[None]:
    """Take note of how that went; a change succeeds or fails by itself.

    No round trip, but for a lifetime other than this process knew of.
    """
    *_, answer = change.answers
    for refusal in change.answers:
        if isinstance(refusal, RedisMemoryError):
            _tell(state, refusal)
    change.companions = ()
    entered = _known(state)
    state.writer.due_s = monotonic() + lifetime.EVERY_S
    with suppress(RedisMemoryError):
        if not isinstance(answer, RedisMemoryError):
            yield from lifetime.understood(state, answer, state.lifetime)
        if state.writer.lifetime_ms:
            state.writer.due_s = monotonic() + min(
                lifetime.EVERY_S, state.writer.lifetime_ms / 10_000
            )
        told = state.writer.lifetime_ms
        is_news = told is not None and told != (entered or 0)
        if is_news and state.conversation_id is not None:
            yield _entry(state)


def _tell(state: State, refusal: RedisMemoryError) -> None:
    """Say once why the directory is not kept, not once a second."""
    reason = (state.prefix, str(refusal))
    level = logging.DEBUG if reason in _told else logging.WARNING
    if len(_told) < _MOST_TOLD:
        _told.add(reason)
    _log.log(level, "%s: no directory entry, or no lifetime: %s", state.label, refusal)


def begun(state: State, change: Call) -> Flow[None]:
    """A change was the first one of a memory: no round trip when it brought the entry along."""
    if change.answers:
        return
    # others have emptied the memory, and removed its entry and its lifetime, since this process
    # made them
    with suppress(RedisMemoryError):
        if state.conversation_id is not None:
            yield _entry(state)
        if state.lifetime:
            reply = yield lifetime.renewal(state, state.lifetime)
            yield from lifetime.understood(state, reply, state.lifetime)


def expire(state: State, ttl_ms: int) -> Flow[None]:
    """Give the memory a lifetime, 0 for none. Two round trips; one more for unread containers."""
    given = b"e%d" % ttl_ms
    reply = yield lifetime.renewal(state, given)
    yield from lifetime.understood(state, reply, given)
    if ttl_ms:
        state.writer.lifetime_ms = ttl_ms
    state.writer.due_s = 0.0
    if state.conversation_id is not None:
        (created,) = yield Call(Head(b"HMGET", state.keys.memory), b"_created")
        if created is not None:
            # in a cluster its node may be away: the next change enters it
            with suppress(RedisMemoryError):
                yield _entry(state)


def emptied(state: State) -> Flow[None]:
    """A change found the memory without attributes, or may have left it so: remove its entry.

    Unless it has been begun anew; then its lifetime begins. Three round trips; what fails here is
    made up for by whoever comes across the entry.
    """
    if state.conversation_id is None and not state.lifetime:
        return
    with suppress(RedisMemoryError):
        asked = Call(Head(b"HMGET", state.keys.memory), b"_created", b"_version")
        if (yield asked)[0] is not None:
            if state.lifetime:
                reply = yield lifetime.renewal(state, state.lifetime)
                yield from lifetime.understood(state, reply, state.lifetime)
            return
        if state.conversation_id is None:
            state.writer.due_s = 0.0
            return
        state.writer.due_s = 0.0
        keys = state.directory
        correct = Head.script(SCRIPTS["correct"], (keys.index, keys.expiring))
        yield Apart(correct, state.keys.tag, AT_ANY_TIME, b"", b"")
        # somebody may have begun it anew in between, and lost the entry just now
        if (yield asked)[0] is not None:
            yield _entry(state)
