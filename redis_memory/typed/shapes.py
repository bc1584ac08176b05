"""What a declared value looks like: which values fit, how they are stored, what they read as.

A shape stands for one annotation. Values go in through `enter`, which validates them and gives
plain values; `load` makes of those again what the annotation says.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar, Final

import pydantic
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from redis_memory.core.places import detached
from redis_memory.core.storable import check, container_of
from redis_memory.core.values import pack
from redis_memory.errors import UnstorableValueError
from redis_memory.typed.reasons import Where, invalid, named, translated
from redis_memory.typed.storing import storable

# Values are stored under the names of fields. Before pydantic 2.11 nobody could ask for that, and
# models with aliases must say `populate_by_name` themselves.
_KNOWS_NAMES = tuple(map(int, pydantic.VERSION.split(".")[:2])) >= (2, 11)
_GIVEN: Final[dict[str, Any]] = {"by_alias": True, "by_name": True} if _KNOWS_NAMES else {}
STORED: Final[dict[str, Any]] = {"by_alias": False, "by_name": True} if _KNOWS_NAMES else {}
# Where an int is declared, pydantic turns a Decimal into one digit by digit: 1E+999999999 would
# hold up every worker that reads it, for good. Up to this exponent it takes 4 ms.
_MOST_DIGITS: Final = 100_000
_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_PLURAL: Final[tuple[Any, ...]] = (list, tuple, set, frozenset)


class Shape:
    """One annotation that has no parts which could be changed by themselves.

    `is_exact`: what is stored is what is read. `is_live`: what is read can be changed in place.
    `is_whole`: a change of a part is held to the whole annotation, which constrains more than the
    parts do.
    """

    __slots__ = ("_adapter", "annotation", "is_exact", "is_whole")
    # the container that a value of this shape is stored as, None for any other
    base: ClassVar[type | None] = None

    def __init__(self, annotation: Any, *, is_exact: bool = False, is_whole: bool = False) -> None:
        self.annotation: Any = annotation
        self.is_exact: bool = is_exact
        self.is_whole: bool = is_whole
        self._adapter: TypeAdapter[Any] | None = None

    @property
    def is_live(self) -> bool:
        """Can what is read be changed in place?"""
        return self.base is not None

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """What validates.

        Raises:
            TypeError: pydantic cannot handle the annotation.
        """
        if self._adapter is None:
            try:
                self._adapter = TypeAdapter(self.annotation)
            except (PydanticUserError, NameError) as error:
                raise _unusable(self.annotation, error) from error
        return self._adapter

    def _validated(self, value: Any, where: Where, **how: Any) -> Any:
        _refuse_endless(value, where)
        try:
            return self.adapter.validate_python(value, **how)
        except ValidationError as error:
            problem = translated(error, where)
        except PydanticUserError as error:
            raise _unusable(self.annotation, error) from error
        # outside of the handler, or the error that quotes the value would be its context
        raise problem

    def dump(self, value: Any, where: Where) -> Any:
        """The plain values of what fits.

        Raises:
            UnstorableValueError: There are none.
        """
        try:
            plain = self.adapter.dump_python(
                value, round_trip=True, by_alias=False, warnings="none"
            )
        except (PydanticSerializationError, TypeError) as error:
            problem = type(error).__name__
        else:
            return storable(plain)
        raise UnstorableValueError(f"cannot store {named(where)} as plain values: {problem}")

    def enter(self, value: Any, where: Where) -> Any:
        """The plain values of a value that somebody gives.

        Raises:
            InvalidValueError: It does not fit.
        """
        fitting = self._validated(_without_views(value), where, **_GIVEN)
        if self.is_exact:
            return storable(fitting)
        # Twice: pydantic takes instances as they are, whatever has been assigned to them, and a
        # serializer may give what cannot be read again.
        return self.dump(self.rebuilt(self.dump(fitting, where), where), where)

    def rebuilt(self, plain: Any, where: Where) -> Any:
        """What stored plain values read as.

        Raises:
            InvalidValueError: They do not fit any more.
        """
        return self._validated(plain, where, strict=False, **STORED)

    def load(self, plain: Any, where: Where) -> Any:
        """As `rebuilt`, of a part that has been looked at already; it shares nothing with it."""
        plain = detached(plain)
        return plain if self.is_exact else self.rebuilt(plain, where)

    def check(self, plain: Any, where: Where, first: int = 0) -> None:
        """Refuse a stored container that does not fit; of a list, its elements from `first` on."""
        part = plain[first:] if first else plain
        _refuse_endless(part, where)
        try:
            fitting = self.adapter.validate_python(part, strict=False, **STORED)
        except ValidationError as error:
            problem = translated(error, where, first=first)
        else:
            if not self.is_exact or fitting == part or pack(fitting) == pack(part):
                return
            problem = invalid(where, "parts of it are stored as other types than declared")
        raise problem

    def pick(self, plain: Any, where: Where) -> Shape:  # noqa: ARG002 - of unions, the branch
        """The shape that a stored value has."""
        return self

    def below(self, step: Any) -> Shape:  # noqa: ARG002 - it has no parts
        """The shape of a part."""
        return ANYTHING

    def may_hold(self, plain: Any) -> bool:
        """Can a stored value be of this shape, by its type alone?"""
        return container_of(type(plain)) is self.base


class Anything(Shape):
    """No annotation, or Any: whatever can be stored."""

    __slots__ = ()

    @property
    def is_live(self) -> bool:
        """Containers in it are."""
        return True

    def rebuilt(self, plain: Any, where: Where) -> Any:  # noqa: ARG002 - everything fits
        """The plain values."""
        return plain

    def enter(self, value: Any, where: Where) -> Any:
        """Models and members of enums in it are stored as plain values, and stay that."""
        try:
            check(value)
        except UnstorableValueError:
            # what has no plain values either is refused, by its place, when it is to be stored
            with suppress(UnstorableValueError, ValueError):
                return self.dump(value, where)
        return value

    def check(self, plain: Any, where: Where, first: int = 0) -> None:
        """Refuse nothing."""

    def may_hold(self, plain: Any) -> bool:  # noqa: ARG002 - everything fits
        """Always."""
        return True


ANYTHING: Final = Anything(Any, is_exact=True)


def _without_views(value: Any) -> Any:
    """The value with the proxies of declared containers as what they are declared to hold.

    pydantic reads the storage of a proxy, which holds plain values.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(_without_views(each) for each in value)
    if kind is dict:
        return {key: _without_views(each) for key, each in value.items()}
    copied = getattr(kind, "_declared_copy", None)
    return value if copied is None else copied(value)


def _refuse_endless(value: Any, where: Where) -> None:
    if _is_endless(value):
        reason = f"a Decimal in it has an exponent beyond {_MOST_DIGITS:,}"
        raise invalid(where, reason)


def _is_endless(value: Any) -> bool:
    """Is there a Decimal in it, or in its parts, of too many digits to be written out?

    Of proxies it looks at the storage, as pydantic does.
    """
    if type(value) in _SCALARS:
        return False
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) > _MOST_DIGITS
    if isinstance(value, dict):
        return any(_is_endless(part) for item in dict.items(value) for part in item)
    return any(
        any(map(_is_endless, base.__iter__(value))) for base in _PLURAL if isinstance(value, base)
    )


def _unusable(annotation: Any, error: Exception) -> TypeError:
    summary = str(error).partition("\n")[0]
    return TypeError(f"values cannot be held to the annotation {annotation!r}: {summary}")
