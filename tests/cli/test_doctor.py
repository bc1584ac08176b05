"""`doctor` and `reindex`: what is wrong is found, and said with what to do about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from redis_memory import Conversations
from redis_memory.core.rights import SCRIPTS, rule
from redis_memory.core.trial import COMMANDS
from redis_memory.doctor import examine
from tests.cli.commands import SECRET, Commands
from tests.cli.conftest import Begin
from tests.groups import Cluster
from tests.servers import HOST, Server, available_binaries

CHECKS = [
    "reachable",
    "version",
    "persistence",
    "eviction",
    "replication",
    "rights",
    "feed",
    "clock",
    "round trips",
    "index",
]


def verdicts(url: str, prefix: str = "memory:", **options: Any) -> dict[str, str]:
    """What is said of each check."""
    found = examine(url, prefix=prefix, timeout_s=10, **options)
    return {finding.check: finding.verdict for finding in found.findings}


@pytest.mark.parametrize("label", available_binaries())
def test_a_sound_server_is_sound(label: str) -> None:
    """Every check is made, and nothing is changed by it."""
    with Server(available_binaries()[label], tcp=True, appendonly="yes") as server:
        outcome = Commands(server.url).run("doctor", "--strict", "--json")
        assert server.client().dbsize() == 0
    found = json.loads(outcome.out)
    assert [one["check"] for one in found["findings"]] == CHECKS
    for one in found["findings"]:
        # a busy machine is slow, and that is all that may be said of it
        assert one["verdict"] == "ok" or one["check"] == "round trips", one
        assert one.keys() == {"check", "verdict", "found", "advice", "where"}
    product, number = label.split("-")
    assert found["findings"][1]["found"] == f"{product.capitalize()} {number}"
    assert found["ok"] is True


@pytest.mark.parametrize(
    ("directives", "wrong"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "eviction"),
        ({"maxmemory_policy": "volatile-ttl", "appendonly": "yes"}, "eviction"),
        ({"maxmemory": "4mb", "maxmemory_policy": "allkeys-random"}, "eviction"),
        ({"save": '""'}, "persistence"),
        ({}, "persistence"),
    ],
)
def test_settings_that_lose_data_are_warnings(directives: dict[str, Any], wrong: str) -> None:
    """With 0, and with 1 for who is strict; what to do stands beside."""
    with Server(tcp=True, **directives) as server:
        found = {one.check: one for one in examine(server.url, timeout_s=10).findings}
        assert found[wrong].verdict == "warning"
        assert found[wrong].advice
        if wrong == "eviction":
            assert directives["maxmemory_policy"] in found[wrong].found
        commands = Commands(server.url)
        assert commands.inside("doctor").code == 0
        assert commands.inside("doctor", "--strict").code == 1


def test_a_full_server_is_a_failure() -> None:
    """It takes no changes; one that is nearly full is a warning."""
    with Server(tcp=True, maxmemory="1kb") as server:
        assert verdicts(server.url)["eviction"] == "failure"
        client = server.client()
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))
        assert verdicts(server.url)["eviction"] == "warning"
        client.config_set("maxmemory", "1gb")
        assert verdicts(server.url)["eviction"] == "ok"


@pytest.mark.parametrize("label", available_binaries())
def test_the_least_rights_are_enough_and_what_is_lacking_is_named(label: str) -> None:
    """What such a user may not ask for is not known; what it needs and lacks is a failure."""
    users = [
        f"ann on >secret {rule('shop:')}",
        f"bob on >secret {rule('shop:')} -hset -rpush",
        f"cid on >secret {rule('shop:')} -subscribe",
        f"dan on >secret {rule('shop:')} -del",
        f"eve on >secret {rule('shop:')} -evalsha -eval",
    ]
    with Server(available_binaries()[label], tcp=True, users=users) as server:

        def url(user: str) -> str:
            return f"redis://{user}:secret@{HOST}:{server.port}"

        unknown = dict.fromkeys(("persistence", "eviction"), "unknown")
        good = {**dict.fromkeys(CHECKS, "ok"), **unknown}
        found = verdicts(url("ann"), "shop:")
        assert found.pop("replication") in ("ok", "unknown")
        found["round trips"] = "ok"
        assert found == {name: good[name] for name in found}
        assert Commands(url("ann")).inside("doctor", "--prefix", "shop:").code == 0
        assert verdicts(url("cid"), "shop:")["feed"] == "failure"
        assert verdicts(url("ann"), "other:")["rights"] == "failure"
        for user, named in (("bob", "hset, rpush"), ("dan", "del"), ("eve", "script")):
            outcome = Commands(url(user)).inside("doctor", "--prefix", "shop:", "--json")
            assert outcome.code == 1
            rights = {one["check"]: one for one in json.loads(outcome.out)["findings"]}["rights"]
            assert rights["verdict"] == "failure"
            assert named in rights["found"]
        assert server.client().dbsize() == 0


def test_every_command_of_the_scripts_is_tried() -> None:
    """The documented rights and what is tried cannot drift apart."""
    assert sorted(line.split()[0] for line in COMMANDS) == sorted(SCRIPTS.split())


def test_a_replica_is_a_failure_and_so_are_too_few_replicas(own_server: Server) -> None:
    """Who connects to it cannot write; who wants more replicas gets errors."""
    with Server(tcp=True, replica_of=own_server) as replica:
        found = {one.check: one for one in examine(replica.url, timeout_s=10).findings}
        assert found["replication"].verdict == "failure"
        assert "replica" in found["replication"].found
    assert verdicts(own_server.url, durability="replicas:1")["replication"] == "failure"


def test_what_is_not_listed_is_found_and_mended(
    command: Commands, begin: Begin, server: Server
) -> None:
    """Entries without a conversation, and conversations without an entry."""
    for name in "abc":
        begin(name)
    assert verdicts(server.url)["index"] == "ok"
    client = server.client()
    client.zrem("memory:~conversations", "a")
    assert verdicts(server.url)["index"] == "warning"
    mended = json.loads(command.good("reindex", "--json").out)
    assert mended == {"found": 3, "added": 1, "corrected": 0, "removed": 0}
    assert verdicts(server.url)["index"] == "ok"
    client.zadd("memory:~conversations", {"gone": 1})
    assert verdicts(server.url)["index"] == "warning"
    assert command.good("reindex").lines == [
        "found 3 conversations; entries: 0 added, 0 corrected, 1 removed"
    ]
    with Conversations(server.url) as directory:
        assert set(directory.list().ids) == {"a", "b", "c"}


def test_who_is_not_let_in_is_told() -> None:
    """A wrong password is a lack of rights, not an outage."""
    with Server(tcp=True, password="right") as own:
        url = f"redis://:{SECRET}@{HOST}:{own.port}"
        outcome = Commands(url).inside("doctor", "--json")
    found = {one["check"]: one for one in json.loads(outcome.out)["findings"]}
    assert outcome.code == 1
    assert (found["reachable"]["verdict"], found["rights"]["verdict"]) == ("ok", "failure")
    assert "password" in found["rights"]["found"]


def test_a_node_that_is_down_is_named() -> None:
    """By `doctor`, which goes on with the others, and by whatever needs it."""
    with Cluster(replicas=0) as cluster:
        commands = Commands(cluster.url)
        sound = json.loads(commands.good("doctor", "--json").out)
        checks = [one["check"] for one in sound["findings"]]
        assert checks.count("rights") == checks.count("feed") == 3
        assert {"cluster", "clocks", "index"} <= set(checks)
        assert not [one for one in sound["findings"] if one["verdict"] == "failure"]
        for name in "abcdefgh":
            commands.good("set", name, "topic", "1")
        lost = cluster.primary_of(0)
        lost.kill()
        outcome = commands.inside("doctor", "--json")
        assert outcome.code == 1
        findings = json.loads(outcome.out)["findings"]
        (down,) = [
            one for one in findings if (one["check"], one["verdict"]) == ("reachable", "failure")
        ]
        assert str(lost.port) in down["where"]
        table = commands.inside("doctor").out
        assert f"{HOST}:{lost.port}" in table
        listed = commands.run("ls")
        assert listed.code == 3
        assert len(listed.err.splitlines()) <= 2
