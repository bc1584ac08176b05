"""A constructor call and an environment that the old packages understand mean the same here."""

from __future__ import annotations

import os
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    AsyncMemory,
    ConversationMemory,
    Conversations,
    Memory,
    status,
)
from redis_memory.other_names import NAMES
from redis_memory.settings import Settings, resolve
from tests.servers import HOST, Server


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without any variable that the library reads."""
    for name in [name for name in os.environ if name.startswith("REDIS_")]:
        monkeypatch.delenv(name)


def settings_of(**options: Any) -> Settings:
    """What a memory that is opened with these arguments uses."""
    return resolve(None, None, None, options)


FORMS: dict[str, dict[str, Any]] = {
    "redis-memory": {"redis_hostname": "h", "redis_port": 2, "redis_prefix": "p:"},
    "synced-memory": {"redis_hostname": "h", "redis_port": 2, "db_prefix": "p:"},
    "dragonfly": {"dragonflydb_hostname": "h", "dragonflydb_port": 2, "dragonflydb_prefix": "p:"},
    "base": {"backend_hostname": "h", "backend_port": 2, "backend_prefix": "p:"},
}


@pytest.mark.parametrize("options", FORMS.values(), ids=list(FORMS))
def test_every_constructor_is_understood(options: dict[str, Any]) -> None:
    """Host, port and prefix, by the names of each class."""
    settings = settings_of(**options)
    assert (settings.address, settings.prefix) == ("redis://h:2", "p:")


def test_no_name_is_forgotten() -> None:
    """Each is one of those that are tried above."""
    assert {name for options in FORMS.values() for name in options} == NAMES.keys()


def test_the_old_calls_reach_the_server(server: Server) -> None:
    """Both classes, and the directory: what is written through one call is read through another."""
    options: dict[str, Any] = {"redis_hostname": HOST, "redis_port": server.port}
    with Memory(**options, redis_prefix="p:") as memory:
        memory.foo = 42
    with Memory(server.url, prefix="p:") as memory:
        assert memory.foo == 42
    with ConversationMemory("c-1", **options, redis_prefix="p:") as conversation:
        conversation.foo = 43
    with ConversationMemory(conversation_id="c-1", **options, redis_prefix="p:") as conversation:
        assert conversation.foo == 43
    with Conversations(**options, redis_prefix="p:") as directory:
        assert directory.list().ids == ("c-1",)


async def test_the_awaited_classes_take_the_same(server: Server) -> None:
    """Old names, new faces."""
    options: dict[str, Any] = {"redis_hostname": HOST, "redis_port": server.port}
    async with AsyncMemory(**options) as memory, AsyncConversationMemory("c", **options) as other:
        await memory.foo.set(42)
        await other.foo.set(43)
        assert (await memory.foo, await other.foo) == (42, 43)


@pytest.mark.parametrize("kind", ["redis", "dragonflydb", "backend"])
def test_redis_host_and_port_come_before_the_old_arguments(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As there: a default in the code must not win over the deployment's server."""
    monkeypatch.setenv("REDIS_HOST", "deployed")
    options: dict[str, Any] = {f"{kind}_hostname": "localhost"}
    assert settings_of(**options).address == "redis://deployed:6379"
    monkeypatch.setenv("REDIS_PORT", "7")
    assert settings_of(**options).address == "redis://deployed:7"
    options[f"{kind}_port"] = 8
    assert settings_of(**options).address == "redis://deployed:7"
    assert settings_of(host="localhost", port=8).address == "redis://localhost:8"


@pytest.mark.parametrize(("kind", "host"), [("redis", "redis"), ("dragonflydb", "dragonflydb")])
def test_a_port_alone_means_their_host(kind: str, host: str) -> None:
    """The name that a container has there by default."""
    options: dict[str, Any] = {f"{kind}_port": 7}
    assert settings_of(**options).address == f"redis://{host}:7"


def test_an_old_host_comes_before_a_url_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They do not know REDIS_URL."""
    monkeypatch.setenv("REDIS_URL", "redis://other:3")
    assert settings_of(redis_hostname="h").address == "redis://h:6379"


def test_redis_host_and_port_alone_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variables of the old packages, and the prefix that they document."""
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", "2")
    monkeypatch.setenv("REDIS_PREFIX", "p:")
    with Memory(timeout_s=0.01) as memory:
        assert status(memory).server == "redis://127.0.0.1:2"
    assert settings_of().prefix == "p:"
    assert settings_of(redis_prefix="q:").prefix == "q:"


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({"db_prefix": "a:", "redis_prefix": "b:"}, "b:"),
        ({"db_prefix": "a:", "redis_prefix": None, "dragonflydb_prefix": None}, "a:"),
        ({"db_prefix": "a:", "redis_prefix": ""}, "a:"),
        ({"redis_prefix": "", "dragonflydb_prefix": "c:", "db_prefix": "a:"}, "c:"),
        ({"redis_prefix": ""}, ""),
        ({"redis_prefix": None}, "memory:"),
    ],
)
def test_of_several_prefixes_the_same_one_counts(options: dict[str, Any], prefix: str) -> None:
    """The first that says something: redis_prefix, dragonflydb_prefix, db_prefix."""
    assert settings_of(**options).prefix == prefix


@pytest.mark.parametrize(
    "options",
    [
        {"host": "a", "redis_hostname": "b"},
        {"port": 1, "backend_port": 2},
        {"prefix": "a:", "db_prefix": "b:"},
        {"redis_hostname": "a", "dragonflydb_hostname": "b"},
    ],
)
def test_an_old_name_and_a_new_one_are_refused(options: dict[str, Any]) -> None:
    """Nobody has to guess which of the two counts."""
    with pytest.raises(TypeError, match="two names"):
        settings_of(**options)
