"""Processes, threads, forks and signals: nothing is lost, doubled, mixed up, or left hanging."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import pickle
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

import redis_memory
from redis_memory import (
    ConversationMemory,
    Memory,
    SyncedDict,
    SyncedList,
    SyncedSet,
    flush,
    increment,
    push,
    setdefault,
    snapshot,
    status,
)
from tests.alarms import AlarmError, alarms, interrupted, press_ctrl_c
from tests.children import exit_code, in_child
from tests.faults import FaultProxy
from tests.servers import Server

LIMIT_S = 30.0
WORKERS = 8
TIMES = 250
FEWER = 75
METHODS = ("fork", "spawn", "forkserver")


@pytest.fixture
def memory(name: str, server: Server) -> Iterator[ConversationMemory]:
    """A memory that has written and read before."""
    with ConversationMemory(name, server.url, timeout_s=10) as memory:
        memory.log = []
        memory.log.append("first")
        yield memory


def fresh(memory: ConversationMemory) -> dict[str, Any]:
    """What is stored, as somebody sees it who knows nothing of it yet."""
    return snapshot(pickle.loads(pickle.dumps(memory)))


def ended(*pids: int) -> bool:
    """Wait for forked children; whether all of them did their work."""
    return all(exit_code(pid) == 0 for pid in pids)


def run_all(processes: list[BaseProcess]) -> None:
    """Run processes side by side to their ends, which must be good ones."""
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT_S)
    late = [process for process in processes if process.exitcode is None]
    for process in late:
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def in_threads(run: Callable[[int], None]) -> None:
    """Run a function in as many threads as there are workers, with the number of each."""
    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# many processes


def work(memory: ConversationMemory, worker: int) -> None:
    """Write in every way that workers share a conversation."""
    log, seen, members = memory.log, memory.seen, memory.members
    leaf = memory.tree["workers"][str(worker)]
    for number in range(TIMES):
        log.append([worker, number])
        increment(memory, "count")
    # a proxy of a dict or set takes in all of what others wrote meanwhile
    for number in range(FEWER):
        seen[f"{worker}-{number}"] = number
        members.add((worker, number))
        leaf["steps"].append(number)
        memory.tree["shared"].append(worker)


def prepare(memory: ConversationMemory) -> None:
    """Store the empty containers that workers fill."""
    memory.log = []
    memory.seen = {}
    memory.members = set()
    memory.tree = {"workers": {str(n): {"steps": []} for n in range(WORKERS)}, "shared": []}


def check(memory: ConversationMemory) -> None:
    """Check that everything that the workers wrote is there once, and in each one's order."""
    stored = fresh(memory)
    for worker in range(WORKERS):
        assert [n for w, n in stored["log"] if w == worker] == list(range(TIMES))
        assert stored["tree"]["workers"][str(worker)]["steps"] == list(range(FEWER))
    assert stored["count"] == len(stored["log"]) == WORKERS * TIMES
    pairs = [(worker, number) for worker in range(WORKERS) for number in range(FEWER)]
    assert stored["seen"] == {f"{worker}-{number}": number for worker, number in pairs}
    assert stored["members"] == set(pairs)
    assert Counter(stored["tree"]["shared"]) == dict.fromkeys(range(WORKERS), FEWER)


def test_eight_processes_lose_and_double_nothing(memory: ConversationMemory) -> None:
    """Appends, keys, elements, increments and nested changes of 8 processes are all kept, once."""
    prepare(memory)
    fork = multiprocessing.get_context("fork")
    run_all([fork.Process(target=work, args=(memory, worker)) for worker in range(WORKERS)])
    check(memory)
    assert memory.count == WORKERS * TIMES
    assert len(memory.log) == WORKERS * TIMES


