"""Memories whose locks and claims are taken, in either face."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redis_memory import ConversationMemory
from tests.leases.faces import TENANTS, Tenant
from tests.outages.network import QUICKLY

OpenTenant = Callable[..., Tenant]


@pytest.fixture
def name() -> str:
    """A conversation that no other test has written to."""
    return uuid.uuid4().hex


@pytest.fixture(params=TENANTS, ids=lambda face: face.__name__.removesuffix("Tenant").lower())
def open_tenant(request: pytest.FixtureRequest) -> Iterator[OpenTenant]:
    """Open a memory in each face, one that soon gives a server up and soon finds it again."""
    with ExitStack() as stack:

        def opened(name: str, url: str, **options: Any) -> Tenant:
            face: Tenant = request.param(name, url, **{**QUICKLY, **options})
            stack.callback(face.close)
            return face

        yield opened


@pytest.fixture
def tenant(open_tenant: OpenTenant, name: str, each_url: str) -> Tenant:
    """A memory in each face, on each kind of server."""
    return open_tenant(name, each_url)


@pytest.fixture
def rival(name: str, each_url: str) -> Iterator[ConversationMemory]:
    """The same conversation as another worker opens it."""
    with ConversationMemory(name, each_url) as memory:
        yield memory
