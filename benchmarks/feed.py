"""What the feed costs and gives: cached reads, the time until others know, many who listen."""

from __future__ import annotations

import gc
import os
import signal
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

from figures import Figure
from lists import ADDED, PACKED
from rounds import Case, interleave
from setting import CALLS, PREFIX, Setting

from redis_memory import ConversationMemory, close, wait_for, watch

READY_WITHIN_S = 30.0
MEMORIES = 1_000
WATCHERS = 50
PACE_S = 0.01
ROUNDS_EACH = 5
PACED_CALLS = 40


def reading(setting: Setting) -> Iterator[Figure]:
    """Read again, in cached mode, what nobody has changed."""
    with _cached(setting, "read") as memory:
        memory.topic, memory.messages = "billing", ADDED
        setting.client.hset("plain", "topic", b"billing")
        _wait_until(lambda: memory.topic and memory.messages and _is_free(setting, memory))
        cases = {
            "hget": Case(lambda _: setting.client.hget("plain", "topic")),
            "scalar": Case(lambda _: memory.topic),
            "list": Case(lambda _: memory.messages),
        }
        timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    yield Figure.of("cached read of a scalar / hget", timings, "scalar", "hget", 0.05)
    name = f"cached read of a list of {len(ADDED)} / hget"
    yield Figure.of(name, timings, "list", "hget")


def appending(setting: Setting) -> Iterator[Figure]:
    """`mem.messages.append(m)` in cached mode: the read before it costs no round trip."""
    with _cached(setting, "append") as memory:

        def begin() -> None:
            memory.messages = []
            setting.client.delete("plain:append")
            _wait_until(lambda: memory.messages == [] and _is_free(setting, memory))

        cases = {
            "rpush": Case(
                lambda turn: setting.client.rpush("plain:append", PACKED[turn]), prepare=begin
            ),
            "append": Case(lambda turn: memory.messages.append(ADDED[turn]), prepare=begin),
        }
        timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
        assert memory.messages == ADDED
    name = "mem.messages.append(m) in cached mode / rpush"
    yield Figure.of(name, timings, "append", "rpush", 1.1)


def hearing(setting: Setting) -> Iterator[Figure]:
    """From before a change in one process to `wait_for` having returned in another one."""
    (count,) = setting.sizes(1_000)
    (told, tell), (go, goes) = os.pipe(), os.pipe()

    def wait() -> None:
        memory = setting.memory("heard")
        # somebody else listens on, so that no wait has to subscribe
        with watch(memory, "nothing"):
            for turn in range(count):
                os.write(tell, b"-" * 32)
                wait_for(memory, "turn", turn, timeout_s=READY_WITHIN_S)
                os.write(tell, f"{perf_counter():32.9f}".encode())
                os.read(go, 1)

    spent = []
    memory = setting.memory("heard")
    with _forked(wait, 1):
        for turn in range(count):
            os.read(told, 32)
            time.sleep(0.001)  # it has asked once, and sleeps
            begun = perf_counter()
            memory.turn = turn
            spent.append(float(os.read(told, 32)) - begun)
            os.write(goes, b"!")
    for end in (told, tell, go, goes):
        os.close(end)
    low, median, high = statistics.quantiles(spent, n=4, method="inclusive")
    name = "from a change to wait_for in another process"
    yield Figure(name, median * 1e3, 1.0, "ms", (low * 1e3, high * 1e3), f"{count} changes")


def weighing(setting: Setting) -> Iterator[Figure]:
    """What a memory that is watched takes in the process, and how many connections all take."""
    (count,) = setting.sizes(MEMORIES)
    with ExitStack() as stack:
        gc.collect()
        tracemalloc.start()
        begun, _ = tracemalloc.get_traced_memory()
        memories = [setting.memory(f"watched-{number}") for number in range(count)]
        for memory in memories:
            stack.callback(close, memory)
            stack.enter_context(watch(memory))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - begun
        tracemalloc.stop()
        clients: Any = setting.client.client_list()
        connections = sum(int(client["sub"]) > 0 for client in clients)
    yield Figure(f"memory of one of {count:,} watched memories", grown / count / 1e3, 20, "KB")
    yield Figure(f"connections that listen, for {count:,} watched memories", connections, 1)


def fanning_out(setting: Setting) -> Iterator[Figure]:
    """A write that many processes are told, beside one that nobody is told."""
    (count,) = setting.sizes(WATCHERS)
    watched, lonely = setting.memory("fanned"), setting.memory("lonely")

    def listen() -> None:
        for _ in watch(setting.memory("fanned")):
            pass

    def subscribers() -> int:
        answer: Any = setting.client.pubsub_numsub(f"{PREFIX}{{fanned}}~feed")
        number: int = answer[0][1]
        return number

    rounds = max(1, setting.rounds // ROUNDS_EACH)
    with _forked(listen, count):
        _wait_until(lambda: subscribers() == count)
        for how, pace_s, calls, wanted in (
            ("one every 10 ms", PACE_S, PACED_CALLS, 1.3),
            ("one after the other", 0.0, CALLS, None),
        ):
            # nothing is to be slowed down by what is still being told of a call before
            pause = (lambda: time.sleep(PACE_S)) if pace_s else (lambda: None)
            settle = lambda: time.sleep(10 * PACE_S)  # noqa: E731 - two lines would say no more
            cases = {
                "lonely": Case(_setting(lonely), settle, pause),
                "watched": Case(_setting(watched), settle, pause),
            }
            timings = interleave(cases, rounds=rounds, calls=calls)
            name = f"assign a scalar, {how}, {count} processes watch / nobody"
            yield Figure.of(name, timings, "watched", "lonely", wanted)


def _setting(memory: ConversationMemory) -> Callable[[int], object]:
    return lambda turn: setattr(memory, "topic", f"billing-{turn}")


@contextmanager
def _cached(setting: Setting, conversation_id: str) -> Iterator[ConversationMemory]:
    with ConversationMemory(
        conversation_id, setting.server.url, prefix=PREFIX, read_mode="cached"
    ) as memory:
        yield memory


def _is_free(setting: Setting, memory: ConversationMemory) -> bool:
    """Whether a read of the attributes costs nothing now."""
    before = setting.bytes_read()
    for name in memory.__dict__["_redis_memory_core"].state.attributes:
        getattr(memory, name, None)
    asked = setting.bytes_read() - before
    again = setting.bytes_read()
    return asked == setting.bytes_read() - again


@contextmanager
def _forked(work: Callable[[], object], count: int) -> Iterator[None]:
    """Processes that work, on other cores if there are others, until the block ends."""
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    others = set(range(os.cpu_count() or 1)) - here
    pids = []
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                try:
                    if others and here:
                        os.sched_setaffinity(0, others)
                    work()
                finally:
                    os._exit(0)
            pids.append(pid)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _wait_until(condition: Callable[[], object]) -> None:
    limit_s = time.monotonic() + READY_WITHIN_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.0005)
