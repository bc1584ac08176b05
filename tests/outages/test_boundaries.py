"""Where being away begins and ends: time limits, flapping, refusals, and leaving with changes."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import (
    AccessDeniedError,
    ConversationMemory,
    DataLossWarning,
    NotReplicatedError,
    OfflineError,
    close,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from tests.alarms import AlarmError, alarms
from tests.faults import FaultProxy
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.network import (
    AWAY,
    DRAIN_S,
    GRACE_S,
    PATIENT_S,
    QUICKLY,
    RECONNECTS,
    TIMEOUT_S,
    is_any,
    reconnecting_threads,
)
from tests.servers import HOST, Server, free_port
from tests.waiting import in_time, wait_until

# how long anybody waits


@pytest.mark.parametrize("away", AWAY.values(), ids=list(AWAY))
def test_only_the_first_call_waits(
    open_face: OpenFace,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    away: Callable[[FaultProxy], None],
) -> None:
    """It waits `timeout_s` at most; those behind it return at once, and all are made later."""
    face = open_face(name, proxy.url, reconnect_max_s=60)
    face.assign("log", [])
    away(proxy)
    with in_time(TIMEOUT_S + GRACE_S):
        face.push("log", 0)
    with in_time(GRACE_S):
        for number in range(1, 200):
            face.push("log", number)
        assert face.read("log") == list(range(200))
        assert not face.status().online
        with pytest.raises(OfflineError):
            face.call("log", "pop")
        with pytest.raises(OfflineError):
            face.read("unknown")
    proxy.drop()
    proxy.heal()
    assert face.flush() == 0
    assert other.log == list(range(200))


def test_nothing_touches_the_network_while_away(
    open_memory: OpenMemory, proxy: FaultProxy, name: str
) -> None:
    """Calls send nothing: what the proxy sees while 1,000 of them are made, the search has sent."""
    memory = open_memory(name, proxy.url, reconnect_max_s=60)
    memory.log = []
    memory.topic = "billing"
    proxy.lose_replies(math.inf, how="timeout", when=is_any)
    log = memory.log = ["first"]
    wait_until(lambda: not status(memory).online, what="the outage")
    before = proxy.requests_seen(lambda request: request.name != b"PING" and is_work(request.name))
    for number in range(500):
        push(memory, "log", number)
        memory.topic = f"{number}"
        assert memory.topic == f"{number}"
        assert len(memory.log) == len(log) + number + 1
    after = proxy.requests_seen(lambda request: request.name != b"PING" and is_work(request.name))
    assert after == before
    proxy.drop()
    proxy.heal()
    assert flush(memory, DRAIN_S) == 0


def is_work(name: bytes) -> bool:
    """Whether a command is none of those that greet a server."""
    return name not in (b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"INFO", b"COMMAND")


def test_a_frozen_server_is_waited_for_once(
    open_face: OpenFace, own_server: Server, name: str
) -> None:
    """A halted process: the caller is back in time, and what it sent is made exactly once later."""
    face = open_face(name, own_server.url)
    face.assign("log", [])
    own_server.freeze()
    with in_time(TIMEOUT_S + GRACE_S):
        face.call("log", "append", 0)
    with in_time(GRACE_S):
        for number in range(1, 50):
            face.call("log", "append", number)
            face.increment("count")
    own_server.thaw()
    assert face.flush() == 0
    assert face.snapshot() == {"log": list(range(50)), "count": 49}
    assert face.conflicts() == []


def test_a_memory_that_never_saw_its_server_waits(
    open_face: OpenFace, own_server: Server, name: str
) -> None:
    """Opened while the server is away, it takes writes, and delivers them when there is one."""
    own_server.stop()
    face = open_face(name, own_server.tcp_url)
    with in_time(TIMEOUT_S + GRACE_S):
        face.assign("topic", "billing")
    face.push("log", 1)
    face.increment("count")
    assert face.read("topic") == "billing"
    own_server.start()
    assert face.flush() == 0
    assert face.snapshot() == {"topic": "billing", "log": [1], "count": 1}


# flapping


def test_flapping_loses_and_doubles_nothing(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Back for a moment and gone again, 100 times: all there, once, and nothing piles up."""
    threads = threading.active_count()
    face = open_face(name, proxy.url, timeout_s=0.05)
    face.assign("log", [])
    number = 0
    for _ in range(100):
        proxy.refuse()
        for _ in range(5):
            face.push("log", number)
            face.increment("count")
            number += 1
        seen = proxy.connections
        proxy.heal()
        wait_until(lambda seen=seen: proxy.connections > seen, what="somebody who looks")  # type: ignore[misc]
        assert len(reconnecting_threads()) <= 1
        assert proxy.open_connections <= 3
    assert face.flush() == 0
    assert other.log == list(range(number))
    assert other.count == number
    assert face.conflicts() == []
    assert face.status().data_loss == 0
    face.close()
    wait_until(lambda: not proxy.open_connections, what="the end of its connections")
    wait_until(lambda: threading.active_count() <= threads, what="the end of its threads")


