"""A server that has forgotten: noticed, made again as far as it is kept, and the rest told."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    DataLossWarning,
    clear,
    conflicts,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from redis_memory.core.scripts import SCRIPTS
from tests.faults import FaultProxy
from tests.outages.changes import Step
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.faces import Face
from tests.outages.network import (
    DRAIN_S,
    LOST,
    PATIENT_S,
    fail_each_batch_once,
    forget_writers,
    is_batch,
)
from tests.servers import HOST, Server, free_port
from tests.waiting import wait_until

# Every kind of change that may have to be made again.
HISTORY: tuple[Step, ...] = (
    Step("assign", "log", ([],)),
    *(Step("append", "log", (number,)) for number in range(20)),
    Step("assign", "box", ({"a": 1, "in": {"deep": [1]}},)),
    Step("__setitem__", "box", ("b", [2])),
    Step("append", "box", (3,), ("in", "deep")),
    Step("__delitem__", "box", ("a",)),
    Step("setdefault", "box", ("c", 4)),
    Step("assign", "members", ({1, 2},)),
    Step("add", "members", (3,)),
    Step("remove", "members", (1,)),
    Step("increment", "count", (5,)),
    Step("increment", "count", (0.5,)),
    Step("push", "pushed", ("x", "y")),
    Step("insert", "log", (0, "first")),
    Step("__setitem__", "log", (1, "second")),
    Step("__delitem__", "log", (2,)),
    Step("reverse", "pushed"),
    Step("assign", "gone", (1,)),
    Step("delete", "gone"),
    Step("assign", "topic", ("billing",)),
)
NEXT: dict[str, Step] = {
    "append": Step("append", "log", ("next",)),
    "push": Step("push", "log", ("next",)),
    "assign": Step("assign", "topic", ("refund",)),
    "increment": Step("increment", "count", (1,)),
    "nested": Step("append", "box", (9,), ("in", "deep")),
    "pop": Step("pop", "log"),
    "delete": Step("delete", "topic"),
    "clear": Step("clear", "log"),
}


def make(face: Face, steps: tuple[Step, ...], model: dict[str, Any]) -> None:
    """Make changes to a memory and to its model."""
    for step in steps:
        step.make(face)
        step.apply(model)


def begun(face: Face, steps: tuple[Step, ...] = HISTORY) -> dict[str, Any]:
    """Make the first changes to a memory; what is stored then."""
    model: dict[str, Any] = {}
    make(face, steps, model)
    return model


def read_all(face: Face, model: dict[str, Any]) -> None:
    """Have a memory see everything that is stored."""
    for known in model:
        face.read(known)


def queue_appends(face: Face, count: int, model: dict[str, Any]) -> None:
    """Make changes that have to wait."""
    make(face, tuple(Step("append", "log", (f"q{number}",)) for number in range(count)), model)


def deliver_and_go_on(face: Face, model: dict[str, Any], step: Step) -> None:
    """Deliver all that waits, and make one more change."""
    assert face.flush() == 0
    make(face, (step,), model)
    assert face.flush() == 0


def check_repaired(face: Face, model: dict[str, Any]) -> None:
    """After one loss everything is stored, once, and nobody was in the way."""
    assert face.snapshot() == model
    assert face.conflicts() == []
    assert face.status().data_loss == 1


def losses(caught: Iterable[warnings.WarningMessage]) -> list[DataLossWarning]:
    """The losses among the warnings."""
    return [one.message for one in caught if isinstance(one.message, DataLossWarning)]


@contextmanager
def loss(forgotten: int, repaired: int) -> Iterator[None]:
    """Expect exactly one report of a loss, with these numbers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    told = losses(caught)
    assert [(one.forgotten, one.repaired) for one in told] == [(forgotten, repaired)]
    assert len(caught) == len(told), "something else is warned of"


# emptied


