"""A block of changes that leave together: what it has changed here so far, and what it relies on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.keys import check_name
from redis_memory.core.parts import ANY, Check, Part, Together

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


class Block:
    """The changes of one block, not sent yet, and what it relies on.

    `is_strict`: everything that it reads must be as it was read. `is_away`: changes wait for the
    server already, and this block will wait behind them. `is_closing`: it is being sent, or ends.
    """

    __slots__ = (
        "boxes",
        "checks",
        "depends",
        "generation",
        "is_away",
        "is_closing",
        "is_emptied",
        "is_strict",
        "needs_answer",
        "parts",
        "reads",
        "sources",
        "views",
    )

    def __init__(self, *, is_strict: bool, is_away: bool, generation: int) -> None:
        self.is_strict: bool = is_strict
        self.is_away: bool = is_away
        self.is_closing: bool = False
        self.generation: int = generation
        self.parts: list[Part] = []
        self.views: dict[str, View] = {}
        # attributes that must be as they were read: name, descriptor
        self.reads: dict[str, bytes] = {}
        # the same, of a batch: what its changes were worked out from
        self.depends: dict[str, bytes] = {}
        # further checks
        self.checks: dict[tuple[bytes, bytes], Check] = {}
        # something was handed out that exactly one may have
        self.needs_answer: bool = False
        # `clear` was called in it
        self.is_emptied: bool = False
        # proxies whose state only this block knows, and what those that it changed held before
        self.sources: list[Any] = []
        self.boxes: dict[int, tuple[Any, Any, Any, bytes]] = {}

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
        return view

    def own(self, attribute: Attribute) -> None:
        """Have the copy be one that the block may change."""
        view, copy = self.view(attribute), attribute.copy
        if copy is not None and copy is view.copy:
            value = copy.value
            if isinstance(value, (list, dict, set)):
                value = value.copy()
            unseen = list(copy.unseen) if copy.unseen else None
            attribute.copy = Copy(copy.kind, copy.descriptor, value, None, unseen)

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
        else:
            is_whole = what in _WHOLE
            if not is_whole or (attribute.copy is not None and attribute.copy.unseen):
                self.own(attribute)
            if needs_answer or what in _DEPENDS:
                self.rely(attribute)
            view.is_local = True
            view.is_owned = view.is_owned or is_whole
        self.needs_answer = self.needs_answer or needs_answer
        self.parts.append(part)

    def hold_clear(self, names: Sequence[bytes], fence_s: bytes) -> None:
        """Put a `clear` behind the others; these containers are known."""
        self.parts.append(Part("clear", b"", (b"", b"clear", fence_s, *names)))
        self.is_emptied = True

    def rely(self, attribute: Attribute) -> None:
        """From now on the attribute must be what the block began from."""
        view = self.views.get(attribute.name)
        if view is not None and view.is_owned:
            return
        if self.is_emptied and view is None:
            return
        copy = attribute.copy
        base = view.base if view is not None else copy.descriptor if copy is not None else b""
        self.depends.setdefault(attribute.name, base)

    def note_read(self, attribute: Attribute, descriptor: bytes) -> None:
        """The block has read an attribute, b"" when there was none."""
        if self.is_strict:
            self.reads.setdefault(attribute.name, descriptor)

    def note_there(self, name: bytes, *, is_there: bool) -> None:
        """The block was told whether there is such an attribute."""
        if self.is_strict:
            self.checks.setdefault((b"there", name), Check(b"there", name, b"01"[is_there:][:1]))

    def note_names(self, names: Sequence[bytes]) -> None:
        """The block was told all names."""
        if self.is_strict:
            word = b"".join(b"%d:%b" % (len(name), name) for name in names)
            self.checks.setdefault((b"names", b""), Check(b"names", b"", word))

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
        if view is None or (not view.is_local and not view.blind):
            return copy is None or (copy.descriptor == known and not copy.unseen)
        return view.is_local and copy is not None and copy.descriptor == known

    def note_box(self, box: Any, source: Any = None) -> None:
        """Keep what a proxy holds, before the block's first change of it."""
        if id(box) not in self.boxes:
            base = next(kind for kind in (list, dict, set) if isinstance(box, kind))
            known = source.known if source is not None else b""
            self.boxes[id(box)] = (box, base.copy(box), source, known)

    def together(self) -> Together:
        """All of it, for the server."""
        wanted = {**self.depends, **self.reads}
        checks = [Check(b"as", check_name(name), base) for name, base in wanted.items()]
        names: dict[bytes, bytes] = {}
        for view in self.views.values():
            names[view.attribute.encoded] = ANY if view.is_owned or not view.is_local else view.base
        for part in self.parts:
            if part.script == "clear":
                names.update(dict.fromkeys(part.arguments[3:], ANY))
        return Together([*checks, *self.checks.values()], names, self.parts)
