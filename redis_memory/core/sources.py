"""Where a proxy came from, and how it follows what the server answers."""

from __future__ import annotations

from typing import Any

from redis_memory.core import contents
from redis_memory.core.changes import Change
from redis_memory.core.delivery import Answer
from redis_memory.core.descriptor import parse
from redis_memory.core.places import Moves
from redis_memory.core.reading import read, refill
from redis_memory.core.state import Attribute, Flow, State


class Source:
    """The attribute that a proxy, and those taken out of it, came from.

    `known` is the descriptor of the state that the outermost proxy holds; `scalar` is the value
    instead where the attribute is a tuple with containers inside.
    """

    __slots__ = ("attribute", "known", "moves", "scalar", "state")

    def __init__(
        self, state: State, attribute: Attribute, known: bytes, scalar: Any = None
    ) -> None:
        self.state = state
        self.attribute = attribute
        self.known = known
        self.scalar = scalar
        self.moves = Moves()

    @property
    def version(self) -> int:
        """The version of the known state."""
        return parse(self.known, self.attribute.name).version

    def follow(self, box: Any, answer: Answer, change: Change | None = None) -> None:
        """Do here what happened there: what others did before `change`, then `change` itself.

        `box` is brought to the state the server answered, and so is this process's copy if it was
        as new as the box.
        """
        copy = self.attribute.copy
        holders = [box]
        if copy is not None and copy.descriptor == self.known and copy.value is not box:
            holders.append(copy.value)
            copy.descriptor = answer.descriptor or b""
        self.known = answer.descriptor or b""
        if answer.missed is not None:
            self._catch_up(holders, answer)
        if change is not None:
            for holder in holders:
                change.apply(holder, answer.result)
            if change.moved:
                version = self.version
                for path in change.moved:
                    self.moves.note(path, version)

    def _catch_up(self, holders: list[Any], answer: Answer) -> None:
        limits = self.state.limits
        decoded = contents.decode(self.known[:1], answer.elements, limits)
        for holder in holders:
            if answer.missed == b"tail":
                list.extend(holder, decoded)
            else:
                refill(holder, decoded)
        if answer.missed == b"whole":
            now = parse(self.known, self.attribute.name)
            self.moves.note((), now.shift, depth=0)
            self.moves.note((), now.inner, depth=1)

    def start_again(self, box: Any) -> Flow[None]:
        """Read the whole state, when an answer was lost and cannot be followed. One round trip."""
        self.attribute.copy = None
        copy = yield from read(self.state, self.attribute.name)
        if copy is None or copy.kind != self.known[:1]:
            return
        self.known = copy.descriptor
        if isinstance(copy.value, tuple):
            self.scalar = copy.value
            return
        refill(box, copy.value)
        now = parse(self.known, self.attribute.name)
        self.moves.note((), now.shift, depth=0)
        self.moves.note((), now.inner, depth=1)