@pytest.mark.parametrize("step", NEXT.values(), ids=list(NEXT))
def test_an_emptied_server_is_filled_again(
    open_face: OpenFace, server: Server, name: str, step: Step
) -> None:
    """FLUSHALL under a writer that lives: its next change makes all again, then itself."""
    face = open_face(name, server.url, timeout_s=PATIENT_S)
    model = begun(face)
    server.client().flushall()
    with loss(len(HISTORY), len(HISTORY)):
        make(face, (step,), model)
    assert face.status().data_loss == 1
    assert face.snapshot() == model
    make(face, (NEXT["push"],), model)
    assert face.snapshot() == model
    assert face.status().data_loss == 1
    assert face.conflicts() == []


@pytest.mark.parametrize("read", ["log", "box", "members", "count", "topic"])
def test_a_writer_that_only_reads_notices(
    open_face: OpenFace, server: Server, name: str, read: str
) -> None:
    """A read finds the attribute older than it was seen: all is made again before it answers."""
    face = open_face(name, server.url, timeout_s=PATIENT_S)
    model = begun(face)
    face.read(read)
    server.client().flushall()
    with loss(len(HISTORY), len(HISTORY)):
        assert face.read(read) == model[read]
    assert face.snapshot() == model
    assert face.status().data_loss == 1


def test_a_mere_reader_notices(open_face: OpenFace, server: Server, name: str) -> None:
    """Who has written nothing is told too, once, and reads what there is."""
    writer = open_face(name, server.url, timeout_s=PATIENT_S)
    reader = open_face(name, server.url, timeout_s=PATIENT_S + 1)
    writer.assign("log", ["a"])
    assert reader.read("log") == ["a"]
    server.client().flushall()
    with loss(0, 0), pytest.raises((AttributeError, KeyError)):
        reader.read("log")
    assert reader.status().data_loss == 1
    assert not reader.has("log")
    with loss(1, 1):
        writer.push("log", "b")
    assert reader.read("log") == ["a", "b"]
    assert reader.status().data_loss == 1


@pytest.mark.parametrize("first", [0, 1])
def test_several_writers_fill_an_emptied_server(
    open_memory: OpenMemory, server: Server, name: str, first: int
) -> None:
    """Each makes its own again, in whatever order they come: all are there, each in its order."""
    workers = [open_memory(name, server.url, timeout_s=PATIENT_S + number) for number in range(2)]
    workers[0].log = []
    for number in range(100):
        push(workers[number % 2], "log", (number % 2, number))
        increment(workers[number % 2], "count")
    server.client().flushall()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        for number in (first, 1 - first):
            push(workers[number], "log", (number, 100 + number))
            increment(workers[number], "count")
    log = workers[0].log
    for number in range(2):
        assert [value for by, value in log if by == number] == list(range(number, 102, 2))
    assert len(log) == workers[1].count == 102
    assert [status(worker).data_loss for worker in workers] == [1, 1]


def test_what_is_not_kept_any_more_is_counted_exactly(
    open_face: OpenFace, server: Server, name: str
) -> None:
    """Of 30 changes the last ten are kept: those are made again, numbers 1 to 20 are named."""
    face = open_face(name, server.url, timeout_s=PATIENT_S, repair_operations=10)
    for number in range(30):
        face.push("log", number)
    server.client().flushall()
    with pytest.warns(DataLossWarning, match="20 of them, numbers 1 to 20, are lost") as caught:
        face.push("log", 30)
    (told,) = losses(caught)
    assert (told.forgotten, told.repaired) == (30, 10)
    assert face.read("log") == list(range(20, 31))
    face.push("log", 31)
    assert face.read("log") == list(range(20, 32))
    assert face.status().data_loss == 1


@pytest.mark.parametrize(
    "bound", [{"repair_operations": 0}, {"repair_s": 0}, {"repair_bytes": 0}], ids=str
)
def test_a_window_of_nothing_repairs_nothing_and_says_so(
    open_face: OpenFace, server: Server, name: str, bound: dict[str, Any]
) -> None:
    """The bounds hold: with one of them at zero all is told to be lost, and nothing else is."""
    face = open_face(name, server.url, timeout_s=PATIENT_S, **bound)
    value = "x" * 5000
    for _ in range(5):
        face.push("log", value)
    server.client().flushall()
    with loss(5, 0):
        face.push("log", "next")
    assert face.read("log") == ["next"]


