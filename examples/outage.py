"""Redis is killed while two workers write: they go on, and in the end every message is there once.

The example starts an embedded server in a folder of its own, and the workers reach it by its
socket, so that nobody but this example starts it again. While it is away, what they write waits in
their processes; their lines show how much.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import redis

from redis_memory import ConversationMemory, flush, push, status
from redis_memory.link.embedded import socket_path

WORKERS = 2
MESSAGES = 600
PACE_S = 0.003
OUTAGE_S = 0.8
LIMIT_S = 10.0


def write(conversation_id: str, url: str, worker: int) -> int:
    """Write messages, whatever happens to the server; returns how many had to wait at most."""
    most = 0
    with ConversationMemory(conversation_id, url) as mem:
        for number in range(MESSAGES):
            push(mem, "messages", {"from": worker, "number": number})
            time.sleep(PACE_S)
            if number % 60 == 0:
                stands = status(mem)
                most = max(most, stands.queued)
                is_there = "there" if stands.online else "away "
                say(f"worker {worker}", f"server {is_there}  {stands.queued:4} messages wait")
        left = flush(mem, LIMIT_S)
        say(f"worker {worker}", f"has written {MESSAGES} messages, {left} wait")
    return most


def kill(path: Path) -> int:
    """End the server as a crash does; returns its pid."""
    with redis.Redis(unix_socket_path=str(path)) as client:
        pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_for_messages(conversation_id: str, url: str, count: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    with ConversationMemory(conversation_id, url) as mem:
        while len(getattr(mem, "messages", [])) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {count} messages within {LIMIT_S} s")
            time.sleep(0.01)


def say(who: str, what: str) -> None:
    print(f"  {who:9} {what}", flush=True)


def main() -> None:
    conversation_id = f"outage-{uuid4()}"
    with tempfile.TemporaryDirectory(prefix="outage-") as name:
        folder = Path(name)
        starts_server = f"embedded://{folder}"
        with ConversationMemory(conversation_id, starts_server) as mem:
            mem.messages = []
        url = f"unix://{socket_path(folder)}"
        with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
            runs = [pool.submit(write, conversation_id, url, worker) for worker in range(WORKERS)]
            wait_for_messages(conversation_id, url, MESSAGES // 4)
            say("main", f"kills the server, pid {kill(socket_path(folder))}")
            time.sleep(OUTAGE_S)
            with ConversationMemory(conversation_id, starts_server) as mem:
                say("main", f"starts it again, on the {len(mem.messages)} messages that it had")
            waited = [run.result() for run in runs]
        check(conversation_id, url, waited)
        kill(socket_path(folder))


def check(conversation_id: str, url: str, waited: list[int]) -> None:
    """Every message of each worker is there once, in its order."""
    with ConversationMemory(conversation_id, url) as mem:
        messages = mem.messages
        for worker in range(WORKERS):
            numbers = [message["number"] for message in messages if message["from"] == worker]
            print(f"worker {worker}: {len(numbers)} of {MESSAGES} messages stored, each once")
            print(f"          at least {waited[worker]} of them waited for the server")
            assert numbers == list(range(MESSAGES))
    assert all(waited)


if __name__ == "__main__":
    main()
