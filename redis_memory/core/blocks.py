"""A block of changes that leave together: what it has done so far, and what it relies on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.keys import check_name
from redis_memory.core.parts import ANY, Check, Part, Together
from redis_memory.core.places import refill
from redis_memory.errors import ConflictError

# What means something only in the state that was seen: by script and operation.
_DEPENDS = frozenset(
    {
        *(("list", word) for word in (b"set", b"delete", b"remove", b"rewrite", b"take")),
        *(("dict", b"take"), ("set", b"take"), ("swap", b"swap"), ("assign", b"replace")),
    }
)
# What leaves nothing of the state before.
_WHOLE = frozenset({("assign", b"assign"), ("delete", b"delete")})
_BLIND = frozenset({("append", b"push"), ("increment", b"increment")})


class View:
    """One attribute as a block sees it, and as it was known before.

    `base` is the descriptor of the state that the block's changes began from, b"" when there was
    none. `is_local`: the copy here shows the block's changes. Else they are `blind`: made without
    knowing what is there. `is_owned`: the block has assigned or deleted it, whatever was there.
    """

    __slots__ = (
        "attribute",
        "base",
        "before",
        "blind",
        "confirmed",
        "copy",
        "is_absent",
        "is_local",
        "is_owned",
        "session",
    )

    def __init__(self, attribute: Attribute, base: bytes) -> None:
        self.attribute: Attribute = attribute
        self.base: bytes = base
        self.blind: list[Part] = []
        self.is_local: bool = False
        self.is_owned: bool = False
        self.copy: Copy | None = attribute.copy
        self.confirmed: bytes | None = attribute.confirmed
        self.before: bytes = attribute.before
        self.is_absent: bool = attribute.is_absent
        self.session: int = attribute.session


class Held:
    """What a proxy held before a block changed it; of one inside an element there is no source."""

    __slots__ = ("box", "known", "moves", "plain", "scalar", "source")

    def __init__(self, box: Any, source: Any) -> None:
        self.box: Any = box
        self.plain: Any = plain_copy(box)
        self.source: Any = source
        if source is not None:
            self.known: bytes = source.known
            self.scalar: Any = source.scalar
            self.moves: Any = source.moves.copy()

    def restore(self) -> None:
        """Have the proxy hold that again."""
        if self.box is not None:
            refill(self.box, self.plain)
        if self.source is not None:
            self.source.known, self.source.scalar = self.known, self.scalar
            self.source.moves = self.moves


def plain_copy(box: Any) -> Any:
    """A copy of a container, proxy or plain, that shares what lies inside."""
    if isinstance(box, list):
        return list(list.__iter__(box))
    if isinstance(box, dict):
        return dict(dict.items(box))
    return set(set.__iter__(box)) if isinstance(box, set) else box


class Block:
    """The changes of one block, not sent yet, and what it relies on.

    `is_strict`: everything that it reads must be as it was read. `is_away`: changes wait for the
    server already, and this block will wait behind them. `is_closing`: it is being sent, or ends.
    """

    __slots__ = (
        "boxes",
        "checks",
        "depends",
        "fresh",
        "generation",
        "is_away",
        "is_closing",
        "is_emptied",
        "is_strict",
        "names",
        "needs_answer",
        "owner",
        "parts",
        "pid",
        "provisional",
        "reads",
        "sources",
        "views",
        "was_emptied",
    )

    def __init__(self, owner: object, *, is_strict: bool, is_away: bool) -> None:
        # by what whoever has begun it knows it again
        self.owner: object = owner
        self.is_strict: bool = is_strict
        self.is_away: bool = is_away
        self.is_closing: bool = False
        # what the memory's state was before: how many reconnections, states that only this process
        # knows, and whether a `clear` waited
        self.generation: int = 0
        self.provisional: int = 0
        self.was_emptied: bool = False
        self.parts: list[Part] = []
        self.views: dict[str, View] = {}
        # attributes that must be as they were read: name, descriptor
        self.reads: dict[str, bytes] = {}
        # the same, of a batch: what its changes were worked out from
        self.depends: dict[str, bytes] = {}
        # all names, once a block that is strict has been told them
        self.names: set[bytes] | None = None
        # further checks
        self.checks: dict[tuple[bytes, bytes], Check] = {}
        # something was handed out that exactly one may have
        self.needs_answer: bool = False
        # `clear` was called in it
        self.is_emptied: bool = False
        # proxies whose state only this block knows, and what those that it changed held before
        self.sources: list[Any] = []
        self.boxes: dict[int, Held] = {}
        # attributes whose copies were found to be up to date when the block first read one; None
        # before that
        self.fresh: set[str] | None = None
        # of the process: a child that was forked inside the block is not in it
        self.pid: int = os.getpid()

    @property
    def is_empty(self) -> bool:
        """Is there nothing to be sent?"""
        return not (self.parts or self.reads or self.depends or self.checks)

    def view(self, attribute: Attribute, known: bytes = b"") -> View:
        """The view of an attribute that is about to be changed."""
        view = self.views.get(attribute.name)
        if view is None:
            copy = attribute.copy
            base = known or (copy.descriptor if copy is not None else b"")
            view = self.views[attribute.name] = View(attribute, base)
            # behind a `clear` nothing depends on what was there
            view.is_owned = view.is_local = self.is_emptied
        return view

    def own(self, attribute: Attribute) -> None:
        """Have the copy be one that the block may change."""
        view, copy = self.view(attribute), attribute.copy
        if copy is not None and copy is view.copy:
            unseen = list(copy.unseen) if copy.unseen else None
            attribute.copy = Copy(copy.kind, copy.descriptor, plain_copy(copy.value), None, unseen)

    def shows(self, attribute: Attribute) -> bool:
        """Does the copy here show the block's changes of the attribute?"""
        view = self.views.get(attribute.name)
        return view is not None and view.is_local

    def hold(
        self,
        attribute: Attribute,
        script: str,
        arguments: Sequence[bytes],
        *,
        needs_answer: bool = False,
        known: bytes = b"",
    ) -> None:
        """Put a change behind those that the block has made. `known` is what the server knows."""
        if script == "scalar":
            script, arguments = "assign", (b"", b"assign", *arguments)
        view = self.view(attribute, known)
        what = (script, arguments[1])
        part = Part(script, attribute.encoded, (known, *arguments[1:]))
        is_blind = what in _BLIND and not view.is_local
        if is_blind and self.reads.get(attribute.name, ANY) != view.base:
            view.blind.append(part)
        elif not (view.blind and arguments[1] == b"create"):
            is_whole = what in _WHOLE
            if not is_whole or (attribute.copy is not None and attribute.copy.unseen):
                self.own(attribute)
            if needs_answer or what in _DEPENDS:
                self.rely(attribute)
            view.is_local = True
            view.is_owned = view.is_owned or is_whole
        self.needs_answer = self.needs_answer or needs_answer
        self.parts.append(part)

    def hold_clear(self, known: Iterable[Attribute], fence_s: bytes) -> None:
        """Put a `clear` behind the others; all attributes that are known here are gone."""
        for attribute in known:
            self.own(attribute)
        self.is_emptied = True
        for view in self.views.values():
            view.is_owned = view.is_local = True
        self.parts.append(Part("clear", b"", (b"", b"clear", fence_s)))

    def rely(self, attribute: Attribute, known: bytes = b"") -> None:
        """From now on the attribute must be what the block began from, `known` to the caller."""
        view = self.views.get(attribute.name)
        if view is not None and view.is_owned:
            return
        if self.is_emptied and view is None:
            return
        copy = attribute.copy
        base = known or (copy.descriptor if copy is not None else b"")
        if view is not None:
            base = view.base
        self.depends.setdefault(attribute.name, base)

    def note_read(self, attribute: Attribute, descriptor: bytes) -> None:
        """The block has read an attribute, b"" when there was none.

        Raises:
            ConflictError: It is not what the block has read before.
        """
        if self.is_strict and self.reads.setdefault(attribute.name, descriptor) != descriptor:
            raise ConflictError((attribute.name,))

    def note_there(self, name: bytes, *, is_there: bool) -> None:
        """The block was told whether there is such an attribute."""
        if self.is_strict:
            word = b"1" if is_there else b"0"
            self.checks.setdefault((b"there", name), Check(b"there", name, word))

    def note_names(self, names: Sequence[bytes]) -> None:
        """The block was told all names."""
        if self.is_strict:
            word = b"".join(b"%d:%b" % (len(name), name) for name in names)
            self.checks.setdefault((b"names", b""), Check(b"names", b"", word))
            self.names = set(names) if self.names is None else self.names

    def is_missing(self, attribute: Attribute) -> bool:
        """Has the block been told all names, and this one was not among them?"""
        return self.names is not None and attribute.encoded not in self.names

    def is_read(self, attribute: Attribute) -> bool:
        """Has the block read it, and does the copy still show what it saw?"""
        seen = self.reads.get(attribute.name)
        if seen is None:
            return False
        copy = attribute.copy
        return (copy.descriptor if copy is not None else b"") == seen

    def is_current(self, attribute: Attribute, known: bytes) -> bool:
        """Is a proxy of that state what the block sees of the attribute?"""
        view, copy = self.views.get(attribute.name), attribute.copy
        if view is None and self.is_emptied:
            return False
        if view is None:
            return copy is None or (copy.descriptor == known and not copy.unseen)
        return view.is_local and copy is not None and copy.descriptor == known

    def note_box(self, box: Any, source: Any = None) -> None:
        """Keep what a proxy holds, before the block's first change of it."""
        key = id(source) if box is None else id(box)
        if key not in self.boxes:
            self.boxes[key] = Held(box, source)
            if source is not None:
                self.sources.append(source)

    def together(self) -> Together:
        """All of it, for the server."""
        wanted = {**self.depends, **self.reads}
        checks = [Check(b"as", check_name(name), base) for name, base in wanted.items()]
        names: dict[bytes, bytes] = {}
        for view in self.views.values():
            names[view.attribute.encoded] = ANY if view.is_owned or not view.is_local else view.base
        return Together([*checks, *self.checks.values()], names, self.parts)
