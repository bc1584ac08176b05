"""A user who has just the rights for a prefix can do everything there, and nothing elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from redis_memory import AccessDeniedError, ConversationMemory, Conversations
from redis_memory.core.rights import SCRIPTS, rule
from tests.groups import Cluster, Service, ask
from tests.outages.faces import Face, OpenFace
from tests.servers import HOST, Server
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
USER = f"ann on >secret {rule('shop:')}"


@pytest.fixture
def guarded(binary: Path) -> Iterator[Server]:
    """A server with a user for the prefix `shop:`."""
    with Server(binary, tcp=True, users=[USER]) as server:
        yield server


def use_everything(face: Face) -> None:
    """Write, read, wait and clear in as many ways as there are scripts."""
    face.assign("log", [{"tags": {"a"}}])
    face.call("log", "add", "b", at=(0, "tags"))
    face.push("log", 2, 3)
    face.call("log", "insert", 1, "x")
    face.call("log", "remove", 3)
    assert face.call("log", "pop") == 2
    face.assign("profile", {"name": "Ann"})
    face.call("profile", "update", {"age": 5})
    face.call("profile", "pop", "age")
    face.assign("ids", {1, 2})
    face.call("ids", "discard", 1)
    face.assign("topic", "billing")
    face.increment("count", 2)
    assert face.function("setdefault", "topic", "none") == "billing"
    assert face.function("window", "log", 0, 1) == [{"tags": {"a", "b"}}]
    assert face.has("count")
    face.delete("count")
    assert face.snapshot() == {
        "log": [{"tags": {"a", "b"}}, "x"],
        "profile": {"name": "Ann"},
        "ids": {2},
        "topic": "billing",
    }
    assert face.function("wait_for", "topic", "billing", timeout_s=5.0) == "billing"
    assert face.status().online
    face.function("expire", 1000)
    face.function("clear")
    assert face.snapshot() == {}


def test_a_user_with_the_documented_rights_lacks_nothing(
    open_face: OpenFace, guarded: Server, name: str
) -> None:
    """Every script, the feed, waiting for replicas, and the delivery of what waited."""
    url = f"redis://ann:secret@{HOST}:{guarded.port}"
    face = open_face(name, url, prefix="shop:", read_mode="cached")
    use_everything(face)
    face.assign("topic", "billing")
    guarded.kill()
    face.push("log", 1)
    face.call("log", "append", 2)
    face.assign("topic", "sales")
    guarded.start()
    assert face.flush() == 0
    wait_until(lambda: face.read("log") == [1, 2])
    assert face.status().conflicts == 0


def test_the_same_rights_are_enough_for_the_directory(guarded: Server) -> None:
    """Listing, describing, moving and pruning; making the index anew scans all keys, and is not."""
    url = f"redis://ann:secret@{HOST}:{guarded.port}"
    with ConversationMemory("c-1", url, prefix="shop:", ttl_s=1000) as memory:
        memory.log = [1]
    with Conversations(url, prefix="shop:") as directory:
        assert directory.list().ids == ("c-1",)
        assert directory.list("oldest", idle_for=0).ids == ("c-1",)
        assert directory.info("c-1").attributes["log"].length == 1
        directory.rename("c-1", "c-2")
        directory.copy("c-2", "c-3")
        assert directory.stats().conversations == 2
        assert directory.prune(0, keep=["c-3"]).ids == ("c-2",)
        assert directory.delete("c-3")
        with pytest.raises(AccessDeniedError):
            directory.reindex()


@pytest.mark.parametrize(
    "command",
    [
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "FLUSHALL",
        "FLUSHDB",
        "DBSIZE",
        "CONFIG GET *",
        "ACL LIST",
        "MONITOR",
        "CLIENT LIST",
        "SCRIPT FLUSH",
        "GET other",
        "HGET other x",
        "HGET memory:{c} topic",
        "HGET shop:eu:{c} topic",
        "HGET shop2:{c} topic",
        "DEL shop:",
        "PUBLISH other x",
        "PUBLISH shop:eu:{c}~feed x",
        "SUBSCRIBE memory:{c}~feed",
        "PSUBSCRIBE *",
    ],
)
def test_everything_else_is_refused(shared_guarded: Server, command: str) -> None:
    """What looks at all keys, other prefixes, other channels, the server itself."""
    client = redis.Redis(HOST, shared_guarded.port, username="ann", password="secret", protocol=2)
    with client, pytest.raises(redis.exceptions.NoPermissionError):
        execute: Any = client.execute_command
        execute(*command.split())


@pytest.fixture
def shared_guarded(server: Server) -> Iterator[Server]:
    """The server of all tests, with the user."""
    server.client().acl_setuser("ann", enabled=True, passwords=["+secret"], reset=True)
    ask(server, "ACL SETUSER ann", *rule("shop:").split())
    yield server
    server.client().acl_deluser("ann")


@pytest.mark.parametrize("inside", ["redis.call('KEYS', '*')", "redis.call('FLUSHALL')"])
def test_scripts_have_no_other_rights(shared_guarded: Server, inside: str) -> None:
    """What the user may not do, no script does for him."""
    client = redis.Redis(HOST, shared_guarded.port, username="ann", password="secret")
    with client, pytest.raises(redis.ResponseError):
        client.eval(f"return {inside}", 0)


def test_another_prefix_is_denied_with_a_clear_error(
    open_face: OpenFace, shared_guarded: Server, name: str
) -> None:
    """It is no outage: nothing is queued, and the message says what the server denies."""
    url = f"redis://ann:secret@{HOST}:{shared_guarded.port}"
    face = open_face(name, url, prefix="shop:eu:")
    with pytest.raises(AccessDeniedError):
        face.assign("topic", "billing")
    with pytest.raises(AccessDeniedError):
        face.read("topic")
    assert face.status().queued == 0


@pytest.mark.parametrize("group", [Cluster, Service])
def test_the_rights_are_enough_on_groups(
    group: type[Cluster | Service], open_face: OpenFace, name: str
) -> None:
    """Finding the nodes or the primary, and listening there, included."""
    with group(users=[USER]) as servers:
        url = servers.url.replace("://", "://ann:secret@")
        face = open_face(name, url, prefix="shop:", read_mode="cached")
        use_everything(face)


def test_the_rights_name_what_the_scripts_call() -> None:
    """No command is missing in the rule, and none too many."""
    sources = (ROOT / "redis_memory/core/lua").glob("*.lua")
    text = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    called = {name.lower() for name in re.findall(r"call\('([A-Z]+)'", text)}
    # asked for its size, if that may be
    assert sorted(called - {"memory"}) == SCRIPTS.split()


def test_the_manual_shows_the_rule() -> None:
    """It can be copied from there."""
    manual = " ".join((ROOT / "docs/scaling.md").read_text(encoding="utf-8").split())
    assert rule("memory:") in manual
