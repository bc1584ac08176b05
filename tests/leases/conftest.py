"""Memories whose locks and claims are taken, in either face."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from redis_memory import ConversationMemory
from tests.leases.faces import TENANTS, Tenant
from tests.outages.faces import face_id, opening
from tests.outages.network import PATIENT_S, QUICKLY

OpenTenant = Callable[..., Tenant]


@pytest.fixture(params=TENANTS, ids=face_id)
def open_tenant(request: pytest.FixtureRequest) -> Iterator[OpenTenant]:
    """Open a memory in each face, one that soon gives a server up and soon finds it again."""
    with opening(request.param, **QUICKLY) as opened:
        yield opened


@pytest.fixture
def tenant(open_tenant: OpenTenant, name: str, each_url: str) -> Tenant:
    """A memory in each face, on each kind of server."""
    return open_tenant(name, each_url)


@pytest.fixture
def rival(name: str, each_url: str) -> Iterator[ConversationMemory]:
    """The same conversation as another worker opens it."""
    with ConversationMemory(name, each_url, timeout_s=PATIENT_S) as memory:
        yield memory
