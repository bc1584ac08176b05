"""A service that Sentinels watch: whichever server is the primary, nothing is lost in silence."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.sentinel import Sentinel

from redis_memory import (
    AccessDeniedError,
    ConfigurationError,
    ConversationMemory,
    flush,
    status,
)
from redis_memory.link import seeds
from redis_memory.settings import Settings
from tests.groups import SERVICE, Service
from tests.outages.faces import Awaited, Blocking, OpenFace
from tests.scaling.load import FLUSH_S, QUICKLY, Load, losses, lost_in
from tests.servers import HOST, free_port
from tests.waiting import wait_until


@pytest.fixture
def service() -> Iterator[Service]:
    """A primary, a replica and three Sentinels, for this test alone."""
    with Service() as service:
        yield service


def test_a_killed_primary_loses_nothing_in_silence(
    binary: Path, open_face: OpenFace, name: str
) -> None:
    """What was acknowledged under load is there once, or a report counts it as lost."""
    with Service(binary) as service:
        names = [f"{name}-{number}" for number in range(3)]
        load = Load(open_face, service.url, names, name)
        with losses() as told:
            with load:
                lost = service.primary
                lost.kill()
                service.wait_for_another(lost)
                load.wait_for_more()
            load.flush()
        load.check(lost_in(told))


def test_an_ordered_failover_moves_readers_and_writers(
    open_face: OpenFace, service: Service, name: str
) -> None:
    """When the primary becomes a replica, its successor is written to and read."""
    face = open_face(name, service.url)
    face.assign("log", [])
    before = service.primary
    with losses() as told:
        for number in range(10):
            face.call("log", "append", number)
        service.fail_over()
        # until the Sentinels have told it, the old primary does not know that it is one no more
        for number in range(10, 15):
            face.call("log", "append", number)
        service.wait_for_demotion(before)
        for number in range(15, 20):
            face.call("log", "append", number)
        assert face.flush() == 0
        assert face.read("log") == list(range(20))
    assert lost_in(told) == 0
    with ConversationMemory(name, service.primary.url) as other:
        assert other.log == list(range(20))
    assert service.primary is not before


def test_a_replica_is_never_taken_for_the_primary(
    open_face: OpenFace, service: Service, name: str
) -> None:
    """A Sentinel whose word is out of date leads nobody to a replica, not even a reader."""
    face = open_face(name, service.url)
    face.assign("topic", "billing")
    before = service.primary
    service.fail_over()
    service.wait_for_demotion(before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sentinel, "check_master_state", lambda *_: True)
        told = {"ip": HOST, "port": before.port}
        patch.setattr(redis.Redis, "sentinel_masters", lambda _: {SERVICE: told})
        late = open_face(name, service.url, timeout_s=0.31)
        shown = late.status()
        assert not shown.online
        assert "replica" in str(shown.reason)
    wait_until(lambda: late.status().online, 5.0)
    assert late.read("topic") == "billing"


def test_dead_sentinels_are_passed_over(open_face: OpenFace, service: Service, name: str) -> None:
    """One living Sentinel of those in the url is enough to find the primary."""
    for sentinel in service.sentinels[:2]:
        sentinel.kill()
    face = open_face(name, service.url, timeout_s=2.0)
    face.assign("topic", "billing")
    assert face.read("topic") == "billing"


def test_the_database_of_the_url_is_used(service: Service, name: str) -> None:
    """`/service/2` means database 2."""
    with ConversationMemory(name, f"{service.url}/2") as memory:
        memory.topic = "billing"
        assert status(memory).server.endswith("/main/2")
    # the memory, and the index of the directory
    assert service.primary.info("keyspace")["db2"]["keys"] == 2


def test_servers_and_sentinels_have_passwords_of_their_own(open_face: OpenFace, name: str) -> None:
    """The url's password is the servers', `sentinel_password` is the Sentinels'; neither shows."""
    lines = ["requirepass outer", f"sentinel auth-pass {SERVICE} inner"]
    with Service(password="inner", sentinel_lines=lines, sentinel_password="outer") as service:
        url = service.url.replace("://", "://:inner@")
        face = open_face(name, url, sentinel_password="outer")
        face.assign("topic", "billing")
        assert face.read("topic") == "billing"
        assert isinstance(face, Blocking | Awaited)
        memory = face.memory
        shown = repr(memory)
        assert "inner" not in shown
        assert "outer" not in shown
        pickled = pickle.dumps(memory)
        assert b"inner" not in pickled
        assert b"outer" not in pickled
        for wrong in ("wrong", None):
            denied = open_face(name, url, sentinel_password=wrong)
            with pytest.raises(AccessDeniedError, match=r"Sentinels .* refuse"):
                denied.read("topic")


