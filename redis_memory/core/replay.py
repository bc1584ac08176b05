"""Delivering the changes that waited: in order, many at once, each exactly once or reported."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from time import monotonic

from redis_memory.core import contents, contests, directory, repair
from redis_memory.core.calls import Batch, Call, Flow, Head, NumberedCall
from redis_memory.core.clock import now_us
from redis_memory.core.contests import Told
from redis_memory.core.operations import Operation
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.errors import DecryptionError, OfflineError, ServerRefusedError

_log = logging.getLogger("redis_memory")

# What may leave a memory without attributes.
_MAY_EMPTY = ("delete", "clear", "together")


def caught_up(state: State) -> Flow[bool]:
    """Before a call: deliver what waits, for as long as a call may take. Does nothing wait now?

    Raises:
        AccessDeniedError: The server refuses this user; what waits goes on waiting.
        ServerRefusedError: Nothing waits, and it refuses to store that a number is used up.
    """
    until_s = monotonic() + state.bounds.timeout_s
    try:
        while (state.is_waiting or state.writer.unsettled) and monotonic() < until_s:
            if state.is_waiting:
                yield from drain(state, until_s)
            else:
                yield from settle(state)
    except OfflineError:
        return False
    except ServerRefusedError as refusal:
        if not state.is_waiting:
            raise
        # out of memory, perhaps: kept, and loud
        if state.queue.is_news(str(refusal)):
            _log.warning("%s: changes go on waiting: %s", state.label, refusal)
        return False
    return not state.is_waiting


def drain(state: State, until_s: float) -> Flow[None]:
    """Deliver what waits, or as much of it as can be until a moment by the monotonic clock.

    Raises:
        OfflineError: The server is away; what was not confirmed goes on waiting.
        ServerRefusedError: The server refuses to store anything; the same.
    """
    queue, may_be_empty = state.queue, False
    while queue.operations and monotonic() < until_s:
        if queue.offset_us is None:
            yield from _measure(state)
        operations = queue.next()
        may_be_empty |= any(o.script in _MAY_EMPTY for o in operations)
        yield from _deliver(state, operations)
        # not below: where nothing has waited, a number may still be in doubt
        state.writer.unsettled = bool(queue.operations)
        state.writer.answered_at_s = monotonic()
    if not queue.operations:
        # what the server holds is the truth again
        state.is_waiting = False
        if delivered := queue.delivered - queue.delivered_before:
            _log.info("%s: %d changes that waited are delivered", state.label, delivered)
            queue.delivered_before = queue.delivered
        state.distrust()
    if may_be_empty:
        yield from directory.emptied(state)


def _measure(state: State) -> Flow[None]:
    """Learn the server's clock: who wins a conflict is decided by it alone."""
    before = now_us()
    seconds, micros = yield Call(Head(b"TIME"))
    # the answer was made somewhere between
    offset_us = int(seconds) * 1_000_000 + int(micros) - (before + now_us()) // 2
    state.queue.sending(offset_us)


def _deliver(state: State, operations: list[Operation]) -> Flow[None]:
    queue = state.queue
    while True:
        call = _call(state, operations)
        unsent = [operation for operation in operations if not operation.is_sent]
        for operation in operations:
            operation.is_sent = True
        # others may have emptied the memory meanwhile: it is entered in the directory again
        state.writer.due_s = 0.0
        reply = yield call
        if reply[0] == b"gap":
            if call.attempts == 1:  # nothing was made by this call, and no other has sent these
                for operation in unsent:
                    operation.is_sent = False
            repair.after_gap(state, operations[0].turn, int(reply[1]), reply[3], reply[4])
            return
        if reply[0] == b"encrypted":
            raise no_key(state.label)
        how, reached, told, version, status, result, stop = reply
        state.contact = max(state.contact, version)
        by_turn = {operation.turn: operation for operation in operations}
        if status:
            told_of_first = Told(int(reached), status, b"", b"", b"", result, [])
            _report(state, by_turn, [told_of_first])
        _report(state, by_turn, _records(told))
        state.writer.last = max(state.writer.last, int(reached))
        for operation in queue.settle(int(reached)):
            repair.remember(state, operation)
        if how != b"stopped":
            return
        left = [operation for operation in operations if operation.turn > int(reached)]
        _go_on(state, left[0], list(_records(stop)))
        queue.in_flight = len(left)
        operations = left


