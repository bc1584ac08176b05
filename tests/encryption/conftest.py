"""Memories and directories with keys, in both faces."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redis_memory import ConversationMemory
from redis_memory.link.links import idle_writers
from tests.directory.faces import open_directory
from tests.encryption.keys import OLD
from tests.outages.faces import FACES, Face
from tests.outages.network import QUICKLY

__all__ = ["open_directory"]

Open = Callable[..., ConversationMemory]
OpenFace = Callable[..., Face]


@pytest.fixture(autouse=True)
def new_writers() -> None:
    """The server is emptied between tests: that is no loss of what another test has written."""
    idle_writers.clear()


@pytest.fixture
def name() -> str:
    """A conversation that no other test has written to."""
    return uuid.uuid4().hex


@pytest.fixture
def opened(url: str) -> Iterator[Open]:
    """Open a conversation, under the old key if no other is given."""
    with ExitStack() as stack:

        def open_one(
            name: str, at: str = url, key: Any = OLD, **options: Any
        ) -> ConversationMemory:
            memory = ConversationMemory(name, at, encryption_key=key, **{**QUICKLY, **options})
            return stack.enter_context(memory)

        yield open_one


@pytest.fixture(params=FACES, ids=lambda face: face.__name__.lower())
def open_face(request: pytest.FixtureRequest, url: str) -> Iterator[OpenFace]:
    """The same in each face."""
    with ExitStack() as stack:

        def open_one(name: str, at: str = url, key: Any = OLD, **options: Any) -> Face:
            face: Face = request.param(name, at, encryption_key=key, **{**QUICKLY, **options})
            stack.callback(face.close)
            return face

        yield open_one
