"""What an outage costs: how long a call is held up, writes that wait, and delivering them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from figures import Figure
from lists import ADDED, PACKED
from rounds import Case, Timings, interleave
from server import Server
from setting import CALLS, PREFIX, Setting, packed

from redis_memory import ConversationMemory, DataLossWarning, close, flush, push, status
from redis_memory.core.queue import Queue
from redis_memory.memory import core_of

TIMEOUT_S = 0.5
BACK_WITHIN_S = 30.0
WAITING = 100_000
# How many commands one pipeline has.
TOGETHER = 1_000
# 300 bytes, packed.
ELEMENT = {"role": "user", "content": "x" * 278}
# A process of its own: what one run has freed, the next one would fill without growing.
WEIGHED = """\
import gc, logging, os, sys, tracemalloc
from redis_memory import ConversationMemory, push

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def traced_bytes():
    return tracemalloc.get_traced_memory()[0]

logging.disable()
url, way, gauge, count, content = sys.argv[1:]
memory = ConversationMemory("weighed", url, timeout_s=0.1)
memory.messages = []
held = memory.messages
def append(number):
    element = {"role": "user", "content": content + format(number, "06")}
    held.append(element) if way == "held" else push(memory, "pushed", element)
append(0)
gc.collect()
if gauge == "tracemalloc":
    tracemalloc.start()
weigh = traced_bytes if gauge == "tracemalloc" else resident_bytes
begun = weigh()
for number in range(1, int(count) + 1):
    append(number)
gc.collect()
print((weigh() - begun) / int(count), flush=True)
os._exit(0)
"""

# the outages are wanted here, and the library warns of each
logging.getLogger("redis_memory").setLevel(logging.CRITICAL)


@contextmanager
def refusing(server: Server) -> Iterator[None]:
    """Drop all connections to a server, and refuse new ones; its data stays."""
    path = Path(server.socket)
    with server.client() as client, socket.socket(socket.AF_UNIX) as deaf:
        client.ping()
        hidden = path.rename(f"{path}.hidden")
        try:
            deaf.bind(server.socket)  # and not listening
            client.client_kill_filter(_type="normal", skipme=True)
            yield
        finally:
            hidden.replace(path)


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Halt a server: connections stay open, and nothing answers."""
    with server.client() as client:
        information: Any = client.info("server")
    process_id = information["process_id"]
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


