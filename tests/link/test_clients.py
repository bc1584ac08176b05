"""Every address and every client that is accepted leads to its server, and keeps the promises."""

from __future__ import annotations

import logging
import math
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import valkey

from redis_memory import (
    ConfigurationError,
    ConversationMemory,
    Memory,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from redis_memory.link import address, embedded
from tests.faults import FaultProxy, Request
from tests.inhabitants import emptied
from tests.servers import HOST, Server
from tests.stubs import TlsPort
from tests.waiting import in_time, wait_until

# for a machine that does other things as well; to wait twice is still too long
GRACE_S = 0.15

WHERE_IT_CONNECTS = (
    *("REDIS_MEMORY_URL", "REDIS_URL", "REDIS_HOST", "REDIS_PORT"),
    *("REDIS_MEMORY_EMBEDDED", "REDIS_MEMORY_SERVER"),
)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An environment that names no server; returns the folder of the default one."""
    for variable in WHERE_IT_CONNECTS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(address, "_warned_about_default", threading.Event())
    folder = embedded.default_folder()
    assert folder.is_relative_to(tmp_path)
    with emptied(folder):
        yield folder


def use(memory: ConversationMemory) -> dict[str, Any]:
    """Write in several ways, and return what was written."""
    memory.topic = "billing"
    memory.messages = []
    memory.messages.append({"role": "user", "tags": {"a"}, "raw": b"\xff"})
    memory.messages[0]["tags"].add("b")
    increment(memory, "count", 2)
    message = {"role": "user", "tags": {"a", "b"}, "raw": b"\xff"}
    return {"topic": "billing", "messages": [message], "count": 2}


def key_of(memory: ConversationMemory) -> str:
    """The key that a memory with the default prefix lies at."""
    return f"memory:{{{memory.conversation_id}}}"


# urls


def test_a_tcp_url_leads_to_its_database(server: Server, name: str) -> None:
    """`redis://host:port/db`: what is written lies in that database and in no other."""
    with ConversationMemory(name, f"{server.tcp_url}/3", timeout_s=5) as memory:
        assert use(memory) == snapshot(memory)
        with closing(redis.Redis(host=HOST, port=server.port, db=3)) as client:
            assert client.exists(key_of(memory))
        assert not server.client().exists(key_of(memory))
        assert status(memory).server == f"redis://{HOST}:{server.port}/3"


def test_a_socket_url_leads_to_its_database(server: Server, name: str) -> None:
    """`unix://path?db=2` does the same by a socket."""
    with ConversationMemory(name, f"{server.url}?db=2", timeout_s=5) as memory:
        assert use(memory) == snapshot(memory)
        with closing(redis.Redis(unix_socket_path=server.socket, db=2)) as client:
            assert client.exists(key_of(memory))
        assert server.socket in status(memory).server


def test_a_url_may_hold_user_and_password(name: str) -> None:
    """Both are sent, however odd their characters, and the password is shown nowhere."""
    with Server(tcp=True, users=["ann on >p@ss/w:rd ~* &* +@all"], password="other") as server:
        url = f"redis://ann:p%40ss%2Fw%3Ard@{HOST}:{server.port}"
        with ConversationMemory(name, url, timeout_s=5) as memory:
            assert use(memory) == snapshot(memory)
            assert "p@ss" not in repr(memory) + status(memory).server
            assert "p%40ss" not in repr(memory) + status(memory).server


def test_a_tls_url_trusts_the_authority_it_names(server: Server, name: str) -> None:
    """`rediss://` with the authority's certificate: any server behind TLS is used."""
    with TlsPort(server.socket) as port:
        url = f"{port.url}?ssl_ca_certs={port.ca}"
        with ConversationMemory(name, url, timeout_s=5) as memory:
            assert use(memory) == snapshot(memory)
            assert status(memory).server == port.url
        assert port.connections > 0


def test_the_embedded_server_may_serve_by_tls(tmp_path: Path, name: str) -> None:
    """The library's own server can stand behind TLS as any other."""
    folder = tmp_path / "data"
    with emptied(folder):
        path = embedded.ensure_running(folder)
        with (
            TlsPort(str(path)) as port,
            ConversationMemory(
                name, f"{port.url}?ssl_ca_certs={port.ca}", timeout_s=5
            ) as through_tls,
            ConversationMemory(name, f"embedded://{folder}", timeout_s=5) as direct,
        ):
            written = use(through_tls)
            assert snapshot(direct) == written


def test_an_embedded_url_starts_a_server(bare: Path, tmp_path: Path, name: str) -> None:
    """`embedded:///folder` is shared by all memories that name it, and keeps its data there."""
    folder = tmp_path / "a folder"
    with emptied(folder):
        url = f"embedded://{str(folder).replace(' ', '%20')}"
        with (
            ConversationMemory(name, url, timeout_s=5) as one,
            ConversationMemory(name, url, timeout_s=5) as other,
        ):
            assert use(one) == snapshot(other)
            assert str(folder) in status(one).server
        assert folder.is_dir()
        assert not bare.exists()


def test_a_memory_url_stays_in_this_process(name: str) -> None:
    """`memory://name`: one server for each name, made of nothing but this process."""
    url = f"memory://{uuid.uuid4().hex}"
    with (
        ConversationMemory(name, url) as one,
        ConversationMemory(name, url) as other,
        ConversationMemory(name, f"{url}-2") as elsewhere,
    ):
        assert use(one) == snapshot(other)
        assert snapshot(elsewhere) == {}
        assert status(one).server == url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "127.0.0.1:6379", "redis:6379", "", "embedded://folder", "rediss"]
)
def test_any_other_url_is_refused(url: str) -> None:
    """What is no address of a server says which forms there are."""
    with pytest.raises(ConfigurationError, match="embedded://"):
        Memory(url)