def test_the_search_for_a_server_is_no_busy_loop(
    open_face: OpenFace, proxy: FaultProxy, name: str
) -> None:
    """There are pauses between attempts: 12 of them take more than a fifth of a second."""
    face = open_face(name, proxy.url, reconnect_max_s=0.2)
    face.assign("log", [])
    proxy.lose_replies(math.inf, when=is_any)
    face.push("log", 1)
    begin, before, work = time.monotonic(), proxy.connections, time.process_time()
    wait_until(lambda: proxy.connections >= before + 12, 20, what="12 attempts")
    assert time.monotonic() - begin > 0.2
    # the proxy and this very wait run in the same process
    assert time.process_time() - work < 0.5 * (time.monotonic() - begin)
    proxy.heal()
    assert face.flush() == 0


def test_an_outage_leaves_no_thread_and_no_connection(
    open_memory: OpenMemory, proxy: FaultProxy, name: str
) -> None:
    """One thread looks for the server, however many memories wait, and ends with the outage."""
    memories = [open_memory(f"{name}-{number}", proxy.url) for number in range(5)]
    for memory in memories:
        memory.log = []
    proxy.refuse()
    for memory in memories:
        memory.log.append(1)
    assert len(reconnecting_threads()) == 1
    proxy.heal()
    assert [flush(memory, DRAIN_S) for memory in memories] == [0] * 5
    wait_until(lambda: not reconnecting_threads(), what="the end of the thread")
    assert proxy.open_connections <= 2


# leaving


