"""The soak: clients on a bad network, while they and the server are killed at random."""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from redis_memory import ConversationMemory, snapshot
from tests.servers import Server
from tests.soak import client, network
from tests.soak.client import Job
from tests.soak.diary import Story
from tests.soak.observer import Observer
from tests.soak.verdict import Verdict, judge
from tests.waiting import wait_until

# seconds between two of a kind
SERVER_EVERY_S = (0.6, 2.4)
CLIENT_EVERY_S = (0.05, 0.5)
DOWN_S = (0.0, 0.6)
FREEZES = 0.25
BEREAVED = 0.3
LEAVE_LIMIT_S = 60.0

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.soak.client", "tests.soak.network"])


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, with how many, and the seed that drives every random choice."""

    seconds: float
    seed: int
    writers: int = 4
    proxies: int = 2


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, and the verdict on what came of it."""

    plan: Plan
    faults: Counter[str]
    kills: Counter[str]
    looks: int
    verdict: Verdict

    def __str__(self) -> str:
        by_kind = "\n".join(f"    {kind:28}{n}" for kind, n in sorted(self.faults.items()))
        kills = ", ".join(f"{what} {n}" for what, n in sorted(self.kills.items()))
        return (
            f"soak of {self.plan.seconds:g} s, SEED={self.plan.seed}\n"
            f"faults            {self.faults.total()}\n{by_kind}\n"
            f"kills             {kills}; the observer looked {self.looks} times\n"
            f"{self.verdict}"
        )


def soak(plan: Plan) -> Report:
    """Run a soak and judge it; takes some seconds longer than planned."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rm-soak-")))
        # a server that forgets nothing it has acknowledged, whenever it is killed
        server = stack.enter_context(Server(tcp=True, appendonly="yes", appendfsync="always"))
        with Soak(plan, server, folder) as running:
            running.work()
            return running.finish()


class Soak:
    """The processes of one soak, and when each of them dies."""

    def __init__(self, plan: Plan, server: Server, folder: Path) -> None:
        self.plan: Plan = plan
        self.random = random.Random(plan.seed)
        self.kills: Counter[str] = Counter()
        self._server = server
        self._journal = folder / "journal"
        self._diaries = folder / "diaries"
        self._diaries.mkdir()
        self._id = uuid.uuid4().hex
        self._prepare()
        self._networks = [self._network(number) for number in range(plan.proxies)]
        # a client's journal is adopted only by one that names the same address
        self._urls: list[str] = [control.recv() for _, control in self._networks]
        self._generations: Counter[int] = Counter()
        self._clients = {slot: self._client(slot) for slot in range(plan.writers)}
        self._observer = Observer(server.url, f"memory:{{{self._id}}}")
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._observer.stop()
        for process in [*self._clients.values(), *(process for process, _ in self._networks)]:
            process.kill()
            process.join()

    def _prepare(self) -> None:
        with ConversationMemory(self._id, self._server.url) as memory:
            memory.log, memory.table, memory.members, memory.tree = [], {}, set(), {}

    def _network(self, number: int) -> tuple[BaseProcess, Connection[Any, Any]]:
        ours, theirs = _processes.Pipe()
        seed = f"{self.plan.seed}/network {number}"
        arguments = (self._server.tcp_url, seed, theirs)
        process = _processes.Process(target=network.carry, args=arguments)
        process.start()
        return process, ours

    def _client(self, slot: int) -> BaseProcess:
        self._generations[slot] += 1
        name = self._name(slot)
        job = Job(
            name,
            self._urls[slot % len(self._urls)],
            self._id,
            self._journal,
            self._diary(name),
            f"{self.plan.seed}/client {name}",
            # of the clients on each proxy every second one
            is_async=slot // len(self._urls) % 2 == 1,
        )
        process = _processes.Process(target=client.work, args=(job,))
        process.start()
        return process

    def _name(self, slot: int) -> str:
        return f"{slot}_{self._generations[slot]}"

    def _diary(self, client: str) -> Path:
        return self._diaries / f"{client}.diary"

    def work(self) -> None:
        """Kill clients and the server until the time is over."""
        end_s = time.monotonic() + self.plan.seconds
        next_server_s = time.monotonic() + self.random.uniform(*SERVER_EVERY_S)
        while time.monotonic() < end_s:
            self._wait(CLIENT_EVERY_S)
            self._replace_client(self.random.randrange(self.plan.writers))
            if time.monotonic() >= next_server_s:
                self._interrupt_server()
                next_server_s = time.monotonic() + self.random.uniform(*SERVER_EVERY_S)

    def _wait(self, between: tuple[float, float]) -> None:
        self._stop.wait(self.random.uniform(*between))

    def _replace_client(self, slot: int) -> None:
        process = self._clients[slot]
        process.kill()
        process.join()
        self.kills["clients"] += 1
        self._clients[slot] = self._client(slot)

    def _interrupt_server(self) -> None:
        if self.random.random() < FREEZES:
            self.kills["server frozen"] += 1
            self._server.freeze()
            self._bereave()
            self._server.thaw()
            return
        self.kills["server"] += 1
        self._server.kill()
        self._bereave()
        self._server.start()

    def _bereave(self) -> None:
        """While the server is away, end some of the clients whose changes wait."""
        self._wait(DOWN_S)
        for slot in range(self.plan.writers):
            if self.random.random() < BEREAVED:
                self._replace_client(slot)
                self._wait(DOWN_S)

    def finish(self) -> Report:
        """Let everything be delivered, and judge."""
        faults: Counter[str] = Counter()
        for _, control in self._networks:
            control.send("stop")
            faults += control.recv()
        troubles = self._part()
        troubles += self._deliver_what_is_left()
        self._observer.close()
        stories = [Story.read(path) for path in sorted(self._diaries.iterdir())]
        with ConversationMemory(self._id, self._server.url) as memory:
            stored = snapshot(memory)
        for _, control in self._networks:
            control.send("end")
        log = self._observer.log()
        verdict = judge(stories, stored, log)
        if [tuple(entry) for entry in stored["log"]] != log:
            troubles.append("the library and the observer have seen different lists")
        verdict.troubles += troubles + self._observer.troubles
        return Report(self.plan, faults, self.kills, self._observer.looks, verdict)

    def _part(self) -> list[str]:
        troubles = []
        for slot, process in self._clients.items():
            wait_until(self._diary(self._name(slot)).exists, what="the start of a client")
            process.terminate()
        for slot, process in self._clients.items():
            process.join(LEAVE_LIMIT_S)
            if process.exitcode != 0:
                troubles.append(f"client {slot} ended with {process.exitcode}")
        return troubles

    def _deliver_what_is_left(self) -> list[str]:
        """Adopt the journals of those that were killed last; whatever cannot be is trouble."""
        memories = [
            ConversationMemory(self._id, url, journal=self._journal, timeout_s=5)
            for url in self._urls
        ]
        try:
            wait_until(lambda: not list(self._journal.glob("*.journal")), LEAVE_LIMIT_S)
        except AssertionError:
            return [f"{path.name} was not delivered" for path in self._journal.iterdir()]
        finally:
            for memory in memories:
                memory.__exit__()
        return [f"{path.name} was set aside" for path in self._journal.glob("*.expired*")]
