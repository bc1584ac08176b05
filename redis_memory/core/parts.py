"""Several changes as one: how they stand in the arguments of `lua/together.lua`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# The descriptor of an attribute of which no state is meant.
ANY = b"*"

_CHECK = 3
_NAME = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One of the changes: its script, its attribute, and its own arguments as in an `Operation`."""

    script: str
    name: bytes
    arguments: tuple[bytes, ...]

    @property
    def operation(self) -> bytes:
        """What the script is to do."""
        return self.arguments[1]


@dataclass(frozen=True, slots=True)
class Check:
    """What must be so, or nothing is done.

    `kind`: b"as" (the attribute has the descriptor `word`, none when b""), b"there" (`word` is b"1"
    when it exists), b"names" (`word` are all names), b"lease" (it is held under the token `word`).
    """

    kind: bytes
    name: bytes
    word: bytes


@dataclass(slots=True)
class Together:
    """Changes that are made as one.

    `names` are all attributes that are touched, each with the descriptor that the changes began
    from here: `ANY` where the state before does not matter.
    """

    checks: list[Check]
    names: dict[bytes, bytes]
    parts: list[Part]

    def packed(self) -> tuple[bytes, ...]:
        """The arguments of the script, behind the number."""
        packed = [b"", b"together", b"%d" % len(self.checks)]
        for check in self.checks:
            packed += (check.kind, check.name, check.word)
        packed.append(b"%d" % len(self.names))
        for name, base in self.names.items():
            packed += (name, base)
        for part in merged(self.parts):
            packed += (part.script.encode(), part.name, b"%d" % len(part.arguments))
            packed += part.arguments
        return tuple(packed)

    @classmethod
    def unpacked(cls, arguments: Sequence[bytes]) -> Together:
        """What `packed` gave."""
        at = 3
        end = at + _CHECK * int(arguments[2])
        checks = [Check(*arguments[i : i + _CHECK]) for i in range(at, end, _CHECK)]
        at, end = end + 1, end + 1 + _NAME * int(arguments[end])
        names = dict(zip(arguments[at:end:_NAME], arguments[at + 1 : end : _NAME], strict=True))
        parts: list[Part] = []
        while end < len(arguments):
            script, name, count = arguments[end : end + 3]
            at, end = end + 3, end + 3 + int(count)
            parts.append(Part(script.decode(), name, tuple(arguments[at:end])))
        return cls(checks, names, parts)


def merged(parts: Iterable[Part]) -> list[Part]:
    """The same, with neighbouring appends to one list as one."""
    run: list[bytes] = []
    last: Part | None = None
    rows: list[tuple[Part, list[bytes]]] = []
    for part in parts:
        both = part.script == "append" and last is not None and last.script == "append"
        if both and last is not None and last.name == part.name:
            run += part.arguments[2:]
            continue
        last, run = part, list(part.arguments)
        rows.append((part, run))
    return [Part(part.script, part.name, tuple(run)) for part, run in rows]
