"""Transactions of several processes are as if they were made one after the other."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Hashable
from functools import partial
from typing import Any

from redis_memory import ConflictError, ConversationMemory, transaction
from tests.children import Child
from tests.linearizability import Operation, order_of
from tests.servers import Server

PROCESSES = 4
TRIES = 60


def step(state: Any, operation: Operation) -> Hashable | None:
    """A register and a list: each transaction has seen both, and changed one or none."""
    register, items = state
    if operation.result != [register, len(items), items[-1] if items else None]:
        return None
    match operation.what:
        case ["set", value]:
            return value, items
        case ["append", value]:
            return register, (*items, value)
    return register, items


def work(url: str, name: str, process: int, report: int, _: Child) -> None:
    """Make transactions, and write down what was seen, and when."""
    history: list[Any] = []
    with ConversationMemory(name, url, timeout_s=10) as mem:
        for number in range(TRIES):
            value = process * 1000 + number
            kinds: list[list[Any]] = [["set", value], ["append", value], ["read"]]
            what = kinds[(process + number) % 3]
            begun_s = time.monotonic()
            try:
                with transaction(mem):
                    register, items = mem.register, mem.items
                    seen = [register, len(items), items[-1] if items else None]
                    if what[0] == "set":
                        mem.register = value
                    elif what[0] == "append":
                        items.append(value)
            except ConflictError:
                continue
            history.append([process, begun_s, time.monotonic(), what, seen])
    with os.fdopen(report, "w") as file:
        json.dump(history, file)


def test_transactions_of_four_processes_are_linearizable(server: Server) -> None:
    """On one register and one list: some order explains all that was read."""
    name = uuid.uuid4().hex
    with ConversationMemory(name, server.url) as mem:
        mem.register, mem.items = 0, []
    history: list[Operation] = []
    children = []
    for process in range(PROCESSES):
        read_end, write_end = os.pipe()
        child = Child(partial(work, server.url, name, process, write_end))
        os.close(write_end)
        children.append((child, read_end))
    for child, read_end in children:
        with os.fdopen(read_end) as file:
            history += [Operation(*each) for each in json.load(file)]
        child.ended()
    assert len(history) > TRIES
    assert order_of(history, step, (0, ())) is not None


def test_the_checker_finds_what_cannot_be() -> None:
    """A value that was read after it had been replaced; an order against the clock."""
    first = Operation(0, 0.0, 1.0, ["set", 1], [0, 0, None])
    late = Operation(1, 2.0, 3.0, ["read"], [0, 0, None])
    right = Operation(1, 2.0, 3.0, ["read"], [1, 0, None])
    beside = Operation(1, 0.5, 3.0, ["read"], [0, 0, None])
    assert order_of([first, late], step, (0, ())) is None
    assert order_of([first, right], step, (0, ())) is not None
    assert order_of([first, beside], step, (0, ())) is not None
    lost = [Operation(p, 0.0, 1.0, ["set", p], [0, 0, None]) for p in (1, 2)]
    assert order_of(lost, step, (0, ())) is None
