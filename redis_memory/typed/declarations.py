"""What a class of memories declares: names, annotations and defaults."""

from __future__ import annotations

import inspect
import re
import sys
from copy import copy
from difflib import get_close_matches
from types import FrameType, SimpleNamespace
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NoReturn,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic.fields import FieldInfo

from redis_memory.core.conflicts import MISSING
from redis_memory.core.places import detached
from redis_memory.core.schemas import Mark
from redis_memory.errors import InvalidValueError
from redis_memory.typed.records import shape_of
from redis_memory.typed.shapes import Shape

Extra = Literal["allow", "forbid"]

SCHEMA: Final = "_redis_memory_schema"
HOOK: Final = "__upgrade__"
_VERSION: Final = "__schema_version__"
_CLASS_VARIABLE = re.compile(r"(\w+\.)*ClassVar\b")


class _Undefined:
    """Stands where a base that is no memory has a default, which would hide the attribute."""

    def __get__(self, instance: object, kind: type) -> NoReturn:
        raise AttributeError("the attribute is declared, and a memory has it")


class Declaration:
    """One declared attribute. Its annotation is resolved when it is first needed."""

    __slots__ = ("_annotation", "_default", "_locals", "_owner", "_plain", "_shape", "name")

    def __init__(
        self, name: str, annotation: Any, default: Any, owner: type, local: dict[str, Any]
    ) -> None:
        self.name: str = name
        self._default = default
        self._owner = owner
        self._shape: Shape | None = None
        self._plain: Any = MISSING
        try:
            # at once if it can be, so that the names around the class need not be kept
            self._annotation, self._locals = _resolved(annotation, owner, local), {}
        except (NameError, SyntaxError, TypeError):
            self._annotation, self._locals = annotation, local

    def with_default(self, default: Any) -> Declaration:
        """The same with another default."""
        if isinstance(self._default, FieldInfo):
            field = copy(self._default)
            field.default, field.default_factory = default, None
            default = field
        return Declaration(self.name, self._annotation, default, self._owner, self._locals)

    @property
    def shape(self) -> Shape:
        """What the attribute looks like.

        Raises:
            TypeError: The annotation cannot be resolved, or no value be held to it.
        """
        if self._shape is None:
            try:
                annotation = _resolved(self._annotation, self._owner, self._locals)
                if isinstance(self._default, FieldInfo):
                    annotation = Annotated[annotation, self._default]
                shape = shape_of(annotation)
                _ = shape.adapter
            except (TypeError, NameError, SyntaxError) as error:
                place = f"{self._owner.__qualname__}.{self.name}"
                raise TypeError(f"the annotation of {place} cannot be used: {error}") from error
            self._shape, self._locals = shape, {}
        return self._shape

    def default(self) -> Any:
        """The plain values of the default, a fresh copy; `MISSING` when there is none.

        Raises:
            TypeError: It does not fit the annotation.
        """
        if self._plain is not MISSING:
            return detached(self._plain)
        value = self._default
        if value is MISSING and get_origin(self.shape.annotation) is Annotated:
            value = FieldInfo.from_annotation(self.shape.annotation)
        if isinstance(value, FieldInfo):
            factory: Any = value.default_factory
            if factory is not None:
                return self._entered(factory())
            value = MISSING if value.is_required() else value.default
        if value is MISSING:
            return MISSING
        self._plain = self._entered(value)
        return detached(self._plain)

    def _entered(self, value: Any) -> Any:
        try:
            return self.shape.enter(value, (self.name,))
        except InvalidValueError as error:
            owner = self._owner.__qualname__
            raise TypeError(f"the default of {owner}.{self.name} does not fit: {error}") from None


def _resolved(annotation: Any, owner: type, local: dict[str, Any]) -> Any:
    module = sys.modules.get(owner.__module__)
    names = {**vars(module)} if module else {}
    carrier = SimpleNamespace(__annotations__={"it": annotation})
    found = get_type_hints(carrier, names, {**local, **vars(owner)}, include_extras=True)["it"]
    return _held(found)