def test_sentinels_may_know_a_user_who_asks_and_nothing_else(
    open_face: OpenFace, name: str
) -> None:
    """`+sentinel|masters` is enough to be told where the primary is."""
    lines = ["user asker on >outer -@all +sentinel|masters"]
    with Service(sentinel_lines=lines) as service:
        asker = {"sentinel_username": "asker", "sentinel_password": "outer"}
        face = open_face(name, service.url, **asker)
        face.assign("topic", "billing")
        assert face.read("topic") == "billing"


def test_a_client_of_sentinels_follows_the_primary_too(service: Service, name: str) -> None:
    """What redis-py's `master_for` gives can be passed as `client`."""
    places = [(HOST, sentinel.port) for sentinel in service.sentinels]
    sentinels: Any = Sentinel(places)  # type: ignore[no-untyped-call]
    with (
        sentinels,
        sentinels.master_for(SERVICE) as client,
        ConversationMemory(name, client=client, **QUICKLY) as memory,
    ):
        memory.topic = "a"
        assert status(memory).server == f"client of {SERVICE}"
        lost = service.primary
        lost.kill()
        memory.topic = "b"
        service.wait_for_another(lost)
        assert flush(memory, FLUSH_S) == 0
        assert memory.topic == "b"


def test_a_service_without_sentinels_is_away(open_face: OpenFace, name: str) -> None:
    """When no Sentinel answers, changes wait, and the call is back in time."""
    face = open_face(name, f"redis+sentinel://127.0.0.1:{free_port()}/main", close_timeout_s=0)
    face.assign("topic", "billing")
    assert face.status().queued == 1
    assert face.read("topic") == "billing"
    with pytest.warns(UserWarning, match="never delivered"):
        face.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/a/b",
        "redis+sentinel://h:1/a/0/c",
        "redis+sentinel://h:x/a",
        "redis+sentinel://:secret@h:99999/a",
        "redis+sentinel://h:1,/a",
        "redis+sentinel:///a",
    ],
)
def test_a_malformed_url_is_refused(url: str) -> None:
    """The message says how such a url is written, and holds no password."""
    with pytest.raises(ConfigurationError, match=r"redis\+sentinel://.*host:port") as caught:
        ConversationMemory("c", url)
    assert "secret" not in str(caught.value)


def test_urls_of_several_hosts_are_taken_apart() -> None:
    """User, password, hosts with their default port, service, database, TLS and options."""
    found = seeds.parse("rediss+sentinel://ann:p%40ss@h1:1,[::1],h3/main/3?ssl_ca_certs=/ca.pem")
    assert found.kind == seeds.SENTINEL
    assert found.hosts == (("h1", 1), ("::1", 26379), ("h3", 26379))
    assert found.path == ("main", "3")
    assert found.is_tls
    assert found.options["username"], found.options["password"] == ("ann", "p@ss")
    assert found.options["ssl_ca_certs"] == "/ca.pem"
    assert found.label == "rediss+sentinel://h1:1,[::1],h3/main/3"
    assert "p%40ss" not in repr(found)
    assert "p@ss" not in repr(found)


def test_a_setting_for_sentinels_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`REDIS_MEMORY_SENTINEL_PASSWORD` is the Sentinels' password, masked in every repr."""
    monkeypatch.setenv("REDIS_MEMORY_SENTINEL_PASSWORD", "outer")
    settings = Settings()
    assert settings.sentinel_password is not None
    assert settings.sentinel_password.get_secret_value() == "outer"
    assert "outer" not in repr(settings)
