"""One change that waits for the server: all that is needed to make it later, by any process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgpack import packb, unpackb  # type: ignore[import-untyped]

from redis_memory.core.calls import NumberedCall
from redis_memory.core.parts import ANY, Part, Together
from redis_memory.core.places import Path, changed_at
from redis_memory.core.scripts import BY_SHA
from redis_memory.core.values import DEFAULT_LIMITS, Limits, pack, unpack

_BASES: dict[str, type] = {"list": list, "dict": dict, "set": set}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a change inside an element again, when the element is another one by then.

    `is_by_index`: the way leads through lists, whose elements must be where they were.
    """

    path: Path
    base: str
    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    is_by_index: bool = False

    def made(self, element: bytes, limits: Limits) -> bytes:
        """The element after the change.

        Raises:
            StaleProxyError: The place is gone.
            Exception: What the method itself raises there.
        """
        base = _BASES[self.base]

        def change(leaf: Any) -> Any:
            return getattr(base, self.method)(leaf, *self.arguments, **self.options)

        new, _ = changed_at(unpack(element, limits), self.path, base, change)
        return pack(new, limits)

    def packed(self) -> bytes:
        """The recipe as bytes for a journal."""
        how = [self.base, self.method, list(self.arguments), self.options, self.is_by_index]
        return pack([list(self.path), *how])

    @classmethod
    def unpacked(cls, packed: bytes) -> Recipe:
        """The recipe that was packed."""
        path, base, method, arguments, options, by_index = unpack(packed, DEFAULT_LIMITS)
        return cls(tuple(path), base, method, tuple(arguments), options, by_index)


class Operation:
    """A change under its number.

    `arguments` are those of the change's script behind the number: the descriptor that the caller
    knew, the operation, and its own. `at_us` is when it was made and `since_us` when this process
    lost sight of the server, both by the local clock; `contact` is the newest version that it had
    seen by then. `is_sent` says that the server may have made the change already. `policy` decides
    a conflict where it is not the memory's own that does; `meant` is the operation as it was before
    the user's function gave it another value.
    """

    __slots__ = (
        "arguments",
        "at_us",
        "contact",
        "is_sent",
        "meant",
        "name",
        "policy",
        "recipe",
        "script",
        "since_us",
        "turn",
    )

    def __init__(  # noqa: PLR0913 - a record
        self,
        turn: int,
        script: str,
        name: bytes,
        arguments: Sequence[bytes],
        at_us: int,
        *,
        since_us: int,
        contact: bytes,
        is_sent: bool = False,
        recipe: Recipe | None = None,
    ) -> None:
        self.turn: int = turn
        self.script: str = script
        self.name: bytes = name
        self.arguments: tuple[bytes, ...] = tuple(arguments)
        self.at_us: int = at_us
        self.since_us: int = since_us
        self.contact: bytes = contact
        self.is_sent: bool = is_sent
        self.recipe: Recipe | None = recipe
        self.policy: bytes = b""
        self.meant: Operation | None = None

    @classmethod
    def of(
        cls,
        call: NumberedCall,
        at_us: int,
        *,
        since_us: int,
        contact: bytes,
        is_sent: bool,
        recipe: Recipe | None = None,
    ) -> Operation:
        """The change that a call makes."""
        _, sha, *_, name = call.head.parts
        script, arguments = BY_SHA[sha].name, call.arguments[1:]
        if script == "scalar":
            script, arguments = "assign", (b"", b"assign", *arguments)
        elif script == "exchange":
            _, _, _, kind, *rest = arguments
            is_deletion = kind == b"x"
            script = "delete" if is_deletion else "assign"
            arguments = (b"", script.encode(), *(rest if is_deletion else (kind, *rest)))
        elif script == "clear":  # its keys are those of the containers that were known
            keys = call.head.parts[3:-2]
            names = (key[len(keys[0]) + 1 :] for key in keys[3:])
            arguments = (*arguments, *names)
        return cls(
            call.turn,
            script,
            name,
            arguments,
            at_us,
            since_us=since_us,
            contact=contact,
            is_sent=is_sent,
            recipe=recipe,
        )

    @property
    def operation(self) -> bytes:
        """What the script is to do."""
        return self.arguments[1] if len(self.arguments) > 1 else b""

    @property
    def parts(self) -> list[Operation]:
        """The changes that it consists of: itself, or those that are made as one."""
        if self.script != "together":
            return [self]
        return [
            Operation(
                self.turn,
                part.script,
                part.name,
                part.arguments,
                self.at_us,
                since_us=self.since_us,
                contact=self.contact,
                is_sent=self.is_sent,
            )
            for part in Together.unpacked(self.arguments).parts
        ]

    @property
    def names(self) -> tuple[bytes, ...]:
        """The attributes whose elements it may touch."""
        if self.script == "together":
            return tuple(Together.unpacked(self.arguments).names)
        if self.script == "clear":
            return self.arguments[3:]
        return (self.name,) if self.name else ()

    def declare(self, names: Sequence[bytes]) -> None:
        """Have a `clear` touch the elements of further attributes."""
        if self.script == "together":
            together = Together.unpacked(self.arguments)
            together.names.update(dict.fromkeys(names, ANY))
            self.arguments = together.packed()
        else:
            self.arguments = (*self.arguments, *names)

    def create_lists(self) -> None:
        """Have what is appended create the list that may have been lost."""
        if self.script == "together":
            together = Together.unpacked(self.arguments)
            together.parts = [
                Part("append", part.name, (b"", b"push", *part.arguments[2:]))
                if part.operation == b"append"
                else part
                for part in together.parts
            ]
            self.arguments = together.packed()
        elif self.operation == b"append":
            self.arguments = (b"", b"push", *self.arguments[2:])

    @property
    def size_bytes(self) -> int:
        """What it takes on the wire, about."""
        return sum(map(len, self.arguments)) + len(self.name)

    def record(self) -> bytes:
        """The change as bytes for a journal."""
        recipe = self.recipe.packed() if self.recipe else None
        parts = [
            self.turn,
            self.script,
            self.name,
            self.arguments,
            self.at_us,
            self.since_us,
            self.contact,
            self.is_sent,
            recipe,
        ]
        packed: bytes = packb(parts) or b""
        return packed

    @classmethod
    def from_record(cls, record: bytes) -> Operation:
        """The change that a journal holds.

        Raises:
            ValueError, TypeError: The record is none of ours.
        """
        turn, script, name, arguments, at_us, since_us, contact, is_sent, recipe = unpackb(
            record, use_list=False
        )
        return cls(
            turn,
            script,
            name,
            arguments,
            at_us,
            since_us=since_us,
            contact=contact,
            is_sent=is_sent,
            recipe=Recipe.unpacked(recipe) if recipe else None,
        )
