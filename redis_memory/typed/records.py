"""From an annotation to its shape; the shapes of models, dataclasses and TypedDicts."""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Iterable
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

from annotated_types import BaseMetadata
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from redis_memory.core.storable import NATIVE_TYPES
from redis_memory.typed.compounds import DictShape, Either, ListShape, SetShape, TupleShape
from redis_memory.typed.shapes import ANYTHING, Shape

_EXACT: Final = NATIVE_TYPES | {datetime, date, time, timedelta, UUID, Decimal}
_LISTS: Final = (list, collections.abc.MutableSequence)
_DICTS: Final = (dict, collections.abc.MutableMapping, collections.abc.Mapping)
_SETS: Final = (set, collections.abc.MutableSet, collections.abc.Set)


class Record(Shape):
    """A pydantic model, a dataclass or a TypedDict: a dict with a key for each field."""

    __slots__ = ("_fields", "is_mapping", "kind", "live")
    base: ClassVar[type | None] = dict

    def __init__(self, annotation: Any, kind: type) -> None:
        super().__init__(annotation, is_whole=True)
        self.kind: type = kind
        # it reads as a dict, not as an instance
        self.is_mapping: bool = _is_typed_dict(kind)
        # the class of what it reads as, by whoever reads it first
        self.live: type | None = None
        self._fields: dict[str, Shape] | None = None

    @property
    def fields(self) -> dict[str, Shape]:
        """The shapes of the fields, by name."""
        # not before they are needed: a model may contain itself
        if self._fields is None:
            self._fields = {name: shape_of(each) for name, each in _annotations(self.kind)}
        return self._fields

    def allows(self, key: Any) -> bool:
        """May a value have that key?"""
        config = getattr(self.kind, "__pydantic_config__", {})
        return key in self.fields or config.get("extra") == "allow"

    def below(self, step: Any) -> Shape:
        """The shape of a field."""
        return self.fields.get(step, ANYTHING)


def _annotations(kind: type) -> Iterable[tuple[str, Any]]:
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield name, Annotated[field.annotation, field]
        return
    hints = get_type_hints(kind, include_extras=True)
    names = [each.name for each in dataclass_fields(kind)] if is_dataclass(kind) else hints
    for name in names:
        hint = hints[name]
        while get_origin(hint) in (Required, NotRequired) or _is_read_only(hint):
            (hint,) = get_args(hint)
        yield name, hint


def _is_typed_dict(kind: Any) -> bool:
    # `typing` does not know that of `typing_extensions`, the one that pydantic takes before 3.12
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def _is_read_only(hint: Any) -> bool:
    return str(get_origin(hint)).endswith(".ReadOnly")


def shape_of(annotation: Any) -> Shape:
    """The shape of an annotation."""
    try:
        return _known(annotation)
    except TypeError:  # its metadata cannot be hashed
        return _built(annotation, annotation, is_whole=False)


@lru_cache(maxsize=1024)
def _known(annotation: Any) -> Shape:
    return _built(annotation, annotation, is_whole=False)


def _built(annotation: Any, full: Any, *, is_whole: bool) -> Shape:
    """The shape of `annotation`; `full` is the same with what constrains it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        constrains = is_whole or any(map(_constrains, metadata))
        return _built(inner, full, is_whole=constrains)
    if annotation is Any or annotation is object:
        return ANYTHING
    alias = annotation if origin is None else origin
    meant = _meant(annotation, alias)
    if meant is not annotation:
        return _built(meant, full, is_whole=is_whole)
    if origin in (Union, types.UnionType):
        return _union(annotation, full, is_whole=is_whole)
    return _container(annotation, alias, full, is_whole=is_whole)


def _meant(annotation: Any, alias: Any) -> Any:
    """What a name for another annotation stands for."""
    if isinstance(annotation, TypeVar):
        return Any if annotation.__bound__ is None else annotation.__bound__
    if hasattr(alias, "__value__"):  # `type X = ...`
        arguments = get_args(annotation)
        return alias.__value__[arguments] if arguments else alias.__value__
    return getattr(annotation, "__supertype__", annotation)


def _constrains(metadata: Any) -> bool:
    """Does it say anything of values? Descriptions and titles do not."""
    if isinstance(metadata, FieldInfo):
        return bool(metadata.metadata) or metadata.discriminator is not None
    return isinstance(metadata, BaseMetadata) or hasattr(metadata, "__get_pydantic_core_schema__")


def _union(annotation: Any, full: Any, *, is_whole: bool) -> Shape:
    options = []
    for option in get_args(annotation):
        shape = shape_of(option)
        if is_whole and isinstance(shape, (ListShape, DictShape)):
            # the constraints of a union with None are meant for the container in it
            shape = _built(option, full, is_whole=True)
        options.append(shape)
    is_exact = not is_whole and all(option.is_exact for option in options)
    return Either(full, tuple(options), is_exact=is_exact)


def _container(annotation: Any, kind: Any, full: Any, *, is_whole: bool) -> Shape:
    arguments = get_args(annotation)
    if kind in _LISTS or kind in _SETS:
        shape = ListShape if kind in _LISTS else SetShape
        item = shape_of(arguments[0]) if arguments else ANYTHING
        return shape(full, item, is_whole=is_whole)
    if kind is collections.abc.Sequence:
        item = shape_of(arguments[0]) if arguments else ANYTHING
        as_list = ListShape(full, item, is_whole=is_whole)
        as_tuple = TupleShape(full, (), item, is_whole=is_whole)
        return Either(full, (as_list, as_tuple), is_exact=as_list.is_exact)
    if kind in _DICTS:
        key, item = map(shape_of, arguments) if arguments else (ANYTHING, ANYTHING)
        if key.annotation in _EXACT - NATIVE_TYPES:  # stored as text: no dict has such keys
            key = Shape(key.annotation)
        return DictShape(full, key, item, is_whole=is_whole)
    if kind is tuple:
        rest = shape_of(arguments[0]) if arguments[1:] == (...,) else None
        if not arguments:
            rest = ANYTHING
        items = () if rest else tuple(map(shape_of, arguments))
        return TupleShape(full, items, rest, is_whole=is_whole)
    if _is_record(kind):
        return Record(full, kind)
    is_exact = annotation in _EXACT or annotation is None or _is_plain_literal(annotation)
    if kind is frozenset:
        is_exact = all(shape_of(each).is_exact for each in arguments)
    return Shape(full, is_exact=is_exact and not is_whole)


def _is_record(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    if issubclass(kind, BaseModel):
        return not issubclass(kind, RootModel)
    return is_dataclass(kind) or _is_typed_dict(kind)


def _is_plain_literal(annotation: Any) -> bool:
    literals = get_args(annotation) if get_origin(annotation) is Literal else ()
    return bool(literals) and all(type(each) in NATIVE_TYPES for each in literals)
