"""What a declared attribute reads as while nothing is stored: its default, ready to be changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis_memory.core import contents, flows
from redis_memory.core.attributes import Attribute
from redis_memory.core.calls import Flow
from redis_memory.core.places import detached
from redis_memory.core.sources import Source, stale
from redis_memory.core.state import State
from redis_memory.errors import StaleProxyError
from redis_memory.face import Seen


class DefaultSource(Source):
    """The source of a proxy that holds a default.

    Its first change stores the default, unless somebody has stored something since, and is then
    made to what is there.
    """

    __slots__ = ("_is_stored", "_plain", "_seen", "first")

    def __init__(self, state: State, name: str, plain: Any, seen: Seen) -> None:
        scalar = plain if isinstance(plain, tuple) else None
        super().__init__(state, state.attribute(name), b"", scalar)
        self.kind: bytes = contents.encode(plain, state.limits, name)[0]
        self._plain = plain
        self._seen = seen
        self._is_stored = False
        # what comes before the first change, if anything does
        self.first: Callable[[], Flow[None]] | None = None

    @property
    def version(self) -> int:
        """The version of the known state, 0 before there is one."""
        return super().version if self.known else 0

    def be_current(self, box: Any, *, by_index: bool) -> Flow[None]:
        """Before a change: have something stored.

        Raises:
            StaleProxyError: Somebody else has stored something else, which the change does not fit.
        """
        # when a block is not made, what its first change has stored is the default again
        is_default = not self.known and self._held(box) == self._plain
        if self._is_stored and not is_default:
            yield from super().be_current(box, by_index=by_index)
            return
        if self.first is not None:
            yield from self.first()
        name = self.attribute.name
        self.attribute: Attribute = self.state.attribute(name)
        is_first = yield from flows.assign(
            self.state, name, detached(self._plain), only_if_missing=True
        )
        self._seen.missing.discard(name)
        copy = self.attribute.copy
        self._is_stored = True
        if is_first and copy is not None and copy.descriptor:
            self.generation: int = self.state.generation
            self.known: bytes = copy.descriptor
            return
        if not (yield from self.start_again(box)):
            raise StaleProxyError(f"the attribute {name!r} holds something else by now")
        if by_index and self._held(box) != self._plain:
            raise stale(name)

    def _held(self, box: Any) -> Any:
        return self.scalar if box is None else detached(box)
