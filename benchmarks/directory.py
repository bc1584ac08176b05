"""What the directory costs those who write, and those who look at it.

    python benchmarks/directory.py

prints the figures of a whole directory: 100,000 conversations take some minutes to begin. `run.py`
measures keeping the index along with everything else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import redis
from figures import Figure, summary, table
from rounds import Case, interleave
from server import Server, pin_to_one_core
from setting import CALLS, Setting, message, messages

from redis_memory import ConversationMemory, Conversations, Memory
from redis_memory.core.index import Directory
from redis_memory.core.keys import DirectoryKeys
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.transfer import Whole
from redis_memory.core.values import DEFAULT_LIMITS

PREFIX = "whole:"
OTHER_PREFIX = "exported:"
MANY = 100_000
EXPORTED = 10_000
TURNS = 20
OLD_US = 60 * 86_400_000_000
# In a packet; what is measured is not how fast they are begun.
PACKET = 500
_LONGEST_S = 0.001


def keeping(setting: Setting) -> Iterator[Figure]:
    """A write to a conversation beside one to the memory of a prefix, which is in no directory."""
    conversation = setting.memory("indexed")
    plain = Memory(setting.server.url, prefix="unindexed:")
    conversation.messages, plain.messages = [], []
    held, beside = conversation.messages, plain.messages
    cases = {
        "plain append": Case(lambda turn: beside.append(message(turn)), beside.clear),
        "append": Case(lambda turn: held.append(message(turn)), held.clear),
        "plain assign": Case(lambda turn: setattr(plain, "topic", turn)),
        "assign": Case(lambda turn: setattr(conversation, "topic", turn)),
    }
    timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    for call in ("append", "assign"):
        name = f"{call} with the index / without it"
        yield Figure.of(name, timings, call, f"plain {call}", 1.05)
    long_s = 3.0 if setting.shrink == 1 else 0.2
    for call in ("append", "assign"):
        ratio = _long_run(cases[call], cases[f"plain {call}"], long_s)
        yield Figure(f"all {call}s of seconds with the index / without it", ratio, 1.05)


def _long_run(case: Case, plain: Case, long_s: float) -> float:
    """All calls, those that bring an entry along among them; the two take turns."""
    spent = [0.0, 0.0]
    until_s = perf_counter() + long_s
    turn = 0
    while perf_counter() < until_s:
        for side, each in enumerate((case, plain)):
            if turn % 1000 == 0:
                each.prepare()
            begun = perf_counter()
            each.call(turn)
            # what takes longer is another program that had the core
            spent[side] += min(perf_counter() - begun, _LONGEST_S)
        turn += 1
    return spent[0] / spent[1]


def fill(setting: Setting, count: int, prefix: str) -> None:
    """Begin conversations of 20 messages, half of them idle for 60 days."""
    directory = Directory(prefix, DEFAULT_LIMITS)
    arguments = Whole(directory, {"topic": "billing", "messages": messages(TURNS)}).arguments
    restore = setting.client.register_script(SCRIPTS["restore"].source)
    index = DirectoryKeys(prefix).index
    restore(keys=[b"warm", b"warm~"], args=[b"w:1", b"create", b"", b"", b"", b"x", b"n", 1, b"1"])
    setting.client.delete("warm")
    seconds, micros = setting.client.time()
    old_us = seconds * 1_000_000 + micros - OLD_US
    for first in range(0, count, PACKET):
        with setting.client.pipeline(transaction=False) as packet:
            for number in range(first, min(first + PACKET, count)):
                tag = b"c-%d" % number
                memory = b"%b{%b}" % (prefix.encode(), tag)
                made = [memory, memory + b"~stamps", memory + b":topic", memory + b":messages"]
                head = [b"%d:1" % number, b"create", b"", b"", b""]
                packet.evalsha(restore.sha, len(made), *made, *head, *arguments)
                at_us = old_us + number if number % 2 else old_us + OLD_US + number
                version = f"{at_us:013x}"
                packet.hset(memory, mapping={"_version": version, "_created": version})
                packet.zadd(index, {tag: at_us})
            packet.execute()


def whole(setting: Setting, folder: Path) -> Iterator[Figure]:
    """List, export and prune a large directory."""
    count, exported = setting.sizes(MANY)[0], setting.sizes(EXPORTED)[0]
    fill(setting, count, PREFIX)
    with Conversations(setting.server.url, prefix=PREFIX) as directory:
        assert directory.count() == count
        orders = {
            "recent": Case(lambda _: directory.list(limit=100)),
            "oldest": Case(lambda _: directory.list("oldest", limit=100)),
        }
        timings = interleave(orders, rounds=setting.rounds, calls=20)
        for order in orders:
            name = f"list 100 of {count:,} conversations, the {order} first"
            yield Figure(
                name.replace("most oldest", "oldest"), timings.median(order) * 1000, 5.0, "ms"
            )
        seen = _monitored(setting, directory)
        assert b"ZREVRANGEBYSCORE" in seen
        scans = sum(name in (b"KEYS", b"SCAN") for name in seen)
        yield Figure("KEYS and SCAN seen by MONITOR during list", float(scans), 0.0)
        yield from _prune(setting, directory, count)
    yield from _export(setting, exported, folder)


def _monitored(setting: Setting, directory: Conversations) -> list[bytes]:
    """The commands that the server sees while pages are listed."""
    seen: list[bytes] = []
    with setting.server.client() as watcher, watcher.monitor() as monitor:
        directory.list(limit=100)
        directory.list("oldest", idle_for=1, match="c-*", where="exists(topic)", limit=100)
        setting.client.echo("end")
        for told in monitor.listen():
            name = told["command"].partition(" ")[0].upper().encode()
            if name == b"ECHO":
                return seen
            seen.append(name)
    return seen


def _export(setting: Setting, count: int, folder: Path) -> Iterator[Figure]:
    fill(setting, count, OTHER_PREFIX)
    # no more than two numbers: what is noted here counts, too
    peaks = [0, 0]

    def note(written: int) -> None:
        peaks[written > count // 10] = tracemalloc.get_traced_memory()[1]

    with Conversations(setting.server.url, prefix=OTHER_PREFIX) as directory:
        tracemalloc.start()
        report = directory.export(folder / "all.jsonl", progress=note)
        tracemalloc.stop()
    assert report.conversations == count
    early, late = peaks
    name = f"most memory in an export of {count:,} / in its first tenth"
    yield Figure(name, late / early, 1.2)
    if sys.platform == "linux":
        few = f"{OTHER_PREFIX}few:"
        fill(setting, count // 10, few)
        small, large = (_grown_mib(setting.server, prefix) for prefix in (few, OTHER_PREFIX))
        yield Figure(f"growth of peak RSS in an export of {count // 10:,}", small, None, "MiB")
        yield Figure(f"growth of peak RSS in an export of {count:,}", large, small + 1.0, "MiB")


def _grown_mib(server: Server, prefix: str) -> float:
    """By how much a process of its own grows while it exports all of a prefix."""
    command = [sys.executable, __file__, "--export", server.url, prefix]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def export(url: str, prefix: str) -> None:
    """Export all of a prefix, and tell by how many MiB the most memory ever held has grown."""
    with Conversations(url, prefix=prefix) as directory:
        directory.export("/dev/null", directory.list(limit=10).ids)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _status_kib("VmHWM")
        directory.export("/dev/null")
    print((_status_kib("VmHWM") - before) / 1024)


def _status_kib(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0])


def _prune(setting: Setting, directory: Conversations, count: int) -> Iterator[Figure]:
    idle = Latency(setting.server)
    threading.Event().wait(2.0)
    idle_p99_s = idle.stop()
    busy = Latency(setting.server)
    begun = perf_counter()
    report = directory.prune(timedelta(days=30))
    spent_s = perf_counter() - begun
    busy_p99_s = busy.stop()
    assert report.pruned == count // 2, report.pruned
    yield Figure(f"prune {report.pruned:,} of {count:,} conversations", spent_s, 20.0, "s")
    detail = f"{busy_p99_s * 1e6:.0f} us / {idle_p99_s * 1e6:.0f} us"
    name = "p99 of another client during a prune / idle"
    yield Figure(name, busy_p99_s / idle_p99_s, 5.0, detail=detail)


class Latency:
    """Another client, in a process of its own, that times its calls until it is told to stop."""

    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--client", server.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> float:
        """The slowest of a hundred of its calls, in seconds."""
        answer, _ = self._process.communicate("\n")
        return float(answer)


def client(socket: str) -> None:
    """Time one call each millisecond."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    with redis.Redis(unix_socket_path=socket) as other:
        other.get("plain")
        print("ready", flush=True)
        spent = []
        while not stop.wait(0.001):
            begun = perf_counter()
            other.get("plain")
            spent.append(perf_counter() - begun)
    print(statistics.quantiles(spent, n=100)[98])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--shrink", type=int, default=1, help="divide all sizes by so much")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--export", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(options.client)
        return
    if options.export:
        export(*options.export)
        return
    # on one core, as in `run.py`; what follows takes all of them, as other clients do
    cores = os.sched_getaffinity(0) if sys.platform == "linux" else set()
    pin_to_one_core()
    with Server() as server, server.client() as plain:
        kept = [*keeping(Setting(server, plain, options.rounds, options.shrink))]
    if cores:
        os.sched_setaffinity(0, cores)
    with (
        Server() as server,
        server.client() as plain,
        tempfile.TemporaryDirectory() as folder,
    ):
        setting = Setting(server, plain, options.rounds, options.shrink)
        ConversationMemory("warm", server.url).topic = "warm"
        figures = [*kept, *whole(setting, Path(folder))]
    print(table(figures), summary(figures), sep="\n\n")


if __name__ == "__main__":
    main()
