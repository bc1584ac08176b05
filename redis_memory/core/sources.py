"""Where a proxy came from, and how it follows what the server answers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from redis_memory.core import contents, replica
from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.calls import Flow
from redis_memory.core.delivery import Answer
from redis_memory.core.descriptor import LIST, parse
from redis_memory.core.effects import Effect
from redis_memory.core.places import Moves, refill
from redis_memory.core.reading import read
from redis_memory.core.state import State
from redis_memory.errors import StaleProxyError


class Source:
    """The attribute that a proxy, and those taken out of it, came from.

    `known` is the descriptor of the state that the outermost proxy holds, b"" while it is being
    changed: an exception from a signal handler may leave it so. `scalar` is the value instead where
    the attribute is a tuple with containers inside.
    """

    __slots__ = ("attribute", "generation", "kind", "known", "moves", "scalar", "state")

    def __init__(
        self, state: State, attribute: Attribute, known: bytes, scalar: Any = None
    ) -> None:
        self.state: State = state
        self.attribute: Attribute = attribute
        self.generation: int = state.generation
        self.kind: bytes = known[:1]
        self.known: bytes = known
        self.scalar: Any = scalar
        self.moves: Moves = Moves()
        if state.block is not None:
            state.block.sources.append(self)

    @property
    def is_current(self) -> bool:
        """Can the proxy be brought up to date by what has happened since?

        While changes wait, nobody tells what it lacks: it must be as new as the copy then.
        """
        if not self.known or self.generation != self.state.generation:
            return False
        if self.state.block is not None:
            return self.state.block.is_current(self.attribute, self.known)
        copy = self.attribute.copy
        return not self.state.is_waiting or copy is None or copy.descriptor == self.known

    @property
    def version(self) -> int:
        """The version of the known state."""
        return parse(self.known, self.attribute.name).version

    def can_follow(self, known: bytes, answer: Answer) -> bool:
        """Does an answer to who knew `known` tell how to bring the proxy up to date?

        Not when the answer was lost, the connection broke, or a signal handler has changed the
        attribute since the question.
        """
        return bool(answer.descriptor) and self.known is known and self.is_current

    def follow(self, box: Any, answer: Answer, effect: Effect | None = None) -> None:
        """Do here what happened there: what others did before `effect`, then `effect` itself.

        `box` is brought to the state the server answered, and so is this process's copy if it was
        as new as the box.
        """
        descriptor = answer.descriptor or b""
        copy = self.attribute.copy
        holders = [box]
        if copy is not None and copy.descriptor == self.known:
            holders.append(copy.value)
            copy.descriptor = b""
        else:
            copy = None
        self.known = b""
        if copy is not None and answer.missed is not None:
            copy.unseen = None
        if answer.missed is not None:
            self._catch_up(holders, answer, descriptor)
        if effect is not None:
            for holder in holders:
                effect.apply(holder, answer.result)
            if effect.moved:
                version = parse(descriptor, self.attribute.name).version
                for path in effect.moved:
                    self.moves.note(path, version)
        self.known = descriptor
        if copy is not None:
            copy.descriptor = descriptor
        else:
            self.be_copied(box)

    def be_copied(self, box: Any) -> Copy:
        """Take what the proxy holds for this process's copy, which is older or missing."""
        copy = self.attribute.copy
        if self.kind == LIST and copy is not None and copy.descriptor[15:28] == self.known[15:28]:
            # both begin alike, and the copy is the older one
            copy.value.extend(list.__getitem__(box, slice(len(copy.value), None)))
            copy.descriptor, copy.unseen = self.known, None
            return copy
        plain: Any = self.scalar
        if isinstance(box, list):
            plain = list(list.__iter__(box))
        elif isinstance(box, dict):
            plain = dict(dict.items(box))
        elif isinstance(box, set):
            plain = set(set.__iter__(box))
        copy = self.attribute.copy = Copy(self.kind, self.known, plain)
        return copy

    def follow_here(self, box: Any, effect: Effect) -> None:
        """Do a change that waits to the proxy, and to the copy that answers reads."""
        state, attribute = self.state, self.attribute
        if state.block is not None:
            state.block.note_box(box, self)
        replica.begin_waiting(state, attribute, self.known)
        copy = attribute.copy
        if copy is None or copy.kind != self.kind:
            copy = self.be_copied(box)
        elif copy.descriptor != self.known:
            self.known = b""
            refill(box, copy.value)
            self._note_moves(copy.descriptor)
        for holder in (box, copy.value):
            # built for an older state, it may not fit; the server has the last word anyway
            with suppress(LookupError, ValueError, StopIteration):
                effect.apply(holder, b"")
        descriptor = replica.provisional(state, self.kind)
        for path in effect.moved:
            self.moves.note(path, parse(descriptor, attribute.name).version)
        self.known = copy.descriptor = descriptor

    def _catch_up(self, holders: list[Any], answer: Answer, descriptor: bytes) -> None:
        decoded = contents.decode(self.kind, answer.elements, self.state.limits)
        for holder in holders:
            if answer.missed == b"tail":
                list.extend(holder, decoded)
            else:
                refill(holder, decoded)
        if answer.missed == b"whole":
            self._note_moves(descriptor)

    def _note_moves(self, descriptor: bytes) -> None:
        """The proxy has another state, and lists in it may have moved their elements."""
        now = parse(descriptor, self.attribute.name)
        self.moves.note((), now.shift, depth=0)
        self.moves.note((), now.inner, depth=1)

    def be_current(self, box: Any, *, by_index: bool) -> Flow[None]:
        """Before a change: read again what cannot be brought up to date. Mostly nothing to do.

        Raises:
            StaleProxyError: The attribute is gone, or of another kind; or the change is meant
                `by_index`, and the index may mean another element now.
        """
        if self.is_current:
            return
        before = self.known
        if not (yield from self.start_again(box)):
            name = self.attribute.name
            raise StaleProxyError(f"the attribute {name!r} that this value was read from is gone")
        if by_index and self.known != before:
            raise stale(self.attribute.name)

    def start_again(self, box: Any) -> Flow[bool]:
        """Read the whole state; whether there is still one of the same kind. One round trip."""
        before, self.known = self.known, b""
        if not self.state.is_waiting and self.state.block is None:
            self.attribute.doubt()
        copy = yield from read(self.state, self.attribute.name)
        if copy is None or copy.kind != self.kind:
            return False
        if isinstance(copy.value, tuple):
            self.scalar = copy.value
        else:
            refill(box, copy.value)
            if before != copy.descriptor:
                self._note_moves(copy.descriptor)
        self.generation = self.state.generation
        self.known = copy.descriptor
        return True


def stale(name: str) -> StaleProxyError:
    """The error for an index that may mean another element by now."""
    return StaleProxyError(
        f"elements of {name!r} have moved since it was read; read it again to change it"
    )
