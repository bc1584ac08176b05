"""What a mutant is: a rule of the protocol, broken, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass

LUA = "redis_memory/core/lua"


@dataclass(frozen=True, slots=True)
class Edit:
    """One text in a file, which must be there exactly once, and what stands there instead."""

    path: str
    text: str
    instead: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken rule, and the tests of which one at least must fail then."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