def _held(annotation: Any) -> Any:
    """What the attribute holds that is declared as an `AsyncHandle`, as type checkers see it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = _held(arguments[0])
        return annotation if inner is arguments[0] else Annotated[inner, *arguments[1:]]
    return arguments[0] if getattr(origin, "_declares", False) else annotation


class Schema:
    """What a class of memories declares, with what its bases do.

    `own` is what the class itself adds; None takes the place of what a base declares. `hook` is its
    `__upgrade__`, None without one, `label` and `version` what tells its schemas from others, and
    `mark` the mark of this one, made by whoever needs it first.
    """

    __slots__ = ("declarations", "extra", "hook", "label", "mark", "own", "version")

    def __init__(
        self,
        kind: type,
        declarations: dict[str, Declaration],
        own: dict[str, Declaration | None],
        extra: Extra,
    ) -> None:
        self.declarations: dict[str, Declaration] = declarations
        self.own: dict[str, Declaration | None] = own
        self.extra: Extra = extra
        self.hook: Any = getattr(kind, HOOK, None)
        self.label: str = f"{kind.__module__}.{kind.__qualname__}"
        self.version: int | None = getattr(kind, _VERSION, None)
        self.mark: Mark | None = None
        if self.version is not None and (type(self.version) is not int or self.version < 0):
            raise TypeError(f"{self.label}.{_VERSION} must be an int from 0 on")

    def refusal(self, name: str) -> AttributeError | None:
        """The error for a name that is not declared, if the class forbids such names."""
        if self.extra == "allow" or name in self.declarations:
            return None
        near = get_close_matches(name, self.declarations, n=1, cutoff=0.0)
        hint = f"; the nearest declared one is {near[0]!r}" if near else ""
        return AttributeError(f"no attribute {name!r} is declared{hint}", name=name)


def declare(kind: type, extra: Extra | None) -> None:
    """Note what a class of memories declares.

    Raises:
        TypeError: A declared name is reserved, the class keyword is wrong, or the version.
    """
    if extra not in (None, "allow", "forbid"):
        raise TypeError(f"extra must be 'allow' or 'forbid', not {extra!r}")
    if kind.__module__.partition(".")[0] == "redis_memory":
        return
    inherited: Schema | None = getattr(kind, SCHEMA)
    found: dict[str, Declaration] = {}
    own: dict[str, Declaration | None] = {}
    local = _namespace(kind)
    for base in reversed(kind.__mro__):
        schema: Schema | None = vars(base).get(SCHEMA)
        if schema is not None:
            _merge(found, schema.own)
        elif base is kind:
            own = _declared(kind, base, found, local)
            _merge(found, own)
        elif base.__module__.partition(".")[0] not in ("builtins", "typing", "abc", "redis_memory"):
            _merge(found, _declared(kind, base, found, local))
    if found or extra is not None or inherited is not None or hasattr(kind, HOOK):
        setattr(kind, SCHEMA, Schema(kind, found, own, extra or _extra(inherited)))


def _extra(inherited: Schema | None) -> Extra:
    return "allow" if inherited is None else inherited.extra


def _namespace(kind: type) -> dict[str, Any]:
    """The names around the definition of a class, if that stands in a function."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") != kind.__module__:
        frame = frame.f_back
    return {} if frame is None or frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _merge(found: dict[str, Declaration], own: dict[str, Declaration | None]) -> None:
    for name, declaration in own.items():
        if declaration is None:
            found.pop(name, None)
        else:
            found[name] = declaration


def _declared(
    kind: type, base: type, found: dict[str, Declaration], local: dict[str, Any]
) -> dict[str, Declaration | None]:
    """What the body of one class declares; what would hide an attribute is taken away."""
    own: dict[str, Declaration | None] = {}
    annotations = inspect.get_annotations(base)
    for name, annotation in annotations.items():
        if name.startswith("_") or _is_class_variable(annotation):
            continue
        if name == "conversation_id":
            raise TypeError(f"{base.__qualname__}.conversation_id: every conversation has that one")
        default = vars(base).get(name, MISSING)
        own[name] = Declaration(name, annotation, default, base, local)
    for name in [name for name in vars(base) if name in own or name in found]:
        value = vars(base)[name]
        if isinstance(value, _Undefined):
            continue
        if name not in own:
            # a method or property takes the place of the attribute, anything else is its default
            is_method = hasattr(type(value), "__get__")
            own[name] = None if is_method else found[name].with_default(value)
            if is_method:
                continue
        # a class attribute would be found before the memory is asked
        if base is kind:
            delattr(kind, name)
        else:
            setattr(kind, name, _Undefined())
    return own


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return _CLASS_VARIABLE.match(annotation.strip()) is not None
    return annotation is ClassVar or get_origin(annotation) is ClassVar
