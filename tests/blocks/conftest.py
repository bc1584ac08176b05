"""A conversation of its own for each test, opened twice."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from redis_memory import AsyncConversationMemory, ConversationMemory


@pytest.fixture
def conversation_id() -> str:
    """An id that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture
def mem(each_url: str, conversation_id: str) -> Iterator[ConversationMemory]:
    """An empty memory, on each kind of server."""
    with ConversationMemory(conversation_id, each_url) as memory:
        yield memory


@pytest.fixture
def other(each_url: str, conversation_id: str) -> Iterator[ConversationMemory]:
    """The same memory as another worker opens it: it shares no copy and no writer with `mem`."""
    with ConversationMemory(conversation_id, each_url) as memory:
        yield memory


@pytest.fixture
async def async_mem(each_url: str, conversation_id: str) -> AsyncIterator[AsyncConversationMemory]:
    """An empty async memory, on each kind of server."""
    async with AsyncConversationMemory(conversation_id, each_url) as memory:
        yield memory


@pytest.fixture
async def async_other(
    each_url: str, conversation_id: str
) -> AsyncIterator[AsyncConversationMemory]:
    """The same memory as another worker opens it: it shares no copy and no writer."""
    async with AsyncConversationMemory(conversation_id, each_url) as memory:
        yield memory
