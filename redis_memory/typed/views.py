"""What declared values read as: proxies and models that know their shape.

Each kind of view stands in a module of its own, and is entered here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, WeakValueDictionary

from redis_memory.core.calls import Flow
from redis_memory.core.places import changed_at, detached, step_into
from redis_memory.errors import InvalidValueError, StaleProxyError
from redis_memory.origins import Origin, Synced
from redis_memory.typed.compounds import TupleShape
from redis_memory.typed.reasons import Where, invalid
from redis_memory.typed.records import Record
from redis_memory.typed.shapes import Anything, Shape


class TypedOrigin(Origin):
    """Where a proxy came from, and what it holds.

    `need` is the key and the value that must be put into the container around it before it can be
    changed: a field that was not stored, with its default. `view` is the model that the proxy is
    the storage of.
    """

    __slots__ = ("need", "shape", "view")

    def __init__(self, origin: Origin, shape: Shape) -> None:
        super().__init__(origin.host, origin.place, origin.root, origin.parent)
        self.shape: Shape = shape
        self.need: tuple[Any, Any] | None = None
        self.view: ReferenceType[Any] | None = None


@dataclass(slots=True)
class _Kinds:
    """What containers and models read as: classes by container, and two functions."""

    proxies: dict[type, type[Any]] = field(default_factory=dict)
    # makes a model of its storage
    model: Callable[[Any], Any] | None = None
    # shows in a model what its storage holds by now
    refresh: Callable[[Any], None] | None = None


KINDS = _Kinds()


def place_of(box: Any, *steps: Any) -> Where:
    """How messages name a place in what a proxy holds."""
    place = box._origin.place
    return (place.source.attribute.name, *place.path, *steps)


def shown(raw: Any, shape: Shape, where: Where, need: tuple[Any, Any] | None = None) -> Any:
    """What a part reads as, that has been taken out of its container as a proxy or plain value.

    Raises:
        InvalidValueError: It does not fit.
    """
    if not isinstance(raw, (Synced, tuple)):
        return raw if shape.is_exact else shape.load(raw, where)
    shape = shape.pick(raw, where)
    if isinstance(raw, tuple):
        return _shown_tuple(raw, shape, where)
    if shape.base is not raw._base and not isinstance(shape, Anything):
        return _as_another(raw, shape, where)
    box: Any = raw
    if type(raw._origin) is not TypedOrigin:  # else it is given out again
        box._origin = TypedOrigin(raw._origin, shape)
        box._origin.need = need
    if isinstance(shape, Record) and not shape.is_mapping and KINDS.model is not None:
        return KINDS.model(box)
    # in place: filling another one would take as long as it has elements
    box.__class__ = KINDS.proxies[raw._base]
    return box


def _shown_tuple(raw: tuple[Any, ...], shape: Shape, where: Where) -> Any:
    if isinstance(shape, (TupleShape, Anything)):
        items = enumerate(raw)
        return tuple(shown(item, shape.below(at), (*where, at)) for at, item in items)
    return _as_another(raw, shape, where)


def _as_another(raw: Any, shape: Shape, where: Where) -> Any:
    """A container that is stored as another one than it is declared as: no view writes to it."""
    value = shape.rebuilt(detached(raw), where)
    if shape.base is None:
        return value
    raise invalid(where, f"It is stored as {type(detached(raw)).__name__}")


def around(box: Any) -> Iterator[Any]:
    """A proxy, the one that it was taken out of, and so on to that of the attribute."""
    while box is not None and type(box._origin) is TypedOrigin:
        yield box
        box = box._origin.parent


def supplied(box: Any) -> Flow[None]:
    """Store the defaults that a change inside them needs."""
    for each in reversed(list(around(box))):
        origin = each._origin
        if origin.need is not None:
            need, origin.need = origin.need, None
            yield from Synced._changing(origin.parent, "setdefault", need, {})


def made(box: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Flow[Any]:
    """Make a change that has been looked at, and show it in the models around it."""
    yield from supplied(box)
    result = yield from Synced._changing(box, method, arguments, options)
    for each in around(box):
        view = each._origin.view and each._origin.view()
        if view is not None:
            _show(view)
            if each._origin.place.source.state.block is not None:
                _in_blocks[id(view)] = view
    return result


# Models that were changed in a block; by identity, for many cannot be hashed.
_in_blocks: WeakValueDictionary[int, Any] = WeakValueDictionary()


def forget_block() -> None:
    """A block was not made: models that it had changed show again what their storage holds."""
    for key, view in list(_in_blocks.items()):
        _in_blocks.pop(key, None)
        _show(view)


def _show(view: Any) -> None:
    if KINDS.refresh is not None:
        # what others have made of it meanwhile may not fit; who reads it is told
        with suppress(InvalidValueError):
            KINDS.refresh(view)


def foreseen(box: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What a change makes of the outermost whole that it lies in, of plain values.

    Returns:
        The plain values at the place of `box` then; None where nothing asks for more than its parts
        do, or where the change cannot be made: it will say so itself.

    Raises:
        InvalidValueError: It makes something that does not fit.
    """
    chain = list(around(box))
    wholes = [each for each in chain if each._origin.shape.is_whole]
    if not wholes:
        return None
    whole = wholes[-1]
    path = box._origin.place.path[len(whole._origin.place.path) :]
    before = detached(whole)
    for each in reversed(chain[: chain.index(whole)]):
        if each._origin.need is not None:
            key, default = each._origin.need
            at = each._origin.place.path[len(whole._origin.place.path) : -1]
            _at(before, at).setdefault(key, default)

    def change(leaf: Any) -> Any:
        return getattr(box._base, method)(leaf, *arguments, **options)

    try:
        after, _ = changed_at(before, path, box._base, change)
    except (LookupError, TypeError, ValueError, StaleProxyError):
        return None
    shape, where = whole._origin.shape, place_of(whole)
    fitting = shape.dump(shape.rebuilt(after, where), where)
    try:
        return _at(fitting, path)
    except (LookupError, TypeError):  # a serializer gives it another form
        return None


def _at(plain: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        plain = step_into(plain, step)
    return plain
