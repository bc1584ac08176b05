"""Servers and proxies for every test, and the check that a test leaves nothing behind."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from redis_memory import AsyncConversationMemory, ConversationMemory
from redis_memory.link.links import idle_writers
from tests.faults import FaultProxy
from tests.groups import Cluster
from tests.leaks import child_processes, running_threads
from tests.outages.faces import FACES, OpenFace, face_id, opening
from tests.outages.network import PATIENT_S, QUICKLY
from tests.servers import Server, available_binaries
from tests.waiting import wait_until

# an example finds its neighbours beside itself, and so must the tests that share them
sys.path.append(str(Path(__file__).parent.parent / "examples"))

LEAK_LIMIT_S = 3.0
IN_PROCESS = "memory"

# time limits of Hypothesis measure the machine; in CI the same examples run on every push
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# tests of servers more than of Python: what they cover of the library, others cover as well
_OF_SERVERS = (
    *("scaling", "soak", "stateful", "test_benchmarks.py", "test_operations_benchmark.py"),
    *("test_boundaries.py", "test_cluster_index.py", "test_groups.py", "test_restarts.py"),
    "test_mutants.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--brief`, for another Python when all tests have passed on the first."""
    parser.addoption(
        "--brief", action="store_true", help="no clusters, no soak, no state machines, no memory://"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a brief run is not about."""
    if config.getoption("--brief"):
        left_out = [item for item in items if _is_left_out(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    return (
        any(part in _OF_SERVERS for part in item.path.parts)
        or "cluster" in getattr(item, "fixturenames", ())
        or (parameters is not None and IN_PROCESS in parameters.params.values())
    )


SharedServer = Callable[[str], Server]
_shared: dict[str, Server] = {}
# of a cluster that the tests of a module share
_of_a_cluster: list[Server] = []


@pytest.fixture(scope="session")
def shared_server() -> Iterator[SharedServer]:
    """Give the server of a label that all tests of this run share, started at the first use."""

    def ready(label: str) -> Server:
        if label not in _shared:
            _shared[label] = Server(available_binaries()[label], tcp=True)
        server = _shared[label]
        if not server.running:
            server.start()
        server.client().flushall()
        server.client().script_flush()
        return server

    yield ready
    while _shared:
        _shared.popitem()[1].close()


@pytest.fixture(autouse=True)
def new_writers() -> None:
    """Tests may use the same ids: that the server is emptied in between is no loss."""
    idle_writers.clear()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail the test that leaves a thread or a process, or has ended a server that others share."""
    threads = running_threads()
    yield
    missing = [label for label, server in _shared.items() if not server.running]
    assert not missing, f"{missing} ended: a test that ends its server takes own_server"
    shared = {server.pid for server in [*_shared.values(), *_of_a_cluster]}
    wait_until(
        lambda: not running_threads() - threads and not child_processes(without=shared),
        LEAK_LIMIT_S,
        what=f"the end of {running_threads() - threads}, {child_processes(without=shared)}",
    )


@pytest.fixture
def server(shared_server: SharedServer) -> Server:
    """A running, empty server; not to be killed, frozen or configured."""
    return shared_server(next(iter(available_binaries())))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster that the tests of a module share; its nodes are not to be killed or frozen."""
    with Cluster() as cluster:
        _of_a_cluster.extend(cluster.servers.values())
        yield cluster
        _of_a_cluster.clear()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A running server that this test may treat as it likes."""
    with Server(tcp=True) as server:
        yield server


@pytest.fixture(params=available_binaries())
def each_server(request: pytest.FixtureRequest, shared_server: SharedServer) -> Server:
    """A `server` of every kind on this machine, one after the other."""
    return shared_server(request.param)


@pytest.fixture
def url(server: Server) -> str:
    """The address of `server`."""
    return server.url


@pytest.fixture(params=[*available_binaries(), IN_PROCESS])
def each_url(request: pytest.FixtureRequest, shared_server: SharedServer) -> str:
    """An address of each kind that must keep the contract: every real server, and `memory://`."""
    if request.param == IN_PROCESS:
        return f"memory://{uuid.uuid4().hex}"
    return shared_server(request.param).url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the journals of a test lie; not made yet."""
    return tmp_path / "journal"


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    """A proxy before `server` that forwards everything until it is told otherwise."""
    with FaultProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
def conversation_id() -> str:
    """An id that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture
def name() -> str:
    """A conversation that no other test has written to, for memories that the test opens."""
    return uuid.uuid4().hex


@pytest.fixture(params=FACES, ids=face_id)
def open_face(request: pytest.FixtureRequest) -> Iterator[OpenFace]:
    """Open a memory in each face, one that soon gives a server up and soon finds it again."""
    with opening(request.param, **QUICKLY) as opened:
        yield opened


@pytest.fixture
def mem(each_url: str, conversation_id: str) -> Iterator[ConversationMemory]:
    """An empty memory, on each kind of server."""
    with ConversationMemory(conversation_id, each_url, timeout_s=PATIENT_S) as memory:
        yield memory


@pytest.fixture
def other(each_url: str, conversation_id: str) -> Iterator[ConversationMemory]:
    """The same memory as another worker opens it: it shares no copy and no writer with `mem`."""
    with ConversationMemory(conversation_id, each_url, timeout_s=PATIENT_S) as memory:
        yield memory


@pytest.fixture
async def async_mem(each_url: str, conversation_id: str) -> AsyncIterator[AsyncConversationMemory]:
    """An empty async memory, on each kind of server."""
    async with AsyncConversationMemory(conversation_id, each_url, timeout_s=PATIENT_S) as memory:
        yield memory


@pytest.fixture
async def async_other(
    each_url: str, conversation_id: str
) -> AsyncIterator[AsyncConversationMemory]:
    """The same memory as another worker opens it: it shares no copy and no writer."""
    async with AsyncConversationMemory(conversation_id, each_url, timeout_s=PATIENT_S) as memory:
        yield memory
