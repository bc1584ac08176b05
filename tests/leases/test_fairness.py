"""Who waits for a lock gets it in the order of coming; nobody starves, nobody asks in vain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from redis_memory import ConversationMemory, WaitTimeoutError, lock, push
from tests.children import Child, end_together
from tests.leases.fields import command, waiters
from tests.waiting import wait_until

WORKERS = 16
ROUNDS = 12


def work(name: str, url: str, worker: int) -> None:
    """Take the lock again and again, and note each time that nobody else has it."""
    with ConversationMemory(name, url) as mem:
        for _ in range(ROUNDS):
            with lock(mem, ttl_s=20):
                mem.inside = worker
                push(mem, "turns", worker)
                assert mem.inside == worker


def check(name: str, url: str) -> None:
    """Everybody had his turns, and never two while another one waited for his first since."""
    with ConversationMemory(name, url) as mem:
        turns = mem.turns.aslist()
    assert len(turns) == WORKERS * ROUNDS
    for worker in range(WORKERS):
        own = [at for at, who in enumerate(turns) if who == worker]
        assert len(own) == ROUNDS
        # in the order of coming a round has at most one turn of each; the slack is for
        # who was late to come again
        assert max(after - before for before, after in pairwise(own)) <= 3 * WORKERS


def test_sixteen_processes_have_the_lock_in_turns(name: str, url: str) -> None:
    """A releasing holder that comes again at once stands behind those who wait."""

    def start(worker: int) -> Child:
        def turn(child: Child) -> None:
            child.tell()
            child.wait()
            work(name, url, worker)

        return Child(turn)

    end_together([start(worker) for worker in range(WORKERS)])
    check(name, url)


def test_sixteen_threads_have_the_lock_in_turns(name: str, each_url: str) -> None:
    """The same in one process, which has one connection that listens."""
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda worker: work(name, each_url, worker), range(WORKERS)))
    check(name, each_url)


def test_waiters_get_the_lock_in_the_order_of_coming(name: str, url: str) -> None:
    """First come, first served."""
    order: list[int] = []

    def wait(number: int) -> None:
        with ConversationMemory(name, url) as mem, lock(mem):
            order.append(number)

    with ThreadPoolExecutor(8) as pool, ConversationMemory(name, url) as mem, lock(mem):
        for number in range(8):
            pool.submit(wait, number)
            wait_until(lambda number=number: waiters(mem, "lock") == number + 1)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    assert order == list(range(8))


def test_who_waits_does_not_poll(name: str, url: str) -> None:
    """Half a second of waiting by eight costs a few requests each."""

    def wait(number: int) -> None:
        with ConversationMemory(name, url) as mem, lock(mem):
            pass

    def asked() -> int:
        stats: bytes = command(mem, b"INFO", b"commandstats")
        line = next(line for line in stats.decode().splitlines() if "cmdstat_evalsha:" in line)
        return int(line.partition("calls=")[2].partition(",")[0])

    with (
        ThreadPoolExecutor(8) as pool,
        ConversationMemory(name, url) as mem,
        ConversationMemory(name, url) as other,
        lock(mem, ttl_s=60),
    ):
        for number in range(8):
            pool.submit(wait, number)
        wait_until(lambda: waiters(mem, "lock") == 8)
        with lock(mem, "pause"):
            before = asked()
            with pytest.raises(WaitTimeoutError), lock(other, "pause", wait_s=0.5):
                pass
            # each of the eight may have begun to listen just now
            assert asked() - before <= 30
