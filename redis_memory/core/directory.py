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

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.errors import RedisMemoryError

_log = logging.getLogger("redis_memory")

# How often the directory is told of a memory that is active.
EVERY_S: Final = 1.0

# Later than every last activity, in microseconds.
AT_ANY_TIME: Final = b"9000000000000000"


def accompany(state: State, change: Call) -> None:
    """Have a change enter its conversation in the directory, if it is one of a conversation's."""
    if state.conversation_id is None:
        state.writer.due_s = float("inf")
        return
    change.companions = (_entry(state),)
    change.packed = b""


def _entry(state: State) -> Call:
    keys = state.directory
    head = Head.script(SCRIPTS["enter"], (keys.index, keys.expiring))
    return Call(head, state.keys.tag, b"")


def accompanied(state: State, change: Call) -> None:
    """Take note of how that went; a change succeeds or fails by itself."""
    refusals = [answer for answer in change.answers if isinstance(answer, RedisMemoryError)]
    for refusal in refusals:
        _log.warning("%s is not entered in the directory: %s", state.label, refusal)
    state.writer.due_s = monotonic() + EVERY_S
    change.companions = ()


def begun(state: State, change: Call) -> Flow[None]:
    """A change was the first one of a memory: no round trip when it brought the entry along."""
    if state.conversation_id is not None and not change.answers:
        # others have emptied the memory, and removed its entry, since this process made one
        with suppress(RedisMemoryError):
            yield _entry(state)


def emptied(state: State) -> Flow[None]:
    """A change found the memory without attributes, or left it so: remove its entry.

    Unless another process has begun it anew. Two round trips; what fails here is made up for by
    whoever comes across the entry.
    """
    if state.conversation_id is None:
        return
    with suppress(RedisMemoryError):
        asked = Call(Head(b"HMGET", state.keys.memory), b"_created", b"_version")
        created, version = yield asked
        if created is not None:
            return
        state.writer.due_s = 0.0
        yield corrections(state, state.keys.tag, version)
        if (yield asked)[0] is not None:
            yield _entry(state)


def corrections(state: State, tag: bytes, version: bytes | None) -> Call:
    """Remove the entry of a memory that was found empty at a version; without one, at any time."""
    limit = b"%d" % int(version, 16) if version else AT_ANY_TIME
    keys = state.directory
    return Call(Head.script(SCRIPTS["correct"], (keys.index, keys.expiring)), tag, limit, b"", b"")
