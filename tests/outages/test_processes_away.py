"""Forks, workers and copies of a process whose changes wait: a queue belongs to one writer."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redis_memory import ConversationMemory, flush, push, status
from tests.children import Child
from tests.faults import FaultProxy
from tests.outages.processes import LIMIT_S, adopt, is_script, journal_files, lose, opened, stored
from tests.servers import Server


@pytest.mark.parametrize("with_journal", [True, False])
def test_a_fork_with_a_queue(
    name: str, own_server: Server, folder: Path, *, with_journal: bool
) -> None:
    """The queue stays with the parent, and both write on as two writers: everything once."""
    journal = folder if with_journal else None
    with opened(name, own_server.url, journal=journal) as memory:
        push(memory, "log", "first")
        lose(memory, own_server)
        for number in range(20):
            push(memory, "log", ["parent", number])

        def work(child: Child) -> None:
            assert status(memory).queued == 0
            for number in range(20):
                push(memory, "log", ["child", number])
            assert status(memory).queued == 20
            child.tell()
            child.wait()
            assert flush(memory, LIMIT_S) == 0
            assert status(memory).data_loss == 0

        child = Child(work)
        child.reached()
        for number in range(20, 40):
            push(memory, "log", ["parent", number])
        own_server.start()
        child.go()
        assert flush(memory, LIMIT_S) == 0
        child.ended()
        log = memory.log[1:]
        assert [number for who, number in log if who == "parent"] == list(range(40))
        assert [number for who, number in log if who == "child"] == list(range(20))
        assert len(log) == 60
        assert status(memory).data_loss == 0
    if with_journal:
        assert journal_files(folder) == []


def test_a_child_that_dies_leaves_the_parents_queue(name: str, own_server: Server) -> None:
    """A child that ends, with its parent's memory and its own changes, takes nothing along."""
    with opened(name, own_server.url) as memory:
        push(memory, "log", "first")
        lose(memory, own_server)
        push(memory, "log", "parent")
        child = Child(lambda child: push(memory, "log", "child"))
        child.ended()
        own_server.start()
        assert flush(memory, LIMIT_S) == 0
        assert memory.log == ["first", "parent"]


@contextmanager
def in_background(*works: Callable[[threading.Event], object]) -> Iterator[None]:
    """Run functions in threads of their own, until the block has ended and the event is set."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_300_forks_under_load(name: str, server: Server, proxy: FaultProxy) -> None:
    """While threads write over a bad network, no fork hangs, loses or doubles a change."""
    written = [0, 0]
    with opened(name, proxy.url, close_timeout_s=LIMIT_S) as memory:
        push(memory, "children", -1)

        def write(stop: threading.Event, who: int) -> None:
            while not stop.wait(0.0005):
                push(memory, "log", [who, written[who]])
                written[who] += 1

        def fail(stop: threading.Event) -> None:
            while not stop.wait(0.2):
                proxy.lose_replies(2, when=is_script)
                proxy.drop()

        def work(_: Child, number: int) -> None:
            push(memory, "children", number)
            assert flush(memory, LIMIT_S) == 0

        with in_background(partial(write, who=0), partial(write, who=1), fail):
            for start in range(0, 300, 10):
                children = [Child(partial(work, number=start + n)) for n in range(10)]
                for child in children:
                    child.ended()
        proxy.heal()
        assert flush(memory, LIMIT_S) == 0
        found = stored(name, server)
        assert sorted(found["children"]) == list(range(-1, 300))
        for who in range(2):
            assert [n for w, n in found["log"] if w == who] == list(range(written[who]))
        assert min(written) > 20
        assert status(memory).data_loss == 0


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda memory: pickle.loads(pickle.dumps(memory)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_memory_with_a_queue(name: str, own_server: Server, how: str) -> None:
    """A copy is another writer with an empty queue; what waits is delivered once, by the first."""
    with opened(name, own_server.url) as memory:
        push(memory, "log", "first")
        lose(memory, own_server)
        for number in range(5):
            push(memory, "log", number)
        with COPIES[how](memory) as other:
            assert status(other).queued == 0
            push(other, "log", "copy")
            assert (status(memory).queued, status(other).queued) == (5, 1)
            own_server.start()
            assert flush(memory, LIMIT_S) == 0
            assert flush(other, LIMIT_S) == 0
            log = other.log
    assert sorted(log, key=str) == [0, 1, 2, 3, 4, "copy", "first"]
    assert [entry for entry in log if entry != "copy"] == ["first", *range(5)]


def push_and_flush(memory: ConversationMemory, entry: str) -> None:
    """What a worker process does; it must be found by its name."""
    assert status(memory).queued == 0
    push(memory, "log", entry)
    assert flush(memory, LIMIT_S) == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_gets_a_memory_with_a_queue(name: str, own_server: Server, method: str) -> None:
    """However the worker is started, it takes the memory along and leaves the queue behind."""
    context: Any = multiprocessing.get_context(method)
    with opened(name, own_server.url) as memory:
        push(memory, "log", "first")
        lose(memory, own_server)
        push(memory, "log", "queued")
        worker = context.Process(target=push_and_flush, args=(memory, "worker"))
        worker.start()
        own_server.start()
        assert flush(memory, LIMIT_S) == 0
        worker.join(LIMIT_S)
        assert worker.exitcode == 0
        assert sorted(memory.log) == ["first", "queued", "worker"]
        assert memory.log[0] == "first"


def test_workers_of_a_preloaded_memory(name: str, own_server: Server, folder: Path) -> None:
    """Opened before the fork, as web servers preload: each worker is a writer with its journal."""
    with opened(name, own_server.url, journal=folder) as memory:
        push(memory, "log", ["master", 0])

        def work(child: Child, who: int) -> None:
            push(memory, "log", [who, -1])
            child.tell()
            child.wait()
            for number in range(10):
                push(memory, "log", [who, number])
            child.tell()
            child.wait()
            assert flush(memory, LIMIT_S) == 0

        workers = [Child(partial(work, who=who)) for who in range(4)]
        for worker in workers:
            worker.reached()
        own_server.stop()
        for worker in workers:
            worker.go()
        for worker in workers:
            worker.reached()
        assert len(journal_files(folder)) == 4
        workers[0].kill()
        workers[1].kill()
        own_server.start()
        for worker in workers[2:]:
            worker.go()
            worker.ended()
        assert len(journal_files(folder)) == 2
        push(memory, "log", ["master", 1])
    adopt(name, own_server.url, folder)
    log = stored(name, own_server)["log"]
    assert [number for who, number in log if who == "master"] == [0, 1]
    for who in range(4):
        assert [number for w, number in log if w == who] == list(range(-1, 10))