# no url


def test_the_default_is_said_once(bare: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Without a url the embedded server is used, and one warning says who shares it."""
    with (
        caplog.at_level(logging.WARNING, logger="redis_memory"),
        ConversationMemory(name, timeout_s=5) as one,
        ConversationMemory(name, timeout_s=4) as other,
    ):
        assert use(one) == snapshot(other)
        assert str(bare) in status(one).server
        assert str(bare) in repr(one)
    warnings = [record for record in caplog.records if record.name == "redis_memory"]
    assert [record.levelno for record in warnings] == [logging.WARNING]
    assert str(bare) in warnings[0].getMessage()


def test_the_default_can_be_forbidden(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With REDIS_MEMORY_EMBEDDED=0 a forgotten url is an error, and nothing is started."""
    monkeypatch.setenv("REDIS_MEMORY_EMBEDDED", "0")
    with pytest.raises(ConfigurationError, match="REDIS_MEMORY_URL"):
        Memory()
    assert not bare.exists()


def test_a_named_embedded_server_is_not_the_default(
    bare: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    name: str,
) -> None:
    """Who asks for the embedded server gets it without a warning, also where none is the rule."""
    monkeypatch.setenv("REDIS_MEMORY_EMBEDDED", "0")
    folder = tmp_path / "named"
    with emptied(folder), ConversationMemory(name, f"embedded://{folder}", timeout_s=5) as memory:
        assert use(memory) == snapshot(memory)
    assert not caplog.records


# clients


Client = AbstractContextManager[Any]
CLIENTS: dict[str, Callable[[FaultProxy], Client]] = {
    "redis": lambda proxy: redis.Redis(host=HOST, port=proxy.port),
    "redis, decoding": lambda proxy: redis.Redis.from_url(proxy.url, decode_responses=True),
    "redis, protocol 3": lambda proxy: redis.Redis.from_url(proxy.url, protocol=3),
    "redis, single connection": lambda proxy: redis.Redis.from_url(
        proxy.url, single_connection_client=True
    ),
    "redis, pool": lambda proxy: redis.Redis.from_pool(
        redis.ConnectionPool.from_url(proxy.url, max_connections=2)
    ),
    "redis, blocking pool": lambda proxy: redis.Redis.from_pool(
        redis.BlockingConnectionPool.from_url(proxy.url, max_connections=1)
    ),
    "redis, another database": lambda proxy: redis.Redis(host=HOST, port=proxy.port, db=5),
    "redis, health checks": lambda proxy: redis.Redis(
        host=HOST, port=proxy.port, health_check_interval=1
    ),
    "valkey": lambda proxy: valkey.Valkey(host=HOST, port=proxy.port),
    "valkey, decoding": lambda proxy: valkey.Valkey.from_url(
        proxy.url.replace("redis://", "valkey://"), decode_responses=True
    ),
}


def is_change(request: Request) -> bool:
    """Whether a request changes something: it names its writer."""
    return any(argument.startswith(b"_w") for argument in request.arguments)


@pytest.mark.parametrize("make", CLIENTS.values(), ids=list(CLIENTS))
def test_a_client_lends_its_server(
    proxy: FaultProxy, name: str, make: Callable[[FaultProxy], Client]
) -> None:
    """Values come back as they were, whatever the client does to replies of its own."""
    with make(proxy) as client, ConversationMemory(name, client=client, timeout_s=5) as memory:
        assert use(memory) == snapshot(memory)
        assert client.exists(key_of(memory))
        assert str(proxy.port) in status(memory).server


@pytest.mark.parametrize("make", CLIENTS.values(), ids=list(CLIENTS))
def test_a_client_that_repeats_commands_does_not_repeat_ours(
    proxy: FaultProxy, name: str, make: Callable[[FaultProxy], Client]
) -> None:
    """With the retries that clients have by default, each lost reply still counts once."""
    with make(proxy) as client, ConversationMemory(name, client=client, timeout_s=5) as memory:
        push(memory, "numbers", 0)
        before = proxy.requests_seen(is_change)
        for number in range(1, 21):
            proxy.lose_replies(when=is_change)
            push(memory, "numbers", number)
        assert proxy.requests_seen(is_change) - before == 40
        assert memory.numbers == list(range(21))


def test_an_impatient_memory_has_its_own_patience(proxy: FaultProxy, name: str) -> None:
    """A client that would wait for ever does not make the memory wait."""
    with (
        redis.Redis.from_url(proxy.url, socket_timeout=None) as client,
        ConversationMemory(name, client=client, timeout_s=0.2) as memory,
    ):
        memory.topic = "billing"
        proxy.lose_replies(math.inf, how="timeout")
        with in_time(0.2 + GRACE_S):
            memory.topic = "refund"
        assert status(memory).queued == 1
        proxy.heal()
        assert flush(memory, 5) == 0
        assert memory.topic == "refund"


def test_a_client_by_socket_lends_its_server(server: Server, name: str) -> None:
    """A client of a Unix socket is as good."""
    with (
        redis.Redis(unix_socket_path=server.socket, db=1) as client,
        ConversationMemory(name, client=client, timeout_s=5) as memory,
    ):
        assert use(memory) == snapshot(memory)
        assert client.exists(key_of(memory))
        assert server.socket in status(memory).server


def test_a_client_by_tls_lends_its_server(server: Server, name: str) -> None:
    """Certificates are those of the client."""
    with (
        TlsPort(server.socket) as port,
        redis.Redis(host=HOST, port=port.port, ssl=True, ssl_ca_certs=port.ca) as client,
        ConversationMemory(name, client=client, timeout_s=5) as memory,
    ):
        assert use(memory) == snapshot(memory)


def test_a_client_lends_its_password(name: str) -> None:
    """User and password are those of the client, and shown nowhere."""
    with (
        Server(tcp=True, password="secret") as server,
        redis.Redis(host=HOST, port=server.port, password="secret") as client,
        ConversationMemory(name, client=client, timeout_s=5) as memory,
    ):
        assert use(memory) == snapshot(memory)
        assert "secret" not in repr(memory) + status(memory).server


def test_a_fake_client_lends_its_server(name: str) -> None:
    """A fakeredis client serves unit tests; its server is seen by all memories that got it."""
    fake = fakeredis.FakeServer()
    with (
        fakeredis.FakeRedis(server=fake) as client,
        fakeredis.FakeRedis(server=fake, decode_responses=True) as second,
        ConversationMemory(name, client=client) as one,
        ConversationMemory(name, client=second) as other,
    ):
        assert use(one) == snapshot(other)


def test_clients_of_two_databases_are_two_servers(server: Server, name: str) -> None:
    """The same conversation in another database is another one, without a false alarm."""
    for db in (0, 6, 0, 6):
        with (
            redis.Redis(host=HOST, port=server.port, db=db) as client,
            ConversationMemory(name, client=client, timeout_s=5) as memory,
        ):
            assert increment(memory, "count") in (1, 2)
            assert status(memory).data_loss == 0


def test_the_client_stays_the_users(proxy: FaultProxy, name: str) -> None:
    """A memory uses connections of its own: closing it leaves the client's alone."""
    with redis.Redis.from_url(proxy.url) as client:
        client.ping()
        with ConversationMemory(name, client=client, timeout_s=5) as memory:
            use(memory)
            assert proxy.connections == 2
        wait_until(lambda: proxy.open_connections == 1, what="the memory's connection to end")
        assert client.ping()
        assert proxy.connections == 2


@pytest.fixture
def cluster() -> Iterator[redis.RedisCluster]:
    """A client of a cluster of one server."""
    with Server(tcp=True, cluster_enabled="yes") as server:
        client: Any = server.client()
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", 10)
        with redis.RedisCluster(host=HOST, port=server.port) as cluster:
            yield cluster


def test_a_cluster_client_is_refused(cluster: redis.RedisCluster) -> None:
    """It has no one server to lend, and the message says what is taken instead."""
    with pytest.raises(ConfigurationError, match="not RedisCluster"):
        ConversationMemory("c-1", client=cluster)


@pytest.mark.parametrize("client", [object(), "redis://127.0.0.1", 6379, redis.Redis])
def test_anything_else_is_refused(client: object) -> None:
    """The message names what was given and what is taken."""
    with pytest.raises(ConfigurationError, match=r"redis-py or valkey-py client, not \w+"):
        ConversationMemory("c-1", client=client)


def test_an_asyncio_client_is_refused() -> None:
    """A blocking memory cannot wait for an asyncio client."""
    with pytest.raises(ConfigurationError, match="blocking"):
        ConversationMemory("c-1", client=redis.asyncio.Redis())


def test_url_and_client_exclude_each_other() -> None:
    """Which of the two was meant is not guessed."""
    with pytest.raises(TypeError, match="not both"):
        ConversationMemory("c-1", "redis://127.0.0.1", client=redis.Redis())
