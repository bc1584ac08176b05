"""The shapes of containers, and of unions."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError

from redis_memory.core.places import detached
from redis_memory.typed.reasons import Where
from redis_memory.typed.shapes import ANYTHING, STORED, Shape


class ItemsShape(Shape):
    """A container of one kind of elements, which stand at no keys."""

    __slots__ = ("item",)

    def __init__(self, annotation: Any, item: Shape, *, is_whole: bool) -> None:
        super().__init__(annotation, is_exact=item.is_exact and not is_whole, is_whole=is_whole)
        self.item: Shape = item

    def below(self, step: Any) -> Shape:  # noqa: ARG002 - they are all alike
        """The shape of an element."""
        return self.item


class ListShape(ItemsShape):
    """A list of one kind of elements."""

    __slots__ = ()
    base: ClassVar[type | None] = list


class SetShape(ItemsShape):
    """A set of one kind of elements."""

    __slots__ = ()
    base: ClassVar[type | None] = set


class DictShape(Shape):
    """A dict from one kind of keys to one kind of values."""

    __slots__ = ("item", "key")
    base: ClassVar[type | None] = dict

    def __init__(self, annotation: Any, key: Shape, item: Shape, *, is_whole: bool) -> None:
        is_exact = key.is_exact and item.is_exact and not is_whole
        super().__init__(annotation, is_exact=is_exact, is_whole=is_whole)
        self.key: Shape = key
        self.item: Shape = item

    def below(self, step: Any) -> Shape:  # noqa: ARG002 - they are all alike
        """The shape of a value."""
        return self.item


class TupleShape(Shape):
    """A tuple: one shape for each element, or one for all."""

    __slots__ = ("_items", "_rest")

    def __init__(
        self, annotation: Any, items: tuple[Shape, ...], rest: Shape | None, *, is_whole: bool
    ) -> None:
        shapes = items if rest is None else (rest,)
        is_exact = all(each.is_exact for each in shapes) and not is_whole
        super().__init__(annotation, is_exact=is_exact, is_whole=is_whole)
        self._items: tuple[Shape, ...] = items
        self._rest: Shape | None = rest

    @property
    def is_live(self) -> bool:
        """Are containers in it?"""
        shapes = self._items if self._rest is None else (self._rest,)
        return any(each.is_live for each in shapes)

    def below(self, step: Any) -> Shape:
        """The shape of an element."""
        if self._rest is not None:
            return self._rest
        return self._items[step] if step < len(self._items) else ANYTHING

    def may_hold(self, plain: Any) -> bool:
        """Is it a tuple?"""
        return isinstance(plain, tuple)


class Either(Shape):
    """A union."""

    __slots__ = ("_options",)

    def __init__(self, annotation: Any, options: tuple[Shape, ...], *, is_exact: bool) -> None:
        super().__init__(annotation, is_exact=is_exact)
        self._options: tuple[Shape, ...] = options

    @property
    def is_live(self) -> bool:
        """Is one of them?"""
        return any(option.is_live for option in self._options)

    def pick(self, plain: Any, where: Where) -> Shape:
        """The branch that a stored value belongs to."""
        options = [option for option in self._options if option.may_hold(plain)]
        if len(options) > 1:
            kind = type(self.load(plain, where))
            # a model says by its class which branch it is, anything else by what it accepts
            exact = [each for each in options if getattr(each, "kind", None) is kind]
            options = exact or [each for each in options if _fits(each, plain)]
        return options[0].pick(plain, where) if options else Shape(self.annotation)

    def may_hold(self, plain: Any) -> bool:
        """Can one of them?"""
        return any(option.may_hold(plain) for option in self._options)


def _fits(shape: Shape, plain: Any) -> bool:
    try:
        shape.adapter.validate_python(detached(plain), strict=False, **STORED)
    except ValidationError:
        return False
    return True
