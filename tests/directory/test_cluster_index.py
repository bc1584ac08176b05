"""The index of a cluster lies at one node, its conversations at others: what one of them lacks."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redis_memory import ConversationMemory, Conversations, OfflineError, clear
from redis_memory.core.calls import Call
from redis_memory.link import links
from redis_memory.link.cluster import key_slot
from redis_memory.link.hub import BlockingLane
from tests.directory.faces import Faces
from tests.groups import Cluster, ask
from tests.outages.faces import OpenFace
from tests.scaling.conftest import open_face
from tests.scaling.test_cluster import slot_of
from tests.servers import HOST, Server
from tests.waiting import wait_until

__all__ = ["open_face"]

INDEX = b"memory:~conversations"
SLOT = key_slot(INDEX)
NAMES = [f"c-{number}" for number in range(30)]


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster with replicas, for this test alone."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def bare_cluster() -> Iterator[Cluster]:
    """The same without replicas."""
    with Cluster(replicas=0, appendonly="yes") as cluster:
        yield cluster


def beside(cluster: Cluster, lost: Server) -> list[str]:
    """Conversations that another node serves."""
    return [each for each in NAMES if cluster.primary_of(slot_of(each)) is not lost]


def open_memory(cluster: Cluster, name: str, **options: Any) -> ConversationMemory:
    """A memory that waits long enough for a failover."""
    return ConversationMemory(name, cluster.url, timeout_s=0.5, **options)


def test_what_is_begun_while_the_index_is_away_is_entered_later(
    own_cluster: Cluster, open_face: OpenFace, open_directory: Faces
) -> None:
    """A conversation of another node is listed as soon as the index has a node again."""
    lost = own_cluster.primary_of(SLOT)
    early, late, *_ = beside(own_cluster, lost)
    open_face(early, own_cluster.url).assign("topic", "before")
    lost.kill()
    open_face(late, own_cluster.url).assign("topic", "meanwhile")
    own_cluster.wait_for_another(lost, SLOT)
    directory = open_directory(own_cluster.url, timeout_s=5.0)
    wait_until(lambda: directory.list().ids == (late, early), what="the late entry")


def test_a_closed_memory_is_entered_later_too(
    own_cluster: Cluster, open_face: OpenFace, open_directory: Faces
) -> None:
    """A web worker closes its memory while the index is away, and opens another one later."""
    lost = own_cluster.primary_of(SLOT)
    early, late, *_ = beside(own_cluster, lost)
    lost.kill()
    face = open_face(early, own_cluster.url)
    face.assign("topic", "meanwhile")
    face.close()
    own_cluster.wait_for_another(lost, SLOT)
    open_face(late, own_cluster.url).assign("topic", "afterwards")
    directory = open_directory(own_cluster.url, timeout_s=5.0)
    wait_until(lambda: len(directory.list()) == 2, what="the late entry")


def test_who_is_told_of_the_end_is_told_of_missing_entries(
    bare_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that cannot make an entry any more says how to find the conversation."""
    lost = bare_cluster.primary_of(SLOT)
    lost.kill()
    with open_memory(bare_cluster, beside(bare_cluster, lost)[0]) as memory:
        memory.topic = "billing"
    links._at_exit()
    assert "lacks 1 conversations until reindex is called" in caplog.text


def test_what_a_replica_lacks_is_entered_again(own_cluster: Cluster) -> None:
    """An entry that was acknowledged, and not replicated, comes back with the next one."""
    lost = own_cluster.primary_of(SLOT)
    early, late, *_ = beside(own_cluster, lost)
    with open_memory(own_cluster, early) as one, open_memory(own_cluster, late) as other:
        one.topic = "before"
        lost.kill()
        now = own_cluster.wait_for_another(lost, SLOT)
        ask(now, "ZREM", INDEX, early)
        other.topic = "after"
        wait_until(lambda: ask(now, "ZCARD", INDEX) == 2, what="both entries")


def test_the_index_moves_with_its_slot(cluster: Cluster, open_face: OpenFace, name: str) -> None:
    """Listing goes on while the slot is open, and what is begun meanwhile is listed afterwards."""
    source = cluster.primary_of(SLOT)
    target = next(
        server for server in map(cluster.primary_of, (0, 8000, 16000)) if server is not source
    )
    names = [f"{name}-{number}" for number in range(4)]
    with Conversations(cluster.url, timeout_s=5.0) as directory:

        def listed() -> list[str]:
            return sorted(directory.list(match=f"{name}-*").ids)

        open_face(names[0], cluster.url).assign("topic", 0)
        cluster.begin_to_move(SLOT, target)
        open_face(names[1], cluster.url).assign("topic", 1)
        assert names[0] in listed()
        cluster.move_keys(SLOT, target)
        open_face(names[2], cluster.url).assign("topic", 2)
        assert names[0] in listed()
        cluster.end_move(SLOT, target)
        open_face(names[3], cluster.url).assign("topic", 3)
        wait_until(lambda: listed() == names, what="the late entries")
        assert cluster.primary_of(SLOT) is target


