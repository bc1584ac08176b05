"""Encrypted memories on each kind of server, on a cluster, and for a user with few rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis_memory import rotate_keys, snapshot
from redis_memory.core.rights import rule
from tests.encryption.conftest import Open, OpenFace
from tests.encryption.keys import BOTH, NEW, OLD
from tests.groups import Cluster
from tests.scaling.test_rights import use_everything
from tests.servers import HOST, Server

USER = f"ann on >secret {rule('shop:')}"


def test_each_server_keeps_the_contract(
    open_face: OpenFace, opened: Open, each_url: str, name: str
) -> None:
    """Every script, the feed and a rotation, on each server and without one."""
    face = open_face(name, each_url, timeout_s=5)
    use_everything(face)
    face.assign("log", [{"a": {1, 2}}, "x"])
    face.assign("ids", {1, "b"})
    assert open_face(name, each_url, BOTH).function("rotate_keys") is True
    other = opened(name, each_url, NEW)
    assert snapshot(other) == {"ids": {1, "b"}, "log": [{"a": {1, 2}}, "x"]}


def test_the_documented_rights_are_enough(open_face: OpenFace, opened: Open, name: str) -> None:
    """A user with the rights for a prefix lacks none for encrypted memories and for rotations."""
    with Server(tcp=True, users=[USER]) as guarded:
        url = f"redis://ann:secret@{HOST}:{guarded.port}"
        face = open_face(name, url, prefix="shop:", timeout_s=5)
        use_everything(face)
        face.assign("profile", {"name": "Ann"})
        face.call("profile", "pop", "name")
        face.assign("log", [1])
        both = opened(name, url, BOTH, prefix="shop:", timeout_s=5)
        assert rotate_keys(both)
        assert snapshot(both) == {"log": [1], "profile": {}}
        face.close()


def test_a_cluster_rotates_all(
    cluster: Cluster, opened: Open, open_directory: Callable[..., Any], name: str
) -> None:
    """Conversations at every node are encrypted, copied and put under the new key."""
    names = [f"{name}-{number}" for number in range(8)]
    for one in names:
        mem = opened(one, cluster.url, prefix=name, timeout_s=5)
        mem.topic, mem.messages = one, [one]
        mem.messages.append("more")
    directory = open_directory(cluster.url, prefix=name, encryption_key=BOTH, timeout_s=5)
    directory.copy(names[0], f"{name}-copy")
    assert directory.rotate_keys().rotated == len(names)
    for one in names:
        again = opened(one, cluster.url, NEW, prefix=name, timeout_s=5)
        assert snapshot(again) == {"topic": one, "messages": [one, "more"]}
    copied = opened(f"{name}-copy", cluster.url, NEW, prefix=name, timeout_s=5)
    assert copied.topic == names[0]
    assert directory.list(where="topic != ''").ids
    assert not open_directory(cluster.url, prefix=name, encryption_key=OLD).list(
        where="topic != ''"
    )