def test_eight_processes_on_a_bad_network(name: str, proxy: FaultProxy) -> None:
    """With every tenth reply lost on the way, still nothing is lost or doubled."""
    counter = iter(range(10**9))
    with ConversationMemory(name, proxy.url, timeout_s=10) as memory:
        memory.log = []
        proxy.lose_replies(10**9, when=lambda request: next(counter) % 10 == 9)
        fork = multiprocessing.get_context("fork")
        run_all([fork.Process(target=append_many, args=(memory, n, 50)) for n in range(WORKERS)])
        proxy.heal()
        assert proxy.lost > 20
        log = memory.log
        for worker in range(WORKERS):
            assert [n for w, n in log if w == worker] == list(range(50))
        assert memory.count == len(log) == WORKERS * 50


def append_many(memory: ConversationMemory, worker: int, times: int) -> None:
    """Append and count, through a held proxy."""
    log = memory.log
    for number in range(times):
        log.append([worker, number])
        increment(memory, "count")


@pytest.mark.parametrize("method", METHODS)
def test_a_memory_goes_to_processes_of_every_kind(memory: ConversationMemory, method: str) -> None:
    """However a worker process is started, it takes the memory along and writes as another."""
    context: BaseContext = multiprocessing.get_context(method)
    workers = [
        context.Process(target=append_many, args=(memory, n, 20))  # type: ignore[attr-defined]
        for n in range(2)
    ]
    for worker in workers:
        worker.start()
    append_many(memory, 2, 20)
    for worker in workers:
        worker.join(LIMIT_S)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert memory.count == 60
    log = memory.log[1:]
    for worker in range(3):
        assert [n for w, n in log if w == worker] == list(range(20))


def test_of_many_processes_one_creates(memory: ConversationMemory) -> None:
    """`setdefault` by 8 processes at once: one value is stored, and all get it."""
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(WORKERS)

    def create(worker: int) -> None:
        barrier.wait(LIMIT_S)
        push(memory, "got", setdefault(memory, "owner", worker))

    run_all([fork.Process(target=create, args=(worker,)) for worker in range(WORKERS)])
    assert memory.got == [memory.owner] * WORKERS


def test_work_is_handed_out_once(memory: ConversationMemory) -> None:
    """What 8 processes pop from a list, a dict and a set is each time for one of them."""
    memory.queue = list(range(200))
    memory.jobs = {str(number): number for number in range(200)}
    memory.tickets = set(range(200))
    fork = multiprocessing.get_context("fork")

    def take() -> None:
        queue, jobs, tickets = memory.queue, memory.jobs, memory.tickets
        taken: list[list[int]] = [[], [], []]
        steps: list[Callable[[], int]] = [
            lambda: queue.pop(0),
            lambda: jobs.popitem()[1],
            tickets.pop,
        ]
        for kind, step in enumerate(steps):
            try:
                while True:
                    taken[kind].append(step())
            except (IndexError, KeyError):
                continue
        push(memory, "taken", taken)

    run_all([fork.Process(target=take) for _ in range(WORKERS)])
    for kind in range(3):
        assert sorted(n for taken in memory.taken for n in taken[kind]) == list(range(200))
    assert (memory.queue, memory.jobs, memory.tickets) == ([], {}, set())


# fork


def test_parent_and_child_write_after_a_fork(memory: ConversationMemory) -> None:
    """Both go on with what they hold, as two writers: nothing is lost or doubled."""
    held = memory.log

    def write(who: str) -> None:
        for number in range(100):
            held.append([who, number])
            memory.log.append([who, -number])
            increment(memory, "count")

    child = in_child(lambda: write("child"))
    write("parent")
    assert ended(child)
    stored = fresh(memory)
    for who in ("child", "parent"):
        own = [n for w, n in stored["log"][1:] if w == who]
        assert own == [sign * n for n in range(100) for sign in (1, -1)]
    assert stored["count"] == 200
    assert status(memory).data_loss == 0
    assert memory.log == stored["log"]


