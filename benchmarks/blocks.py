"""What blocks cost: round trips counted at the server, and a batch of 100 appends beside MULTI.

Run `python -m benchmarks.blocks`. The times are medians of rounds that are interleaved.
"""

from __future__ import annotations

import statistics
import sys
import uuid
from collections.abc import Callable
from time import perf_counter

import redis

from benchmarks.server import Server
from redis_memory import ConversationMemory, batch, compare_and_set, push, transaction

ROUNDS = 200
APPENDS = 100


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def round_trips(client: redis.Redis, call: Callable[[], object]) -> int:
    """How many scripts a call has run, as the server counts them: each is one round trip."""

    def calls() -> int:
        stats = client.info("commandstats")
        return sum(stats.get(f"cmdstat_{word}", {}).get("calls", 0) for word in ("evalsha", "eval"))

    before = calls()
    call()
    return calls() - before


def in_batch(mem: ConversationMemory) -> None:
    """Change three attributes."""
    with batch(mem):
        mem.a.append(1)
        mem.b["k"] = 1
        mem.c = 1


def in_transaction(mem: ConversationMemory) -> None:
    """Read three attributes, and change all of them."""
    with transaction(mem):
        a, b, c = mem.a, mem.b, mem.c
        a.append(1)
        b["k"] = c
        mem.c = c + 1


def count(url: str) -> None:
    """Print how many round trips each kind of block takes."""
    client = redis.Redis.from_url(url)
    name = uuid.uuid4().hex
    with ConversationMemory(name, url) as mem:
        mem.a, mem.b, mem.c = [1], {"k": 1}, 1
        for _ in range(2):  # loads the scripts
            in_batch(mem)
            in_transaction(mem)
            compare_and_set(mem, "c", mem.c, 1)
        rows: dict[str, Callable[[], object]] = {
            "batch, 3 reads and 3 changes": lambda: in_batch(mem),
            "transaction, 3 known reads and 3 changes": lambda: in_transaction(mem),
            "compare_and_set of a scalar": lambda: compare_and_set(mem, "c", 5, 5),
        }
        for what, call in rows.items():
            say(f"{what:50}{round_trips(client, call):3} round trips")
    with ConversationMemory(name, url, timeout_s=0.7) as fresh:
        list(fresh)  # connects
        taken = round_trips(client, lambda: in_transaction(fresh))
        say(f"{'transaction, 3 unknown reads and 3 changes':50}{taken:3} round trips")


def cases(mem: ConversationMemory, client: redis.Redis) -> dict[str, Callable[[], object]]:
    """Ways to append 100 times."""
    value = "a message of some length, as they are"

    def proxied() -> None:
        with batch(mem):
            for _ in range(APPENDS):
                mem.items.append(value)

    def pushed() -> None:
        with batch(mem):
            for _ in range(APPENDS):
                push(mem, "log", value)

    def singly() -> None:
        for _ in range(APPENDS):
            push(mem, "single", value)

    def piped() -> None:
        with client.pipeline(transaction=True) as pipe:
            for _ in range(APPENDS):
                pipe.rpush("benchmark", value)
            pipe.execute()

    return {
        "MULTI by redis-py": piped,
        "batch, push": pushed,
        "batch, append": proxied,
        "one by one, push": singly,
    }


def compare(url: str) -> None:
    """Print what 100 appends take: one by one, in a batch, and by a pipeline of redis-py."""
    client = redis.Redis.from_url(url)
    with ConversationMemory(uuid.uuid4().hex, url) as mem:
        ways = cases(mem, client)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            mem.items, mem.log, mem.single = [], [], []
            client.delete("benchmark")
            for way, call in ways.items():
                begun = perf_counter()
                call()
                times[way].append(perf_counter() - begun)
    medians = {way: statistics.median(seconds) for way, seconds in times.items()}
    for way, seconds in medians.items():
        ratio = seconds / medians["MULTI by redis-py"]
        say(f"{APPENDS} appends, {way:20}{seconds * 1e6:8.0f} us {ratio:6.2f} of MULTI")


def main() -> None:
    """Count, then compare."""
    with Server() as server:
        url = f"unix://{server.socket}"
        count(url)
        compare(url)


if __name__ == "__main__":
    main()
