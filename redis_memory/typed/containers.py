"""Lists, dicts and sets of declared attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView
from typing import Any

from redis_memory.errors import InvalidValueError
from redis_memory.proxies import SyncedDict, SyncedList, SyncedSet
from redis_memory.typed.compounds import DictShape
from redis_memory.typed.declared import Answer, Arguments, Declared, reading_as, same
from redis_memory.typed.reasons import invalid
from redis_memory.typed.records import Record
from redis_memory.typed.shapes import Shape
from redis_memory.typed.storing import storable_key
from redis_memory.typed.views import place_of

_NOTHING: Any = object()

_COMPARED = ("__eq__", "__ne__", "__contains__", "__repr__")
_ORDERED = ("__lt__", "__le__", "__gt__", "__ge__")


@reading_as(*_COMPARED, *_ORDERED, "index", "count")
class DeclaredList(Declared, SyncedList[Any]):
    """A declared list, or a list inside a declared attribute."""

    __slots__ = ()

    def append(self, value: Any, /) -> None:
        """Append one value. One round trip, whatever the length of the list."""
        origin = self._origin
        if origin.place.path or origin.shape.is_whole:
            self._change("append", value)
        else:
            item = origin.shape.below(0)
            super().append(item.enter(value, place_of(self, len(self))))

    def aslist(self) -> list[Any]:
        """A detached copy, its elements as they are declared. No round trip, O(size)."""
        elements: list[Any] = self._declared_copy()
        return elements

    def _entered(self, method: str, arguments: Arguments) -> Arguments:
        if method == "append":
            return tuple(self._enter_all(arguments, len(self)))
        if method in ("extend", "__iadd__"):
            return tuple(self._enter_all(values, len(self)) for values in arguments)
        if method in ("insert", "__setitem__"):
            index, *values = arguments
            if isinstance(index, slice):
                return (index, *map(self._enter_all, values))
            return (index, *self._enter_all(values, index if isinstance(index, int) else 0))
        if method == "remove":
            try:
                return tuple(self._enter_all(arguments))
            except InvalidValueError:
                raise ValueError("list.remove(x): x not in list") from None
        return arguments


@reading_as(*_COMPARED)
class DeclaredDict(Declared, SyncedDict[Any, Any]):
    """A declared dict or TypedDict, or a dict inside a declared attribute."""

    __slots__ = ()

    def asdict(self) -> dict[Any, Any]:
        """A detached copy, keys and values as they are declared. No round trip, O(size)."""
        items: dict[Any, Any] = self._declared_copy()
        return items

    @property
    def _keys(self) -> Shape | None:
        """The shape of the keys, None where they are stored as they are."""
        shape = self._origin.shape
        return None if not isinstance(shape, DictShape) or shape.key.is_exact else shape.key

    def _key(self, key: Any) -> Any:
        """A key as it is stored, which is asked for; itself where none can be like it."""
        keys = self._keys
        if keys is None:
            return key
        try:
            return storable_key(keys.enter(key, place_of(self)))
        except InvalidValueError:
            return key

    def _given_key(self, key: Any) -> Any:
        """A key as it is to be stored."""
        shape = self._origin.shape
        if isinstance(shape, DictShape):
            return storable_key(shape.key.enter(key, place_of(self)))
        if isinstance(shape, Record) and not shape.allows(key):
            raise invalid(place_of(self, key), "It is not declared")
        return key

    def _given_item(self, key: Any, value: Any) -> tuple[Any, Any]:
        key = self._given_key(key)
        return key, self._origin.shape.below(key).enter(value, place_of(self, key))

    def _entered(self, method: str, arguments: Arguments) -> Arguments:
        if method in ("__setitem__", "setdefault"):
            key, value, *rest = (*arguments, None) if len(arguments) == 1 else arguments
            return (*self._given_item(key, value), *rest)
        if method in ("update", "__ior__"):
            return tuple(dict(self._given_item(*each) for each in it.items()) for it in arguments)
        if method == "pop" and len(arguments) > 1:
            return (self._key(arguments[0]), _NOTHING, *arguments[2:])
        if method in ("pop", "__delitem__"):
            return tuple(map(self._key, arguments))
        return arguments

    def _answer(self, method: str, arguments: Arguments) -> Answer:
        shape = self._origin.shape
        if method == "popitem":

            def item(result: tuple[Any, Any]) -> tuple[Any, Any]:
                key, value = result
                value = shape.below(key).load(value, place_of(self, key))
                return self._loaded_key(key), value

            return item
        if method != "pop":
            return same

        def value(result: Any) -> Any:
            if result is _NOTHING:
                return arguments[1]
            return shape.below(arguments[0]).load(result, place_of(self, arguments[0]))

        return value

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self._key(key))

    def get(self, key: Any, default: Any = None, /) -> Any:
        """The value of a key, or the default. No round trip."""
        return super().get(self._key(key), default)

    def __iter__(self) -> Iterator[Any]:
        keys: Iterator[Any] = dict.__iter__(self)
        if self._keys is not None:
            keys = map(self._loaded_key, keys)
        return keys

    def _loaded_key(self, key: Any) -> Any:
        keys = self._keys
        return key if keys is None else keys.load(key, place_of(self))

    def __reversed__(self) -> Iterator[Any]:
        yield from [*self][::-1]

    def keys(self) -> Any:
        """The keys, as they are declared. No round trip."""
        return super().keys() if self._keys is None else KeysView(self)


@reading_as(
    *(*_COMPARED, *_ORDERED, "__iter__", "isdisjoint", "issubset", "issuperset"),
    *("union", "intersection", "difference", "symmetric_difference"),
    *("__or__", "__ror__", "__and__", "__rand__", "__sub__", "__rsub__", "__xor__", "__rxor__"),
)
class DeclaredSet(Declared, SyncedSet[Any]):
    """A declared set, or a set inside a declared attribute."""

    __slots__ = ()

    def asset(self) -> set[Any]:
        """A detached copy, its elements as they are declared. No round trip, O(size)."""
        elements: set[Any] = self._declared_copy()
        return elements

    def _entered(self, method: str, arguments: Arguments) -> Arguments:
        if method == "add":
            return tuple(self._enter_all(arguments))
        if method in ("update", "__ior__", "symmetric_difference_update", "__ixor__"):
            return tuple(set(self._enter_all(others)) for others in arguments)
        if method in ("discard", "remove"):
            return tuple(self._known(arguments)) or arguments
        return tuple(set(self._known(others)) for others in arguments)

    def _known(self, values: Iterable[Any]) -> Iterator[Any]:
        """Those that the set may hold, as they are stored."""
        for value in values:
            try:
                yield from self._enter_all((value,))
            except InvalidValueError:
                continue
