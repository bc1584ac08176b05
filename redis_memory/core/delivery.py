"""How a change reaches the server exactly once: under a number, settled before the next one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import Attribute, Call, Flow, Head, State, Writer
from redis_memory.errors import (
    CorruptValueError,
    DataLossWarning,
    InDoubtError,
    RedisMemoryError,
    ServerRefusedError,
)


class Answer(NamedTuple):
    """What the server answered to a change.

    `descriptor` is None when the change had been applied already and only the answer was lost.
    `missed` tells how the caller's copy was behind: None, b"tail" (`elements` were appended) or
    b"whole" (`elements` are all there was before the change).
    """

    status: bytes
    descriptor: bytes | None
    result: bytes
    missed: bytes | None = None
    elements: list[bytes] = []


def deliver(state: State, attribute: Attribute, script: str, *arguments: bytes) -> Flow[Answer]:
    """Change one attribute, exactly once."""
    return numbered(state, lambda writer: attribute.head(script, writer), *arguments)


def numbered(state: State, head: Callable[[Writer], Head], *arguments: bytes) -> Flow[Answer]:
    """Send a change under the next number of this process's writer.

    Raises:
        InDoubtError: The connection broke, and whether the change was applied is not known. It is
            never applied later: the next change uses up its number first.
    """
    writer = state.writer
    if writer.unsettled:
        yield from _settle(state)
        writer = state.writer
    turn = writer.last + 1
    number = b"%d" % turn
    call = Call(head(writer), number, *arguments, is_change=True)
    writer.unsettled = True
    try:
        reply = yield call
    except InDoubtError:
        raise
    except RedisMemoryError:
        writer.unsettled = False
        raise
    if not isinstance(reply, list) or reply[0] != number:
        # its number stays unsettled: this connection gave us somebody else's answer
        raise ServerRefusedError("the server's answer does not belong to this change")
    status = reply[1]
    if status == b"gap":
        return (yield from _after_gap(state, call, head, *arguments))
    writer.unsettled = False
    if status == b"undeclared":
        return Answer(status, None, b"", None, reply[4:])
    writer.last = max(writer.last, turn)
    if status == b"duplicate":
        if reply[2] == b"skipped":  # by a signal handler that changed the memory meanwhile
            return (yield from numbered(state, head, *arguments))
        return Answer(reply[2], None, reply[3])
    if status == b"error":
        raise _refused(reply[3])
    return Answer(*reply[1:])


def _settle(state: State) -> Flow[None]:
    """Use up the number of a change that may or may not have arrived."""
    writer = state.writer
    head = Head.script(SCRIPTS["skip"], (state.keys.memory,), writer.id, b"")
    reply = yield Call(head, b"%d" % (writer.last + 1), is_change=True)
    if reply[1] == b"gap":
        _report_loss(state, writer.last - int(reply[2]))
        return
    writer.last += 1
    writer.unsettled = False


def _after_gap(
    state: State, call: Call, head: Callable[[Writer], Head], *arguments: bytes
) -> Flow[Answer]:
    """The server has forgotten changes of this writer, or the writer itself."""
    _report_loss(state, state.writer.last)
    if call.attempts > 1:
        raise InDoubtError(
            "the server lost changes while one was on its way: nobody knows whether it was applied"
        )
    return (yield from numbered(state, head, *arguments))


def _report_loss(state: State, changes: int) -> None:
    state.data_losses += 1
    state.renew_writer()
    warnings.warn(
        f"the server no longer knows up to {changes} changes that this process had made to "
        f"{state.label}: it was emptied, restored, or replaced by a lagging replica",
        DataLossWarning,
        stacklevel=2,
    )


def _refused(message: bytes) -> RedisMemoryError:
    text = message.decode("utf-8", "replace")
    if "WRONGTYPE" in text:
        return CorruptValueError("another type of key lies where the attribute's elements belong")
    return ServerRefusedError(f"the server refused the change: {text}")