def test_leaving_waits_for_the_queue(
    proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """`with` ends only when the server has everything, if it is back in time."""
    with ConversationMemory(name, proxy.url, **{**QUICKLY, "close_timeout_s": DRAIN_S}) as memory:
        memory.log = []
        proxy.refuse()
        for number in range(100):
            memory.log.append(number)
        healer = threading.Timer(0.2, proxy.heal)
        healer.start()
    healer.join()
    assert other.log == list(range(100))
    assert not reconnecting_threads()


def test_leaving_without_the_server_says_what_is_lost(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Without a journal, what still waits when `close_timeout_s` is over is lost, and counted."""
    face = open_face(name, proxy.url, close_timeout_s=0.2)
    face.assign("log", [])
    proxy.refuse()
    for number in range(7):
        face.push("log", number)
    with in_time(0.2 + 2 * GRACE_S), pytest.warns(DataLossWarning, match="7 changes") as caught:
        face.close()
    warning = caught[0].message
    assert isinstance(warning, DataLossWarning)
    assert (warning.forgotten, warning.repaired) == (7, 0)
    proxy.heal()
    assert other.log == []
    assert not reconnecting_threads()


def test_closing_twice_says_it_once(open_memory: OpenMemory, proxy: FaultProxy, name: str) -> None:
    """A second `close` has nothing to lose."""
    memory = open_memory(name, proxy.url, close_timeout_s=0.05)
    proxy.refuse()
    memory.topic = "billing"
    with pytest.warns(DataLossWarning):
        close(memory)
    close(memory)


# servers that are there and do not serve


def test_a_read_only_server_is_away(open_face: OpenFace, own_server: Server, name: str) -> None:
    """READONLY, as after a failover: writes wait, reads go on, and all is made on a primary."""
    face = open_face(name, own_server.url)
    face.assign("log", ["a"])
    own_server.client().replicaof(HOST, str(free_port()))
    face.call("log", "append", "b")
    face.push("log", "c")
    face.increment("count")
    assert face.status().queued == 3
    assert face.read("log") == ["a", "b", "c"]
    own_server.client().replicaof("NO", "ONE")
    assert face.flush() == 0
    assert face.snapshot() == {"log": ["a", "b", "c"], "count": 1}
    assert face.conflicts() == []


def test_a_loading_server_is_away(open_face: OpenFace, name: str) -> None:
    """While a server reads its snapshot, writes wait; then they are made on what it read."""
    with Server(key_load_delay="3000", loading_process_events_interval_bytes="1024") as server:
        face = open_face(name, server.url)
        face.assign("log", ["a"])
        for number in range(400):
            server.client().set(f"filler-{number}", "x" * 200)
        server.stop()
        starter = threading.Thread(target=server.start)
        starter.start()
        wait_until(lambda: is_loading(server), what="a server that loads")
        face.push("log", "b")
        assert face.status().queued == 1
        assert is_loading(server)
        assert "LOADING" in str(face.status().reason) or not face.status().online
        starter.join()
        assert face.flush() == 0
        assert face.read("log") == ["a", "b"]


def is_loading(server: Server) -> bool:
    """Whether a server answers that it reads its snapshot."""
    try:
        server.client().ping()
    except Exception as error:  # noqa: BLE001 - refused first, then of a class of its own
        return "BusyLoading" in type(error).__name__ or "LOADING" in str(error)
    return False


def test_a_rotated_password_keeps_the_queue(open_face: OpenFace, name: str) -> None:
    """Refused after an outage: what waits is kept, the state says why, and it recovers."""
    with Server(password="old") as server, FaultProxy(server.url) as proxy:
        face = open_face(name, proxy.url)
        face.assign("log", [])
        proxy.refuse()
        for number in range(3):
            face.push("log", number)
        server.client().execute_command("ACL", "SETUSER", "default", "resetpass", ">new")  # type: ignore[no-untyped-call]
        proxy.heal()

        def is_told() -> bool:
            return "refuses this user" in str(face.status().reason)

        wait_until(is_told, what="a status that names the password")
        standing = face.status()
        assert (standing.online, standing.queued) == (False, 3)
        assert "old" not in str(standing)
        with pytest.raises(AccessDeniedError):
            face.increment("count")
        assert face.flush(0.2) == 3
        server.client().execute_command("ACL", "SETUSER", "default", "resetpass", ">old")  # type: ignore[no-untyped-call]
        assert face.flush() == 0
        face.push("log", 3)
        assert face.read("log") == [0, 1, 2, 3]
        assert not face.has("count")


def test_a_password_that_was_never_right_queues_nothing(open_face: OpenFace, name: str) -> None:
    """A wrong password is told at the first write, at once, and nothing waits for it."""
    with Server(password="right", tcp=True) as server:
        face = open_face(name, f"redis://:wrong@{HOST}:{server.port}", timeout_s=PATIENT_S)
        for _ in range(2):
            with in_time(1.0), pytest.raises(AccessDeniedError):
                face.push("log", 1)
        assert face.status().queued == 0


# replicas


def test_a_durable_change_is_on_the_replica(
    open_face: OpenFace, own_server: Server, name: str
) -> None:
    """With `replicas:1` a write that returned, or that was flushed, is on the replica too."""
    with (
        Server(replica_of=own_server) as replica,
        FaultProxy(own_server.url) as proxy,
        ConversationMemory(name, replica.url, timeout_s=PATIENT_S) as reader,
    ):
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        face = open_face(name, proxy.url, timeout_s=2.0, durability="replicas:1")
        face.assign("log", [])
        for number in range(30):
            face.push("log", number)
            assert len(reader.log) == number + 1
        proxy.refuse()
        for number in range(30, 60):
            face.push("log", number)
        proxy.heal()
        assert face.flush() == 0
        assert reader.log == list(range(60))


def test_too_few_replicas_are_told_and_nothing_is_doubled(
    open_face: OpenFace, own_server: Server, name: str
) -> None:
    """The change is made, once; `NotReplicatedError` says that the replicas do not have it yet."""
    with Server(replica_of=own_server) as replica:
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        face = open_face(name, own_server.url, timeout_s=1.0, durability="replicas:1")
        face.assign("log", [])
        replica.freeze()
        for number in range(3):
            with in_time(1.0 + GRACE_S), pytest.raises(NotReplicatedError):
                face.push("log", number)
        assert face.read("log") == [0, 1, 2]
        assert face.status().queued == 0
        replica.thaw()

        def is_replicated() -> bool:
            try:
                face.push("log", "last")
            except NotReplicatedError:
                return False
            return True

        wait_until(is_replicated, what="a replica that has caught up")
        log = face.read("log")
        assert log[:3] == [0, 1, 2]
        assert set(log[3:]) == {"last"}


def test_more_replicas_than_there_are_is_told_on_every_change(
    open_face: OpenFace, own_server: Server, name: str
) -> None:
    """Each kind of change is made and says so; reads need no replica."""
    face = open_face(name, own_server.url, timeout_s=1.0, durability="replicas:2")
    for change in (
        lambda: face.assign("log", []),
        lambda: face.call("log", "append", 1),
        lambda: face.increment("count"),
        lambda: face.delete("count"),
    ):
        with pytest.raises(NotReplicatedError, match="0 of 2"):
            change()
    assert face.snapshot() == {"log": [1]}


def test_an_interrupted_change_is_made_once_or_not_at_all(
    open_memory: OpenMemory, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """An exception in the middle of a call that meets an outage leaves order and numbers right."""
    memory = open_memory(name, proxy.url)
    memory.log = []
    proxy.refuse()
    push(memory, "log", 0)
    with pytest.raises(ZeroDivisionError):
        memory.log.extend(1 // (2 - number) for number in range(3))
    memory.log.sort(key=lambda value: increment(memory, "sorted") or value)
    push(memory, "log", 1)
    assert memory.log == [0, 1]
    proxy.heal()
    assert flush(memory, DRAIN_S) == 0
    assert other.log == [0, 1]
    assert other.sorted == 1


def interrupted_outages(url: str, name: str, pause_s: float) -> None:
    """Change a memory that comes and goes, under alarms that raise; runs in a process of its own.

    Writes how many calls were cut off; what is wrong raises.
    """
    armed = [False]
    cut = 0

    def strike() -> None:
        if armed[0]:
            raise AlarmError

    done: list[int] = []
    with FaultProxy(url) as proxy:
        memory = ConversationMemory(name, proxy.url, timeout_s=0.1, reconnect_max_s=0.05)
        memory.log = []
        with alarms(pause_s, strike):
            for number in range(1500):
                if number % 100 == 20:
                    proxy.refuse()
                elif number % 100 == 70:
                    proxy.heal()
                try:
                    armed[0] = True
                    push(memory, "log", number)
                    increment(memory, "count")
                    armed[0] = False
                    done.append(number)
                except AlarmError:
                    armed[0] = False
                    cut += 1
        proxy.heal()
        assert flush(memory, DRAIN_S) == 0, "changes wait for ever"
        check_what_came(memory, snapshot(ConversationMemory(name, url)), done)
        close(memory)
    sys.stdout.write(str(cut))


def test_a_search_that_could_not_begin_is_begun_again(
    open_memory: OpenMemory,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler that raises while the thread is being started costs no delivery."""
    memory = open_memory(name, proxy.url)
    memory.log = []
    start, strikes = threading.Thread.start, [AlarmError()]

    def struck(thread: threading.Thread) -> None:
        if thread.name == RECONNECTS and strikes:
            raise strikes.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", struck)
    proxy.refuse()
    with pytest.raises(AlarmError):
        push(memory, "log", 0)
    push(memory, "log", 1)
    proxy.heal()
    assert flush(memory, 2) == 0
    assert other.log[-1] == 1


def check_what_came(memory: ConversationMemory, stored: dict[str, Any], done: list[int]) -> None:
    """What had returned is stored, nothing is there twice, and this process sees the same."""
    assert stored["log"] == sorted(set(stored["log"])), "a push was doubled or out of order"
    assert set(done) <= set(stored["log"]), "a push that had returned was lost"
    assert len(done) <= stored.get("count", 0) <= 1500, "an increment was doubled or lost"
    assert memory.log == stored["log"], "this process sees another list"
    assert status(memory).data_loss == status(memory).conflicts == 0


@pytest.mark.parametrize("pause_s", [0.0011, 0.0037])
def test_alarms_that_raise_in_an_outage(name: str, server: Server, pause_s: float) -> None:
    """A handler that raises anywhere in a call: what returned comes once, in order; no hang."""
    call = f"interrupted_outages({server.url!r}, {name!r}, {pause_s})"
    run = subprocess.run(
        [sys.executable, "-c", f"from tests.outages.test_boundaries import *; {call}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 20
