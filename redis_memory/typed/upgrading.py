"""The hook `__upgrade__`: a memory is brought to what its class declares before it is first used.

That is looked for in each memory object until it is known to be done. The hook runs while the
memory is locked, so other threads and tasks wait for its end.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from redis_memory.cached import UNKNOWN
from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import MISSING
from redis_memory.core.counting import Number
from redis_memory.core.flows import survey
from redis_memory.core.schemas import Mark, bring, mark_unless_stored, marks_of
from redis_memory.core.state import State
from redis_memory.core.values import pack
from redis_memory.errors import ConflictError, InvalidNameError, OfflineError
from redis_memory.typed.core import TypedCore
from redis_memory.typed.declarations import Declaration, Schema
from redis_memory.typed.defaults import DefaultSource
from redis_memory.typed.reasons import invalid

T = TypeVar("T")

# As many as `retry_on_conflict` makes. There are no pauses between them: a memory is locked
# meanwhile, and whoever was slower than another upgrade finds at once that nothing is left to do.
_ATTEMPTS: Final = 20

# What changes in the schema of a model without any value being stored in another form. Defaults are
# not stored either, and those that are sets stand in another order in each process.
_ASIDE: Final = frozenset({"title", "description", "examples", "default", "deprecated"})
_BY_NAME: Final = frozenset({"properties", "patternProperties", "$defs"})


_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


class _Forms(GenerateJsonSchema):
    """Says nothing of defaults that are no JSON: they are left out anyway."""

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Nothing."""


class Upgrade:
    """Whether one memory object knows that its memory has been upgraded, and the way there."""

    __slots__ = ("_is_marked", "_is_running", "_marks", "_schema", "_state", "is_done")

    def __init__(self, schema: Schema, state: State) -> None:
        self._schema = schema
        self._state = state
        self.is_done: bool = False
        # the marks of the class when there were no attributes; None before that was seen
        self._marks: bytes | None = None
        # a mark waits for the server
        self._is_marked = False
        # the hook may itself use the memory
        self._is_running = False

    def first(self, flow: Flow[T], *, stores: bool = False) -> Flow[T]:
        """Run a flow on an upgraded memory. `stores`: it may store the first attribute."""
        yield from self.upgrading(stores=stores)
        return (yield from flow)

    def storing(self) -> Flow[None]:
        """Before a default is stored."""
        return self.upgrading(stores=True)

    def upgrading(self, *, stores: bool) -> Flow[None]:
        """Upgrade the memory, unless that is done.

        Raises:
            InvalidValueError: What the hook has returned does not fit; nothing was changed.
            ConflictError: Others went on changing the memory.
            OfflineError: The server is away, and nothing is known of the memory.
            Exception: What the hook raises; nothing was changed.
        """
        if self.is_done or self._is_running:
            return
        try:
            self.is_done = yield from self._upgraded(stores=stores)
        except OfflineError:
            # a memory that was empty when it was last seen is written to, and read, as any other
            if self._marks is None:
                raise
            if stores and not self._is_marked:
                yield from mark_unless_stored(self._state, mark_of(self._schema), self._marks)
                self._is_marked = True

    def _upgraded(self, *, stores: bool) -> Flow[bool]:
        state, mark = self._state, mark_of(self._schema)
        conflict: tuple[str, ...] | None = ()
        for _ in range(_ATTEMPTS):
            marks, is_stored = yield from marks_of(state, mark)
            self._marks = None if is_stored else marks
            if mark.is_in(marks):
                return True
            if not is_stored and not stores:
                return False  # reading stores nothing, not even a mark
            seen, stored = (yield from survey(state)) if is_stored else ({}, {})
            changes = self._changes(stored) if stored else {}
            conflict = yield from bring(state, seen, changes, mark, marks)
            if conflict is None:
                return True
        raise ConflictError(conflict or ())

    def _changes(self, stored: dict[str, Any]) -> dict[str, Any]:
        """What the hook makes of the stored attributes: those that differ, `MISSING` for none."""
        limits = self._state.limits
        before = {name: pack(value, limits, name) for name, value in stored.items()}
        changes: dict[str, Any] = dict.fromkeys(stored, MISSING)
        for name, value in self._returned(stored).items():
            declaration = self._schema.declarations.get(name)
            plain = value if declaration is None else declaration.shape.enter(value, (name,))
            if pack(plain, limits, str(name)) == before.get(name):
                del changes[name]
                continue
            if declaration is None:
                self._check_name(name)
            changes[name] = plain
        return changes

    def _returned(self, stored: dict[str, Any]) -> dict[str, Any]:
        place = f"{self._schema.label}.__upgrade__"
        self._is_running = True
        try:
            returned = self._schema.hook(stored)
        except (AttributeError, LookupError) as error:
            # or `hasattr`, and all else that asks for attributes, would take it for a missing one
            raise RuntimeError(f"{place} has raised {type(error).__name__}") from error
        finally:
            self._is_running = False
        if not isinstance(returned, dict):
            raise TypeError(f"{place} must return a dict, not {type(returned).__name__}")
        return returned

    def _check_name(self, name: str) -> None:
        """Can the hook store an attribute of this name, which is not declared?"""
        try:
            self._state.attribute(name)
        except InvalidNameError:
            raise invalid((name,), "No attribute can have that name") from None
        if self._schema.refusal(name):
            raise invalid((name,), "It is not declared")


