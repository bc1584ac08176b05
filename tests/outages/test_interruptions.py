"""Signals and cancelled tasks strike while changes wait: nothing is lost, doubled or hanging."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from redis_memory import (
    AsyncConversationMemory,
    ConversationMemory,
    close,
    conflicts,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from redis_memory import aio as async_functions
from redis_memory.link import adoption, journal, journal_file, journals
from tests.alarms import interrupted, press_ctrl_c, raising_alarms
from tests.faults import FaultProxy
from tests.outages.processes import (
    LIMIT_S,
    OPTIONS,
    answer,
    ask,
    is_script,
    lose,
    opened,
    records_left,
    say,
    started,
    stored,
)
from tests.servers import Server
from tests.waiting import async_wait_until

# handlers that raise


def interrupted_while_away(url: str, name: str, folder: Path | None, pause_s: float) -> None:
    """Write under alarms that raise, away and while what waited is delivered; a process's work.

    Asks for an outage and for its end by a line; what is wrong raises.
    """
    memory = opened(name, url, journal=folder)
    memory.log = []
    memory.log.append(-1)
    held = memory.log
    ask("away")
    # the first one takes longer than the pause between two alarms
    held.append(0)
    ended, cut = [-1, 0], 0
    with raising_alarms(pause_s) as run:
        for number in range(1, 2400):
            if number == 1200:
                signal.setitimer(signal.ITIMER_REAL, 0)
                ask("back")
                signal.setitimer(signal.ITIMER_REAL, pause_s, pause_s)
            write = partial(push, memory, "log") if number % 2 else held.append
            if run(partial(write, number)):
                ended.append(number)
            else:
                cut += 1
            run(partial(increment, memory, "count"))
    assert flush(memory, LIMIT_S) == 0, "something still waits"
    log = snapshot(ConversationMemory(name, url, timeout_s=9))["log"]
    assert log == sorted(set(log)), "an append was doubled or out of order"
    assert set(ended) <= set(log), f"appends were lost: {sorted(set(ended) - set(log))[:10]}"
    assert memory.log == log, "this process sees another list"
    assert status(memory).data_loss == 0
    assert conflicts(memory) == []
    assert folder is None or records_left(folder) == []
    say(str(cut))


@pytest.mark.parametrize("pause_s", [0.0002, 0.0007])
@pytest.mark.parametrize("with_journal", [True, False])
def test_alarms_that_raise_while_away(
    name: str, own_server: Server, folder: Path, pause_s: float, *, with_journal: bool
) -> None:
    """A handler that raises anywhere, away or in the replay: nothing lost, doubled or hanging."""
    kept_in = folder if with_journal else None
    with started(interrupted_while_away, own_server.url, name, kept_in, pause_s) as process:
        try:
            answer(process, "away", own_server.stop)
            answer(process, "back", own_server.start)
            output, errors = process.communicate(timeout=3 * LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert int(output) > 20


JOURNAL_FILES = {str(each.__file__) for each in (adoption, journal, journal_file, journals)}


def test_an_exception_at_any_line_of_a_new_journal(
    name: str, own_server: Server, folder: Path
) -> None:
    """Wherever the making of the journal is cut off: the next changes are queued, and kept."""
    with opened(name, own_server.url) as memory:
        push(memory, "log", "first")
        lose(memory, own_server)
        memories: list[ConversationMemory] = []
        reached = True
        while reached:
            at = len(memories) + 1
            other = opened(f"{name}-{at}", own_server.url, journal=folder)
            memories.append(other)
            reached = interrupted(
                partial(push, other, "log", "cut"),
                at,
                within=JOURNAL_FILES.__contains__,
                at_the_end_of_with=False,
            )
            push(other, "log", "whole")
            assert status(other).queued in (1, 2), f"at line {at}"
        own_server.start()
        for at, other in enumerate(memories, 1):
            assert flush(other, LIMIT_S) == 0
            assert other.log in (["whole"], ["cut", "whole"]), f"at line {at}"
            assert status(other).data_loss == 0, f"at line {at}"
            close(other)
    assert len(memories) > 25
    assert records_left(folder) == []


# Ctrl-C


@contextmanager
def ctrl_c(after_s: float = 0.1) -> Iterator[None]:
    """Press Ctrl-C in the middle of the block, which must end by it, and soon."""
    timer = threading.Timer(after_s, press_ctrl_c)
    before_s = time.monotonic()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        timer.join()
    assert time.monotonic() - before_s < after_s + 2


def test_ctrl_c_while_waiting_for_the_queue(name: str, own_server: Server) -> None:
    """`flush` ends at once by Ctrl-C, and what waited goes on waiting, to be delivered once."""
    with opened(name, own_server.url) as memory:
        push(memory, "log", "first")
        lose(memory, own_server)
        for number in range(50):
            push(memory, "log", number)
        with ctrl_c():
            flush(memory, 60)
        assert status(memory).queued == 50
        own_server.start()
        assert flush(memory, LIMIT_S) == 0
        assert memory.log == ["first", *range(50)]


def test_ctrl_c_while_a_frozen_server_is_asked(name: str, own_server: Server) -> None:
    """A write cut off by Ctrl-C is made once or not at all, and those behind it once, in order."""
    with opened(name, own_server.url, timeout_s=10) as memory:
        push(memory, "log", "first")
        for cut in range(3):
            own_server.freeze()
            try:
                with ctrl_c():
                    push(memory, "log", f"cut {cut}")
            finally:
                own_server.thaw()
            push(memory, "log", f"whole {cut}")
        assert flush(memory, LIMIT_S) == 0
        log = memory.log
        assert [entry for entry in log if entry.startswith("whole")] == [
            f"whole {cut}" for cut in range(3)
        ]
        assert len(log) == len(set(log))
        assert log == sorted(log, key=_place)


def _place(entry: str) -> tuple[int, int]:
    kind, _, number = entry.partition(" ")
    return (int(number or -1), ("first", "cut", "whole").index(kind))


# cancelled tasks


async def test_cancelled_tasks(name: str, server: Server, proxy: FaultProxy) -> None:
    """Tasks cancelled at random while the network fails: what ended is there once, in order."""
    chance = random.Random(7)
    ended: dict[int, list[int]] = {}
    async with AsyncConversationMemory(name, proxy.url, close_timeout_s=5, **OPTIONS) as memory:

        async def write(who: int) -> None:
            ended[who] = []
            for number in range(40):
                await async_functions.push(memory, "log", [who, number])
                ended[who].append(number)
                await asyncio.sleep(0)

        for round_ in range(30):
            tasks = [asyncio.create_task(write(10 * round_ + who)) for who in range(4)]
            _break(proxy, chance)
            enough = proxy.requests + 20
            with suppress(AssertionError):
                await async_wait_until(partial(has_seen, proxy, enough), 0.03)
            for task in chance.sample(tasks, 2):
                task.cancel()
            proxy.heal()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(r, asyncio.CancelledError | None) for r in results), results
        assert await async_functions.flush(memory, LIMIT_S) == 0
        assert (await async_functions.status(memory)).data_loss == 0
    log = stored(name, server)["log"]
    cut = 0
    for who, numbers in ended.items():
        found = [number for w, number in log if w == who]
        # of a cancelled task the last change may have been made without its knowing
        assert found in (numbers, [*numbers, len(numbers)])
        cut += len(numbers) < 40
    assert cut >= 30


def has_seen(proxy: FaultProxy, requests: int) -> bool:
    """Whether so many commands have come to the proxy."""
    return proxy.requests >= requests


def _break(proxy: FaultProxy, chance: random.Random) -> None:
    match chance.randrange(4):
        case 0:
            proxy.drop()
        case 1:
            proxy.refuse()
        case 2:
            proxy.lose_replies(3, when=is_script)
        case _:
            proxy.reset_before(3)
