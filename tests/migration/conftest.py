"""What the tests of the migration share."""

from __future__ import annotations

from typing import Any

import pytest

from redis_memory import migration
from tests.migration.faces import Migrate, awaited
from tests.migration.old import OldWorkers
from tests.servers import Server


@pytest.fixture
def old(server: Server) -> OldWorkers:
    """Old workers at `server`."""
    return OldWorkers(server)


@pytest.fixture(params=[migration.migrate, awaited], ids=["blocking", "awaited"])
def migrate(request: pytest.FixtureRequest) -> Migrate:
    """The migration, in each face."""
    face: Any = request.param
    return face  # type: ignore[no-any-return]
