"""The journals of this process's queues, and those that dead processes left behind."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]

from redis_memory.core.clock import now_us
from redis_memory.core.keys import Keys
from redis_memory.core.operations import Operation
from redis_memory.core.queue import Store
from redis_memory.core.state import State
from redis_memory.errors import DecryptionError
from redis_memory.link.adoption import Orphan, adopt
from redis_memory.link.journal import Journal
from redis_memory.link.journal_file import Header
from redis_memory.link.sealed_journal import SealedStore, opened
from redis_memory.settings import Settings

_log = logging.getLogger("redis_memory")

# Where many memories are opened, a folder is not looked into for each of them.
_PAUSE_S = 1.0
_looked_s: dict[tuple[Path, str], float] = {}


# a child has other orphans to look for than those that its parent has adopted
os.register_at_fork(after_in_child=_looked_s.clear)


def _boot() -> str:
    """What tells one run of the machine's clock from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def attach(
    state: State,
    server: str,
    folder: Path,
    settings: Settings,
    deliver: Callable[[State], object],
) -> None:
    """Give a queue its journal, and adopt those in its folder whose owners are gone.

    `deliver` is called with the state of each memory that changes were adopted for.
    """
    state.queue.open_store = partial(_create, folder, settings, server, state)
    looked = (folder, server)
    now_s = time.monotonic()
    if now_s - _looked_s.get(looked, -_PAUSE_S) >= _PAUSE_S:
        _looked_s[looked] = now_s
        for orphan in adopt(folder, server, settings.journal_max_age_s):
            adopted = _adopted(orphan, state)
            if adopted is not None:
                adopted.queue.open_store = partial(_create, folder, settings, server, adopted)
                deliver(adopted)


def _create(folder: Path, settings: Settings, server: str, state: State) -> Store:
    return _kept(state, Journal.create(folder, _header(server, state), settings.fsync))


def _kept(state: State, journal: Journal) -> Store:
    """The journal as its queue sees it."""
    return journal if state.sealer is None else SealedStore(journal, state.sealer)


def _header(server: str, state: State) -> Header:
    prefix, writer = state.prefix, state.writer.id.decode()
    return Header(server, prefix, state.conversation_id, writer, _boot(), time.time(), now_us())


def _adopted(orphan: Orphan, beside: State) -> State | None:
    """The changes of a dead process, under its own writer and numbers; None if there are none."""
    header = orphan.header
    state = State(header.prefix, header.conversation_id, beside.limits, bounds=beside.bounds)
    is_same = Keys(header.prefix, header.conversation_id).memory == beside.keys.memory
    state.conflicts = beside.conflicts if is_same else beside.conflicts.like()
    state.writer.id = header.writer.encode()
    aged_us = _aged_us(header)
    if beside.sealer is not None:
        state.sealer = beside.sealer.like(state.keys.memory)
    try:
        for record in orphan.records:
            _take(state, opened(state.sealer, record), aged_us)
    except DecryptionError as error:
        # left as it is, for a process that has the key
        _log.error("a journal of %s is not taken over: %s", state.label, error)
        orphan.journal.close()
        return None
    if not state.queue.operations:
        orphan.journal.remove()
        return None
    _log.warning(
        "%d changes of %s are taken over from a process that is gone",
        len(state.queue.operations),
        state.label,
    )
    first = state.queue.operations[0]
    state.queue.begin(first.since_us, first.contact)
    state.contact = first.contact
    state.queue.store = _kept(state, orphan.journal)
    state.writer.last = state.queue.operations[-1].turn
    state.is_waiting = state.writer.unsettled = True
    return state


def _take(state: State, record: bytes, aged_us: int) -> None:
    if _is_mark(record):
        for operation in state.queue.operations:
            operation.is_sent = True
        return
    operation = Operation.from_record(record)
    operation.at_us += aged_us
    operation.since_us += aged_us
    queue = state.queue
    # a number stands twice where an exception came between the disk and the queue
    while queue.operations and queue.operations[-1].turn >= operation.turn:
        queue.bytes -= queue.operations.pop().size_bytes
    queue.operations.append(operation)
    queue.bytes += operation.size_bytes


def _is_mark(record: bytes) -> bool:
    first: Any = msgpack.unpackb(record, use_list=False)[0]
    return isinstance(first, str)


def _aged_us(header: Header) -> int:
    """What to add to times by the clock of another boot, to have them by this one's."""
    if header.boot == _boot():
        return 0
    # the machine was started again: only its calendar knows how long ago that was
    ago_us = int((time.time() - header.created_s) * 1_000_000)
    return now_us() - ago_us - header.clock_us
