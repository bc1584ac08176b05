"""A server that is restarted while all its keys are looked through: none is passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pytest

from tests.directory.faces import Faces
from tests.groups import Cluster, ask
from tests.scaling.test_cluster import slot_of
from tests.servers import Server, available_binaries

# several steps of a SCAN, of each node of a cluster too
MANY = 6000
PATIENT_S = 10.0


def fill(server: Server, ids: Iterable[str]) -> None:
    """Conversations without their entries, as small as they can be."""
    pipeline = server.client().pipeline(transaction=False)
    for each in ids:
        fields = {"_version": "00000000000ff", "_created": "00000000000ff", "x": "n00000000000ff;1"}
        pipeline.hset(f"memory:{{{each}}}", mapping=fields)  # type: ignore[arg-type]
    pipeline.execute()


def after_the_first(step: Callable[[], object]) -> Callable[[int], object]:
    """Do something when the first conversations were found."""
    done: list[int] = []

    def progress(found: int) -> None:
        if found and not done:
            done.append(found)
            step()

    return progress


def restart(server: Server) -> None:
    """Kill and start."""
    server.kill()
    server.start()


def test_reindex_finds_all_though_the_server_is_restarted(open_directory: Faces) -> None:
    """To a server that was started anew the cursor of before means another place."""
    with Server(tcp=True, appendonly="yes", appendfsync="always") as server:
        fill(server, map(str, range(MANY)))
        directory = open_directory(server.url, timeout_s=PATIENT_S)
        report = directory.reindex(progress=after_the_first(partial(restart, server)))
        assert (report.found, report.added) == (MANY, MANY)


@pytest.mark.parametrize("label", available_binaries())
def test_reindex_finds_all_though_a_node_is_restarted(open_directory: Faces, label: str) -> None:
    """A node of a cluster that comes back serves the same slots, and has other cursors."""
    with Cluster(
        available_binaries()[label], replicas=0, appendonly="yes", appendfsync="always"
    ) as cluster:
        # nodes are looked through in the order of their ports
        first = cluster.servers[min(cluster.servers)]
        for begin, end, (_, port, *_), *_ in ask(first, "CLUSTER SLOTS"):
            served = (n for n in map(str, range(MANY)) if begin <= slot_of(n) <= end)
            fill(cluster.servers[port], served)
        directory = open_directory(cluster.url, timeout_s=PATIENT_S)
        report = directory.reindex(progress=after_the_first(partial(restart, first)))
        assert (report.found, report.added) == (MANY, MANY)
