"""What stands behind a memory whose class declares attributes, in either face."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from redis_memory.cached import UNKNOWN
from redis_memory.core import flows
from redis_memory.core.attributes import Copy
from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import MISSING
from redis_memory.core.counting import Number
from redis_memory.core.descriptor import CONTAINERS, LIST
from redis_memory.core.storable import SCALAR_TYPES
from redis_memory.face import Core
from redis_memory.origins import is_second_half, wrapped
from redis_memory.typed import containers, models
from redis_memory.typed.compounds import ListShape
from redis_memory.typed.declarations import Declaration, Schema
from redis_memory.typed.defaults import DefaultSource
from redis_memory.typed.reasons import Where, invalid
from redis_memory.typed.records import Record
from redis_memory.typed.shapes import Anything, Shape
from redis_memory.typed.views import forget_block, shown

# How much of an attribute has been looked at: its descriptor then, and the length of a list.
Checked = tuple[bytes, int]

# they say what containers and models read as
VIEWS = (containers, models)

_SUMS = (int, float, int | float, Any)


class TypedCore(Core):
    """A core that holds values to what the class declares. A subclass sets the two attributes.

    What is given is looked at before the memory is locked: a user's validators may take long.
    """

    __slots__ = ()
    schema: Schema
    checked: dict[str, Checked]

    def _declared(self, name: str) -> Declaration | None:
        declaration = self.schema.declarations.get(name)
        if declaration is None and (refusal := self.schema.refusal(name)):
            raise refusal
        return declaration

    def reading(self, name: str) -> Flow[Any]:
        """What an attribute reads as, or its default."""
        declaration = self._declared(name)
        value = yield from super().reading(name)
        return self._default(declaration) if value is MISSING and declaration else value

    def known(self, name: str) -> Any:
        """The same without a round trip, if that can be."""
        declaration = self._declared(name)
        value = super().known(name)
        if declaration is None or value is UNKNOWN:
            return value
        if value is MISSING:
            return self._default(declaration)
        # scalars come as they are stored
        return declaration.shape.rebuilt(value, (name,)) if type(value) in SCALAR_TYPES else value

    def value(self, name: str, copy: Copy) -> Any:
        """What a stored attribute reads as.

        Raises:
            InvalidValueError: It does not fit any more.
        """
        declaration = self.schema.declarations.get(name)
        if declaration is None:
            return super().value(name, copy)
        shape, where = declaration.shape, (name,)
        if copy.kind in CONTAINERS:
            self._check(shape, where, copy)
        elif not isinstance(copy.value, tuple):
            return shape.rebuilt(copy.value, where)
        elif shape.is_exact:
            shape.check(copy.value, where)
        return shown(super().value(name, copy), shape, where)

    def _check(self, shape: Shape, where: Where, copy: Copy) -> None:
        """Look at what is new in a container, unless that is done when it is made a model."""
        picked = shape.pick(copy.value, where)
        if picked.base is None or (isinstance(picked, Record) and not picked.is_mapping):
            return
        name, descriptor = where[0], copy.descriptor
        before, first = self.checked.get(name, (b"", 0))
        if before == descriptor and before:
            return
        # a list that others have only appended to begins as it did
        has_grown = copy.kind == LIST and before[15:28] == descriptor[15:28] and before
        picked.check(copy.value, where, first if has_grown and not picked.is_whole else 0)
        self.checked[name] = (descriptor, len(copy.value))

    def _default(self, declaration: Declaration) -> Any:
        plain = declaration.default()
        if plain is MISSING:
            return MISSING
        where = (declaration.name,)
        if not isinstance(plain, (list, dict, set, tuple)):
            return declaration.shape.rebuilt(plain, where)
        source = self._source(declaration.name, plain)
        return shown(wrapped(plain, self.host, source), declaration.shape, where)

    def _source(self, name: str, plain: Any) -> DefaultSource:
        """The source of a proxy that holds a default."""
        return DefaultSource(self.state, name, plain, self.seen)

    def finding(self, name: str) -> Flow[bool]:
        """Whether an attribute is stored; a default is not."""
        if self.schema.refusal(name):
            return False
        if self.is_cached and (value := super().known(name)) is not UNKNOWN:
            return value is not MISSING
        found = yield from flows.exists(self.state, name)
        missing = self.seen.missing
        (missing.discard if found else missing.add)(name)
        return found

    def assigning(self, name: str, value: Any) -> Flow[None]:
        """Assign what fits."""
        declaration = self._declared(name)
        if declaration is not None:
            if is_second_half(value, self.state.attribute(name), ()):
                return _nothing()
            value = declaration.shape.enter(value, (name,))
        return super().assigning(name, value)

    def deleting(self, name: str) -> Flow[bool]:
        """Delete an attribute: its default is back then."""
        self._declared(name)
        return super().deleting(name)

    def defaulting(self, name: str, value: Any) -> Flow[Any]:
        """Store what fits, unless there is something."""
        declaration = self._declared(name)
        if declaration is not None:
            value = declaration.shape.enter(value, (name,))
        return super().defaulting(name, value)

    def comparing(self, name: str, expected: Any, new: Any) -> Flow[bool]:
        """Store what fits, if there is what is expected."""
        declaration = self._declared(name)
        if declaration is not None:
            shape, where = declaration.shape, (name,)
            expected, new = (
                each if each is MISSING else shape.enter(each, where) for each in (expected, new)
            )
        return super().comparing(name, expected, new)

    def forget_block(self, missing: set[str]) -> None:
        """A block was not made."""
        super().forget_block(missing)
        forget_block()

    def pushing(self, name: str, values: tuple[Any, ...]) -> Flow[int | None]:
        """Append what fits."""
        declaration = self._declared(name)
        if declaration is None:
            return super().pushing(name, values)
        shape = _as_list(declaration.shape, name)
        item = shape.below(0)
        values = tuple(item.enter(value, (name, at)) for at, value in enumerate(values))
        if shape.is_whole or declaration.default() not in (MISSING, None, []):
            return self._extending(name, values)
        return super().pushing(name, values)

    def _extending(self, name: str, values: tuple[Any, ...]) -> Flow[int | None]:
        """Append to a list that must be known, or begins as something else than empty."""
        box = yield from self.reading(name)
        if not isinstance(box, list):
            return (yield from super().pushing(name, values))
        extendable: Any = box
        yield from extendable._changing("extend", (values,), {})
        return None if self.state.is_waiting else len(box)

    def incrementing(self, name: str, by: Number) -> Flow[Number | None]:
        """Add what fits; a missing number counts as its default."""
        declaration = self._declared(name)
        if declaration is None or type(by) not in (int, float):
            return super().incrementing(name, by)
        shape = declaration.shape
        if shape.annotation in _SUMS and declaration.default() in (MISSING, None, 0):
            return super().incrementing(name, shape.enter(by, (name,)))
        return self._adding(declaration, by)

    def _adding(self, declaration: Declaration, by: Number) -> Flow[Number | None]:
        """Add to a number that must be known, or begins as something else than 0."""
        name, plain = declaration.name, declaration.default()
        current = yield from self.reading(name)
        is_number = isinstance(current, (int, float))
        declaration.shape.enter(current + by if is_number else by, (name,))
        if type(plain) in (int, float) and plain != 0:
            yield from flows.assign(self.state, name, plain, only_if_missing=True)
        return (yield from super().incrementing(name, by))

    def windowing(self, name: str, start: int | None, stop: int | None) -> Flow[list[Any] | None]:
        """A part of a list, detached, its elements as they are declared."""
        declaration = self._declared(name)
        values: list[Any] | None = yield from super().windowing(name, start, stop)
        if declaration is None:
            return values
        first = start if start is not None and start >= 0 else 0
        if values is None:
            default = declaration.default()
            if not isinstance(default, list):
                return None
            values = default[start:stop]
        shape = _as_list(declaration.shape, name)
        if shape.is_exact:
            shape.check(values, (name,))
        item = shape.below(0)
        return [item.load(value, (name, at)) for at, value in enumerate(values, first)]


def _as_list(shape: Shape, name: str) -> Shape:
    """The shape that a stored list has."""
    picked = shape.pick([], (name,)) if shape.may_hold([]) else shape
    if isinstance(picked, (ListShape, Anything)) and picked.base in (list, None):
        return picked
    raise invalid((name,), "It is not declared as a list")


def _nothing() -> Generator[Any, Any, None]:
    """A flow that does nothing."""
    return
    yield