def no_key(label: str) -> DecryptionError:
    """The error for a change that would have put an open value into an encrypted memory."""
    return DecryptionError(f"{label} is encrypted, and no encryption_key is set here")


def _call(state: State, operations: list[Operation]) -> Batch:
    """The script call that makes these changes."""
    keys = state.keys
    touched = dict.fromkeys(keys.content(name) for o in operations for name in o.names)
    every = (keys.memory, keys.memory, keys.stamps, *touched)
    head = Head.script(SCRIPTS["batch"], every, state.writer.id, b"")
    arguments = [b"%d" % operations[0].turn, b"%d" % operations[-1].turn]
    for _, run in groupby(operations, _run_of):
        arguments += _arguments(state, list(run))
    return Batch(head, *arguments)


def _run_of(operation: Operation) -> object:
    """What neighbours have in common that are appended together."""
    is_plain = operation.script == "append" and len(operation.arguments) == 3  # noqa: PLR2004
    if not is_plain:
        return operation.turn
    return operation.name, operation.operation, operation.since_us, operation.contact


def _arguments(state: State, run: list[Operation]) -> list[bytes]:
    last = run[-1]
    offset = state.queue.offset_us or 0
    values = [argument for operation in run for argument in operation.arguments[2:]]
    script, own = last.script, (*last.arguments[:2], *values)
    return [
        script.encode(),
        b"%d" % len(run),
        last.name,
        b"%013x" % (last.at_us + offset),
        max(last.contact, b"%013x" % (last.since_us + offset)),
        last.policy or state.conflicts.word,
        b"%d" % len(own),
        *own,
    ]


def _records(text: bytes) -> Iterator[Told]:
    for record in contents.pieces(text):
        turn, status, winner, key, at, value, *elements = contents.pieces(record)
        number, _, part = turn.partition(b".")
        which = int(part) if part else None
        yield Told(int(number), status, winner, key, at, value, elements, which)


def _report(state: State, by_turn: dict[int, Operation], told: Iterable[Told]) -> None:
    for one in told:
        operation = by_turn.get(one.turn)
        if operation is not None:
            contests.report(state, operation, one)


def _go_on(state: State, operation: Operation, told: list[Told]) -> None:
    """Make a change that stopped the replay such that it can be made, or be passed over."""
    first = told[0]
    if first.status == b"undeclared":
        operation.declare(first.elements)
    elif first.status == b"conflict" and operation.script == "swap":
        contests.swap_again(state, operation, first)
    else:
        contests.decide(state, operation, told)


def settle(state: State) -> Flow[None]:
    """Use up the number of a change that may or may not have arrived."""
    writer = state.writer
    head = Head.script(SCRIPTS["skip"], (state.keys.memory,), writer.id, b"")
    turn = writer.last + 1
    reply = yield NumberedCall(head, turn)
    if reply[1] == b"gap":
        repair.after_gap(state, turn, int(reply[2]), reply[3], reply[4])
        if state.writer is writer:  # what is made again comes first
            use_up_number(state)
        return
    if reply[1] == b"duplicate":
        writer.settle(turn, reply[2], reply[3])
    else:
        writer.settle(turn, b"skipped", b"")


def use_up_number(state: State) -> None:
    """Have the number of a change that is in doubt taken, behind what waits already."""
    state.wait()
    queue, writer = state.queue, state.writer
    since_us, contact = queue.since_us, queue.contact
    turn = writer.last + 1
    skip = Operation(turn, "skip", b"", (), since_us, since_us=since_us, contact=contact)
    queue.put(skip)
    writer.last = turn
    writer.unsettled = True


def noticed(state: State) -> Flow[None]:
    """An attribute was found older than this process has seen it: repair and report.

    One round trip, and those that making the lost changes again takes.
    """
    name, state.suspicion = state.suspicion, None
    if state.writer.unsettled:
        yield from caught_up(state)
    writer, memory = state.writer, state.keys.memory
    entry, version, created = yield Call(
        Head(b"HMGET", memory), writer.id, b"_version", b"_created"
    )
    if not entry and repair.has_expired(state, version or b"", created or b""):
        if not state.is_waiting:
            state.begin_anew()
        return
    last = int(entry.split(b" ", 1)[0]) if entry else 0
    if last >= writer.last:
        repair.report_stale(state, name or "")
        return
    repair.after_gap(state, writer.last + 1, last, version or b"", created or b"", found_older=True)
    yield from caught_up(state)