@contextmanager
def black_hole() -> Iterator[str]:
    """The url of a port where an attempt to connect meets no answer at all."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as another:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (one, another):  # who comes when the queue is full is not answered
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


def writing(setting: Setting) -> Iterator[Figure]:
    """Write while the server refuses connections; beside it, an rpush to a server that answers."""
    with Server() as lost, tempfile.TemporaryDirectory(prefix="rm-bench-") as folder:
        plain = _opened(lost.url, "plain")
        kept = _opened(lost.url, "kept", journal=folder, fsync="off")
        cases = {
            "rpush": Case(lambda turn: setting.client.rpush("plain:beside", PACKED[turn])),
            **_ways(plain, ""),
            **_ways(kept, ", with a journal"),
        }
        with refusing(lost):
            timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
            assert len(_queue(plain).operations) == 3 * setting.rounds * len(ADDED)
        _deliver(plain, kept)
        for memory in (plain, kept):
            assert list(memory.messages) == list(memory.pushed) == ADDED * setting.rounds
    for case in timings.cases[1:]:
        yield _while_away(timings, case, 60 if "journal" in case else 50)


def _opened(url: str, conversation_id: str, **options: Any) -> ConversationMemory:
    """A conversation that waits for its server as long as it does by default, and no exit does."""
    return ConversationMemory(
        conversation_id, url, prefix=PREFIX, timeout_s=TIMEOUT_S, close_timeout_s=0, **options
    )


def _queue(memory: ConversationMemory) -> Queue:
    return core_of(memory).driver.state.queue


def _deliver(*memories: ConversationMemory) -> None:
    """Have nothing wait any more, and each memory served again."""
    for memory in memories:
        assert flush(memory, BACK_WITHIN_S) == 0
    _wait_until(lambda: all(status(memory).online for memory in memories))


def _wait_until(condition: Callable[[], object]) -> None:
    limit_s = time.monotonic() + BACK_WITHIN_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.0005)


def _until_empty(queue: Queue) -> float:
    """The seconds until all is delivered."""
    begun = time.perf_counter()
    _wait_until(lambda: not queue.operations)
    return time.perf_counter() - begun


def _ways(memory: ConversationMemory, how: str) -> dict[str, Case]:
    memory.messages = []
    held = memory.messages
    return {
        f"append by a held proxy{how}": Case(lambda turn: held.append(ADDED[turn])),
        f"append by push{how}": Case(lambda turn: push(memory, "pushed", ADDED[turn])),
        f"assign a scalar{how}": Case(lambda turn: setattr(memory, "topic", f"billing-{turn}")),
    }


def _while_away(timings: Timings, case: str, wanted: float) -> Figure:
    ratio = timings.ratio(case, "rpush")
    detail = f"{ratio.median:.2f} of an rpush online, {ratio.low:.2f} to {ratio.high:.2f}"
    return Figure(f"{case}, Redis away", timings.median(case) * 1e6, wanted, "us", detail=detail)


def held_up(setting: Setting) -> Iterator[Figure]:
    """The longest that an outage holds up a call: the first one, and those after it."""
    rounds = max(1, setting.rounds // 5)
    outages: dict[str, Callable[[Server], AbstractContextManager[None]]] = {
        "frozen": frozen,
        "refusing": refusing,
    }
    with Server() as lost:
        for how, outage in outages.items():
            yield _longest(how, [_met(lost, f"{how}-{turn}", outage) for turn in range(rounds)])
    yield _longest("in a black hole", [_met_black_hole() for _ in range(rounds)])


def _met(
    lost: Server, conversation_id: str, outage: Callable[[Server], AbstractContextManager[None]]
) -> list[float]:
    """The seconds of each call, by a memory with an open connection."""
    memory = _opened(lost.url, conversation_id)
    memory.messages = []
    with outage(lost):
        spent = _pushed(memory)
    _deliver(memory)
    assert list(memory.messages) == ADDED
    return spent


def _met_black_hole() -> list[float]:
    """The same, by a memory without one: its first call connects."""
    with black_hole() as url, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        memory = _opened(url, "lost")
        spent = _pushed(memory)
        close(memory)
    return spent


def _pushed(memory: ConversationMemory) -> list[float]:
    spent = []
    for message in ADDED:
        begun = time.perf_counter()
        push(memory, "messages", message)
        spent.append(time.perf_counter() - begun)
    return spent


def _longest(how: str, spent: list[list[float]]) -> Figure:
    first, later = max(calls[0] for calls in spent), max(max(calls[1:]) for calls in spent)
    detail = f"{first * 1e3:.1f} ms; after the first at most {later * 1e3:.2f} ms"
    wanted = (TIMEOUT_S + 0.1) / TIMEOUT_S
    name = f"longest of {len(spent)} first calls to Redis {how} / timeout_s"
    return Figure(name, first / TIMEOUT_S, wanted, detail=detail)


def coming_back(setting: Setting) -> Iterator[Figure]:
    """From the moment that a server is back to the first change that it is known to have."""
    # the pauses between two attempts have reached their longest by then
    away_s = 1.5 / setting.shrink
    spent = []
    with Server() as lost:
        for turn in range(max(1, setting.rounds // 3)):
            memory = _opened(lost.url, f"back-{turn}")
            with refusing(lost):
                push(memory, "messages", ADDED[0])
                time.sleep(away_s)
            spent.append(_until_empty(_queue(memory)))
            _deliver(memory)
    low, median, high = _middle(spent)
    detail = f"the longest of {len(spent)}; the median {median:.2f} s"
    name = "from Redis being back to the first change delivered"
    yield Figure(name, max(spent), 1.0, "s", (low, high), detail)


def _middle(values: list[float]) -> tuple[float, float, float]:
    """The lower bound of the middle half, the median, and the upper bound."""
    if len(values) == 1:
        values = values * 2
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def delivering(setting: Setting) -> Iterator[Figure]:
    """Deliver a full queue, beside redis-py's pipelines of as many rpushes."""
    (count,) = setting.sizes(WAITING)
    (element,) = packed([ELEMENT])
    spent: dict[str, list[float]] = {"one list": [], "two lists in turn": [], "piped": []}
    with Server() as lost, lost.client() as client:
        for turn in range(max(1, setting.rounds // 5)):
            spent["one list"].append(_drained(lost, f"one-{turn}", count, ["a"]))
            spent["two lists in turn"].append(_drained(lost, f"two-{turn}", count, ["a", "b"]))
            spent["piped"].append(_piped(client, element, count))
            client.flushall()
    timings = Timings(spent)
    # neighbours are only sent as one change where they are appended to the same list
    for case, wanted in (("one list", 1.0), ("two lists in turn", None)):
        name = f"deliver {count:,} appends of {len(element)} bytes to {case} / pipelined rpush"
        yield Figure.of(name, timings, case, "piped", wanted)


def _drained(lost: Server, conversation_id: str, count: int, names: list[str]) -> float:
    memory = _opened(lost.url, conversation_id)
    queue = _queue(memory)
    with refusing(lost):
        for number in range(count):
            push(memory, names[number % len(names)], ELEMENT)
    # the search for the server is another figure: the clock runs from the first batch on
    _wait_until(lambda: queue.in_flight)
    spent = _until_empty(queue)
    _deliver(memory)
    assert sum(len(memory[name]) for name in names) == count
    return spent


def _piped(client: Any, element: bytes, count: int) -> float:
    begun = time.perf_counter()
    for at in range(0, count, TOGETHER):
        pipeline = client.pipeline(transaction=False)
        for _ in range(min(TOGETHER, count - at)):
            pipeline.rpush("plain:full", element)
        pipeline.execute()
    spent = time.perf_counter() - begun
    assert client.llen("plain:full") == count
    return spent


def weighing(setting: Setting) -> Iterator[Figure]:
    """What a waiting append takes in the process: by itself, and with the copy that reads see."""
    (count,) = setting.sizes(WAITING // 5)
    for way, what in (("push", "append"), ("held", "append and of its element")):
        for gauge in ("tracemalloc", "RSS"):
            if gauge == "RSS" and sys.platform != "linux":
                continue
            name = f"memory of a waiting {what}, 300 bytes packed, by {gauge}"
            yield Figure(name, _weighed(way, gauge, count) / 1000, 1.5, "KB")


def _weighed(way: str, gauge: str, count: int) -> float:
    with tempfile.TemporaryDirectory(prefix="rm-bench-") as folder:
        content = ELEMENT["content"][:-6]
        url = f"unix://{folder}/nobody.sock"
        command = [sys.executable, "-c", WEIGHED, url, way, gauge, str(count - 2), content]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)