def test_large_changes_are_kept_up_to_the_bound(
    open_face: OpenFace, server: Server, name: str
) -> None:
    """The newest that fit into `repair_bytes` are made again, and no older one out of order."""
    face = open_face(name, server.url, timeout_s=PATIENT_S, repair_bytes=100_000)
    for number in range(30):
        face.push("log", f"{number}" + "x" * 10_000)
    server.client().flushall()
    with pytest.warns(DataLossWarning) as caught:
        face.push("log", "next")
    (told,) = losses(caught)
    assert told.forgotten == 30
    assert 5 <= told.repaired <= 10
    numbers = [value.partition("x")[0] for value in face.read("log")[:-1]]
    assert numbers == [f"{number}" for number in range(30 - told.repaired, 30)]


def test_a_second_loss_is_repaired_as_well(open_face: OpenFace, server: Server, name: str) -> None:
    """What was made again is kept again."""
    face = open_face(name, server.url, timeout_s=PATIENT_S)
    model = begun(face)
    for count in range(3):
        server.client().flushall()
        with loss(len(HISTORY) + count, len(HISTORY) + count):
            make(face, (NEXT["push"],), model)
        assert face.snapshot() == model
    assert face.status().data_loss == 3


@pytest.mark.parametrize("how", [*LOST, "unsent", "timeout"])
def test_a_repair_whose_answers_get_lost_is_made_once(
    open_face: OpenFace,
    proxy: FaultProxy,
    server: Server,
    other: ConversationMemory,
    name: str,
    how: str,
) -> None:
    """Lost replies while the window is made again double nothing."""
    face = open_face(name, proxy.url)
    model = begun(face)
    server.client().flushall()
    fail_each_batch_once(proxy, how)
    with loss(len(HISTORY), len(HISTORY)):
        make(face, (NEXT["push"],), model)
        assert face.flush() == 0
    proxy.heal()
    assert snapshot(other) == model
    assert proxy.lost + proxy.unsent > 0
    assert face.conflicts() == []


# restarted


@pytest.mark.parametrize("queued", [0, 30])
def test_a_server_restarted_without_its_data_is_filled_again(
    open_face: OpenFace, own_server: Server, name: str, queued: int
) -> None:
    """What was acknowledged comes first, what waited meanwhile behind it."""
    face = open_face(name, own_server.url)
    model = begun(face)
    read_all(face, model)
    own_server.kill()
    queue_appends(face, queued, model)
    with loss(len(HISTORY), len(HISTORY)):
        own_server.restart(keep_data=False)
        deliver_and_go_on(face, model, NEXT["push"])
    check_repaired(face, model)


@pytest.mark.parametrize("queued", [0, 30])
def test_a_restored_snapshot_is_brought_up_to_date(
    open_face: OpenFace, own_server: Server, name: str, queued: int
) -> None:
    """Only what the old snapshot lacks is made again: nothing twice, nothing missing."""
    face = open_face(name, own_server.url)
    model = begun(face, HISTORY[:22])
    own_server.client().save()
    make(face, HISTORY[22:], model)
    read_all(face, model)
    own_server.kill()
    queue_appends(face, queued, model)
    with loss(len(HISTORY) - 22, len(HISTORY) - 22):
        own_server.start()
        deliver_and_go_on(face, model, NEXT["push"])
    check_repaired(face, model)


def test_a_restored_snapshot_is_noticed_by_a_mere_reader(
    open_memory: OpenMemory, own_server: Server, name: str
) -> None:
    """The list is older than the reader has seen it: told once; what there is is read."""
    writer = open_memory(name, own_server.url, timeout_s=PATIENT_S)
    reader = open_memory(name, own_server.tcp_url, timeout_s=PATIENT_S)
    writer.log = ["old"]
    own_server.client().save()
    writer.log.append("new")
    assert reader.log == ["old", "new"]
    own_server.kill()
    own_server.start()
    with loss(0, 0):
        assert reader.log == ["old"]
    assert reader.log == ["old"]
    with loss(1, 1):
        assert writer.log == ["old", "new"]
    assert reader.log == ["old", "new"]
    assert [status(memory).data_loss for memory in (writer, reader)] == [1, 1]


