"""What is counted and timed: exactly what has happened, under names that do not multiply."""

from __future__ import annotations

import os
import threading
import time

import pytest

from redis_memory import ConversationMemory, OfflineError, WrongKindError, close
from redis_memory.link.cluster import key_slot
from redis_memory.telemetry import instruments
from redis_memory.telemetry.instruments import SECONDS
from tests.faults import FaultProxy
from tests.groups import Cluster, Service
from tests.outages.network import PATIENT_S, QUICKLY
from tests.servers import HOST, Server
from tests.telemetry.conftest import OpenFace
from tests.telemetry.measuring import OPERATIONS, ROUND_TRIPS, Measured
from tests.waiting import wait_until


def test_each_operation_is_counted_once(
    open_measured: OpenFace, measured: Measured, each_url: str, name: str
) -> None:
    """By its kind and its outcome, on every server, in both faces."""
    face = open_measured(name, each_url)
    for number in range(3):
        face.assign("topic", number)
    for number in range(5):
        face.function("push", "log", number)
    assert face.function("increment", "count") == 1
    assert face.read("topic") == 2
    kinds = measured.kinds()
    assert kinds == {"assign": 3, "push": 5, "increment": 1, "read": 1}
    assert measured.count(OPERATIONS, redis_memory__outcome="ok") == 10


