"""Memories in either face that soon give a server up, and what the library logs meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

import pytest

from redis_memory.telemetry import instruments
from tests.outages.faces import OpenFace
from tests.telemetry.measuring import Measured

__all__ = ["OpenFace"]


class Said:
    """What the library has logged so far, at any level."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def text(self) -> str:
        """All of it, as a file would hold it."""
        return self._caplog.text

    def levels(self, words: str) -> list[str]:
        """The levels of the lines that hold these words: one for each line."""
        own = [one for one in self._caplog.records if one.name.partition(".")[0] == "redis_memory"]
        return [one.levelname for one in own if words in one.getMessage()]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """Listen to the library at every level."""
    caplog.set_level(logging.DEBUG, logger="redis_memory")
    return Said(caplog)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measured]:
    """Have everything that is opened with `telemetry="on"` counted here."""
    measured = Measured()
    monkeypatch.setattr(instruments, "current", lambda: measured.instruments)
    yield measured
    measured.close()


@pytest.fixture
def open_measured(open_face: OpenFace, measured: Measured) -> OpenFace:
    """Open memories in each face that are measured."""
    return partial(open_face, telemetry="on")
