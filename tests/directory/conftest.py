"""What the tests of the directory share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from redis_memory import ConversationMemory
from tests.directory.faces import open_directory

__all__ = ["open_directory"]

Begin = Callable[..., ConversationMemory]


@pytest.fixture
def begin(url: str) -> Iterator[Begin]:
    """Begin a conversation with some attributes; `topic`, if none is given."""
    with ExitStack() as stack:

        def begun(
            conversation_id: str, prefix: str = "memory:", **values: object
        ) -> ConversationMemory:
            memory = ConversationMemory(conversation_id, url, prefix=prefix)
            stack.push(memory)
            for name, value in (values or {"topic": "billing"}).items():
                memory[name] = value
            return memory

        yield begun
