"""Memories that lose their server, in either face, and proxies that take it away from them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redis_memory import ConversationMemory
from tests.faults import FaultProxy
from tests.outages.contests import Team
from tests.outages.faces import FACES, Face
from tests.outages.network import PATIENT_S, QUICKLY
from tests.servers import Server

OpenFace = Callable[..., Face]
OpenMemory = Callable[..., ConversationMemory]


@pytest.fixture
def name() -> str:
    """A conversation that no other test has written to."""
    return uuid.uuid4().hex


@pytest.fixture
def proxies(server: Server) -> Iterator[Callable[[], FaultProxy]]:
    """Give one more proxy before the same server, for one more client with a network of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(FaultProxy(server.url))


@pytest.fixture(params=FACES, ids=lambda face: face.__name__.lower())
def open_face(request: pytest.FixtureRequest) -> Iterator[OpenFace]:
    """Open a memory in each face, one that soon gives a server up and soon finds it again."""
    with ExitStack() as stack:

        def opened(name: str, url: str, **options: Any) -> Face:
            face: Face = request.param(name, url, **{**QUICKLY, **options})
            stack.callback(face.close)
            return face

        yield opened


@pytest.fixture
def open_memory() -> Iterator[OpenMemory]:
    """Open a blocking memory that soon gives a server up and soon finds it again."""
    with ExitStack() as stack:

        def opened(name: str, url: str, **options: Any) -> ConversationMemory:
            memory = ConversationMemory(name, url, **{**QUICKLY, **options})
            return stack.enter_context(memory)

        yield opened


@pytest.fixture
def team(server: Server) -> Iterator[Team]:
    """Workers on a conversation of their own."""
    with ExitStack() as stack:
        yield Team(server, stack)


@pytest.fixture
def other(name: str, server: Server) -> Iterator[ConversationMemory]:
    """The same conversation past every proxy, as somebody sees it who has read nothing."""
    with ConversationMemory(name, server.url, timeout_s=PATIENT_S) as memory:
        yield memory
