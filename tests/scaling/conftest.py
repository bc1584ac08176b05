"""Memories in either face, for servers that change places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outages.faces import FACES, OpenFace, face_id, opening
from tests.scaling.load import QUICKLY
from tests.servers import available_binaries


@pytest.fixture(params=FACES, ids=face_id)
def open_face(request: pytest.FixtureRequest) -> Iterator[OpenFace]:
    """Open memories in each face that look longer for a server than those of other tests."""
    with opening(request.param, **QUICKLY) as opened:
        yield opened


@pytest.fixture(params=available_binaries())
def binary(request: pytest.FixtureRequest) -> Path:
    """Each kind of server on this machine."""
    return available_binaries()[request.param]
