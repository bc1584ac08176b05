"""Between the flows of a memory and its link: what goes out is sealed, what comes in is opened.

The flows, the queue and the copies hold plain values, as without encryption. So there is one place
where values leave the process, and one rule: a script that this module does not know is not sent.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, TypeVar

from redis_memory.core import sealed_replies
from redis_memory.core.calls import Batch, Call, Flow, Head, NumberedCall
from redis_memory.core.scripts import BY_SHA, sealed_scripts
from redis_memory.core.sealed_replies import Asked
from redis_memory.core.sealed_values import Sealed
from redis_memory.core.sealed_words import batch_words, scalar_words, words
from redis_memory.core.sealing import Sealer
from redis_memory.errors import DecryptionError, RedisMemoryError

T = TypeVar("T")

# What sends no value of an attribute, and is answered with none.
BLIND: Final = frozenset(
    {
        *("delete", "clear", "fresh", "enter", "renew", "correct"),
        *("lease_acquire", "lease_renew", "lease_release"),
        # who uses these opens and seals by himself
        *("record", "reseal"),
    }
)
# What sends none, and may be answered with some.
READERS: Final = frozenset({"read", "window", "snapshot", "skip"})
_MOST_HEADS = 256
# The length of the answer that names the key that the memory is under.
_UNDER_A_KEY = 2


def protected(sealer: Sealer, flow: Flow[T]) -> Flow[T]:
    """The same flow, with its calls sealed and their replies opened.

    A change that finds the memory under another key is sealed under that one and sent again.
    """
    try:
        call = next(flow)
        while True:
            try:
                reply = yield from _answered(sealer, call)
            except RedisMemoryError as error:
                call = flow.throw(error)
            else:
                call = flow.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


def _answered(sealer: Sealer, call: Call) -> Flow[Any]:
    while True:
        outer = _sealed(sealer, call)
        try:
            reply = yield outer
        finally:
            if outer is not call:
                call.attempts, call.replicas = outer.attempts, outer.replicas
                call.answers = outer.answers
        if not (isinstance(reply, list) and reply and reply[0] == b"sealed"):
            return _opened(sealer, call, reply)
        # held off while the memory is put under another key, for some milliseconds: asked again
        if len(reply) == _UNDER_A_KEY:
            sealer.adopt(reply[1])


def _script_of(call: Call) -> str:
    parts = call.head.parts
    return BY_SHA[parts[1]].name if parts[0] == b"EVALSHA" else ""


def _sealed(sealer: Sealer, call: Call) -> Call:
    script, given = _script_of(call), call.arguments
    if not script or script in BLIND or script in READERS:
        return call
    name, outer = call.head.parts[-1], call
    if script == "batch":
        outer = Batch(_head(sealer, call.head, script), *batch_words(sealer, given))
    elif isinstance(call, NumberedCall):
        make = scalar_words if script == "scalar" else partial(words, script=script)
        own = make(sealer, name=name, given=given[1:])
        outer = NumberedCall(_head(sealer, call.head, script), call.turn, *own)
        if given[2:3] == (b"take",):
            sealer.note((call.head.parts[-2], call.turn), Asked(sealer, script, name, given[1:]))
    else:
        raise DecryptionError(f"{script!r} is not known to carry values: it was not sent")
    outer.attempts = call.attempts
    return outer


def _head(sealer: Sealer, head: Head, script: str) -> Head:
    found: Head | None = sealer.heads.get(head)
    if found is None:
        evalsha, _, *others = head.parts
        found = Head(evalsha, sealed_scripts(sealer.active)[script].sha, *others)
        if len(sealer.heads) >= _MOST_HEADS:
            sealer.heads.clear()
        sealer.heads[head] = found
    return found


def _opened(sealer: Sealer, call: Call, reply: Any) -> Any:
    script, parts = _script_of(call), call.head.parts
    if script in ("read", "window"):
        return sealed_replies.read(Sealed(sealer, parts[-1]), reply)
    if script == "snapshot":
        _, _, _, memory, *contents = parts
        names = [content[len(memory) + 1 :] for content in contents]
        return sealed_replies.snapshot(sealer, names, reply)
    if script == "batch":
        return sealed_replies.batch(sealer, call.arguments, reply)
    if script == "skip" and isinstance(call, NumberedCall):
        asked = sealer.noted.get((parts[-2], call.turn))
        if reply[1] == b"duplicate" and asked is not None:
            reply[3] = asked.result(reply[3], reply[2])
    elif script and script not in BLIND and isinstance(call, NumberedCall):
        given = call.arguments[1:]
        if script == "scalar":
            script, given = "assign", (b"", b"assign", *given)
        return sealed_replies.changed(Asked(sealer, script, parts[-1], given), reply)
    return reply