def test_a_loss_in_the_middle_of_a_replay_is_repaired(
    open_face: OpenFace, proxy: FaultProxy, server: Server, name: str
) -> None:
    """Emptied while the answer to a batch is on its way: what was sent is sent again, once."""
    face = open_face(name, proxy.url)
    model = begun(face)
    face.read("log")
    server.client().script_load(SCRIPTS["batch"].source)
    proxy.refuse()
    queue_appends(face, 30, model)
    batches: list[int] = []

    def empty(request: Any) -> bool:
        if is_batch(request):
            batches.append(1)
            if len(batches) == 2:
                server.client().flushall()
        return False

    proxy.heal()
    proxy.refuse()
    proxy.reset_before(when=empty)
    proxy.lose_replies(1, when=is_batch)
    kept = list(proxy._traffic.faults)
    with loss(len(HISTORY), len(HISTORY)):
        proxy.heal()
        proxy._traffic.faults.extend(kept)
        wait_until(lambda: len(batches) >= 2, DRAIN_S, what="the batch sent again")
        assert face.flush() == 0
    check_repaired(face, model)


# failed over


class Failover:
    """A primary and its replica behind one address that leads to either of them."""

    def __init__(self, primary: Server, replica: Server, folder: Path) -> None:
        self.primary = primary
        self.replica = replica
        self._path = folder / "server.sock"
        self._point_to(primary)
        self.url = f"unix://{self._path}"
        wait_until(
            lambda: replica.info("replication")["master_link_status"] == "up",
            what="a replica that follows",
        )

    def lag(self) -> None:
        """Let the replica have all there is, and nothing that comes."""
        # not WAIT, which waits for what its own connection has written
        written = self.primary.info("replication")["master_repl_offset"]
        wait_until(lambda: self.replica.info("replication")["slave_repl_offset"] >= written)
        self.replica.client().replicaof(HOST, str(free_port()))

    def promote(self) -> None:
        """End the primary, and let the replica serve under its address."""
        self.primary.kill()
        self.replica.client().replicaof("NO", "ONE")
        self._point_to(self.replica)

    def _point_to(self, server: Server) -> None:
        new = self._path.with_suffix(".new")
        new.symlink_to(server.socket)
        new.replace(self._path)


@pytest.fixture
def failover(own_server: Server) -> Iterator[Failover]:
    """A primary with a replica that has caught up."""
    with (
        Server(replica_of=own_server) as replica,
        tempfile.TemporaryDirectory(prefix="rm-") as folder,
    ):
        yield Failover(own_server, replica, Path(folder))


@pytest.mark.parametrize("queued", [0, 30])
def test_a_lagging_replica_is_brought_up_to_date(
    open_face: OpenFace, failover: Failover, name: str, queued: int
) -> None:
    """Acknowledged writes that the new primary never got are made again, before all that waits."""
    face = open_face(name, failover.url)
    model = begun(face, HISTORY[:10])
    failover.lag()
    make(face, HISTORY[10:], model)
    read_all(face, model)
    failover.primary.kill()
    queue_appends(face, queued, model)
    with loss(len(HISTORY) - 10, len(HISTORY) - 10):
        failover.promote()
        deliver_and_go_on(face, model, NEXT["append"])
    check_repaired(face, model)


@pytest.mark.parametrize("lost", [0, 1, 40])
def test_several_writers_bring_a_lagging_replica_up_to_date(
    open_memory: OpenMemory, failover: Failover, name: str, lost: int
) -> None:
    """However many of each writer's changes are missing: all there, once, each in its order."""
    workers = [open_memory(name, failover.url, timeout_s=1 + number / 10) for number in range(3)]
    workers[0].log = []
    for number in range(60):
        if number == 60 - lost:
            failover.lag()
        for by, worker in enumerate(workers):
            push(worker, "log", (by, number))
    if not lost:
        failover.lag()
    failover.promote()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for by, worker in enumerate(workers):
            push(worker, "log", (by, 60))
        assert [flush(worker, DRAIN_S) for worker in workers] == [0, 0, 0]
    told = losses(caught)
    expected = [(lost, lost)] * 3 if lost else []
    assert [(one.forgotten, one.repaired) for one in told] == expected
    log = workers[0].log
    assert len(log) == 3 * 61
    for by in range(3):
        assert [number for writer, number in log if writer == by] == list(range(61))
    assert [conflicts(worker) for worker in workers] == [[], [], []]


