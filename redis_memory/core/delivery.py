"""How a change reaches the server exactly once: under a number, or waiting for its turn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from redis_memory.core import directory, repair
from redis_memory.core.attributes import Attribute
from redis_memory.core.blocks import Block
from redis_memory.core.calls import Flow, Head, NumberedCall
from redis_memory.core.clock import now_us
from redis_memory.core.keys import name_text
from redis_memory.core.operations import Operation, Recipe
from redis_memory.core.replay import caught_up, no_key, use_up_number
from redis_memory.core.replica import is_provisional
from redis_memory.core.state import State
from redis_memory.core.writer import Writer
from redis_memory.errors import (
    CorruptValueError,
    InDoubtError,
    OfflineError,
    QueueFullError,
    RedisMemoryError,
    ServerRefusedError,
)

_log = logging.getLogger("redis_memory")

_FEW_ARGUMENTS = 16

QUEUED = b"queued"


class Answer:
    """What the server answered to a change.

    `status` is `QUEUED` when the server is away, and the change waits. `descriptor` is None then,
    and when the change had been applied already and only the answer was lost. `missed` tells how
    the caller's copy was behind: None, b"tail" (`elements` were appended) or b"whole" (`elements`
    are all there was before the change).
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


class Waiter:
    """Whether a change may wait while the server is away, and what is kept with it then.

    `recipe` says how to make it again, `seen` gives further arguments.
    """

    __slots__ = ("may_wait", "recipe", "seen")

    def __init__(
        self,
        *,
        may_wait: bool,
        recipe: Recipe | None = None,
        seen: Callable[[], tuple[bytes, ...]] | None = None,
    ) -> None:
        self.may_wait: bool = may_wait
        self.recipe: Recipe | None = recipe
        self.seen: Callable[[], tuple[bytes, ...]] | None = seen


MAY_WAIT = Waiter(may_wait=True)
NEEDS_ANSWER = Waiter(may_wait=False)


def deliver(
    state: State,
    attribute: Attribute,
    script: str,
    *arguments: bytes,
    waiter: Waiter = MAY_WAIT,
) -> Flow[Answer]:
    """Change one attribute, exactly once; as `numbered`. In a block, it is held back."""
    if state.block is not None and not state.block.is_closing:
        return _held(state.block, attribute, script, arguments, waiter)
    return numbered(state, partial(attribute.head, script), *arguments, waiter=waiter)


def _held(
    block: Block, attribute: Attribute, script: str, arguments: tuple[bytes, ...], waiter: Waiter
) -> Flow[Answer]:
    known = b"" if script == "scalar" else arguments[0]
    if is_provisional(known):
        known = attribute.confirmed or b""
    if waiter.seen is not None:
        arguments = (*arguments, *waiter.seen())
    block.hold(attribute, script, arguments, needs_answer=not waiter.may_wait, known=known)
    yield from ()
    return Answer(QUEUED, None, b"")


def numbered(
    state: State, head: Callable[[Writer], Head], *arguments: bytes, waiter: Waiter = MAY_WAIT
) -> Flow[Answer]:
    """Send a change under the next number of this process's writer.

    While the server is away, the change waits, behind all that wait already. Any other interruption
    leaves the number unsettled, and the next change settles it first.

    Raises:
        OfflineError: The server is away, and the change cannot wait.
        InDoubtError: The same, and it was sent: whether it was applied is not known. It is never
            applied later, since the next change uses up its number first.
        QueueFullError: Too many changes wait already.
    """
    if state.writer.unsettled and not (yield from caught_up(state)):
        if not state.is_waiting:
            use_up_number(state)
        call = NumberedCall(head(state.writer), state.writer.last + 1, *arguments)
        return wait(state, call, OfflineError(_AWAY), waiter)
    writer = state.writer
    call = begin(writer, head(writer), *arguments)
    try:
        reply = yield call
    except OfflineError as error:
        return wait(state, call, error, waiter)
    if succeeded(state, writer, call, reply):
        return Answer(*reply[1:])
    return (yield from understood(state, call, reply, head, waiter))


_AWAY = "the server is away, and this cannot be done without its answer"


def wait(state: State, call: NumberedCall, error: OfflineError, waiter: Waiter) -> Answer:
    """Have a change wait that could not be brought to an end.

    Raises:
        OfflineError: It cannot wait.
        QueueFullError: Too many changes wait already.
    """
    in_doubt = isinstance(error, InDoubtError)
    writer, queue = state.writer, state.queue
    if not waiter.may_wait:
        writer.unsettled = in_doubt or state.is_waiting
        try:
            raise error
        finally:
            del error  # its traceback leads here: it would keep the caller's objects alive
    state.wait()
    if queue.operations:
        # not `last`: an exception from a signal handler may have come before it was moved
        call.turn = queue.operations[-1].turn + 1
    operation = Operation.of(
        call,
        now_us(),
        since_us=queue.since_us,
        contact=queue.contact,
        is_sent=in_doubt,
        recipe=waiter.recipe,
    )
    _look_back(state, operation)
    if waiter.seen is not None:
        operation.arguments = (*operation.arguments, *waiter.seen())
    try:
        queue.put(operation)
    except (QueueFullError, OSError) as refusal:
        state.is_waiting = bool(queue.operations)
        writer.unsettled = in_doubt or state.is_waiting
        if queue.is_news(type(refusal).__name__):
            _log.error("%s: no change can wait any more: %s", state.label, refusal)
        if in_doubt:
            raise error from refusal
        raise
    if len(queue.operations) == 1:
        _log.info("%s: changes wait for the server", state.label)
    writer.last = call.turn
    writer.unsettled = True
    return Answer(QUEUED, None, b"")


