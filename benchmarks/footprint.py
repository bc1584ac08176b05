"""What the library takes besides the time of calls: memory in Redis, opening, importing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from figures import Figure
from rounds import Case, interleave
from server import Server
from setting import CALLS, PREFIX, Setting, messages, packed

from redis_memory import ConversationMemory, push

CONVERSATIONS = 20_000
MESSAGES = 1_000
# Processor time: the clock on the wall would count other programs that have the core meanwhile.
TIMED_IMPORT = """\
import time
{others}
begun = time.process_time()
from redis_memory import Conversations, ConversationMemory, batch, lock, watch
print(time.process_time() - begun)
"""


def memory(setting: Setting) -> Iterator[Figure]:
    """The bytes of a conversation in Redis, beside those of the same messages in a plain list."""
    (length,) = setting.sizes(MESSAGES)
    client = setting.client
    conversation = setting.memory("weighed")
    for message in messages(length):
        push(conversation, "messages", message)
        client.rpush("plain", *packed([message]))
    ours = sum(_bytes(setting, key) for key in client.scan_iter(f"{PREFIX}*"))
    plain = _bytes(setting, "plain")
    detail = f"{ours:,} bytes / {plain:,} bytes"
    name = f"memory of a conversation of {length:,} messages / the same by rpush"
    yield Figure(name, ours / plain, 1.1, detail=detail)


def _bytes(setting: Setting, key: Any) -> int:
    taken: Any = setting.client.memory_usage(key, samples=0)
    return int(taken)


def opening(setting: Setting) -> Iterator[Figure]:
    """Open a conversation and read it once: beside many others, and alone on its server."""
    (others,) = setting.sizes(CONVERSATIONS)
    for number in range(others):
        setting.memory(f"other-{number}").topic = "billing"
    with Server() as empty:
        timings = interleave(
            {
                "crowded": _opened(setting.server),
                "alone": _opened(empty),
                "hget": Case(lambda _: setting.client.hget("plain", "topic")),
            },
            rounds=setting.rounds,
            calls=CALLS,
        )
    name = f"open and read beside {others:,} other conversations / beside none"
    yield Figure.of(name, timings, "crowded", "alone", 1.1)
    yield Figure.of("open and read / hget", timings, "alone", "hget")


def _opened(server: Server) -> Case:
    def opened(_: int = 0) -> Any:
        return ConversationMemory("opened", server.url, prefix=PREFIX).topic

    ConversationMemory("opened", server.url, prefix=PREFIX).topic = "billing"
    return Case(opened)


def importing(setting: Setting) -> Iterator[Figure]:
    """Import the library where redis and pydantic are imported already."""
    yield _importing(setting.rounds, "import redis, pydantic", 100)
    # pydantic loads its parts when they are first asked for, as most applications have done
    yield _importing(setting.rounds, "import redis; from pydantic import BaseModel")


def _importing(rounds: int, others: str, wanted: float | None = None) -> Figure:
    command = [sys.executable, "-c", TIMED_IMPORT.format(others=others)]
    environment = {**os.environ}
    # as installed: compiled once, and not at each start
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    spent = [
        float(
            subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            ).stdout
        )
        * 1e3
        for _ in range(2 + rounds)
    ]
    # without the first one, which may have had to compile
    low, middle, high = statistics.quantiles(spent[1:], n=4, method="inclusive")
    return Figure(f"import redis_memory after `{others}`", middle, wanted, "ms", (low, high))
