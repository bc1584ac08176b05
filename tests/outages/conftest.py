"""Memories that lose their server, in either face, and proxies that take it away from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redis_memory import ConversationMemory
from tests.faults import FaultProxy
from tests.outages.contests import Team
from tests.outages.faces import OpenFace
from tests.outages.network import PATIENT_S, QUICKLY
from tests.servers import Server

__all__ = ["OpenFace"]

OpenMemory = Callable[..., ConversationMemory]


@pytest.fixture
def proxies(server: Server) -> Iterator[Callable[[], FaultProxy]]:
    """Give one more proxy before the same server, for one more client with a network of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(FaultProxy(server.url))


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
