"""A source that is a cluster, or a service that Sentinels watch, and one that is restarted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from redis_memory import ConfigurationError, Conversations, OfflineError
from redis_memory.core.bringing import AtSource
from redis_memory.core.calls import Call
from redis_memory.link.cluster import key_slot
from tests.groups import Cluster, Service, ask
from tests.migration.faces import Migrate, step_by_step
from tests.migration.old import OldWorkers, everything, key_of
from tests.migration.test_migrate import held
from tests.servers import HOST, Server

IDS = [f"c-{number}" for number in range(30)]
# several steps of a SCAN
MANY = 6000


@pytest.fixture
def cluster_of_old(cluster: Cluster) -> Cluster:
    """Old keys on all three nodes: of conversations, of the whole prefix, a damaged one."""
    for server in cluster.servers.values():
        if server.info("replication")["role"] == "master":
            server.client().flushall()
    for each in IDS:
        place(cluster, key_of("log", each), '{"value": ["a", "b"], "last_modified": 5}')
    place(cluster, key_of("shared"), '{"value": {"k": 1}, "last_modified": 5}')
    place(cluster, key_of("cut", "c-0"), '{"value": ')
    return cluster


def place(cluster: Cluster, key: str, payload: str) -> None:
    """Store a string at the node that serves it."""
    ask(cluster.primary_of(key_slot(key.encode())), "SET", key, payload)


def fill(server: Server) -> None:
    """Many attributes."""
    pipeline = OldWorkers(server).client.pipeline(transaction=False)
    for number in range(MANY):
        pipeline.set(key_of("state", str(number)), '{"value": "open", "last_modified": 5}')
    pipeline.execute()


def before_a_later_scan(step: Callable[[], object]) -> Callable[[int, Call | AtSource], None]:
    """Do something before the third step of the SCAN."""
    scans: list[int] = []

    def before(number: int, asked: Call | AtSource) -> None:
        if isinstance(asked, AtSource) and asked.call.head.parts[0] == b"SCAN":
            scans.append(number)
            if len(scans) == 3:
                step()

    return before


def test_from_a_cluster_to_itself(migrate: Migrate, cluster_of_old: Cluster) -> None:
    """All of all nodes is found and brought, and deleted when that is wanted."""
    url = cluster_of_old.url
    told = migrate(url)
    assert (told.keys, told.brought, told.of_prefix) == (len(IDS) + 2, len(IDS) + 1, 1)
    assert [one.key for one in told.damaged] == ["memory:c-0:cut"]
    with Conversations(url) as directory:
        assert directory.count() == 0
    done = migrate(url, dry_run=False)
    assert (done.brought, done.deleted) == (len(IDS) + 1, 0)
    again = migrate(url, dry_run=False, delete_old=True)
    assert (again.known, again.deleted, again.brought) == (len(IDS) + 1, len(IDS) + 1, 0)
    assert {one: held(url, one) for one in IDS} == {one: {"log": ["a", "b"]} for one in IDS}
    with Conversations(url) as directory:
        assert sorted(directory.list().ids) == sorted(IDS)
    assert migrate(url).keys == 1


def test_from_a_cluster_to_one_server(
    migrate: Migrate, cluster_of_old: Cluster, server: Server
) -> None:
    """The old keys stay where they are."""
    report = migrate(cluster_of_old.url, server.url, dry_run=False)
    assert report.brought == len(IDS) + 1
    assert held(server.url, IDS[-1]) == {"log": ["a", "b"]}
    assert migrate(cluster_of_old.url).brought == len(IDS) + 1


def test_one_node_of_a_cluster_is_refused(
    migrate: Migrate, cluster_of_old: Cluster, server: Server
) -> None:
    """It would show a third of the keys, and a report that says nothing of the others."""
    node = next(iter(cluster_of_old.servers.values()))
    with pytest.raises(ConfigurationError, match=r"redis\+cluster://"):
        migrate(node.url, server.url, dry_run=False)
    assert everything(server) == {}


def test_from_a_service_that_sentinels_watch(migrate: Migrate) -> None:
    """Its primary is asked, whichever server that is."""
    with Service() as service:
        old = OldWorkers(service.primary)
        old.assign("c-1", "log", ["a"])
        assert migrate(service.url, dry_run=False).brought == 1
        service.fail_over()
        report = migrate(service.url, dry_run=False, delete_old=True)
        assert (report.known, report.deleted) == (1, 1)
        assert held(service.url, "c-1") == {"log": ["a"]}


def test_a_failover_while_keys_are_looked_for_hides_none() -> None:
    """The successor gives keys in another order than the server that began."""
    with Service() as service:
        first = service.primary
        fill(first)
        assert first.client().wait(1, 5000) == 1

        def fail_over() -> None:
            service.fail_over()
            service.wait_for_demotion(first)

        report = step_by_step(service.url, service.url, before_a_later_scan(fail_over))
        assert (report.keys, report.brought) == (MANY, MANY)


def test_a_restart_while_keys_are_looked_for_hides_none() -> None:
    """The server gives keys in another order than before."""
    with Server(tcp=True, appendonly="yes", appendfsync="always") as server:
        fill(server)

        def restart() -> None:
            server.kill()
            server.start()

        report = step_by_step(server.url, server.url, before_a_later_scan(restart))
        assert (report.keys, report.brought) == (MANY, MANY)


def test_a_node_that_is_down_ends_the_run_and_is_named(migrate: Migrate) -> None:
    """A report that leaves out what it holds would look complete; the run can be repeated."""
    with Cluster(replicas=0, appendonly="yes", appendfsync="always") as cluster:
        for each in IDS:
            place(cluster, key_of("state", each), '{"value": "open", "last_modified": 5}')
        lost = cluster.primary_of(0)
        lost.kill()
        with pytest.raises(OfflineError, match=rf"\({HOST}:{lost.port}\)"):
            migrate(cluster.url, dry_run=False, timeout_s=1.0)
        lost.start()
        assert migrate(cluster.url, dry_run=False, timeout_s=10.0).keys == len(IDS)
        assert held(cluster.url, IDS[0]) == {"state": "open"}
