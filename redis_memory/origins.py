"""Where proxies come from: how one is made, what it leads to, and how its mutators write through.

The three classes stand in `proxies`, and are entered here, each under its plain type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, SupportsIndex, TypeVar

from redis_memory.core.arguments import read_out
from redis_memory.core.attributes import Attribute
from redis_memory.core.calls import Flow
from redis_memory.core.inside import Place, mutate_inside
from redis_memory.core.mutation import BUILDERS, mutate
from redis_memory.core.places import Path, detached, holds_container, refill
from redis_memory.core.sources import Source

T = TypeVar("T")

# plain type: proxy class
_proxies: dict[type, Any] = {}


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
        proxy = list.__new__(_proxies[list])
        list.extend(proxy, value)
    elif isinstance(value, dict):
        proxy = dict.__new__(_proxies[dict])
        dict.update(proxy, value)
    else:
        proxy = set.__new__(_proxies[set])
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


class Synced:
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
        block = place.source.state.block
        if block is not None:
            block.note_box(self)
        refill(self, contents)
        self._tell_parents()
        return result

    def _tell_parents(self) -> None:
        """Show the change in the proxies that this one was taken out of, if they are still held."""
        child: Any = self
        while (parent := child._origin.parent) is not None:
            step = child._origin.place.path[len(parent._origin.place.path) :]
            if len(step) == 1 and parent is not child._origin.root:
                block = child._origin.place.source.state.block
                if block is not None:
                    block.note_box(parent)
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


def is_second_half(value: object, attribute: Attribute, path: Path) -> bool:
    """Is `value` a proxy that an operator such as += has just changed at this very place?

    Python assigns the result of the operator again; the change has been made already, and the
    assignment would overwrite what others did in between.
    """
    if not isinstance(value, Synced) or not value._origin.is_reassigned:
        return False
    value._origin.is_reassigned = False
    place = value._origin.place
    if value._origin.resets != attribute.resets:
        return False  # assigned or deleted since, so this is no second half
    return place.source.attribute is attribute and place.path == path


P = TypeVar("P", bound=Synced)


def _mutator(base: type, name: str) -> Callable[..., Any]:
    """The method `name` of list, dict or set, writing through."""

    @functools.wraps(getattr(base, name))
    def method(self: Synced, /, *arguments: Any, **options: Any) -> Any:
        return self._change(name, *arguments, **options)

    @functools.wraps(getattr(base, name))
    def in_place(self: Synced, other: Any, /) -> Any:
        if base is set and not isinstance(other, AbstractSet):
            return NotImplemented
        self._change(name, other)
        self._origin.is_reassigned = True
        self._origin.resets = self._origin.place.source.attribute.resets
        return self

    @functools.wraps(getattr(base, name))
    def assignment(self: Synced, key: Any, value: Any, /) -> None:
        place = self._origin.place
        if not is_second_half(value, place.source.attribute, (*place.path, self._step(key))):
            self._change(name, key, value)

    if name == "__setitem__":
        return assignment
    return in_place if name.startswith("__i") else method


def writing_through(proxy: type[P]) -> type[P]:
    """Make a class the proxy of its plain type, with the mutators that it does not define."""
    base = proxy._base
    _proxies[base] = proxy
    for name in BUILDERS[base]:
        if name not in vars(proxy):
            setattr(proxy, name, _mutator(base, name))
    return proxy
