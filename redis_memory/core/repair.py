"""The server has forgotten what it had acknowledged: make it again, and say what cannot be."""

from __future__ import annotations

import logging
import warnings
from time import monotonic
from typing import Any

from redis_memory.core import contests
from redis_memory.core.calls import NumberedCall
from redis_memory.core.clock import now_us
from redis_memory.core.operations import Operation
from redis_memory.core.state import State
from redis_memory.errors import DataLossWarning

_log = logging.getLogger("redis_memory")

# A thousand changes up to this size are less than the default bound in bytes.
SMALL_BYTES = 4096
_FORGOTTEN_AFTER_S = 6 * 86400


def remember(state: State, change: NumberedCall | Operation) -> None:
    """Keep an acknowledged change for a while, in case the server forgets it."""
    state.writer.window.append(change)
    if _size(change) > SMALL_BYTES:
        trim(state, change)


def trim(state: State, change: NumberedCall | Operation) -> None:
    """Keep no more bytes than are allowed, now that a large change is kept."""
    writer, most = state.writer, state.bounds.repair_bytes
    writer.kept_bytes += _size(change)
    if writer.kept_bytes <= most:
        return
    # what fell out at the other end is still counted: count again, and leave room for a while
    window = writer.window
    writer.kept_bytes = sum(map(_size, window))
    while window and writer.kept_bytes > most * 3 // 4:
        writer.kept_bytes -= _size(window.popleft())


def _size(change: Any) -> int:
    return sum(map(len, change.arguments))


def is_older(state: State, last_known: int, version: bytes, created: bytes) -> bool:
    """Is the memory's data older than this process has seen it, or is only its writer unknown?"""
    newest = _newest(state)
    return last_known > 0 or not version or version < newest or created > newest


def _newest(state: State) -> bytes:
    return max(state.contact, state.queue.contact) if state.is_waiting else state.newest()


def after_gap(
    state: State,
    first: int,
    last_known: int,
    version: bytes,
    created: bytes,
    *,
    found_older: bool = False,
) -> None:
    """The server does not know the numbers between `last_known` and `first`, all acknowledged.

    When the data is older too, the changes that are still kept are put before all that wait, under
    their numbers where none is missing, else with all others under those of a new writer. When the
    server knows all else and only this writer not, nothing that it may have made is made again.

    `version` and `created` are the memory's, b"" for none.
    """
    queue = state.queue
    lost_data = found_older or is_older(state, last_known, version, created)
    idle_s = monotonic() - state.writer.answered_at_s
    was_pruned = last_known == 0 and idle_s > _FORGOTTEN_AFTER_S
    if last_known == 0 and has_expired(state, version, created):
        was_pruned = True
        _give_up_expired(state)
    again = _kept(state, last_known) if lost_data and not was_pruned else []
    forgotten = first - 1 - last_known
    if not queue.operations:
        state.wait()
    if not lost_data:
        _give_up_sent(state)
    queue.put_first(again)
    if not again or len(again) < forgotten:
        _renumber(state)
    state.is_waiting = state.writer.unsettled = bool(queue.operations)
    if not was_pruned and forgotten:
        _report(state, forgotten, len(again), first, lost_data=lost_data)


def has_expired(state: State, version: bytes, created: bytes) -> bool:
    """Is the memory gone, or begun anew, because its lifetime was over?"""
    return state.has_expired() and (not version or not created or created > _newest(state))


def _give_up_expired(state: State) -> None:
    """What was to change the memory whose lifetime is over does not bring it back."""
    queue, ends_us = state.queue, state.writer.expired_us or state.writer.ends_us
    for operation in [each for each in queue.operations if each.at_us < ends_us]:
        queue.operations.remove(operation)
        queue.bytes -= operation.size_bytes
        contests.report_expired(state, operation)
    state.begin_anew()


def _kept(state: State, last_known: int) -> list[Operation]:
    """The acknowledged changes that can be made again."""
    newest = _newest(state)
    now, now_s = now_us(), monotonic()
    oldest = now - int(state.bounds.repair_s * 1_000_000)
    again: list[Operation] = []
    for change in state.writer.window:
        if isinstance(change, NumberedCall):
            at_us = now - int((now_s - change.answered_at_s) * 1_000_000)
            made = Operation.of(change, at_us, since_us=at_us, contact=newest, is_sent=False)
        else:
            made = change
            made.contact, made.is_sent = newest, False
        if made.turn > last_known and made.at_us >= oldest:
            # the list may have been lost with the changes that are not kept any more
            made.create_lists()
            again.append(made)
    state.writer.window.clear()
    return again


def _give_up_sent(state: State) -> None:
    """Nobody knows whether what was sent has been made; it is not made again."""
    queue = state.queue
    for operation in [operation for operation in queue.operations if operation.is_sent]:
        queue.operations.remove(operation)
        queue.bytes -= operation.size_bytes
        contests.report_in_doubt(state, operation)


def _renumber(state: State) -> None:
    """Go on as another writer, with all that waits."""
    state.renew_writer()
    queue = state.queue
    for turn, operation in enumerate(queue.operations, 1):
        operation.turn, operation.is_sent = turn, False
    queue.in_flight = 0
    state.writer.last = len(queue.operations)
    queue.move()


def _report(state: State, forgotten: int, again: int, first: int, *, lost_data: bool) -> None:
    state.data_losses += 1
    lost = forgotten - again
    rest = f"{lost} of them, numbers {first - forgotten} to {first - again - 1}, are lost"
    if not lost_data:
        rest = "whether they are lost is not known: only the writer's entry is missing"
    elif not lost:
        rest = "none is lost"
    message = (
        f"the server no longer knows {forgotten} changes that this process had made to "
        f"{state.label}: it was emptied, restored, or replaced by a lagging replica. "
        f"{again} are made again, {rest}."
    )
    _warn(DataLossWarning(message, forgotten=forgotten, repaired=again))


def report_stale(state: State, name: str) -> None:
    """Report an attribute that is older than this process has seen it, by no change of its own."""
    state.data_losses += 1
    _warn(
        DataLossWarning(
            f"the attribute {name!r} of {state.label} is older than this process has seen it: "
            "the server was emptied, restored, or replaced by a lagging replica"
        )
    )


def _warn(warning: DataLossWarning) -> None:
    _log.warning("%s", warning)
    warnings.warn(warning, stacklevel=2)
