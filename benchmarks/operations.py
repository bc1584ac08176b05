"""What a server takes: bytes for each conversation, operations per second, the price of the disk.

    python benchmarks/operations.py

prints the tables of docs/operations.md, in about two minutes; `--quick` shows that it runs.
REDIS_MEMORY_SERVER=/path/to/redis-server measures another server. Worker processes and server share
the cores of the machine, so a busy one, or one with few cores, shows less per second; the processor
time that the server takes for one operation is the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from server import Server
from setting import messages

from redis_memory import ConversationMemory, push

MESSAGES = 20
FEW, MANY = 1_000, 10_000
WANTED = (10, 1_000, 1_000_000)
SECONDS = 3.0
WORKERS = (1, 2, 4, 8)
FSYNC = {
    "no append-only file": {"appendonly": "no"},
    "appendonly yes, everysec": {"appendonly": "yes", "appendfsync": "everysec"},
    "appendonly yes, always": {"appendonly": "yes", "appendfsync": "always"},
}


def talk(url: str, name: str) -> None:
    """A conversation of 20 messages, a state and a topic, as one worker leaves it."""
    memory = ConversationMemory(name, url)
    push(memory, "messages", *messages(MESSAGES))
    memory.state, memory.topic = "open", "billing"


def bytes_taken(shrink: int) -> Iterator[str]:
    """The bytes of so many conversations, index included, and what follows for others."""
    few, many = FEW // shrink, MANY // shrink
    taken: dict[int, int] = {}
    with Server() as server, server.client() as client:
        talk(server.url, "the first, for which the scripts are loaded")
        before = _used(client)
        for number in range(many):
            talk(server.url, f"conversation-{number:07}")
            if number + 1 in (few, many):
                taken[number + 1] = _used(client) - before
    for count, size in taken.items():
        yield f"{count:>9,} conversations: {size:>12,} bytes, {size / count:,.0f} each"
    each = (taken[many] - taken[few]) / (many - few)
    first = taken[few] - each * few
    yield f"bytes(n) = {first:,.0f} + {each:,.0f} * n, from these two"
    for count in WANTED:
        yield f"{count:>9,} conversations: {(first + each * count) / 1e6:>12,.2f} MB by that"


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])


def together(workers: int, seconds: float, **options: str) -> str:
    """Operations per second of so many processes, each on a conversation of its own."""
    with Server(**options) as server, server.client() as client:
        command = [sys.executable, __file__, "--worker", server.url, "--seconds", str(seconds)]
        started = [
            subprocess.Popen(
                [*command, "--number", str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(workers)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        before_s = _busy_s(client)
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate()[0].split() for process in started]
        server_us = (_busy_s(client) - before_s) * 1e6 / sum(int(answer[0]) for answer in answers)
    per_second = sum(float(answer[1]) for answer in answers)
    # each worker's own, so the middle one of them
    p50, p99 = (statistics.median(float(answer[at]) for answer in answers) for at in (2, 3))
    return (
        f"{per_second:>9,.0f} per second, p50 {p50 * 1e6:,.0f} us, p99 {p99 * 1e6:,.0f} us; "
        f"the server {server_us:.1f} us each, so at most {1e6 / server_us:,.0f} on a core"
    )


def _busy_s(client: Any) -> float:
    """The processor time of the server so far, all its threads together."""
    info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def work(url: str, number: int, seconds: float) -> None:
    """Append, assign and read in turns, and time each of them."""
    memory = ConversationMemory(f"worker-{number}", url)
    memory.log = []
    log, (message,) = memory.log, messages(1)
    spent: list[float] = []
    print("ready", flush=True)
    sys.stdin.readline()
    begun = now = perf_counter()
    turn = 0
    while now - begun < seconds:
        before = now
        if turn % 3 == 0:
            log.append(message)
        elif turn % 3 == 1:
            memory.state = turn
        else:
            assert memory.state == turn - 1
        now = perf_counter()
        spent.append(now - before)
        turn += 1
        if turn % 600 == 0:
            log.clear()
            now = perf_counter()
    cuts = statistics.quantiles(spent, n=100)
    print(len(spent), len(spent) / (now - begun), cuts[49], cuts[98])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only see that it runs")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each line")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.number, options.seconds)
        return
    seconds = 0.2 if options.quick else options.seconds
    with Server() as server, server.client() as client:
        info: Any = client.info("server")
        name = info.get("server_name") or "redis"
        version = info.get("valkey_version") or info["redis_version"]
        print(f"{name} {version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(f"Conversations of {MESSAGES} messages, with their index")
    for line in bytes_taken(100 if options.quick else 1):
        print(f"  {line}", flush=True)
    print("\nOne server, without a disk: appends, assignments and reads in turns")
    for workers in WORKERS[: 2 if options.quick else None]:
        print(f"  {workers} workers: {together(workers, seconds)}", flush=True)
    print("\nFour workers, by what reaches the disk")
    for name, directives in FSYNC.items():
        print(f"  {name}: {together(4, seconds, **directives)}", flush=True)


if __name__ == "__main__":
    main()