def mark_of(schema: Schema) -> Mark:
    """The mark of what a class declares: its version, or else the form of its attributes.

    Raises:
        TypeError: An annotation cannot be used.
    """
    if schema.mark is None:
        word = ""
        if schema.version is None:
            forms = {name: _form(each) for name, each in schema.declarations.items()}
            text = json.dumps(forms, sort_keys=True, default=repr)
            word = hashlib.sha256(text.encode()).hexdigest()[:8]
        schema.mark = Mark(schema.label, word, schema.version)
    return schema.mark


def _form(declaration: Declaration) -> Any:
    shape = declaration.shape
    try:
        return _bare(shape.adapter.json_schema(by_alias=False, schema_generator=_Forms))
    except PydanticUserError:  # there is none for what only Python code can tell
        annotation = shape.annotation
        while get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        # another one in each process
        return _ADDRESS.sub("", repr(annotation))


def _bare(schema: Any) -> Any:
    """A JSON schema without what says nothing of stored values."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _BY_NAME and isinstance(value, dict):
            bare[key] = {name: _bare(each) for name, each in value.items()}
        elif key not in _ASIDE:
            bare[key] = _bare(value)
    return bare


class UpgradingCore(TypedCore):
    """A core of a class with the hook. A subclass sets the attribute.

    `clear` does without: it would have nothing left of what the hook has made.
    """

    __slots__ = ()
    upgrade: Upgrade

    def _after(self, flow: Flow[T], *, stores: bool = False) -> Flow[T]:
        return flow if self.upgrade.is_done else self.upgrade.first(flow, stores=stores)

    def known(self, name: str) -> Any:
        """What an attribute reads as without a round trip, if that can be."""
        return super().known(name) if self.upgrade.is_done else UNKNOWN

    def reading(self, name: str) -> Flow[Any]:
        """What an attribute reads as, or its default."""
        return self._after(super().reading(name))

    def reading_there(self, name: str) -> Flow[Any]:
        """As `reading`, and only by the server."""
        return self._after(super().reading_there(name))

    def finding(self, name: str) -> Flow[bool]:
        """Whether an attribute is stored."""
        return self._after(super().finding(name))

    def windowing(self, name: str, start: int | None, stop: int | None) -> Flow[list[Any] | None]:
        """A part of a list."""
        return self._after(super().windowing(name, start, stop))

    def collecting(self) -> Flow[dict[str, Any]]:
        """All attributes, in plain values."""
        return self._after(super().collecting())

    def naming(self) -> Flow[list[str]]:
        """The names of the stored attributes, sorted."""
        return self._after(super().naming())

    def deleting(self, name: str) -> Flow[bool]:
        """Delete an attribute."""
        return self._after(super().deleting(name))

    def assigning(self, name: str, value: Any) -> Flow[None]:
        """Assign what fits."""
        return self._after(super().assigning(name, value), stores=True)

    def defaulting(self, name: str, value: Any) -> Flow[Any]:
        """Store what fits, unless there is something."""
        return self._after(super().defaulting(name, value), stores=True)

    def comparing(self, name: str, expected: Any, new: Any) -> Flow[bool]:
        """Store what fits, if there is what is expected."""
        return self._after(super().comparing(name, expected, new), stores=new is not MISSING)

    def pushing(self, name: str, values: tuple[Any, ...]) -> Flow[int | None]:
        """Append what fits."""
        return self._after(super().pushing(name, values), stores=True)

    def incrementing(self, name: str, by: Number) -> Flow[Number | None]:
        """Add what fits."""
        return self._after(super().incrementing(name, by), stores=True)

    def _source(self, name: str, plain: Any) -> DefaultSource:
        source = super()._source(name, plain)
        # not the core: a proxy may outlive the memory it was read from
        source.first = self.upgrade.storing
        return source
