"""Models and dataclasses of declared attributes: instances whose every change is written through.

What a model reads as is an instance of a subclass that says it is of the model's own class. It is
filled, for pydantic reads the dict of an instance directly; containers and models in it are taken
out of the proxy that is its storage.
"""

from __future__ import annotations

import weakref
from abc import ABCMeta
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from pydantic import BaseModel, ValidationError

from redis_memory.core.calls import Flow
from redis_memory.origins import is_second_half
from redis_memory.proxies import SyncedDict
from redis_memory.typed.reasons import is_frozen, translated
from redis_memory.typed.records import Record
from redis_memory.typed.views import KINDS, foreseen, made, place_of, shown

BOX = "_redis_memory_box"
_PRIVATE = "__pydantic_private__"
_PYDANTIC = ("__pydantic_fields_set__", "__pydantic_extra__", _PRIVATE)


class Live:
    """What makes an instance of a model write through."""

    __slots__ = ()
    _redis_memory_kind: type

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        """A plain instance of the model's own class."""
        return cls._redis_memory_kind(*arguments, **options)

    def __init_subclass__(cls, **_: Any) -> None:
        """Nothing: the model's own hook is for its own subclasses."""

    def __setattr__(self, name: str, value: Any) -> None:
        box = box_of(self)
        if name.startswith("_") and name not in box._origin.shape.fields:
            super().__setattr__(name, value)  # private, never stored
            return
        place = box._origin.place
        if not is_second_half(value, place.source.attribute, (*place.path, name)):
            _check_host(box, f"[{name!r}].set(value)")
            box._origin.host.run(setting(box, name, value))

    def __delattr__(self, name: str) -> None:
        box = box_of(self)
        if name.startswith("_") and name not in box._origin.shape.fields:
            super().__delattr__(name)
            return
        _check_host(box, f"[{name!r}].delete()")
        box._origin.host.run(deleting(box, name))

    def __getattr__(self, name: str) -> Any:
        inherited = getattr(super(), "__getattr__", None)
        if inherited is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            )
        value = inherited(name)
        # what a model has beyond its fields, and may be a container
        box = None if name.startswith("_") else box_of(self)
        return _inside(box, name) if box is not None and name in box else value

    def __copy__(self) -> Any:
        return plain_of(self)

    def __deepcopy__(self, _: object = None) -> Any:
        return plain_of(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return plain_of(self).__reduce_ex__(protocol)


class _Inside:
    """A field whose value can be changed in place."""

    __slots__ = ("_name", "_slot")

    def __init__(self, name: str, slot: Any) -> None:
        self._name = name
        self._slot = slot  # where the instances of a dataclass with slots keep it

    def __get__(self, view: Any, kind: type) -> Any:
        if view is None:
            return getattr(kind.__mro__[2], self._name)
        box = box_of(view)
        if dict.__contains__(box, self._name):
            return _inside(box, self._name)
        value = view.__dict__[self._name] if self._slot is None else self._slot.__get__(view, kind)
        shape = box._origin.shape.below(self._name)
        where = place_of(box, self._name)
        plain = shape.dump(value, where)
        return shown(box._take(plain, self._name), shape, where, (self._name, plain))

    def __set__(self, view: Any, value: Any) -> None:
        if self._slot is None:
            view.__dict__[self._name] = value
        else:
            self._slot.__set__(view, value)


def _inside(box: Any, name: str) -> Any:
    raw = box._take(dict.__getitem__(box, name), name)
    return shown(raw, box._origin.shape.below(name), place_of(box, name))


def box_of(view: Any) -> Any:
    """The storage of a model: a proxy."""
    return object.__getattribute__(view, BOX)


def _live_class(shape: Record) -> type:
    if shape.live is None:
        shape.live = _subclass(shape.kind, shape)
    return shape.live


def _subclass(kind: type, shape: Record) -> type:
    slots = (BOX,) if kind.__weakrefoffset__ else (BOX, "__weakref__")
    namespace: dict[str, Any] = {
        "__slots__": slots,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        # comparisons of pydantic and of dataclasses ask for it
        "__class__": property(lambda _: kind),
        "_redis_memory_kind": kind,
    }
    for name, field in shape.fields.items():
        if field.is_live:
            slot = None if kind.__dictoffset__ else getattr(kind, name)
            namespace[name] = _Inside(name, slot)
    metaclass = type(kind)
    # past the metaclass of pydantic, which would build, and register, another model
    make = ABCMeta.__new__ if issubclass(metaclass, ABCMeta) else metaclass.__new__
    made_class: type = make(metaclass, kind.__name__, (Live, kind), namespace)
    return made_class


def model(box: SyncedDict[Any, Any]) -> Any:
    """The model whose storage a proxy is."""
    origin: Any = box._origin
    view: Any = object.__new__(_live_class(origin.shape))
    object.__setattr__(view, BOX, box)
    refresh(view)
    origin.view = weakref.ref(view)
    return view


def refresh(view: Any) -> None:
    """Show in a model what its storage holds by now."""
    box = box_of(view)
    loaded = box._origin.shape.load(box, place_of(box))
    if isinstance(loaded, BaseModel):
        for name in _PYDANTIC:
            # private attributes are of this one object, as it was made first
            if name != _PRIVATE or not _has(view, _PRIVATE):
                object.__setattr__(view, name, getattr(loaded, name))
    if hasattr(loaded, "__dict__"):
        object.__setattr__(view, "__dict__", dict(loaded.__dict__))
    else:
        for each in fields(loaded):
            object.__setattr__(view, each.name, getattr(loaded, each.name))


def _has(view: Any, name: str) -> bool:
    try:
        object.__getattribute__(view, name)
    except AttributeError:
        return False
    return True


KINDS.model, KINDS.refresh = model, refresh


def plain_of(view: Any) -> Any:
    """A detached instance of the model's own class."""
    box = box_of(view)
    return box._origin.shape.load(box, place_of(box))


def _check_host(box: Any, end: str) -> None:
    """Have the host refuse a change of a model, if it was read from an async memory."""
    refuse = getattr(box._origin.host, "refuse", None)
    if refuse is not None:
        name, *steps = place_of(box)
        refuse(name + "".join(f"[{step!r}]" for step in steps) + end)


def setting(box: Any, name: str, value: Any) -> Flow[None]:
    """Set a field of the model whose storage `box` is."""
    fields, deleted = _tried(box, name, lambda trial: setattr(trial, name, value))
    return _written(box, fields, deleted)


def deleting(box: Any, name: str) -> Flow[None]:
    """Delete a name that the model has beyond its fields."""
    fields, deleted = _tried(box, name, lambda trial: delattr(trial, name))
    return _written(box, fields, deleted)


def _tried(box: Any, name: str, act: Callable[[Any], None]) -> tuple[dict[str, Any], list[str]]:
    """What is to be stored and deleted for a change, which is tried on a detached model first.

    Raises:
        InvalidValueError: It does not fit.
        ValidationError: The model, or the field, is frozen.
    """
    shape, where = box._origin.shape, place_of(box)
    trial = shape.load(box, where)
    before = shape.dump(trial, where)
    problem = None
    try:
        act(trial)
    except ValidationError as error:
        if is_frozen(error):
            raise
        problem = translated(error, where)
    if problem is not None:
        raise problem
    after = shape.dump(trial, where)
    if name not in after and name not in before and not hasattr(shape.kind, name):
        raise AttributeError(f"{shape.kind.__name__!r} has no field {name!r}: it is not stored")
    fitting = foreseen(box, "update", (_changes(before, after, name),), {})
    if fitting is None:
        fitting = shape.dump(shape.rebuilt(after, where), where)
    return _changes(before, fitting, name), [key for key in before if key not in after]


def _changes(before: dict[str, Any], after: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields that differ, and the one that was set, whatever it was before."""
    return {
        key: value
        for key, value in after.items()
        if key == name or key not in before or before[key] != value
    }


def _written(box: Any, fields: dict[str, Any], deleted: list[str]) -> Flow[None]:
    if fields:
        yield from made(box, "update", (fields,), {})
    for name in deleted:
        yield from made(box, "pop", (name, None), {})
