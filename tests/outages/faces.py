"""A memory in either face, called in one way, so that one test proves a promise for both."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import redis_memory
from redis_memory import (
    AsyncConversationMemory,
    ConversationMemory,
    aio,
)
from redis_memory.core.conflicts import Conflict
from redis_memory.standing import Status
from tests.background import Background

T = TypeVar("T")
FaceT = TypeVar("FaceT", bound="Face")
Path = tuple[Any, ...]

# What handles call the operators that change in place.
_AWAITED_NAMES = {
    "__iadd__": "extend",
    "__ior__": "update",
    "__isub__": "difference_update",
    "__iand__": "intersection_update",
    "__ixor__": "symmetric_difference_update",
}


class Face(ABC):
    """What tests do with a memory, whichever face it has. Values it gives are plain ones."""

    # mutators that this face has no name for
    lacks: frozenset[str] = frozenset()

    @abstractmethod
    def read(self, name: str) -> Any:
        """The value of an attribute."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether an attribute is stored."""

    @abstractmethod
    def assign(self, name: str, value: Any) -> None:
        """Assign an attribute."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete an attribute."""

    @abstractmethod
    def call(self, name: str, method: str, *arguments: Any, at: Path = (), **options: Any) -> Any:
        """Call a mutator of the container that lies at a place inside an attribute."""

    @abstractmethod
    def function(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call one of the functions that take a memory."""

    @abstractmethod
    def close(self) -> None:
        """Close the memory, and all that this object has beside it."""

    def push(self, name: str, *values: Any) -> int | None:
        """Append to a list."""
        length: int | None = self.function("push", name, *values)
        return length

    def increment(self, name: str, by: float = 1) -> Any:
        """Add to a number."""
        return self.function("increment", name, by)

    def status(self) -> Status:
        """How the memory stands."""
        standing: Status = self.function("status")
        return standing

    def conflicts(self) -> list[Conflict]:
        """The conflicts of the memory."""
        met: list[Conflict] = self.function("conflicts")
        return met

    def flush(self, timeout_s: float = 8.0) -> int:
        """Wait for the queue."""
        left: int = self.function("flush", timeout_s)
        return left

    def snapshot(self) -> dict[str, Any]:
        """All attributes."""
        values: dict[str, Any] = self.function("snapshot")
        return values


class Blocking(Face):
    """The blocking face."""

    def __init__(self, name: str, url: str, **options: Any) -> None:
        self.memory = ConversationMemory(name, url, **options)

    def read(self, name: str) -> Any:
        return copy.deepcopy(self.memory[name])

    def has(self, name: str) -> bool:
        return name in self.memory

    def assign(self, name: str, value: Any) -> None:
        self.memory[name] = value

    def delete(self, name: str) -> None:
        del self.memory[name]

    def call(self, name: str, method: str, *arguments: Any, at: Path = (), **options: Any) -> Any:
        box = self.memory[name]
        for step in at:
            box = box[step]
        return getattr(box, method)(*arguments, **options)

    def function(self, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(redis_memory, name)(self.memory, *arguments, **options)

    def close(self) -> None:
        redis_memory.close(self.memory)


class Awaited(Face):
    """The async face, in an event loop of its own."""

    lacks = frozenset({"__imul__"})

    def __init__(self, name: str, url: str, **options: Any) -> None:
        self.background = Background()
        self.memory = AsyncConversationMemory(name, url, **options)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await in the loop what `work` gives."""

        async def awaited() -> T:
            return await work()

        coroutine: Coroutine[Any, Any, T] = awaited()
        return self.background.run(coroutine)

    def read(self, name: str) -> Any:
        return copy.deepcopy(self.run(lambda: self.memory[name]))

    def has(self, name: str) -> bool:
        return self.run(self.memory[name].exists)

    def assign(self, name: str, value: Any) -> None:
        self.run(lambda: self.memory[name].set(value))

    def delete(self, name: str) -> None:
        self.run(self.memory[name].delete)

    def call(self, name: str, method: str, *arguments: Any, at: Path = (), **options: Any) -> Any:
        handle = self.memory[name]
        for step in at:
            handle = handle[step]
        if method == "__setitem__":
            return self.run(lambda: handle[arguments[0]].set(arguments[1]))
        if method == "__delitem__":
            return self.run(handle[arguments[0]].delete)
        mutator = getattr(handle, _AWAITED_NAMES.get(method, method))
        return self.run(lambda: mutator(*arguments, **options))

    def function(self, name: str, *arguments: Any, **options: Any) -> Any:
        return self.run(lambda: getattr(aio, name)(self.memory, *arguments, **options))

    def close(self) -> None:
        if not self.background.closed:
            try:
                self.run(lambda: aio.close(self.memory))
            finally:
                self.background.close()


FACES: tuple[type[Face], ...] = (Blocking, Awaited)
OpenFace = Callable[..., Face]


def face_id(kind: type[Face]) -> str:
    """What a face is called in the name of a test."""
    return kind.__name__.removesuffix("Tenant").lower()


@contextmanager
def opening(kind: Callable[..., FaceT], **defaults: Any) -> Iterator[Callable[..., FaceT]]:
    """Give what opens memories in one face, with these options unless told otherwise.

    They are closed at the end, the last one first.
    """
    with ExitStack() as stack:

        def opened(*where: str, **options: Any) -> FaceT:
            face = kind(*where, **{**defaults, **options})
            stack.callback(face.close)
            return face

        yield opened