def test_the_count_of_calls_is_that_of_round_trips(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """Each call to the server is one, by its script's name; what goes along with it is none."""
    face = open_measured(name, server.tcp_url, timeout_s=PATIENT_S)
    before = server.info("stats")["total_commands_processed"]
    for number in range(4):
        face.assign("topic", number)
    face.function("push", "log", 1, 2, 3)
    done = server.info("stats")["total_commands_processed"] - before
    assert measured.count(ROUND_TRIPS, db__stored_procedure__name="scalar") == 4
    assert measured.count(ROUND_TRIPS, db__stored_procedure__name="append") == 1
    assert measured.count(ROUND_TRIPS) == 5 < done
    (point,) = measured.points(ROUND_TRIPS, db__stored_procedure__name="scalar")
    assert dict(point.attributes) == {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "EVALSHA",
        "db.stored_procedure.name": "scalar",
        "server.address": HOST,
        "server.port": server.port,
    }


def test_durations_are_seconds_in_buckets_that_tell_calls_apart(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """The sum of all calls fits into the time that passed, and into that of the operations."""
    face = open_measured(name, server.url)
    begun_s = time.perf_counter()
    for number in range(20):
        face.assign("topic", number)
    passed_s = time.perf_counter() - begun_s
    (operations,) = measured.points(OPERATIONS)
    (calls,) = measured.points(ROUND_TRIPS)
    assert 0 < calls.sum < operations.sum < passed_s
    assert tuple(calls.explicit_bounds) == tuple(operations.explicit_bounds) == SECONDS


def test_an_error_is_counted_by_its_name(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """What raises is an error, whatever it cost; the next operation is not."""
    face = open_measured(name, server.url)
    face.assign("topic", "billing")
    with pytest.raises(WrongKindError):
        face.function("push", "topic", 1)
    assert face.read("topic") == "billing"
    failed = measured.points(OPERATIONS, redis_memory__outcome="error")
    assert [(one.count, one.attributes["error.type"]) for one in failed] == [(1, "WrongKindError")]
    assert measured.count(OPERATIONS, redis_memory__outcome="ok") == 2


def test_an_outage_can_be_seen(
    open_measured: OpenFace, measured: Measured, proxy: FaultProxy, name: str
) -> None:
    """The server is away, so much waits, so much was delivered, and it was one outage."""
    face = open_measured(name, proxy.url)
    face.assign("topic", "billing")
    assert measured.value("redis_memory.away") == 0
    proxy.refuse()
    for number in range(7):
        face.function("push", "log", number)
    face.read("topic")
    with pytest.raises(OfflineError):
        face.read("unknown")
    assert measured.value("redis_memory.away") == 1
    assert measured.value("redis_memory.queue.length") == 7
    assert measured.value("redis_memory.queue.size") > 7
    assert measured.count(OPERATIONS, redis_memory__outcome="away") == 8
    assert measured.count(OPERATIONS, error__type="OfflineError") == 1
    # whoever looks for the server tries again and again
    wait_until(lambda: measured.count(ROUND_TRIPS, error__type="not_served") > 1)
    proxy.heal()
    assert face.flush() == 0
    assert measured.value("redis_memory.away") == 0
    assert measured.value("redis_memory.queue.length") == 0
    assert measured.value("redis_memory.replayed") == 7
    assert measured.value("redis_memory.outages") == 1
    # the connection that broke, and the server that came back
    assert measured.value("redis_memory.reconnects") == 2
    assert measured.count(OPERATIONS, db__operation__name="replay") >= 1


def test_a_lost_reply_is_one_more_round_trip(
    open_measured: OpenFace, measured: Measured, proxy: FaultProxy, name: str
) -> None:
    """The operation is counted once, its calls as often as they were sent."""
    face = open_measured(name, proxy.url)
    face.assign("topic", "billing")
    proxy.lose_replies(1)
    face.assign("topic", "closed")
    assert measured.kinds() == {"assign": 2}
    assert measured.count(OPERATIONS, redis_memory__outcome="ok") == 2
    assert measured.count(ROUND_TRIPS, db__stored_procedure__name="scalar") == 3
    assert measured.count(ROUND_TRIPS, error__type="connection_lost") == 1
    assert measured.value("redis_memory.reconnects") == 1
    assert measured.value("redis_memory.outages") == 0


def test_conflicts_are_counted_by_reason_and_winner(
    open_measured: OpenFace, measured: Measured, proxy: FaultProxy, server: Server, name: str
) -> None:
    """A change that waited and lost against a newer one is one conflict, won by the other."""
    face = open_measured(name, proxy.url)
    face.assign("topic", "billing")
    proxy.refuse()
    face.assign("topic", "mine")
    with ConversationMemory(name, server.url) as other:
        other.topic = "theirs"
    proxy.heal()
    assert face.flush() == 0
    (point,) = measured.points("redis_memory.conflicts")
    attributes = dict(point.attributes)
    assert point.value == 1
    assert attributes["redis_memory.conflict.reason"] == "newer"
    assert attributes["redis_memory.conflict.winner"] == "theirs"


def test_a_data_loss_is_counted(
    open_measured: OpenFace, measured: Measured, own_server: Server, name: str
) -> None:
    """A server that has forgotten acknowledged changes is counted once, however many they were."""
    face = open_measured(name, own_server.url)
    for number in range(3):
        face.assign("topic", number)
    own_server.client().flushall()
    with pytest.warns(match="no longer knows"):
        face.assign("topic", "billing")
    assert measured.value("redis_memory.data_losses") == 1


def test_the_feed_is_counted_and_its_lag_shown(
    open_measured: OpenFace, measured: Measured, own_server: Server, name: str
) -> None:
    """Each change that is heard counts; the lag grows while the server gives no sign of life."""
    face = open_measured(name, own_server.url, read_mode="cached", feed_timeout_s=1.0)
    face.assign("topic", "billing")
    wait_until(lambda: face.status().feed, what="the feed")
    heard = measured.value("redis_memory.feed.messages")
    with ConversationMemory(name, own_server.url, timeout_s=PATIENT_S) as other:
        other.note = "registers"
        wait_until(lambda: face.has("note"), what="the first change")
        for number in range(10):
            other.topic = number
    wait_until(lambda: face.read("topic") == 9, what="the last change")
    wait_until(
        lambda: measured.value("redis_memory.feed.messages") - heard >= 11, what="the messages"
    )
    assert 0 <= measured.value("redis_memory.feed.lag") < 1.0
    assert measured.value("redis_memory.feed.losses") == 0
    own_server.freeze()
    wait_until(lambda: measured.value("redis_memory.feed.lag") > 1.2, what="the lag")
    wait_until(lambda: measured.value("redis_memory.feed.losses") == 1, what="the loss")
    own_server.thaw()
    wait_until(lambda: measured.value("redis_memory.feed.lag") < 1.0, what="the end of the lag")


def test_nothing_is_told_of_a_conversation(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """However many conversations and attributes: as many time series, and no name or id in them."""
    sizes = []
    for number in range(6):
        face = open_measured(f"{name}-{number}", server.url, telemetry_ids=True)
        face.assign(f"topic-{number}", f"the value {number}")
        face.read(f"topic-{number}")
        face.close()
        sizes.append(len(measured.points(OPERATIONS)) + len(measured.points(ROUND_TRIPS)))
    assert len(set(sizes)) == 1
    exported = repr([measured.points(metric) for metric in sorted(measured.names())])
    assert "topic" not in exported
    assert name not in exported
    assert "the value" not in exported


def test_each_node_of_a_cluster_is_a_server(
    open_measured: OpenFace, measured: Measured, cluster: Cluster
) -> None:
    """What is called is counted by the node that serves it; operations by the whole."""
    faces: dict[int, str] = {}
    number = 0
    while len(faces) < 2:
        slot = key_slot(b"memory:{c-%d}" % number)
        faces.setdefault(cluster.primary_of(slot).port, f"c-{number}")
        number += 1
    for conversation_id in faces.values():
        face = open_measured(conversation_id, cluster.url, timeout_s=PATIENT_S)
        face.assign("topic", "billing")
    calls = measured.points(ROUND_TRIPS, db__stored_procedure__name="scalar")
    by_port = {one.attributes["server.port"]: one.count for one in calls}
    assert {port: by_port[port] for port in faces} == dict.fromkeys(faces, 1)
    (operations,) = measured.points(OPERATIONS)
    assert operations.count == 2
    assert operations.attributes["server.address"].startswith("redis+cluster://")


def test_a_service_keeps_its_name_over_a_failover(
    open_measured: OpenFace, measured: Measured, name: str
) -> None:
    """Behind Sentinels the server is the service, wherever its primary is."""
    with Service() as service:
        face = open_measured(name, service.url)
        face.assign("topic", "billing")
        before = service.primary
        service.fail_over()
        service.wait_for_demotion(before)
        face.assign("topic", "closed")
        assert face.flush() == 0
        face.close()
    servers = {point.attributes["server.address"] for point in measured.points(ROUND_TRIPS)}
    assert len(servers) == 1
    assert servers.pop().startswith("redis+sentinel://")
    assert measured.value("redis_memory.reconnects") >= 1


def test_a_forked_child_shows_what_is_its_own(
    measured: Measured, proxy: FaultProxy, name: str
) -> None:
    """The queue of the parent is not shown twice, and the child counts its own operations."""
    with ConversationMemory(name, proxy.url, telemetry="on", **QUICKLY) as memory:
        memory.log = [0]
        proxy.refuse()
        memory.log = [1]
        assert measured.value("redis_memory.queue.length") == 1
        child = os.fork()
        if child == 0:
            code = 1
            try:
                is_empty = measured.value("redis_memory.queue.length") == 0
                before = measured.kinds()["assign"]
                memory.topic = "the child's"
                is_counted = measured.kinds()["assign"] == before + 1
                code = 0 if is_empty and is_counted else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        proxy.heal()


def test_what_is_closed_is_shown_no_more(measured: Measured, own_server: Server, name: str) -> None:
    """A link that nobody uses any more leaves the gauges, and what it counted stays."""
    memory = ConversationMemory(name, own_server.url, telemetry="on")
    memory.topic = "billing"
    assert len(measured.points("redis_memory.away")) == 1
    close(memory)
    del memory
    wait_until(lambda: not measured.instruments.watched(), what="the end of the link")
    assert measured.kinds() == {"assign": 1}


def test_a_measured_read_gives_the_same_proxy_again(
    measured: Measured, server: Server, name: str
) -> None:
    """While nobody holds it and nothing has changed, it is not filled anew."""
    with ConversationMemory(name, server.url, telemetry="on") as memory:
        memory.log = [1, 2, 3]
        assert memory.log == [1, 2, 3]
        first = id(memory.log)
        filler = [list(range(3)) for _ in range(100)]
        assert id(memory.log) == first
        assert len(filler) == 100


def test_there_are_instruments_once_in_a_process() -> None:
    """Threads that open the first memories at the same time share them."""
    barrier = threading.Barrier(8)
    found: list[object] = []

    def look() -> None:
        barrier.wait()
        found.append(instruments.current())

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(one) for one in found}) == 1
