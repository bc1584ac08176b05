"""A typed memory of its own for each test, opened twice, and once without its types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from redis_memory import ConversationMemory
from tests.typed.cases import AsyncSupportCase, SupportCase


@pytest.fixture
def case(each_url: str, conversation_id: str) -> Iterator[SupportCase]:
    """An empty typed memory, on each kind of server."""
    with SupportCase(conversation_id, each_url) as memory:
        yield memory


@pytest.fixture
def other(each_url: str, conversation_id: str) -> Iterator[SupportCase]:
    """The same memory as another worker opens it."""
    with SupportCase(conversation_id, each_url) as memory:
        yield memory


@pytest.fixture
def plain(each_url: str, conversation_id: str) -> Iterator[ConversationMemory]:
    """The same memory without its types: what is stored."""
    with ConversationMemory(conversation_id, each_url) as memory:
        yield memory


@pytest.fixture
async def acase(each_url: str, conversation_id: str) -> AsyncIterator[AsyncSupportCase]:
    """An empty typed async memory, on each kind of server."""
    async with AsyncSupportCase(conversation_id, each_url) as memory:
        yield memory
