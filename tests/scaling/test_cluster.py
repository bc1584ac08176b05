"""A cluster: whichever node serves a memory, nothing is lost in silence."""

from __future__ import annotations

import pickle
from itertools import count
from pathlib import Path

import pytest
from redis.crc import key_slot

import redis_memory.link.cluster
from redis_memory import (
    AccessDeniedError,
    ConfigurationError,
    ConversationMemory,
    ServerRefusedError,
    clear,
    push,
    snapshot,
    status,
)
from redis_memory.link.cluster import Topology
from redis_memory.link.failures import LinkFailureError
from tests.children import exit_code, in_child
from tests.groups import Cluster
from tests.outages.faces import OpenFace
from tests.scaling.load import QUICKLY, Load, losses, lost_in
from tests.servers import HOST, Server, free_port
from tests.waiting import wait_until


def slot_of(name: str) -> int:
    """The slot of a conversation."""
    return key_slot(f"memory:{{{name}}}".encode())


def elsewhere(name: str, cluster: Cluster) -> str:
    """A conversation that another node serves."""
    primary = cluster.primary_of(slot_of(name))
    return next(
        other
        for other in (f"{name}-{number}" for number in count())
        if cluster.primary_of(slot_of(other)) is not primary
    )


def test_a_killed_primary_loses_nothing_in_silence(
    binary: Path, open_face: OpenFace, name: str
) -> None:
    """What was acknowledged under load is there once, or a report counts it as lost."""
    with Cluster(binary) as cluster:
        names = [f"{name}-{number}" for number in range(3)]
        load = Load(open_face, cluster.url, names, name)
        with losses() as told:
            with load:
                lost = cluster.primary_of(slot_of(name))
                lost.kill()
                cluster.wait_for_another(lost, slot_of(name))
                load.wait_for_more()
            load.flush()
        load.check(lost_in(told))


def test_an_ordered_failover_loses_nothing(open_face: OpenFace, name: str) -> None:
    """When a replica takes over by order, all that was acknowledged is there, without a report."""
    with Cluster() as cluster:
        load = Load(open_face, cluster.url, [name], name + "shared")
        with losses() as told:
            with load:
                cluster.fail_over(slot_of(name))
                load.wait_for_more()
            load.flush()
        load.check(0)
        assert not told


def test_a_dead_node_takes_only_its_own_memories_away(open_face: OpenFace, name: str) -> None:
    """Changes to the memories of other nodes go on, and its own wait for a replacement."""
    with Cluster() as cluster:
        lost = cluster.primary_of(slot_of(name))
        mine, other = open_face(name, cluster.url), open_face(elsewhere(name, cluster), cluster.url)
        for face in (mine, other):
            face.assign("log", [])
        lost.kill()
        for number in range(5):
            assert mine.push("log", number) is None
            assert other.push("log", number) == number + 1
        assert mine.read("log") == [0, 1, 2, 3, 4]
        assert not mine.status().online
        assert other.status().online
        cluster.wait_for_another(lost, slot_of(name))
        assert mine.flush() == 0
        assert mine.push("log", 5) == 6
        assert mine.status().data_loss == 0


def test_a_memory_moves_with_its_slot(open_face: OpenFace, cluster: Cluster, name: str) -> None:
    """While its slot is given to another node, and afterwards, each change is made once."""
    face, slot = open_face(name, cluster.url), slot_of(name)
    face.assign("log", [])
    face.assign("topic", "billing")
    source = cluster.primary_of(slot)
    target = cluster.primary_of(slot_of(elsewhere(name, cluster)))
    cluster.begin_to_move(slot, target)
    face.push("log", 0)
    cluster.move_keys(slot, target)
    face.push("log", 1)
    assert face.read("log") == [0, 1]
    assert face.read("topic") == "billing"
    cluster.end_move(slot, target)
    face.push("log", 2)
    assert face.flush() == 0
    assert face.read("log") == [0, 1, 2]
    assert cluster.primary_of(slot) is target is not source
    assert face.status().data_loss == 0


