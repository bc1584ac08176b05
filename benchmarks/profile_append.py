"""Where the time of an append by a held proxy goes: Python, the way, the server's script.

The script's share is what the server counts itself (`INFO commandstats`). What remains of the time
between sending and the reply is the way: the system calls of both sides and the change from one
process to the other. A PING on a bare socket shows what of it nobody can save.
"""

from __future__ import annotations

import socket
import statistics
from time import perf_counter_ns
from typing import Any

import redis
from lists import ADDED, ChatList
from rounds import WARM_CALLS
from server import Server, pin_to_one_core
from setting import Setting

from redis_memory.core.calls import Call
from redis_memory.link.wire import Wire
from redis_memory.memory import core_of

ROUNDS = 30
PING = b"*1\r\n$4\r\nPING\r\n"


class ClockedWire:
    """A wire that notes when a call enters it and when the reply leaves it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.entered = self.left = 0

    def call(self, call: Call) -> Any:
        """Clock a call on its way."""
        self.entered = perf_counter_ns()
        reply = self._wire.call(call)
        self.left = perf_counter_ns()
        return reply

    def send(self, *parts: bytes) -> Any:
        """Send any command."""
        return self._wire.send(*parts)

    def close(self) -> None:
        """Drop the connection."""
        self._wire.close()


def main() -> None:
    pin_to_one_core()
    with Server() as server, server.client() as client:
        chat = ChatList(Setting(server, client, ROUNDS, shrink=1), 100)
        before, between, after = spans(chat)
        script = share_of_script(chat, client)
        print("one append by a held proxy, in microseconds:")
        print(f"{before:6.1f}  Python before the message is handed to the connection")
        print(f"{between - script:6.1f}  the way to the server and back, and packing the command")
        print(f"{script:6.1f}  the script")
        print(f"{after:6.1f}  Python after the reply")
        print(f"a PING on a bare socket takes {bare_ping(server):.1f}")


def spans(chat: ChatList) -> list[float]:
    """Microseconds before, inside and after the connection: the medians of all calls."""
    idle = core_of(chat.memory).driver.link._idle
    clocked = ClockedWire(idle.pop())
    idle.append(clocked)
    append = chat.held_proxy()
    measured: list[tuple[int, int, int]] = []
    for _ in range(ROUNDS):
        append.prepare()
        for turn in range(len(ADDED)):
            begun = perf_counter_ns()
            append.call(turn)
            ended = perf_counter_ns()
            if turn >= WARM_CALLS:
                entered, left = clocked.entered, clocked.left
                measured.append((entered - begun, left - entered, ended - left))
    return [statistics.median(span) / 1e3 for span in zip(*measured, strict=True)]


def share_of_script(chat: ChatList, client: redis.Redis) -> float:
    """Microseconds of the server inside the script, on average."""
    append = chat.held_proxy()
    append.prepare()
    client.config_resetstat()
    for turn in range(len(ADDED)):
        append.call(turn)
    stats: Any = client.info("commandstats")
    share: float = stats["cmdstat_evalsha"]["usec_per_call"]
    return share


def bare_ping(server: Server) -> float:
    """Microseconds of the shortest round trip there is."""
    with socket.socket(socket.AF_UNIX) as bare:
        bare.connect(server.socket)
        measured = []
        for _ in range(2000):
            begun = perf_counter_ns()
            bare.sendall(PING)
            bare.recv(64)
            measured.append(perf_counter_ns() - begun)
    return statistics.median(measured) / 1e3


if __name__ == "__main__":
    main()
