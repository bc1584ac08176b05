"""Who is measured: nobody by default, and then no call knows that anything could be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from redis_memory import AsyncConversationMemory, ConversationMemory, Conversations, Memory
from redis_memory.async_conversations import AsyncConversations
from redis_memory.errors import ConfigurationError
from redis_memory.link.async_desk import AsyncDesk
from redis_memory.link.async_driver import AsyncDriver
from redis_memory.link.async_hub import AsyncHub, AsyncNodeLink
from redis_memory.link.async_link import AsyncLink
from redis_memory.link.desk import Desk
from redis_memory.link.driver import Driver
from redis_memory.link.feed import Feed
from redis_memory.link.hub import BlockingHub, NodeLink
from redis_memory.link.link import Link
from redis_memory.memory import core_of
from redis_memory.telemetry.drivers import MeasuredAsyncDriver, MeasuredDriver
from redis_memory.telemetry.links import MeasuredLink
from tests.groups import Cluster
from tests.servers import Server
from tests.telemetry.measuring import Measured

ROOT = Path(__file__).parents[2]

# A process in which OpenTelemetry is not installed.
WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refuse())
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""

USE = """
import asyncio, sys
from redis_memory import ConversationMemory, AsyncConversationMemory, Conversations, push
with ConversationMemory("c-1", sys.argv[1], read_mode="cached") as memory:
    memory.topic = "billing"
    assert push(memory, "log", 1) == 1
    assert memory.topic == "billing"
    kind = type(memory.__dict__["_redis_memory_core"].driver).__name__
async def main():
    async with AsyncConversationMemory("c-1", sys.argv[1]) as memory:
        assert await memory.topic == "billing"
asyncio.run(main())
with Conversations(sys.argv[1]) as directory:
    assert directory.count() == 1
measuring = [name for name in sys.modules if name.startswith("redis_memory.telemetry.")]
print(kind, *sorted(name.rpartition(".")[2] for name in measuring))
"""

SET = """
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry import metrics
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
"""

SET_TRACES = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry import trace
trace.set_tracer_provider(TracerProvider())
"""

OFF = "Driver async_kinds kinds switch"
ON = "MeasuredDriver async_kinds drivers feeds instruments kinds links operations switch"


def run(code: str, url: str, **environment: str) -> str:
    """What a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, url],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_opentelemetry_everything_works(server: Server) -> None:
    """It need not be installed, and then nothing that measures is even imported."""
    assert run(WITHOUT + USE, server.url) == OFF


def test_an_installed_opentelemetry_is_not_imported(server: Server) -> None:
    """A program that does not use it starts as fast; redis-py itself imports some of it."""
    before = """
import redis, redis.asyncio, sys
imported = {name for name in sys.modules if name.startswith("opentelemetry")}
"""
    after = """
assert {name for name in sys.modules if name.startswith("opentelemetry")} == imported
"""
    assert run(before + USE + after, server.url) == OFF


def test_an_imported_one_that_nobody_has_set_up_is_not_used(server: Server) -> None:
    """Many a library imports it; what counts is that the program has set a provider."""
    assert run("from opentelemetry import metrics, trace\n" + USE, server.url) == OFF


@pytest.mark.parametrize("setting_up", [SET, SET_TRACES], ids=["metrics", "traces"])
def test_a_program_that_has_set_it_up_is_measured(server: Server, setting_up: str) -> None:
    """By itself, with either kind of provider."""
    assert run(setting_up + USE, server.url) == ON


def test_it_can_be_forbidden(server: Server) -> None:
    """By the environment, where the program has set everything up."""
    assert run(SET + USE, server.url, REDIS_MEMORY_TELEMETRY="off") == OFF


def test_a_provider_may_come_later_where_it_was_asked_for(server: Server) -> None:
    """With `telemetry="on"` the order does not matter: what is done from then on is counted."""
    later = """
from redis_memory import ConversationMemory
import sys
memory = ConversationMemory("c-1", sys.argv[1], telemetry="on")
memory.topic = "before"
"""
    counted = """