def test_a_lagging_replica_is_noticed_by_a_mere_reader(
    open_memory: OpenMemory, failover: Failover, name: str
) -> None:
    """It is told, and reads the whole list again when the writer has repaired it."""
    writer = open_memory(name, failover.url, timeout_s=1)
    reader = open_memory(name, failover.url, timeout_s=1.1)
    writer.log = []
    push(writer, "log", *range(10))
    failover.lag()
    push(writer, "log", *range(10, 20))
    assert reader.log == list(range(20))
    failover.promote()
    with loss(0, 0):
        assert reader.log == list(range(10))
    with loss(1, 1):
        push(writer, "log", 20)
    assert reader.log == writer.log == list(range(21))


# a writer that is not known any more


def test_only_a_forgotten_writer_makes_nothing_again(
    open_face: OpenFace, server: Server, name: str
) -> None:
    """Its entry is gone and the data is as new as ever: told, and nothing is doubled."""
    face = open_face(name, server.url, timeout_s=PATIENT_S)
    model = begun(face)
    forget_writers(server, name)
    with loss(len(HISTORY), 0):
        make(face, (NEXT["push"],), model)
    assert face.snapshot() == model
    make(face, (NEXT["append"],), model)
    assert face.snapshot() == model
    assert face.status().data_loss == 1


def test_a_writer_forgotten_while_away_delivers_what_was_never_sent(
    open_face: OpenFace, proxy: FaultProxy, server: Server, name: str
) -> None:
    """What waited and was never sent cannot have been made: it is made, once."""
    face = open_face(name, proxy.url)
    model = begun(face)
    face.read("log")
    proxy.refuse()
    queue_appends(face, 30, model)
    forget_writers(server, name)
    with loss(len(HISTORY), 0):
        proxy.heal()
        assert face.flush() == 0
    check_repaired(face, model)


# no false alarm


@pytest.mark.parametrize("act", ["clear", "delete", "assign"])
@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("away", [False, True])
def test_what_others_do_is_no_loss(
    open_face: OpenFace,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    act: str,
    *,
    begin: bool,
    away: bool,
) -> None:
    """Deleted, cleared, replaced by others, with the network there or not: nothing is reported."""
    face = open_face(name, proxy.url)
    face.assign("log", ["mine"])
    face.read("log")
    if away:
        proxy.refuse()
        face.increment("count")
    if act == "clear":
        clear(other)
    elif act == "delete":
        del other.log
    if begin or act == "assign":
        other.log = ["theirs"] if begin else {"theirs": 1}
    stored = snapshot(other)
    if away:
        proxy.heal()
        assert face.flush() == 0
    assert face.has("log") == ("log" in stored)
    if "log" in stored:
        assert face.read("log") == stored["log"]
    face.push("late", 1)
    assert face.status().data_loss == 0
    expected = {**stored, "late": [1]}
    if away and act != "clear":
        expected["count"] = 1
    assert snapshot(other) == expected


@pytest.mark.parametrize("keep", ["snapshot", "append-only file"])
def test_a_restart_that_keeps_the_data_is_no_loss(
    open_face: OpenFace, name: str, keep: str
) -> None:
    """Stopped in order, or killed with every write on disk: nothing is reported or made again."""
    options = {"appendonly": "yes", "appendfsync": "always"} if keep != "snapshot" else {}
    with Server(**options) as server:  # type: ignore[arg-type]
        face = open_face(name, server.url)
        model = begun(face)
        if keep == "snapshot":
            server.restart()
        else:
            server.kill()
            server.start()
        assert face.read("log") == model["log"]
        make(face, (NEXT["push"],), model)
        assert face.flush() == 0
        assert face.snapshot() == model
        assert face.status().data_loss == 0
