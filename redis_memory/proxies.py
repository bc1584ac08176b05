"""SyncedList, SyncedDict, SyncedSet: what a list, dict or set attribute reads as.

They are filled, real subclasses, because C code (json, orjson, msgpack, pydantic) reads the storage
of a subclass directly. The storage holds plain values that are never changed in place; a container
inside becomes a proxy of its own when it is taken out by Python code.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, ItemsView, Iterator, ValuesView
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, TypeVar

from redis_memory.core.calls import Flow
from redis_memory.core.mutation import BUILDERS, append
from redis_memory.core.places import detached
from redis_memory.origins import Synced, writing_through

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@writing_through
class SyncedList(Synced, list[T]):
    """A list attribute, or a list inside one: a real `list` whose every change is written through.

    It is what the attribute held when it was read, brought up to date by each of its own changes.
    Each change is atomic for all readers. `pop()` and `pop(0)` take what the server holds at that
    end; any other index means the element that was seen.

    Raises, from every mutator:
        StaleProxyError: The list is gone, or an index may mean another element by now.
        UnstorableValueError: A value cannot be stored; nothing was changed.
        OfflineError: The server cannot be reached.

    Cost: one round trip for each change. A slice assignment, sort, reverse and *= send the whole
    list, and one more round trip each time that somebody else changed it meanwhile.
    """

    __slots__ = ("_origin",)
    _base = list

    def append(self, value: T, /) -> None:
        """Append one value. One round trip, whatever the length of the list."""
        origin = self._origin
        if origin.place.path:
            self._change("append", value)
        else:
            origin.is_reassigned = False
            origin.host.run(append(origin.place.source, self, value))

    def aslist(self) -> list[T]:
        """A plain, detached copy. No round trip, O(size)."""
        plain: list[T] = detached(self)
        return plain

    def _step(self, key: Any) -> Any:
        return key + len(self) if isinstance(key, int) and key < 0 else key

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = operator.index(index)
        return self._take(list.__getitem__(self, at), self._step(at))

    def __iter__(self) -> Iterator[T]:
        for at, value in enumerate(list.__iter__(self)):
            yield self._take(value, at)

    def __reversed__(self) -> Iterator[T]:
        for at in range(len(self) - 1, -1, -1):
            yield self[at]

    def __add__(self, other: Any) -> Any:
        return [*self, *other] if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> list[T]:
        return list(self) * times

    def __rmul__(self, times: SupportsIndex) -> list[T]:
        return list(self) * times


class _Items(ItemsView[K, V]):
    _mapping: SyncedDict[K, V]

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return ((key, self._mapping[key]) for key in reversed(self._mapping))


class _Values(ValuesView[V]):
    _mapping: SyncedDict[Any, V]

    def __reversed__(self) -> Iterator[V]:
        return (self._mapping[key] for key in reversed(self._mapping))


@writing_through
class SyncedDict(Synced, dict[K, V]):
    """A dict attribute, or a dict inside one: a real `dict` whose every change is written through.

    Keys are str, int, float, bool, None, bytes, and tuples of those; they keep their order. The
    place of what lies inside is its key. Otherwise as `SyncedList`.

    Cost: one round trip for each change; `popitem` is O(size) on the server.
    """

    __slots__ = ("_origin",)
    _base = dict

    def asdict(self) -> dict[K, V]:
        """A plain, detached copy. No round trip, O(size)."""
        plain: dict[K, V] = detached(self)
        return plain

    def __getitem__(self, key: K) -> Any:
        return self._take(dict.__getitem__(self, key), key)

    def __iter__(self) -> Iterator[K]:
        # its own, so that dict(proxy) does not copy the storage past __getitem__
        return dict.__iter__(self)

    def get(self, key: Any, default: Any = None, /) -> Any:
        """The value of a key, or the default. No round trip."""
        return self[key] if dict.__contains__(self, key) else default

    def items(self) -> Any:
        """The items; containers among the values are proxies. No round trip."""
        return _Items(self)

    def values(self) -> Any:
        """The values; containers among them are proxies. No round trip."""
        return _Values(self)

    def setdefault(self, key: Any, default: Any = None, /) -> Any:
        """The value of a key; the default is stored if there is none. One round trip."""
        self._change("setdefault", key, default)
        return self[key]

    def __or__(self, other: Any) -> Any:
        return dict(self) | other if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return other | dict(self) if isinstance(other, dict) else NotImplemented

    @classmethod
    def fromkeys(cls, *_: Any) -> NoReturn:
        """Not for proxies: they are read from a memory."""
        raise TypeError("a SyncedDict is read from a memory; use dict.fromkeys")


def _plain_set_method(name: str) -> Callable[..., Any]:
    """A method of set that makes a new set: a plain one, since a new one lies nowhere in Redis."""

    @functools.wraps(getattr(set, name))
    def method(self: set[Any], /, *others: Any) -> Any:
        return getattr(set(set.__iter__(self)), name)(*others)

    return method


@writing_through
class SyncedSet(Synced, set[T]):
    """A set attribute, or a set inside one: a real `set` whose every change is written through.

    Elements are equal as Python has it: of 1, 1.0 and True, the first that was added stays.
    Otherwise as `SyncedList`.

    Cost: one round trip for each change; `pop`, `&=` and `intersection_update` are O(size) on the
    server.
    """

    __slots__ = ("_origin",)
    _base = set

    def asset(self) -> set[T]:
        """A plain, detached copy. No round trip, O(size)."""
        plain: set[T] = detached(self)
        return plain

    if not TYPE_CHECKING:
        union = _plain_set_method("union")
        intersection = _plain_set_method("intersection")
        difference = _plain_set_method("difference")
        symmetric_difference = _plain_set_method("symmetric_difference")
        __or__ = _plain_set_method("__or__")
        __ror__ = _plain_set_method("__ror__")
        __and__ = _plain_set_method("__and__")
        __rand__ = _plain_set_method("__rand__")
        __sub__ = _plain_set_method("__sub__")
        __rsub__ = _plain_set_method("__rsub__")
        __xor__ = _plain_set_method("__xor__")
        __rxor__ = _plain_set_method("__rxor__")


def changing(
    box: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Flow[Any]:
    """The flow of a mutator of whatever an attribute reads as.

    Raises:
        AttributeError: The value has no such mutator.
    """
    if not isinstance(box, Synced) or method not in BUILDERS[box._base]:
        raise AttributeError(f"{type(box).__name__!r} object has no attribute {method!r}")
    result = yield from box._changing(method, arguments, options)
    return box[arguments[0]] if isinstance(box, SyncedDict) and method == "setdefault" else result
