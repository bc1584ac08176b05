"""A replica that takes over without the last changes: they are made again, or counted as lost."""

from __future__ import annotations

import pytest

from redis_memory.link.cluster import key_slot
from tests.groups import Cluster, Service, ask, lose_primary
from tests.outages.faces import OpenFace
from tests.scaling.load import losses, lost_in
from tests.servers import Server
from tests.waiting import wait_until

LACKING = 30


def has_everything(primary: Server) -> bool:
    """Does the replica of a primary have all of its changes?"""
    state = primary.info("replication")
    return bool(state["slave0"]["offset"] == state["master_repl_offset"])


def cut_off_replicas(primary: Server) -> None:
    """From now on nothing is replicated: replicas may not ask for it any more."""
    wait_until(lambda: has_everything(primary), what="the replica")
    ask(primary, "ACL SETUSER default -psync -sync")
    ask(primary, "CLIENT KILL TYPE replica")


@pytest.mark.parametrize("kept", [1000, 10])
@pytest.mark.parametrize("group", [Cluster, Service])
def test_what_a_lagging_replica_lacks_is_made_again_or_reported(
    group: type[Cluster | Service], kept: int, open_face: OpenFace, name: str
) -> None:
    """The report tells exactly how many of the acknowledged changes are gone."""
    with group() as servers, losses() as told:
        face = open_face(name, servers.url, repair_operations=kept)
        slot = key_slot(f"memory:{{{name}}}".encode())
        primary = servers.primary_of(slot) if isinstance(servers, Cluster) else servers.primary
        face.assign("log", [])
        cut_off_replicas(primary)
        for number in range(LACKING):
            assert face.push("log", number) == number + 1
        lose_primary(servers, slot)
        face.push("log", LACKING)
        assert face.flush() == 0
        lost = max(0, LACKING - kept)
        assert face.read("log") == list(range(lost, LACKING + 1))
        assert face.status().data_loss == 1
    assert [one.forgotten for one in told] == [LACKING]
    assert lost_in(told) == lost
