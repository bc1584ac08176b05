"""Processes that die, fork, end or are interrupted while changes of theirs wait for the server."""

from __future__ import annotations

import asyncio
import copy
import errno
import linecache
import logging
import multiprocessing
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    ConversationMemory,
    JournalError,
    close,
    conflicts,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from redis_memory import aio as async_functions
from redis_memory.link import journal, journal_file, journals
from redis_memory.link.journal import peek
from tests.faults import FaultProxy
from tests.resp import Request, named
from tests.servers import Server
from tests.waiting import async_wait_until, wait_until

LIMIT_S = 20.0
OPTIONS: dict[str, Any] = {"timeout_s": 0.3, "reconnect_max_s": 0.1}
is_script = named("EVALSHA", "EVAL")


@pytest.fixture
def name() -> str:
    """A conversation that no other test has written to."""
    return uuid.uuid4().hex


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the journals of a test lie; not made yet."""
    return tmp_path / "journal"


def opened(name: str, url: str, **options: Any) -> ConversationMemory:
    """A memory that notices an outage fast."""
    return ConversationMemory(name, url, **{**OPTIONS, **options})


def stored(name: str, server: Server) -> dict[str, Any]:
    """What the server holds, as somebody sees it who knows nothing of it yet."""
    with ConversationMemory(name, server.url, timeout_s=5) as reader:
        return snapshot(reader)


def lose(memory: ConversationMemory, server: Server) -> None:
    """Stop the server, and have this process notice."""
    server.stop()
    assert not status(memory).online


def records_left(folder: Path) -> list[bytes]:
    """What still waits in the folder; an interrupted creation may leave an empty file."""
    return [record for path in folder.iterdir() for record in peek(path).records]


def journal_files(folder: Path) -> list[str]:
    """The names of all files in the folder of the journals."""
    return sorted(path.name for path in folder.iterdir())


# children


class Child:
    """A forked process that does its work, says so where it is asked to, and ends."""

    def __init__(self, work: Callable[[Child], object]) -> None:
        self._told, tell = os.pipe()
        go, self._goes = os.pipe()
        self.pid: int = os.fork()
        if self.pid == 0:
            self._tell, self._go = tell, go
            os.close(self._goes)
            _end_after(partial(work, self))
        os.close(tell)
        os.close(go)

    def tell(self) -> None:
        """In the child: say that a point is reached."""
        os.write(self._tell, b"!")

    def wait(self) -> None:
        """In the child: until the parent lets it go on."""
        os.read(self._go, 1)

    def reached(self) -> None:
        """In the parent: wait until the child has told."""
        assert os.read(self._told, 1) == b"!", "the child ended before it had told"

    def go(self) -> None:
        """In the parent: let it go on."""
        os.write(self._goes, b"!")

    def kill(self) -> None:
        """In the parent: end it at once, and wait for that."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.status() == -signal.SIGKILL

    def status(self) -> int:
        """In the parent: the exit status, when it has ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._told)
        os.close(self._goes)
        return code

    def ended(self) -> None:
        """In the parent: wait for its good end."""
        assert self.status() == 0


def _end_after(work: Callable[[], object]) -> None:
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must never return into the test
        traceback.print_exc()
    finally:
        os._exit(code)


def leave_orphan(
    name: str, url: str, folder: Path, lose: Callable[[], object], count: int = 100
) -> None:
    """Have a process die (SIGKILL) that has written, lost the server and queued `count` changes."""

    def work(child: Child) -> None:
        memory = opened(name, url, journal=folder)
        push(memory, "log", "first")
        child.tell()
        child.wait()
        status(memory)  # asks for a sign of life, so that a stopped server is sent no change
        for number in range(count):
            push(memory, "log", number)
        assert status(memory).queued == count
        child.tell()
        child.wait()

    child = Child(work)
    child.reached()
    lose()
    child.go()
    child.reached()
    child.kill()


def adopt(name: str, url: str, folder: Path) -> None:
    """Open the memory in another process, and wait until nothing is left in the folder."""
    with started(f"open_and_wait({name!r}, {url!r}, Path({str(folder)!r}))") as process:
        _, errors = process.communicate(timeout=2 * LIMIT_S)
    assert process.returncode == 0, errors


def open_and_wait(name: str, url: str, folder: Path) -> None:
    """Deliver what lies in a folder; a process's work."""
    with opened(name, url, journal=folder):
        wait_until(lambda: not journal_files(folder), LIMIT_S, what="the delivery")


