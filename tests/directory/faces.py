"""The directory in either face, called in one way, so that one test proves a promise for both."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from redis_memory import AsyncConversations, Conversations
from tests.background import Background


class Blocking:
    """The blocking face."""

    def __init__(self, url: str, **options: Any) -> None:
        self.directory = Conversations(url, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.directory, name)

    def shut(self) -> None:
        """Close it."""
        self.directory.close()


class Awaited:
    """The async face, in an event loop of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self.background = Background()
        self.directory = AsyncConversations(url, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.directory, name)

        def awaited(*arguments: Any, **named: Any) -> Any:
            coroutine: Coroutine[Any, Any, Any] = method(*arguments, **named)
            return self.background.run(coroutine)

        return awaited

    def shut(self) -> None:
        """Close it, and the loop."""
        try:
            self.background.run(self.directory.close())
        finally:
            self.background.close()


class Faces:
    """Opens directories in one face, and closes them."""

    def __init__(self, kind: type[Blocking | Awaited]) -> None:
        self.kind = kind
        self.opened: list[Blocking | Awaited] = []

    def __call__(self, url: str, **options: Any) -> Any:
        self.opened.append(self.kind(url, **options))
        return self.opened[-1]


def opened(kind: type[Blocking | Awaited]) -> Iterator[Faces]:
    """For a fixture."""
    faces = Faces(kind)
    yield faces
    for one in faces.opened:
        one.shut()


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def open_directory(request: pytest.FixtureRequest) -> Iterator[Faces]:
    """Opens the directory of an address, in each face."""
    yield from opened(request.param)