memory.topic = "after"
found = reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
(operations,) = [one for one in found.metrics if one.name == "redis_memory.operation.duration"]
print(found.scope.name, [point.count for point in operations.data.data_points])
"""
    assert run(later + SET + counted, server.url) == "redis_memory [1]"


def test_asking_for_what_is_not_installed_says_what_to_install(server: Server) -> None:
    """A memory that is to be measured, and cannot be, is not opened."""
    code = WITHOUT + USE
    with pytest.raises(AssertionError, match=r"pip install 'redis_memory\[otel\]'"):
        run(code, server.url, REDIS_MEMORY_TELEMETRY="on")


async def test_what_is_not_measured_runs_the_plain_code(server: Server, name: str) -> None:
    """The very classes of driver, link and desk: no call asks whether it is to be measured."""
    with ConversationMemory(name, server.url, read_mode="cached") as memory:
        memory.topic = "billing"
        core = core_of(memory)
        assert type(core.driver) is Driver
        assert type(core.driver.link) is Link
        assert type(core._feed) is Feed
    async with AsyncConversationMemory(name, server.url) as awaited:
        assert await awaited.topic == "billing"
        driver = awaited.__dict__["_redis_memory_core"].driver
        assert type(driver) is AsyncDriver
        assert type(driver.attach()) is AsyncLink
    with Conversations(server.url) as directory:
        assert type(directory._desk) is Desk
    assert type(AsyncConversations(server.url)._desk) is AsyncDesk


async def test_in_a_cluster_too(cluster: Cluster, name: str) -> None:
    """Hubs and links to nodes are the plain ones."""
    with ConversationMemory(name, cluster.url, timeout_s=5) as memory:
        memory.topic = "billing"
        hub = core_of(memory).driver.link.hub
        assert type(hub) is BlockingHub
        assert {type(link) for link in hub.links.values()} == {NodeLink}
    async with AsyncConversationMemory(name, cluster.url, timeout_s=5) as awaited:
        assert await awaited.topic == "billing"
        hub = awaited.__dict__["_redis_memory_core"].driver.attach().hub
        assert type(hub) is AsyncHub
        assert {type(link) for link in hub.links.values()} == {AsyncNodeLink}


def test_measured_and_other_memories_do_not_share_a_link(
    measured: Measured, server: Server, name: str
) -> None:
    """One that is not measured stays so beside one that is, of the same server."""
    with (
        ConversationMemory(name, server.url) as plain,
        ConversationMemory(name, server.url, telemetry="on") as counted,
    ):
        plain.topic = "billing"
        assert counted.topic == "billing"
        assert type(core_of(plain).driver) is Driver
        assert type(core_of(counted).driver) is MeasuredDriver
        assert type(core_of(counted).driver.link) is MeasuredLink
    assert measured.kinds() == {"read": 1}


async def test_what_a_dead_process_left_is_measured_as_well(
    measured: Measured, server: Server, name: str
) -> None:
    """The drivers of an async memory are of one kind, also those that adopt a journal."""
    async with AsyncConversationMemory(name, server.url, telemetry="on") as memory:
        await memory.topic.set("billing")
        driver = memory.__dict__["_redis_memory_core"].driver
        driver._take_over(driver.state)
        taken = [one for one in driver.attach().waiting if one is not driver]
        assert [type(one) for one in taken] == [MeasuredAsyncDriver]


def test_any_other_value_is_refused() -> None:
    """The setting has three values."""
    with pytest.raises(ConfigurationError, match="telemetry"):
        Memory("memory://x", telemetry=True)


def test_an_unmeasured_call_enters_nothing_that_measures(server: Server, name: str) -> None:
    """Not one function of the telemetry, in a change or in a read, while others are measured."""
    entered: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered.add(frame.f_code.co_filename)

    def used(memory: ConversationMemory) -> set[str]:
        log = memory.log
        entered.clear()
        sys.setprofile(note)
        try:
            log.append("hello")
            memory.topic = "closed"
            assert memory.topic == "closed"
        finally:
            sys.setprofile(None)
        return {file for file in entered if "/redis_memory/telemetry/" in file}

    with (
        ConversationMemory(name, server.url) as plain,
        ConversationMemory(name, server.url, telemetry="on") as counted,
    ):
        plain.log = []
        assert used(plain) == set()
        assert any(file.endswith("drivers.py") for file in used(counted))