def test_a_memory_moves_to_a_node_that_is_new(open_face: OpenFace, name: str) -> None:
    """A node that serves nothing yet is asked for what has been moved there already."""
    with Cluster(replicas=0, spare=True) as cluster:
        face, slot = open_face(name, cluster.url), slot_of(name)
        face.assign("log", [0])
        assert cluster.spare is not None
        cluster.begin_to_move(slot, cluster.spare)
        cluster.move_keys(slot, cluster.spare)
        assert face.read("log") == [0]
        assert face.push("log", 1) == 2
        cluster.end_move(slot, cluster.spare)
        assert face.push("log", 2) == 3
        assert face.read("log") == [0, 1, 2]
        assert cluster.primary_of(slot) is cluster.spare


def test_a_new_memory_waits_for_the_move_of_its_slot(
    open_face: OpenFace, cluster: Cluster, name: str
) -> None:
    """What no node can do in the middle of a move waits, and the node's other memories do not."""
    face, slot = open_face(name, cluster.url), slot_of(name)
    target = cluster.primary_of(slot_of(elsewhere(name, cluster)))
    source = cluster.primary_of(slot)
    neighbour = open_face(
        next(n for n in map(str, count()) if cluster.primary_of(slot_of(n)) is source), cluster.url
    )
    neighbour.assign("log", [])
    cluster.begin_to_move(slot, target)
    face.push("log", 0)
    assert face.status().queued == 1
    assert neighbour.status().online
    assert neighbour.push("log", 1) == 1
    cluster.end_move(slot, target)
    assert face.flush() == 0
    assert face.read("log") == [0]


def test_all_of_a_memory_lies_in_one_slot(cluster: Cluster, name: str) -> None:
    """Containers, deleted attributes, several at once: no change and no read crosses slots."""
    with ConversationMemory(name, cluster.url) as memory:
        memory.messages = [{"tags": {"a"}}]
        memory.messages[0]["tags"].add("b")
        memory.profile = {"name": "Ann"}
        memory.profile["name"] = "Bea"
        del memory.profile["name"]
        memory.ids = {1, 2}
        memory.ids.discard(1)
        memory.topic = "billing"
        del memory.topic
        push(memory, "log", *range(1000))
        assert snapshot(memory) == {
            "messages": [{"tags": {"a", "b"}}],
            "profile": {},
            "ids": {2},
            "log": list(range(1000)),
        }
        clear(memory)
        assert snapshot(memory) == {}


def test_only_one_node_needs_to_be_known(open_face: OpenFace, cluster: Cluster, name: str) -> None:
    """Of the hosts in the url one living node is enough, even a replica."""
    replica = cluster.replica_of(cluster.primary_of(slot_of(name)))
    hosts = f"{HOST}:{free_port()},{HOST}:{replica.port}"
    face = open_face(name, f"redis+cluster://{hosts}", timeout_s=2.0)
    face.assign("topic", "billing")
    assert face.read("topic") == "billing"


def test_a_cluster_without_living_nodes_is_away(open_face: OpenFace, name: str) -> None:
    """When no node answers, changes wait, and the call is back in time."""
    face = open_face(name, f"redis+cluster://{HOST}:{free_port()}", close_timeout_s=0)
    face.assign("topic", "billing")
    assert face.status().queued == 1
    assert face.read("topic") == "billing"
    with pytest.warns(UserWarning, match="never delivered"):
        face.close()


