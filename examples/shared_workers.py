"""Eight processes change one conversation at the same time, and no change is lost.

Each appends to one list, adds to one counter, sets keys of one dict and adds to one set. No
process takes a lock, or knows of the others.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from uuid import uuid4

from redis_memory import ConversationMemory, clear, increment, snapshot

SERVER = "embedded://"  # or "redis://host:6379"
WORKERS = 8
ROUNDS = 100
LIMIT_S = 10.0


def work(conversation_id: str, worker: int) -> int:
    mem = ConversationMemory(conversation_id, SERVER)
    if not hasattr(mem, "log"):
        mem.log = []
    if not hasattr(mem, "results"):
        mem.results = {}
    if not hasattr(mem, "tags"):
        mem.tags = set()
    wait_for_the_others(mem)
    for number in range(ROUNDS):
        mem.log.append([worker, number])
        increment(mem, "total", number)
        mem.results[f"{worker}/{number}"] = {"by": worker, "tokens": number}
        mem.tags.add(number % 10)
    return os.getpid()


def wait_for_the_others(mem: ConversationMemory) -> None:
    """Begin together, or the first would be finished before the last has started."""
    increment(mem, "ready")
    deadline = time.monotonic() + LIMIT_S
    while mem.ready < WORKERS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {mem.ready} of {WORKERS} workers have started")
        time.sleep(0.005)


def main() -> None:
    mem = ConversationMemory(f"workers-{uuid4()}", SERVER)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(work, mem.conversation_id, worker) for worker in range(WORKERS)]
        pids = {run.result() for run in runs}
    stored = snapshot(mem)
    clear(mem)

    writes = WORKERS * ROUNDS
    kept = {(worker, number) for worker, number in stored["log"]}
    print(f"{len(pids)} processes, {ROUNDS} rounds each")
    print(f"  log      {len(stored['log'])} of {writes} entries, {len(kept)} different ones")
    print(f"  total    {stored['total']} of {WORKERS * sum(range(ROUNDS))}")
    print(f"  results  {len(stored['results'])} of {writes} keys")
    print(f"  tags     {sorted(stored['tags'])}")
    in_order = all(
        [number for who, number in stored["log"] if who == worker] == list(range(ROUNDS))
        for worker in range(WORKERS)
    )
    print(f"  order    {'kept' if in_order else 'lost'} for each worker's own entries")
    assert len(pids) == WORKERS
    assert len(stored["log"]) == len(kept) == len(stored["results"]) == writes
    assert stored["total"] == WORKERS * sum(range(ROUNDS))
    assert stored["tags"] == set(range(10))
    assert in_order


if __name__ == "__main__":
    main()
