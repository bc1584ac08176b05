"""What one call of a mutator does: how the server does it, how a local copy does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from redis_memory.core.places import Path


class Effect:
    """What one call of a mutator does.

    `apply(container, result)` does it to a plain container, with what the server answered, and
    `answer(result)` is what the Python method returns. `absent` is raised when the server finds
    nothing to change, unless there is a `default` (a tuple of one) to return. `moved` are the paths
    below which the indexes of lists mean other elements afterwards, and `positional` says that the
    change itself means an element by an index seen before. `needed` (a tuple of one) is what must
    be in the container for the change to make sense. While the server is away, a change without
    `answer` may wait; `seen` gives then what further arguments say of the element that it means.
    """

    __slots__ = (
        "absent",
        "answer",
        "apply",
        "arguments",
        "default",
        "moved",
        "needed",
        "operation",
        "positional",
        "script",
        "seen",
    )

    def __init__(  # noqa: PLR0913 - a record; most calls name two of the optional ones
        self,
        script: str,
        operation: bytes,
        arguments: Iterable[bytes],
        apply: Callable[[Any, bytes], object],
        *,
        answer: Callable[[bytes], Any] | None = None,
        absent: Exception | None = None,
        default: tuple[Any, ...] = (),
        moved: tuple[Path, ...] = (),
        needed: tuple[Any, ...] = (),
        positional: bool = False,
        seen: Callable[[], tuple[bytes, ...]] | None = None,
    ) -> None:
        self.script: str = script
        self.operation: bytes = operation
        self.arguments: Iterable[bytes] = arguments
        self.apply: Callable[[Any, bytes], object] = apply
        self.answer: Callable[[bytes], Any] | None = answer
        self.absent: Exception | None = absent
        self.default: tuple[Any, ...] = default
        self.moved: tuple[Path, ...] = moved
        self.needed: tuple[Any, ...] = needed
        self.positional: bool = positional
        self.seen: Callable[[], tuple[bytes, ...]] | None = seen


# Builds the effect of one call: from the caller's local container, the limits for what is put
# into it, and the arguments of the Python method. It raises what the plain type would raise, and
# returns None when there is nothing to do; in both cases nothing is sent.
Builder = Callable[..., Effect | None]