def test_the_entry_comes_first(bare_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed between the two leaves an entry too many, and none too few."""
    index = bare_cluster.primary_of(SLOT)
    name = beside(bare_cluster, index)[0]
    entered: list[object] = []
    send = BlockingLane.send

    def noted(lane: BlockingLane, call: Call) -> Any:
        if call.is_change:
            entered.append(ask(index, "ZSCORE", INDEX, name))
            raise KeyboardInterrupt
        return send(lane, call)

    with Conversations(bare_cluster.url, timeout_s=5.0) as directory:
        memory = open_memory(bare_cluster, name)
        with monkeypatch.context() as patched:
            patched.setattr(BlockingLane, "send", noted)
            with pytest.raises(KeyboardInterrupt):
                memory.topic = "billing"
        assert entered[0] is not None
        assert directory.list().ids == ()
        assert ask(index, "ZCARD", INDEX) == 0
        memory.topic = "billing"


def test_reindex_finds_what_moves_meanwhile(bare_cluster: Cluster) -> None:
    """A conversation that moves to a node that was looked through already is found."""
    for each in NAMES:
        with open_memory(bare_cluster, each) as memory:
            memory.topic = "billing"
    index = bare_cluster.primary_of(SLOT)
    ask(index, "DEL", INDEX)
    # nodes are looked through in the order of their ports
    first, *_, last = sorted(bare_cluster.servers)
    mover = next(one for one in NAMES if bare_cluster.primary_of(slot_of(one)).port == last)
    slot, target = slot_of(mover), bare_cluster.servers[first]
    moved: list[int] = []

    def move(found: int) -> None:
        if not moved:
            moved.append(found)
            bare_cluster.begin_to_move(slot, target)
            bare_cluster.move_keys(slot, target)
            bare_cluster.end_move(slot, target)

    with Conversations(bare_cluster.url, timeout_s=5.0) as directory:
        report = directory.reindex(progress=move)
        assert moved[0] < len(NAMES)
        assert (report.found, report.added) == (len(NAMES), len(NAMES))
        assert sorted(directory.list().ids) == sorted(NAMES)
        assert directory.reindex().added == 0


def test_reindex_removes_what_is_gone_and_corrects_the_rest(bare_cluster: Cluster) -> None:
    """On a cluster as on one server."""
    for each in NAMES[:10]:
        with open_memory(bare_cluster, each) as memory:
            memory.topic = "billing"
    index = bare_cluster.primary_of(SLOT)
    ask(index, "ZADD", INDEX, 5, "ghost")
    ask(index, "ZADD", INDEX, 5, NAMES[0])
    ask(index, "ZREM", INDEX, NAMES[1])
    with Conversations(bare_cluster.url, timeout_s=5.0) as directory:
        report = directory.reindex()
        assert (report.found, report.added, report.corrected, report.removed) == (10, 1, 1, 1)
        assert directory.list("oldest").ids == tuple(NAMES[:10])


def test_a_node_that_is_down_is_named_and_nothing_is_lost(
    bare_cluster: Cluster, open_directory: Faces, tmp_path: Path
) -> None:
    """All that needs it says which one it is; when it is back, everything is there."""
    for each in NAMES:
        with open_memory(bare_cluster, each) as memory:
            memory.messages = ["hello"]
    index = bare_cluster.primary_of(SLOT)
    lost = next(server for server in bare_cluster.servers.values() if server is not index)
    directory = open_directory(bare_cluster.url, timeout_s=0.5)
    archive = tmp_path / "all.jsonl"
    assert directory.export(archive).conversations == len(NAMES)
    before = archive.read_bytes()
    lost.kill()
    for attempt in (
        directory.list,
        directory.reindex,
        lambda: directory.prune(0, archive_to=tmp_path / "pruned.jsonl"),
        lambda: directory.export(archive),
    ):
        with pytest.raises(OfflineError, match=f":{lost.port}"):
            attempt()
    assert archive.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    lost.start()
    wait_until(lambda: _is_whole(bare_cluster), 10, what="the node to be back")
    file = io.BytesIO()
    wait_until(lambda: _answers(directory), 10, what="the directory")
    assert directory.reindex().found == len(NAMES)
    assert directory.export(file).conversations == len(NAMES)


def _is_whole(cluster: Cluster) -> bool:
    return all(
        b"cluster_state:ok" in ask(server, "CLUSTER INFO") for server in cluster.servers.values()
    )


def _answers(directory: Any) -> bool:
    try:
        directory.list()
    except OfflineError:
        return False
    return True


def test_what_is_emptied_while_the_index_is_away_is_not_listed(own_cluster: Cluster) -> None:
    """An entry that nobody could remove is removed by whoever comes across it."""
    lost = own_cluster.primary_of(SLOT)
    name = beside(own_cluster, lost)[0]
    with open_memory(own_cluster, name) as memory:
        memory.topic = "billing"
        lost.kill()
        clear(memory)
        own_cluster.wait_for_another(lost, SLOT)
    with Conversations(own_cluster.url, timeout_s=5.0) as directory:
        assert directory.list().ids == ()
        assert directory.count() == 0


def test_a_conversation_on_the_move_is_waited_for(
    bare_cluster: Cluster, open_directory: Faces
) -> None:
    """While some of its keys are at one node and some at another, nobody can read it as a whole."""
    for each in NAMES[:6]:
        with open_memory(bare_cluster, each) as memory:
            memory.messages = [each]
    slot = slot_of(NAMES[0])
    source = bare_cluster.primary_of(slot)
    target = next(one for one in bare_cluster.servers.values() if one is not source)
    directory = open_directory(bare_cluster.url, timeout_s=5.0)
    assert directory.count() == 6
    bare_cluster.begin_to_move(slot, target)
    memory_key = f"memory:{{{NAMES[0]}}}"
    ask(source, "MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", memory_key)
    assert directory.list(match=NAMES[0]).ids == (NAMES[0],)
    file = io.BytesIO()
    reports: list[Any] = []
    thread = threading.Thread(target=lambda: reports.append(directory.export(file)))
    thread.start()
    wait_until(lambda: "TRYAGAIN" in str(source.client().info("errorstats")), what="the refusal")
    bare_cluster.move_keys(slot, target)
    bare_cluster.end_move(slot, target)
    thread.join()
    assert [(one.conversations, one.damaged) for one in reports] == [(6, ())]
