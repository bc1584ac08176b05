"""What stands behind an async memory whose class declares attributes."""

from __future__ import annotations

from typing import Any, NoReturn

from redis_memory.async_core import AsyncCore
from redis_memory.core.calls import Flow
from redis_memory.core.state import State
from redis_memory.link.async_driver import ReadOnly
from redis_memory.origins import Host
from redis_memory.settings import Settings
from redis_memory.typed.core import Checked, TypedCore
from redis_memory.typed.declarations import Schema
from redis_memory.typed.models import Live, box_of, deleting, setting
from redis_memory.typed.upgrading import Upgrade, UpgradingCore


class _Refusing(ReadOnly):
    """Who runs the flows of models read from an async memory: nobody."""

    def refuse(self, place: str) -> NoReturn:
        """Refuse a change of a model; `place` is what to await instead."""
        raise TypeError(
            "this value was read from an async memory, and a change must be awaited: write "
            f"`await memory.{place}`"
        )


class AsyncTypedCore(TypedCore, AsyncCore):
    """As that of a blocking memory; a field of a model is a step into it."""

    __slots__ = ("checked", "schema")

    def __init__(self, schema: Schema, state: State, settings: Settings, client: Any) -> None:
        self.schema: Schema = schema
        self.checked: dict[str, Checked] = {}
        super().__init__(state, settings, client)
        self.host: Host = _Refusing()

    def inside(self, value: Any, step: Any) -> Any:
        """What lies below a step: an element, a value, or a field.

        Raises:
            KeyError: The model has no such field.
        """
        if not isinstance(value, Live):
            return super().inside(value, step)
        if step in box_of(value)._origin.shape.fields or step in box_of(value):
            return getattr(value, step)
        raise KeyError(step)

    def changing(
        self, box: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Flow[Any]:
        """The flow of a mutator, or of setting or deleting a field."""
        if not isinstance(box, Live):
            return super().changing(box, method, arguments, options)
        if method == "__setitem__":
            return setting(box_of(box), *arguments)
        if method == "__delitem__":
            return deleting(box_of(box), *arguments)
        raise AttributeError(f"{type(box).__name__!r} object has no attribute {method!r}")


class AsyncUpgradingCore(UpgradingCore, AsyncTypedCore):
    """The same where the class has the hook `__upgrade__`."""

    __slots__ = ("upgrade",)

    def __init__(self, schema: Schema, state: State, settings: Settings, client: Any) -> None:
        super().__init__(schema, state, settings, client)
        self.upgrade: Upgrade = Upgrade(schema, self.state)
