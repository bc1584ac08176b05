"""SyncedList, SyncedDict, SyncedSet: what a list, dict or set attribute reads as.

They are filled, real subclasses, because C code (json, orjson, msgpack, pydantic) reads the storage
of a subclass directly. The storage holds plain values that are never changed in place; a container
inside becomes a proxy of its own when it is taken out by Python code.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, ItemsView, Iterator, ValuesView
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, SupportsIndex, TypeVar

from redis_memory.core.arguments import read_out
from redis_memory.core.inside import Place, mutate_inside
from redis_memory.core.mutation import BUILDERS, append, mutate
from redis_memory.core.places import Path, detached, holds_container
from redis_memory.core.reading import refill
from redis_memory.core.sources import Source
from redis_memory.core.state import Attribute, Flow

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Host(Protocol):
    """Who runs the flows of proxies: the driver of a memory."""

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        raise NotImplementedError


class Origin:
    """Where a proxy came from: its host, its place, and the proxy it was taken out of."""

    __slots__ = ("host", "is_reassigned", "parent", "place", "resets", "root")

    def __init__(self, host: Host, place: Place, root: Any, parent: Any) -> None:
        self.host: Host = host
        self.place: Place = place
        # the proxy of the whole attribute; None in that proxy itself and inside a tuple
        self.root: Any = root
        self.parent: Any = parent
        # True between the two halves of `memory.x += y`: the change, and the assignment
        self.is_reassigned: bool = False
        # how often this process had assigned or deleted the attribute by then
        self.resets: int = 0


def wrapped(value: Any, host: Host, source: Source) -> Any:
    """What an attribute reads as: a proxy of a container, otherwise the value."""
    place = Place(source, (), (), 0)
    if isinstance(value, tuple):
        inside = _inside_tuple(value, host, place, (), None, None)
        return inside if holds_container(value) else value
    return _proxy(value, Origin(host, place, None, None))


def _proxy(value: Any, origin: Origin) -> Any:
    proxy: Any
    if isinstance(value, list):
        proxy = list.__new__(SyncedList)
        list.extend(proxy, value)
    elif isinstance(value, dict):
        proxy = dict.__new__(SyncedDict)
        dict.update(proxy, value)
    else:
        proxy = set.__new__(SyncedSet)
        set.update(proxy, value)
    proxy._origin = origin
    return proxy


def _inside_tuple(
    value: tuple[Any, ...], host: Host, place: Place, step: Path, root: Any, parent: Any
) -> tuple[Any, ...]:
    return tuple(
        _taken(item, host, place, (*step, at), root, parent, into_list=False)
        for at, item in enumerate(value)
    )


def _taken(
    value: Any, host: Host, place: Place, step: Path, root: Any, parent: Any, *, into_list: bool
) -> Any:
    """What is taken out of a container: a container inside as a proxy, anything else as it is."""
    if isinstance(value, (list, dict, set)):
        return _proxy(value, Origin(host, place.below(step, into_list=into_list), root, parent))
    if type(value) is tuple and holds_container(value):
        # the place of the tuple itself is passed by: only what lies inside can be changed
        return _inside_tuple(value, host, place, step, root, parent)
    return value


class _Synced:
    """What the three proxies share. `_origin` is set by whoever makes one."""

    __slots__ = ()
    _synced_ = True
    _base: type
    _origin: Origin

    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError(f"a {type(self).__name__} is read from a memory; nothing else makes one")

    def _step(self, key: Any) -> Any:
        """The step that leads to an index or key, in the one form that places know."""
        return key

    def _take(self, value: Any, step: Any) -> Any:
        if not isinstance(value, (list, dict, set, tuple)):
            return value
        origin = self._origin
        root = self if origin.root is None and not origin.place.path else origin.root
        is_list = isinstance(self, list)
        return _taken(value, origin.host, origin.place, (step,), root, self, into_list=is_list)

    def _change(self, method: str, *arguments: Any, **options: Any) -> Any:
        arguments, options = read_out(self._base, method, arguments, options)
        return self._origin.host.run(self._changing(method, arguments, options))

    def _changing(
        self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Flow[Any]:
        """The flow of a mutator."""
        origin = self._origin
        place = origin.place
        origin.is_reassigned = False
        if not place.path:
            return (yield from mutate(place.source, self, self._base, method, arguments, options))
        contents, result = yield from mutate_inside(
            place, origin.root, self, self._base, method, arguments, options
        )
        refill(self, contents)
        self._tell_parents()
        return result

    def _tell_parents(self) -> None:
        """Show the change in the proxies that this one was taken out of, if they are still held."""
        child: Any = self
        while (parent := child._origin.parent) is not None:
            step = child._origin.place.path[len(parent._origin.place.path) :]
            if len(step) == 1 and parent is not child._origin.root:
                parent._base.__setitem__(parent, step[0], detached(child))
            child = parent

    def copy(self) -> Any:
        """A plain, detached copy."""
        return detached(self)

    def __copy__(self) -> Any:
        return detached(self)

    def __deepcopy__(self, _: object) -> Any:
        return detached(self)

    def __reduce_ex__(self, _: SupportsIndex) -> tuple[Any, ...]:
        return self._base, (detached(self),)


def changing(
    box: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Flow[Any]:
    """The flow of a mutator of whatever an attribute reads as.

    Raises:
        AttributeError: The value has no such mutator.
    """
    if not isinstance(box, _Synced) or method not in BUILDERS[box._base]:
        raise AttributeError(f"{type(box).__name__!r} object has no attribute {method!r}")
    result = yield from box._changing(method, arguments, options)
    return box[arguments[0]] if isinstance(box, SyncedDict) and method == "setdefault" else result


def is_second_half(value: object, attribute: Attribute, path: Path) -> bool:
    """Is `value` a proxy that an operator such as += has just changed at this very place?

    Python assigns the result of the operator again; the change has been made already, and the
    assignment would overwrite what others did in between.
    """
    if not isinstance(value, _Synced) or not value._origin.is_reassigned:
        return False
    value._origin.is_reassigned = False
    place = value._origin.place
    if value._origin.resets != attribute.resets:
        return False  # assigned or deleted since, so this is no second half
    return place.source.attribute is attribute and place.path == path


P = TypeVar("P", bound=_Synced)


def _mutator(base: type, name: str) -> Callable[..., Any]:
    """The method `name` of list, dict or set, writing through."""

    @functools.wraps(getattr(base, name))
    def method(self: _Synced, /, *arguments: Any, **options: Any) -> Any:
        return self._change(name, *arguments, **options)

    @functools.wraps(getattr(base, name))
    def in_place(self: _Synced, other: Any, /) -> Any:
        if base is set and not isinstance(other, AbstractSet):
            return NotImplemented
        self._change(name, other)
        self._origin.is_reassigned = True
        self._origin.resets = self._origin.place.source.attribute.resets
        return self

    @functools.wraps(getattr(base, name))
    def assignment(self: _Synced, key: Any, value: Any, /) -> None:
        place = self._origin.place
        if not is_second_half(value, place.source.attribute, (*place.path, self._step(key))):
            self._change(name, key, value)

    if name == "__setitem__":
        return assignment
    return in_place if name.startswith("__i") else method


def _writing_through(proxy: type[P]) -> type[P]:
    """Give a proxy class the mutators of its plain type that it does not define itself."""
    base = proxy._base
    for name in BUILDERS[base]:
        if name not in vars(proxy):
            setattr(proxy, name, _mutator(base, name))
    return proxy


@_writing_through
class SyncedList(_Synced, list[T]):
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


@_writing_through
class SyncedDict(_Synced, dict[K, V]):
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


@_writing_through
class SyncedSet(_Synced, set[T]):
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
