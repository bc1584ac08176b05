"""Which schemas a memory has been brought to, and bringing it to another one in one step.

The marks of a class stand in a hidden field of the memory's hash: `<token>;` for each schema, the
newest first. A token never comes twice, so no marks begin with other marks of the same class, and
the server can compare them as it compares descriptors.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from redis_memory.core import contents
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.conflicts import MISSING
from redis_memory.core.contests import FENCE_S
from redis_memory.core.delivery import MAY_WAIT, NEEDS_ANSWER, Answer, Waiter, numbered
from redis_memory.core.flows import present
from redis_memory.core.keys import name_text
from redis_memory.core.parts import ANY, Check, Part, Together
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.core.writer import Writer

# What the names of the fields begin with.
SCHEMAS: Final = b"_schema:"
# Up to so many bytes of field and of value the server stores the whole hash compactly.
_COMPACT_BYTES: Final = 64
_TAIL_BYTES: Final = 39
_MOST_MARKS: Final = 7


class Mark:
    """One schema of one class of memories.

    `label` names the class, `word` the schema. Where the class has a `version`, every later one
    counts as well.
    """

    __slots__ = ("_token", "_version", "field")

    def __init__(self, label: str, word: str, version: int | None = None) -> None:
        self.field: bytes = SCHEMAS + _short(label.encode())
        self._version = version
        self._token = word.encode() if version is None else b"v%d" % version

    def is_in(self, marks: bytes) -> bool:
        """Has the memory been brought to this schema, or beyond it?"""
        tokens = marks.split(b";")[:-1]
        if self._version is None:
            return self._token in tokens
        versions = [int(each[1:]) for each in tokens if each[:1] == b"v" and each[1:].isdigit()]
        return max(versions, default=-1) >= self._version

    def added_to(self, marks: bytes) -> bytes:
        """The marks with this one; the oldest of many are forgotten."""
        tokens = [self._token, *marks.split(b";")[:-1]]
        return b"".join(token + b";" for token in tokens[:_MOST_MARKS])


def _short(label: bytes) -> bytes:
    if len(SCHEMAS) + len(label) <= _COMPACT_BYTES:
        return label
    digest = hashlib.sha256(label).hexdigest()[:16].encode()
    return digest + b"~" + label[-_TAIL_BYTES:]


def marks_of(state: State, mark: Mark) -> Flow[tuple[bytes, bool]]:
    """The marks of a class, and whether there are attributes. One round trip.

    Raises:
        OfflineError: The server is away, or changes wait for it.
    """
    yield from present(state)
    marks, created = yield Call(Head(b"HMGET", state.keys.memory), mark.field, b"_created")
    return marks or b"", created is not None


def bring(
    state: State, seen: dict[str, bytes], changes: dict[str, Any], mark: Mark, marks: bytes
) -> Flow[tuple[str, ...] | None]:
    """Change attributes and mark the schema, if all is as it was seen. One round trip.

    Args:
        state: Of the memory.
        seen: The descriptors of all attributes.
        changes: Values by name; `MISSING` deletes.
        mark: The schema.
        marks: Those that the class had.

    Returns:
        What others have changed meanwhile, where nothing was done; else None.

    Raises:
        UnstorableValueError: A value cannot be stored; nothing was sent.
        OfflineError: The server is away; nothing waits.
        InDoubtError: The same, and it was sent: it was done as a whole, or not at all.
    """
    rows = {state.attribute(name).encoded: descriptor for name, descriptor in seen.items()}
    every = b"".join(b"%d:%b" % (len(name), name) for name in rows)
    checks = [Check(b"names", b"", every), Check(b"as", mark.field, marks)]
    checks += (Check(b"as", name, descriptor) for name, descriptor in rows.items())
    parts = [_part(state, name, value) for name, value in changes.items()]
    parts.append(Part("mark", mark.field, (b"", b"mark", mark.added_to(marks))))
    names = {state.attribute(name).encoded: ANY for name in changes}
    answer = yield from _sent(state, Together(checks, names, parts), NEEDS_ANSWER)
    if answer.status == b"conflict":
        told = list(contents.pieces(answer.result))[1::2]
        return tuple(dict.fromkeys(name_text(name) for name in told if name and name in rows))
    for name in changes:
        _let_go(state, name)
    return None


def mark_unless_stored(state: State, mark: Mark, marks: bytes) -> Flow[None]:
    """Mark the schema if there are no attributes then. While the server is away this waits."""
    part = Part("mark", mark.field, (b"", b"first", mark.added_to(marks)))
    yield from _sent(state, Together([], {}, [part]), MAY_WAIT)


def _part(state: State, name: str, value: Any) -> Part:
    encoded = state.attribute(name).encoded
    if value is MISSING:
        return Part("delete", encoded, (b"", b"delete", FENCE_S))
    kind, arguments, _ = contents.encode(value, state.limits, name)
    return Part("assign", encoded, (b"", b"assign", kind, *arguments))


def _sent(state: State, together: Together, waiter: Waiter) -> Flow[Answer]:
    keys = state.keys
    elements = map(keys.content, together.names)
    every = (keys.memory, keys.memory, keys.stamps, *elements)

    def head(writer: Writer) -> Head:
        return Head.script(SCRIPTS["together"], every, writer.id, b"")

    return numbered(state, head, *together.packed(), waiter=waiter)


def _let_go(state: State, name: str) -> None:
    """Have the attribute read again, unless a block shows its own changes of it."""
    attribute, block = state.attribute(name), state.block
    if block is None or name not in block.views:
        attribute.doubt()
        attribute.copy, attribute.is_absent = None, False
        attribute.resets += 1