# journals


@pytest.mark.parametrize("is_back_first", [True, False])
def test_the_next_process_delivers(
    name: str, own_server: Server, folder: Path, *, is_back_first: bool
) -> None:
    """What a killed process had queued is delivered once by the next, which removes the file."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    assert len(journal_files(folder)) == 1
    if is_back_first:
        own_server.start()
        adopt(name, own_server.url, folder)
    else:
        with opened(name, own_server.url, journal=folder) as memory:
            push(memory, "log", "successor")
            own_server.start()
            wait_until(lambda: not journal_files(folder), LIMIT_S)
            assert flush(memory, LIMIT_S) == 0
    log = [entry for entry in stored(name, own_server)["log"] if entry != "successor"]
    assert log == ["first", *range(100)]
    assert journal_files(folder) == []


def test_two_processes_adopt_at_once(name: str, own_server: Server, folder: Path) -> None:
    """Of several that open the folder in the same moment, one delivers each journal, once."""
    for orphan in range(3):
        leave_orphan(f"{name}-{orphan}", own_server.url, folder, own_server.stop)
        own_server.start()

    def work(child: Child) -> None:
        child.tell()
        child.wait()
        with opened(name, own_server.url, journal=folder):
            wait_until(lambda: not journal_files(folder), LIMIT_S)

    children = [Child(work) for _ in range(4)]
    for child in children:
        child.reached()
    for child in children:
        child.go()
    for child in children:
        child.ended()
    for orphan in range(3):
        assert stored(f"{name}-{orphan}", own_server)["log"] == ["first", *range(100)]


@pytest.mark.parametrize("times", [1, 3])
def test_what_was_applied_before_the_death(
    name: str, server: Server, proxy: FaultProxy, folder: Path, times: int
) -> None:
    """An answer lost before SIGKILL, again and again: the changes are made once all the same."""

    def lose() -> None:
        proxy.lose_replies(10**9, how="timeout", when=is_script)

    leave_orphan(name, proxy.url, folder, lose)
    assert proxy.lost > 0, "no change was in doubt"
    for _ in range(times - 1):
        _die_while_delivering(name, proxy, folder)
    proxy.heal()
    adopt(name, proxy.url, folder)
    assert stored(name, server)["log"] == ["first", *range(100)]


def _die_while_delivering(name: str, proxy: FaultProxy, folder: Path) -> None:
    """Adopt, have the server make the changes, and die before the answer."""
    lost = proxy.lost

    def work(child: Child) -> None:
        memory = opened(name, proxy.url, journal=folder)
        wait_until(lambda: os.getppid() == 1, 2 * LIMIT_S, what=f"SIGKILL; {memory!r}")

    child = Child(work)
    wait_until(lambda: proxy.lost > lost, LIMIT_S, what="a delivery")
    child.kill()
    assert len(journal_files(folder)) == 1


def test_an_unsent_journal_of_a_forgotten_writer(
    name: str, own_server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer's entry is gone, and nothing was sent: all is made, once, and the gap is told."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    own_server.start()
    _forget_writers(name, own_server)
    with opened(name, own_server.url, journal=folder) as memory:
        wait_until(lambda: not journal_files(folder), LIMIT_S)
        assert conflicts(memory) == []
    assert stored(name, own_server)["log"] == ["first", *range(100)]
    assert "no longer knows" in caplog.text


def test_a_sent_journal_of_a_forgotten_writer(
    name: str, server: Server, proxy: FaultProxy, folder: Path
) -> None:
    """The same with one change in doubt: it is not made again, and is reported as in doubt."""

    def lose() -> None:
        proxy.lose_replies(10**9, how="timeout", when=is_script)

    leave_orphan(name, proxy.url, folder, lose)
    assert stored(name, server)["log"] == ["first", 0]
    _forget_writers(name, server)
    proxy.heal()
    with opened(name, proxy.url, journal=folder) as memory:
        wait_until(lambda: len(stored(name, server)["log"]) >= 101, LIMIT_S)
        reported = [(found.name, found.reason, found.mine) for found in conflicts(memory)]
    assert reported == [("log", "in doubt", [0])]
    assert stored(name, server)["log"] == ["first", *range(100)]


def test_a_journal_is_kept_until_its_changes_are_made(
    name: str, server: Server, proxy: FaultProxy, folder: Path
) -> None:
    """Also where the changes get other numbers, since the server forgot the writer."""

    def lose() -> None:
        proxy.lose_replies(10**9, how="timeout", when=is_script)

    leave_orphan(name, proxy.url, folder, lose)
    forgotten = _forget_writers(name, server)
    proxy.heal()

    def is_renumbered(request: Request) -> bool:
        return any(part.startswith(b"_w") and part != forgotten for part in request.arguments)

    proxy.reset_before(10**9, when=is_renumbered)
    with opened(name, proxy.url, journal=folder):
        wait_until(lambda: proxy.unsent > 0, LIMIT_S, what="a delivery under other numbers")
        kept = len(records_left(folder))
        proxy.heal()
        wait_until(lambda: len(stored(name, server)["log"]) >= 101, LIMIT_S)
    assert kept == 99


def _forget_writers(name: str, server: Server) -> bytes:
    """Have the server forget the only writer of a memory, and give its id."""
    key = f"memory:{{{name}}}"
    fields: Any = server.client().hkeys(key)
    (writer,) = [field for field in fields if field.startswith(b"_w")]
    assert server.client().hdel(key, writer) == 1
    return bytes(writer)


def test_an_emptied_server_gets_the_journal(name: str, own_server: Server, folder: Path) -> None:
    """The server lost everything meanwhile: what waited is made all the same, once."""
    leave_orphan(name, own_server.url, folder, own_server.kill)
    own_server.restart(keep_data=False)
    adopt(name, own_server.url, folder)
    assert stored(name, own_server)["log"] == list(range(100))


def test_an_old_journal_is_kept_aside(
    name: str, own_server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal older than allowed is not delivered: it is kept, and a warning tells of it."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    own_server.start()
    (file,) = folder.iterdir()
    long_ago_s = time.time() - 3600
    os.utime(file, (long_ago_s, long_ago_s))
    with opened(name, own_server.url, journal=folder, journal_max_age_s=1800) as memory:
        push(memory, "log", "later")
        assert flush(memory, LIMIT_S) == 0
    assert journal_files(folder) == [f"{file.stem}.expired"]
    assert "is older than" in caplog.text
    assert stored(name, own_server)["log"] == ["first", "later"]


def test_a_full_disk(name: str, own_server: Server, folder: Path) -> None:
    """What cannot be written down raises JournalError and is not queued; the memory goes on."""

    def work(child: Child) -> None:
        memory = opened(name, own_server.url, journal=folder)
        memory.log = []
        kept: list[int] = []
        child.tell()
        child.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        refusals = 0
        for number in range(200):
            try:
                push(memory, "log", number)
                kept.append(number)
            except JournalError:
                refusals += 1
        assert refusals > 20
        assert len(kept) > 5
        assert status(memory).queued == len(kept)
        assert memory.log == kept
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        push(memory, "log", "room")
        child.tell()
        child.wait()
        assert flush(memory, LIMIT_S) == 0
        assert memory.log == [*kept, "room"]
        close(memory)

    child = Child(work)
    child.reached()
    own_server.stop()
    child.go()
    child.reached()
    own_server.start()
    child.go()
    child.ended()
    assert journal_files(folder) == []


def test_a_disk_that_is_full_from_the_start(name: str, own_server: Server, tmp_path: Path) -> None:
    """A journal that cannot even be made: JournalError, nothing queued, and back to work later."""
    with opened(name, own_server.url, journal=tmp_path / "file" / "journal") as memory:
        push(memory, "log", 1)
        (tmp_path / "file").write_text("no folder")
        lose(memory, own_server)
        for _ in range(3):
            with pytest.raises(JournalError) as caught:
                push(memory, "log", 2)
            assert caught.value.__cause__ is not None
            assert isinstance(caught.value.__cause__, OSError)
            assert caught.value.__cause__.errno in (errno.ENOTDIR, errno.EEXIST)
            assert status(memory).queued == 0
        own_server.start()
        wait_until(lambda: status(memory).online, LIMIT_S)
        push(memory, "log", 3)
        assert memory.log == [1, 3]


# late arrivals


@pytest.mark.parametrize("is_other_key", [False, True])
@pytest.mark.parametrize("count", [3, 1500])
def test_a_late_arrival_is_no_conflict_with_its_own_writer(
    name: str, server: Server, proxy: FaultProxy, count: int, *, is_other_key: bool
) -> None:
    """A change that the network brings late does not beat the later ones of the same writer."""
    with opened(name, proxy.url) as memory:
        memory.table = {"key": -1, "other": -1}
        held = memory.table
        held["key"] = -2  # the server knows the script from now on
        proxy.stall()
        held["key"] = 0
        for number in range(1, count):
            held["other" if is_other_key else "key"] = number
        held["key"] = count
        proxy.heal()
        assert flush(memory, LIMIT_S) == 0
        assert memory.table["key"] == count
        assert conflicts(memory) == []


# fork, pickle, copies


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


# signals


class AlarmError(Exception):
    """What the signal handlers of these tests raise."""


@contextmanager
def alarms(pause_s: float) -> Iterator[Callable[[Callable[[], object]], bool]]:
    """Give a runner: its calls are struck by a handler that raises; it says which of them ended."""
    is_armed = False

    def strike(_: int, __: FrameType | None) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False  # a second one could strike while the first is being caught
            raise AlarmError

    def run(call: Callable[[], object]) -> bool:
        nonlocal is_armed
        try:
            is_armed = True
            call()
            is_armed = False
        except AlarmError:
            return False
        return True

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, pause_s, pause_s)
    try:
        yield run
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupted_while_away(url: str, name: str, folder: Path | None, pause_s: float) -> None:
    """Write under alarms that raise, away and while what waited is delivered; a process's work.

    Asks for an outage and for its end by a line; what is wrong raises.
    """
    memory = opened(name, url, journal=folder)
    memory.log = []
    memory.log.append(-1)
    held = memory.log
    _ask("away")
    # the first one takes longer than the pause between two alarms
    held.append(0)
    ended, cut = [-1, 0], 0
    with alarms(pause_s) as run:
        for number in range(1, 2400):
            if number == 1200:
                signal.setitimer(signal.ITIMER_REAL, 0)
                _ask("back")
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
    _say(str(cut))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _ask(what: str) -> None:
    _say(what)
    sys.stdin.readline()


def started(call: str) -> subprocess.Popen[str]:
    """Run a function of this file in a process of its own, whose lines are read and answered."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from tests.outages.test_processes_away import *; {call}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def answer(process: subprocess.Popen[str], asked: str, do: Callable[[], object]) -> None:
    """Do what the process asks for, and let it go on."""
    assert process.stdout is not None
    assert process.stdin is not None
    line = process.stdout.readline().strip()
    if line != asked:
        _, errors = process.communicate(timeout=LIMIT_S)
        raise AssertionError(f"{line!r} instead of {asked!r}: {errors}")
    do()
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("pause_s", [0.0002, 0.0007])
@pytest.mark.parametrize("with_journal", [True, False])
def test_alarms_that_raise_while_away(
    name: str, own_server: Server, folder: Path, pause_s: float, *, with_journal: bool
) -> None:
    """A handler that raises anywhere, away or in the replay: nothing lost, doubled or hanging."""
    given = f"Path({str(folder)!r})" if with_journal else "None"
    call = f"interrupted_while_away({own_server.url!r}, {name!r}, {given}, {pause_s})"
    with started(call) as process:
        try:
            answer(process, "away", own_server.stop)
            answer(process, "back", own_server.start)
            output, errors = process.communicate(timeout=3 * LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert int(output) > 20


JOURNAL_FILES = {str(module.__file__) for module in (journal, journal_file, journals)}


def interrupted(call: Callable[[], object], at: int) -> bool:
    """Run a call and raise in front of the `at`th line of the journal; whether it came so far."""
    left = at

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        path = frame.f_code.co_filename
        if path not in JOURNAL_FILES:
            return None
        # the end of a `with` has its line too, where no real signal comes between body and exit
        line = linecache.getline(path, frame.f_lineno).lstrip()
        if event == "line" and not line.startswith("with "):
            left -= 1
            if left == 0:
                raise AlarmError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except AlarmError:
        return True
    finally:
        sys.settrace(before)
    return False


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
            reached = interrupted(partial(push, other, "log", "cut"), at)
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


def interrupt() -> None:
    """Press Ctrl-C: the signal reaches the main thread, whoever calls this."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@contextmanager
def ctrl_c(after_s: float = 0.1) -> Iterator[None]:
    """Press Ctrl-C in the middle of the block, which must end by it, and soon."""
    timer = threading.Timer(after_s, interrupt)
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


# asyncio


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


# the end of the interpreter


def leave_without_closing(url: str, name: str, folder: Path | None) -> None:
    """Queue changes and come to the end of the program; a process's work."""
    logging.basicConfig(level=logging.ERROR)
    # so late that only the end of the program can deliver
    memory = opened(name, url, journal=folder, reconnect_max_s=60)
    push(memory, "log", "first")
    _ask("away")
    for number in range(10):
        push(memory, "log", number)
    _ask("back")


def left(name: str, server: Server, folder: Path | None, *, is_back: bool) -> tuple[int, str]:
    """Run `leave_without_closing`; its exit status and what it wrote to stderr."""
    given = f"Path({str(folder)!r})" if folder is not None else "None"
    call = f"leave_without_closing({server.url!r}, {name!r}, {given})"
    with started(call) as process:
        try:
            answer(process, "away", server.stop)
            answer(process, "back", server.start if is_back else lambda: None)
            _, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    if not is_back:
        server.start()
    return process.returncode, errors


@pytest.mark.parametrize("with_journal", [True, False])
def test_the_end_of_a_program_delivers(
    name: str, own_server: Server, folder: Path, *, with_journal: bool
) -> None:
    """Who ends without closing, while the server is there again, leaves nothing undelivered."""
    code, errors = left(name, own_server, folder if with_journal else None, is_back=True)
    assert (code, errors) == (0, "")
    assert stored(name, own_server)["log"] == ["first", *range(10)]
    assert not with_journal or journal_files(folder) == []


def test_the_end_of_a_program_keeps_the_journal(
    name: str, own_server: Server, folder: Path
) -> None:
    """Who ends while the server is away leaves a journal for the next, and no error."""
    code, errors = left(name, own_server, folder, is_back=False)
    assert (code, errors) == (0, "")
    assert stored(name, own_server)["log"] == ["first"]
    adopt(name, own_server.url, folder)
    assert stored(name, own_server)["log"] == ["first", *range(10)]


def test_the_end_of_a_program_without_a_journal_is_told(name: str, own_server: Server) -> None:
    """Who ends while the server is away, without a journal, says how much is lost."""
    code, errors = left(name, own_server, None, is_back=False)
    assert code == 0
    assert "10 changes" in errors
    assert name in errors
    assert "lost" in errors
    assert stored(name, own_server)["log"] == ["first"]
