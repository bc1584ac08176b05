"""What the tests of the directory share."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from redis_memory import ConversationMemory
from redis_memory.link.links import idle_writers
from tests.directory.faces import open_directory

__all__ = ["open_directory"]

Begin = Callable[..., ConversationMemory]


@pytest.fixture(autouse=True)
def new_writers() -> None:
    """The ids are the same in all tests, and the server is emptied in between: that is no loss."""
    gc.collect()  # a memory that is collected later would leave its writer then
    idle_writers.clear()


@pytest.fixture
def begin(url: str) -> Begin:
    """Begin a conversation with some attributes; `topic`, if none is given."""

    def begun(
        conversation_id: str, prefix: str = "memory:", **values: object
    ) -> ConversationMemory:
        memory = ConversationMemory(conversation_id, url, prefix=prefix)
        for name, value in (values or {"topic": "billing"}).items():
            memory[name] = value
        return memory

    return begun
