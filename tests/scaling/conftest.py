"""Memories in either face, for servers that change places."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.outages.faces import FACES, Face
from tests.scaling.load import QUICKLY, OpenFace
from tests.servers import available_binaries


@pytest.fixture
def name() -> str:
    """A conversation that no other test has written to."""
    return uuid.uuid4().hex


@pytest.fixture(params=FACES, ids=lambda face: face.__name__.lower())
def open_face(request: pytest.FixtureRequest) -> Iterator[OpenFace]:
    """Open memories in each face."""
    with ExitStack() as stack:

        def opened(name: str, url: str, **options: Any) -> Face:
            face: Face = request.param(name, url, **{**QUICKLY, **options})
            stack.callback(face.close)
            return face

        yield opened


@pytest.fixture(params=available_binaries())
def binary(request: pytest.FixtureRequest) -> Path:
    """Each kind of server on this machine."""
    return available_binaries()[request.param]