def _look_back(state: State, operation: Operation) -> None:
    """Have a change name the last state that the server knows, not one that only we know."""
    known, *others = operation.arguments
    if is_provisional(known):
        attribute = state.attribute(name_text(operation.name))
        operation.arguments = (attribute.confirmed or b"", *others)


def begin(writer: Writer, head: Head, *arguments: bytes) -> NumberedCall:
    """The call that makes a change under the next number of a writer that owes no other answer."""
    writer.unsettled = True
    return NumberedCall(head, writer.last + 1, *arguments)


def succeeded(state: State, writer: Writer, call: NumberedCall, reply: list[Any]) -> bool:
    """Was the change applied just now? Then the writer is ready for the next one."""
    if reply[1] == b"ok" and reply[0] == call.arguments[0]:
        # a signal handler may have settled it; `max` takes 0.1 us, and this is the hot path
        if writer.last < call.turn:  # noqa: PLR1730
            writer.last = call.turn
        writer.answered_at_s = call.answered_at_s = monotonic()
        writer.newest = reply[2]
        writer.unsettled = False
        call.packed = b""
        writer.window.append(call)
        if len(call.arguments[-1]) > repair.SMALL_BYTES or len(call.arguments) > _FEW_ARGUMENTS:
            repair.trim(state, call)
        return True
    return False


def understood(
    state: State,
    call: NumberedCall,
    reply: list[Any],
    head: Callable[[Writer], Head],
    waiter: Waiter = MAY_WAIT,
) -> Flow[Answer]:
    """What any other reply to a change means."""
    status = reply[1]
    if reply[0] != call.arguments[0]:
        # the number stays unsettled: this connection gave us somebody else's answer
        raise ServerRefusedError("the server's answer does not belong to this change")
    writer = state.writer
    if status == b"begun":
        # as well as ok, and the memory's first attribute
        reply[1] = b"ok"
        succeeded(state, writer, call, reply)
        yield from directory.begun(state, call)
        return Answer(*reply[1:])
    if status == b"gap":
        return (yield from _after_gap(state, call, reply, head, waiter))
    writer.unsettled = False
    if status == b"encrypted":
        raise no_key(state.label)
    if status == b"undeclared":
        return Answer(status, None, b"", None, reply[4:])
    writer.last = max(writer.last, call.turn)
    if status == b"duplicate":
        return (yield from _repeated(state, call, reply, head, waiter))
    if status == b"error":
        raise _refused(reply[3])
    if status == b"gone" and call.answers:
        # it was entered in the directory, and there may be no such memory
        yield from directory.emptied(state)
    return Answer(*reply[1:])


def _repeated(
    state: State,
    call: NumberedCall,
    reply: list[Any],
    head: Callable[[Writer], Head],
    waiter: Waiter,
) -> Flow[Answer]:
    """The server has seen the number before.

    The answer was lost, or a signal handler that changed the memory in the middle of this change
    has used the number up.
    """
    status, result = reply[2], reply[3]
    if status == b"old":
        if call.turn not in state.writer.settled:
            raise InDoubtError("a change was overtaken by others of the same process")
        status, result = state.writer.settled[call.turn]
    if status == b"error":
        raise _refused(result)
    if status == b"cleared":
        raise InDoubtError("the change was applied, and the memory was cleared before it answered")
    if status == b"skipped":
        return (yield from numbered(state, head, *call.arguments[1:], waiter=waiter))
    return Answer(status, None, result)


def _after_gap(
    state: State,
    call: NumberedCall,
    reply: list[Any],
    head: Callable[[Writer], Head],
    waiter: Waiter,
) -> Flow[Answer]:
    """The server has forgotten changes of this writer, or the writer itself."""
    version = reply[3]
    is_older = repair.is_older(state, int(reply[2]), version, reply[4])
    repair.after_gap(state, call.turn, int(reply[2]), version, reply[4])
    if call.attempts > 1 and not is_older:
        raise InDoubtError(
            "the server lost changes while one was on its way: nobody knows whether it was applied"
        )
    return (yield from numbered(state, head, *call.arguments[1:], waiter=waiter))


def _refused(message: bytes) -> RedisMemoryError:
    text = message.decode("utf-8", "replace")
    if "WRONGTYPE" in text:
        return CorruptValueError("another type of key lies where the attribute's elements belong")
    return ServerRefusedError(f"the server refused the change: {text}")