def test_what_was_queued_before_the_first_node_was_found_is_delivered(
    open_face: OpenFace, cluster: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory that began without a cluster goes on when there is one."""

    def refuse(topology: Topology) -> None:
        raise LinkFailureError("nobody is there", in_doubt=False)

    with monkeypatch.context() as patch:
        patch.setattr(Topology, "refresh", refuse)
        # nobody of this process has asked the cluster yet
        patch.setattr(redis_memory.link.cluster, "_clusters", {})
        face = open_face(name, cluster.url, timeout_s=0.321)
        face.push("log", 0)
        assert face.status().queued == 1
    assert face.flush() == 0
    assert face.push("log", 1) == 2


def test_a_journal_is_delivered_to_the_node_of_its_memory(
    open_face: OpenFace,
    cluster: Cluster,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever adopts it may use a memory of another node."""

    def refuse(topology: Topology) -> None:
        raise LinkFailureError("nobody is there", in_doubt=False)

    def write() -> None:
        monkeypatch.setattr(Topology, "refresh", refuse)
        monkeypatch.setattr(redis_memory.link.cluster, "_clusters", {})
        # a time limit of its own, so that no link is inherited that knows the nodes
        options = {**QUICKLY, "timeout_s": 0.319}
        memory = ConversationMemory(name, cluster.url, journal=tmp_path, **options)
        push(memory, "log", 0)
        push(memory, "log", 1)
        assert status(memory).queued == 2

    assert exit_code(in_child(write)) == 0
    adopter = open_face(elsewhere(name, cluster), cluster.url, journal=tmp_path)
    adopter.assign("topic", "billing")
    with ConversationMemory(name, cluster.url) as reader:
        wait_until(lambda: getattr(reader, "log", None) == [0, 1], what="the delivery")


def test_a_single_server_is_no_cluster(open_face: OpenFace, server: Server, name: str) -> None:
    """The message says which url it has."""
    face = open_face(name, f"redis+cluster://{HOST}:{server.port}")
    with pytest.raises(ConfigurationError, match="redis://"):
        face.read("topic")


def test_a_node_is_no_single_server(open_face: OpenFace, cluster: Cluster, name: str) -> None:
    """A plain url of a node is refused with the right one, as soon as another node has the slot."""
    other = cluster.primary_of(slot_of(elsewhere(name, cluster)))
    face = open_face(name, f"redis://{HOST}:{other.port}")
    with pytest.raises(ServerRefusedError, match=r"redis\+cluster://"):
        face.assign("topic", "billing")


def test_a_wrong_password_is_told_at_once(open_face: OpenFace, cluster: Cluster, name: str) -> None:
    """It is no outage."""
    url = cluster.url.replace("://", "://ann:secret@")
    face = open_face(name, url)
    with pytest.raises(AccessDeniedError) as caught:
        face.assign("topic", "billing")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://h:1/3",
        "redis+cluster://:secret@h:x",
        "redis+cluster://,",
    ],
)
def test_a_malformed_url_is_refused(url: str) -> None:
    """The message says how such a url is written, and holds no password."""
    with pytest.raises(ConfigurationError, match=r"redis\+cluster://.*host:port") as caught:
        ConversationMemory("c", url)
    assert "secret" not in str(caught.value)


def test_pickles_and_forks_have_connections_of_their_own(cluster: Cluster, name: str) -> None:
    """A memory that was pickled, and one in a forked child, write to the same conversation."""
    with ConversationMemory(name, cluster.url) as memory:
        push(memory, "log", 0)
        with pickle.loads(pickle.dumps(memory)) as other:
            push(other, "log", 1)
        assert exit_code(in_child(lambda: push(memory, "log", 2))) == 0
        push(memory, "log", 3)
        assert memory.log == [0, 1, 2, 3]


def test_memories_of_one_node_share_its_connection(cluster: Cluster, name: str) -> None:
    """Fifty memories, used one after the other, need one connection for each of three nodes."""
    before = _connections(cluster)
    names = [f"{name}-{number}" for number in range(50)]
    memories = [ConversationMemory(one, cluster.url, timeout_s=0.777) for one in names]
    for memory in memories:
        memory.topic = "billing"
        assert memory.topic == "billing"
    assert _connections(cluster) - before <= 3
    for memory in memories:
        memory.__exit__(None, None, None)


def _connections(cluster: Cluster) -> int:
    return sum(server.info("clients")["connected_clients"] for server in cluster.servers.values())
