"""How a change reaches the server exactly once: under a number, settled before the next one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import Attribute, Flow, Head, NumberedCall, State, Writer
from redis_memory.errors import (
    CorruptValueError,
    DataLossWarning,
    InDoubtError,
    RedisMemoryError,
    ServerRefusedError,
)

_FORGOTTEN_AFTER_S = 6 * 86400


class Answer:
    """What the server answered to a change.

    `descriptor` is None when the change had been applied already and only the answer was lost.
    `missed` tells how the caller's copy was behind: None, b"tail" (`elements` were appended) or
    b"whole" (`elements` are all there was before the change).
    """

    __slots__ = ("descriptor", "elements", "missed", "result", "status")

    def __init__(
        self,
        status: bytes,
        descriptor: bytes | None,
        result: bytes,
        missed: bytes | None = None,
        elements: Sequence[bytes] = (),
    ) -> None:
        self.status: bytes = status
        self.descriptor: bytes | None = descriptor
        self.result: bytes = result
        self.missed: bytes | None = missed
        self.elements: Sequence[bytes] = elements


def deliver(state: State, attribute: Attribute, script: str, *arguments: bytes) -> Flow[Answer]:
    """Change one attribute, exactly once; as `numbered`."""
    return numbered(state, partial(attribute.head, script), *arguments)


def numbered(state: State, head: Callable[[Writer], Head], *arguments: bytes) -> Flow[Answer]:
    """Send a change under the next number of this process's writer.

    Whatever interrupts it leaves the number unsettled, and the next change settles it first.

    Raises:
        InDoubtError: The connection broke, and whether the change was applied is not known. It is
            never applied later: the next change uses up its number first.
    """
    if state.writer.unsettled:
        yield from _settle(state)
    writer = state.writer
    call = begin(writer, head(writer), *arguments)
    reply = yield call
    if succeeded(writer, call, reply):
        return Answer(*reply[1:])
    return (yield from understood(state, call, reply, head))


def begin(writer: Writer, head: Head, *arguments: bytes) -> NumberedCall:
    """The call that makes a change under the next number of a writer that owes no other answer."""
    writer.unsettled = True
    return NumberedCall(head, writer.last + 1, *arguments)


def succeeded(writer: Writer, call: NumberedCall, reply: list[Any]) -> bool:
    """Was the change applied just now? Then the writer is ready for the next one."""
    if reply[1] == b"ok" and reply[0] == call.arguments[0]:
        # a signal handler may have settled it; `max` takes 0.1 us, and this is the hot path
        if writer.last < call.turn:  # noqa: PLR1730
            writer.last = call.turn
        writer.answered_at_s = monotonic()
        writer.unsettled = False
        return True
    return False


def understood(
    state: State, call: NumberedCall, reply: list[Any], head: Callable[[Writer], Head]
) -> Flow[Answer]:
    """What any other reply to a change means."""
    status = reply[1]
    if reply[0] != call.arguments[0]:
        # the number stays unsettled: this connection gave us somebody else's answer
        raise ServerRefusedError("the server's answer does not belong to this change")
    writer = state.writer
    if status == b"gap":
        return (yield from _after_gap(state, call, head))
    writer.unsettled = False
    if status == b"undeclared":
        return Answer(status, None, b"", None, reply[4:])
    writer.last = max(writer.last, call.turn)
    if status == b"duplicate":
        return (yield from _repeated(state, call, reply, head))
    if status == b"error":
        raise _refused(reply[3])
    return Answer(*reply[1:])


def _repeated(
    state: State, call: NumberedCall, reply: list[Any], head: Callable[[Writer], Head]
) -> Flow[Answer]:
    """The server has seen the number before.

    The answer was lost, or a signal handler that changed the memory in the middle of this change
    has used the number up.
    """
    status, result = reply[2], reply[3]
    if status == b"old":
        turn, status, result = state.writer.settled
        if turn != call.turn:
            raise InDoubtError("a change was overtaken by others of the same process")
    if status == b"error":
        raise _refused(result)
    if status == b"cleared":
        raise InDoubtError("the change was applied, and the memory was cleared before it answered")
    if status == b"skipped":
        return (yield from numbered(state, head, *call.arguments[1:]))
    return Answer(status, None, result)


def _settle(state: State) -> Flow[None]:
    """Use up the number of a change that may or may not have arrived."""
    writer = state.writer
    head = Head.script(SCRIPTS["skip"], (state.keys.memory,), writer.id, b"")
    turn = writer.last + 1
    reply = yield NumberedCall(head, turn)
    if reply[1] == b"gap":
        _report_loss(state, writer.last - int(reply[2]))
        return
    if reply[1] == b"duplicate":
        writer.settled = (turn, reply[2], reply[3])
    else:
        writer.settled = (turn, b"skipped", b"")
    writer.last = max(writer.last, turn)
    writer.unsettled = False


def _after_gap(state: State, call: NumberedCall, head: Callable[[Writer], Head]) -> Flow[Answer]:
    """The server has forgotten changes of this writer, or the writer itself."""
    idle_s = monotonic() - state.writer.answered_at_s
    if idle_s > _FORGOTTEN_AFTER_S and call.attempts == 1:
        state.renew_writer()  # the server drops writers that have been idle for 7 days
        return (yield from numbered(state, head, *call.arguments[1:]))
    _report_loss(state, state.writer.last)
    if call.attempts > 1:
        raise InDoubtError(
            "the server lost changes while one was on its way: nobody knows whether it was applied"
        )
    return (yield from numbered(state, head, *call.arguments[1:]))


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