def test_a_child_is_a_writer_of_its_own(memory: ConversationMemory, server: Server) -> None:
    """The server knows one more writer after a child has written, and the parent's is unchanged."""
    key = f"memory:{{{memory.conversation_id}}}"

    def writers() -> set[bytes]:
        fields: Any = server.client().hkeys(key)
        return {field for field in fields if field.startswith(b"_w")}

    before = writers()
    assert ended(in_child(lambda: push(memory, "log", "child")))
    assert len(writers() - before) == 1
    push(memory, "log", "parent")
    assert len(writers()) == len(before) + 1
    assert memory.log == ["first", "child", "parent"]


def test_a_child_leaves_the_parents_connection_alone(name: str, proxy: FaultProxy) -> None:
    """A child opens its own connection, and its end does not cut the parent off."""
    with ConversationMemory(name, proxy.url, timeout_s=10) as memory:
        memory.log = ["first"]
        before = proxy.connections
        assert ended(in_child(lambda: push(memory, "log", "child")))
        assert proxy.connections == before + 1
        push(memory, "log", "parent")
        assert proxy.connections == before + 1
        assert memory.log == ["first", "child", "parent"]


def test_a_fork_in_the_middle_of_a_change(memory: ConversationMemory) -> None:
    """While threads write, forks come at any moment: no child hangs, and every write counts."""
    stop = threading.Event()
    written = Counter[str]()

    def write(who: str) -> None:
        while not stop.is_set():
            push(memory, "log", [who, written[who]])
            written[who] += 1

    threads = [threading.Thread(target=write, args=(f"thread {n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        children = [in_child(partial(push, memory, "children", number)) for number in range(30)]
        assert ended(*children)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    stored = fresh(memory)
    assert sorted(stored["children"]) == list(range(30))
    for who, count in written.items():
        assert [n for w, n in stored["log"][1:] if w == who] == list(range(count))


def test_grandchildren_write_too(memory: ConversationMemory) -> None:
    """A fork of a fork is another writer again."""

    def child() -> None:
        push(memory, "log", "child")
        assert ended(in_child(lambda: push(memory, "log", "grandchild")))
        push(memory, "log", "child again")

    assert ended(in_child(child))
    push(memory, "log", "parent")
    assert memory.log == ["first", "child", "grandchild", "child again", "parent"]


def test_a_change_in_doubt_stays_with_the_parent(name: str, proxy: FaultProxy) -> None:
    """A child neither settles nor repeats what its parent owes; the parent does, once."""
    with ConversationMemory(name, proxy.url, timeout_s=0.2) as memory:
        push(memory, "log", "first")
        proxy.lose_replies(math.inf, how="timeout")
        assert push(memory, "log", "in doubt") is None

        def child() -> None:
            assert status(memory).queued == 0
            assert flush(memory, 0) == 0

        assert ended(in_child(child))
        assert status(memory).queued == 1
        proxy.heal()
        assert ended(in_child(lambda: push(memory, "log", "child")))
        assert flush(memory, 5) == 0
        push(memory, "log", "parent")
        assert memory.log == ["first", "in doubt", "child", "parent"]
        assert status(memory).data_loss == 0


# threads


def test_threads_share_one_memory(memory: ConversationMemory) -> None:
    """Eight threads with one memory object: every write counts, and each gets its own answers."""
    prepare(memory)
    failures: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            held = memory.log
            for number in range(100):
                held.append([worker, number])
                memory.log.append([worker, -number])
                assert memory.log.count([worker, number]) == (2 if number == 0 else 1)
                setattr(memory, f"own_{worker}", number)
                assert getattr(memory, f"own_{worker}") == number
                memory.seen[f"{worker}-{number}"] = number
                assert memory.seen[f"{worker}-{number}"] == number
                increment(memory, "count")
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    in_threads(run)
    assert not failures
    stored = fresh(memory)
    for worker in range(WORKERS):
        own = [n for w, n in stored["log"] if w == worker]
        assert own == [sign * n for n in range(100) for sign in (1, -1)]
    assert stored["count"] == len(stored["seen"]) == WORKERS * 100
    assert memory.log == stored["log"]


def test_threads_share_one_proxy(memory: ConversationMemory) -> None:
    """Eight threads with one list in their hands: it shows all that they did to it."""
    held = memory.log

    def run(worker: int) -> None:
        for number in range(100):
            held.append([worker, number])

    in_threads(run)
    assert held == memory.log == fresh(memory)["log"]
    assert len(held) == 1 + WORKERS * 100


# signals


def interrupted_appends(url: str, name: str, times: int, pause_s: float) -> None:
    """Append, read and count under alarms that raise; runs in a process of its own.

    Writes how many calls were cut off; what is wrong raises.
    """
    is_armed = False
    cut = 0

    def strike() -> None:
        if is_armed:
            raise AlarmError

    memory = ConversationMemory(name, url, timeout_s=10)
    memory.log = []
    memory.mark = -1
    acknowledged: list[int] = []
    with alarms(pause_s, strike):
        for number in range(times):
            try:
                is_armed = True
                memory.log.append(number)
                is_armed = False
                acknowledged.append(number)
            except AlarmError:
                is_armed = False
                cut += 1
            try:
                is_armed = True
                memory.mark = number
                seen = memory.mark
                is_armed = False
                assert seen == number, f"{seen} was read for {number}"
            except AlarmError:
                is_armed = False
                cut += 1
    is_armed = False
    stored = snapshot(ConversationMemory(name, url, timeout_s=9))
    log = stored["log"]
    assert log == sorted(set(log)), "an append was doubled or out of order"
    assert set(acknowledged) <= set(log), "an acknowledged append was lost"
    assert memory.log == log, "this process sees another list"
    assert status(memory).data_loss == 0
    memory.log.append("after")
    assert memory.log == [*log, "after"]
    sys.stdout.write(str(cut))


@pytest.mark.parametrize("pause_s", [0.0001, 0.00037])
def test_alarms_that_raise(name: str, url: str, pause_s: float) -> None:
    """A handler that raises anywhere in a call: no mixed-up reply, nothing doubled, no hang."""
    assert cut_off(url, name, times=2000, pause_s=pause_s) > 50


def cut_off(url: str, name: str, *, times: int, pause_s: float) -> int:
    """Run `interrupted_appends` elsewhere, where no other code minds alarms; how many struck."""
    call = f"interrupted_appends({url!r}, {name!r}, {times}, {pause_s})"
    run = subprocess.run(
        [sys.executable, "-c", f"from tests.memory.test_processes import *; {call}"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


LIBRARY = str(Path(redis_memory.__file__).parent)


def is_library(path: str) -> bool:
    """Whether a file belongs to the library."""
    return path.startswith(LIBRARY)


def touch(box: Any) -> None:
    """Change a container by its proxy, whatever it is."""
    if isinstance(box, SyncedList):
        box.append("touched")
    elif isinstance(box, SyncedDict):
        box["touched"] = 1
    elif isinstance(box, SyncedSet):
        box.add("touched")


Change = Callable[[ConversationMemory, Any], object]
CHANGES: dict[str, tuple[Any, Change]] = {
    "append": ([1, 2], lambda memory, box: box.append(3)),
    "append by name": ([1, 2], lambda memory, box: memory.box.append(3)),
    "extend": ([1, 2], lambda memory, box: box.extend([3, 4])),
    "insert": ([1, 2], lambda memory, box: box.insert(0, 3)),
    "sort": ([2, 1], lambda memory, box: box.sort()),
    "list set": ([1, 2], lambda memory, box: box.__setitem__(0, 3)),
    "dict set": ({"a": 1}, lambda memory, box: box.__setitem__("b", 2)),
    "dict pop": ({"a": 1}, lambda memory, box: box.pop("a")),
    "set add": ({1}, lambda memory, box: box.add(2)),
    "nested": ([{"a": [1]}], lambda memory, box: box[0]["a"].append(2)),
    "in a tuple": ((1, [2]), lambda memory, box: box[1].append(3)),
    "assign": ([1, 2], lambda memory, box: setattr(memory, "box", "text")),
    "increment": (1, lambda memory, box: increment(memory, "box", 2)),
    "read": ([1, 2], lambda memory, box: memory.box),
}


@pytest.mark.parametrize(("value", "change"), CHANGES.values(), ids=list(CHANGES))
def test_an_exception_at_any_line(
    memory: ConversationMemory, url: str, value: Any, change: Change
) -> None:
    """Wherever a call is cut off: it is done or not done, and this process sees which of them."""
    with ConversationMemory(memory.conversation_id, url, timeout_s=9) as other:
        memory.box = value
        change(memory, memory.box)
        after = other.box
        at, reached = 0, True
        while reached:
            at += 1
            memory.box = value
            box = memory.box
            reached = interrupted(partial(change, memory, box), at, within=is_library)
            stored = other.box
            assert stored in ((value, after) if reached else (after,)), f"at line {at}"
            assert memory.box == stored, f"at line {at}"
            if type(memory.box) is type(box):
                touch(box)
                assert box == memory.box or not isinstance(box, (list, dict, set)), f"at line {at}"
            assert memory.box == other.box, f"at line {at}"
        assert at > 10
        assert status(memory).data_loss == 0


def test_a_handler_may_write(memory: ConversationMemory) -> None:
    """A handler that changes the memory in the middle of a change: both are made, once each."""
    strikes = itertools.count()

    def strike() -> None:
        push(memory, "alarms", next(strikes))

    log = memory.log
    with alarms(0.002, strike):
        for number in range(1000):
            log.append(number)
            increment(memory, "count")
    stored = fresh(memory)
    assert stored["log"] == log == ["first", *range(1000)]
    assert len(stored["alarms"]) > 0
    # one may strike in the middle of another
    assert sorted(stored["alarms"]) == list(range(next(strikes)))
    assert stored["count"] == 1000
    assert status(memory).data_loss == 0


def test_ctrl_c_leaves_the_memory_usable(name: str, own_server: Server) -> None:
    """KeyboardInterrupt while a call waits for the server: it ends at once, and the next works."""
    with ConversationMemory(name, own_server.url, timeout_s=60) as memory:
        memory.log = ["first"]
        memory.log.append("second")
        log = memory.log
        for cut in range(5):
            own_server.freeze()
            timer = threading.Timer(0.02, press_ctrl_c)
            timer.start()
            try:
                with pytest.raises(KeyboardInterrupt):
                    log.append(cut)
            finally:
                timer.join()
                own_server.thaw()
            memory.mark = cut
            assert memory.mark == cut
        log.append("last")
        stored = fresh(memory)["log"]
        assert log == memory.log == stored
        assert (stored[:2], stored[-1]) == (["first", "second"], "last")
        assert stored[2:-1] == sorted(set(stored[2:-1]))


def test_an_interrupted_memory_leaks_no_connection(name: str, proxy: FaultProxy) -> None:
    """A connection that was cut off between question and answer is closed, never used again."""
    with ConversationMemory(name, proxy.url, timeout_s=10) as memory:
        push(memory, "log", "first")
        for number in range(10):
            proxy.lose_replies(how="timeout")
            timer = threading.Timer(0.02, press_ctrl_c)
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                push(memory, "log", number)
            timer.join()
            memory.mark = number
            assert memory.log == ["first", *range(number + 1)]
        assert proxy.connections <= 25
        assert proxy.open_connections <= 12


def test_memories_of_one_process_are_told_apart(server: Server) -> None:
    """Threads that use many memories on the same connections each get their own answers."""
    names = [uuid.uuid4().hex for _ in range(WORKERS)]
    memories: list[Memory] = [ConversationMemory(name, server.url, timeout_s=10) for name in names]
    failures: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            for number in range(100):
                memories[worker].own = [worker, number]
                assert memories[worker].own == [worker, number]
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    in_threads(run)
    assert not failures
    assert [memory.own for memory in memories] == [[worker, 99] for worker in range(WORKERS)]
