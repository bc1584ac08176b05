"""Memories and directories with keys, in both faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redis_memory import ConversationMemory
from tests.directory.faces import open_directory
from tests.encryption.keys import OLD
from tests.outages.faces import FACES, Face, OpenFace, face_id, opening
from tests.outages.network import QUICKLY

__all__ = ["OpenFace", "open_directory"]

Open = Callable[..., ConversationMemory]


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


@pytest.fixture(params=FACES, ids=face_id)
def open_face(request: pytest.FixtureRequest, url: str) -> Iterator[OpenFace]:
    """The same in each face."""
    with opening(request.param, **QUICKLY) as opened:

        def open_one(name: str, at: str = url, key: Any = OLD, **options: Any) -> Face:
            face: Face = opened(name, at, encryption_key=key, **options)
            return face

        yield open_one
