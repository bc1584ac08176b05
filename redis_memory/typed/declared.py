"""What the proxies of declared containers share: what goes in is held to the annotation.

The storage holds plain values here as well. Where those are not what the annotation says (models,
members of enums), everything that Python code can see is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from redis_memory.core.arguments import read_out
from redis_memory.core.calls import Flow
from redis_memory.origins import Synced
from redis_memory.typed.views import KINDS, foreseen, made, place_of, shown

P = TypeVar("P", bound="type[Any]")
Arguments = tuple[Any, ...]
Options = dict[str, Any]
Answer = Callable[[Any], Any]


class Declared(Synced):
    """What the three share."""

    __slots__ = ()

    _origin: Any  # a `TypedOrigin`, behind which other modules see an `Origin`

    def __new__(cls, *arguments: Any) -> Any:
        """A plain container."""
        # `dataclasses.asdict` makes a container of the same class for what it copies
        return cls._base(*arguments)

    def _take(self, value: Any, step: Any) -> Any:
        shape = self._origin.shape.below(step)
        if shape.is_exact and not isinstance(value, (list, dict, set, tuple)):
            return value
        return shown(super()._take(value, step), shape, place_of(self, step))

    def _declared_copy(self) -> Any:
        """Detached, as the annotation says."""
        return self._origin.shape.load(self, place_of(self))

    def _change(self, method: str, *arguments: Any, **options: Any) -> Any:
        # what is given is looked at before the memory is locked: that may take long, and use it
        arguments, options, answer = self._prepared(method, arguments, options)
        return answer(self._origin.host.run(made(self, method, arguments, options)))

    def _changing(self, method: str, arguments: Arguments, options: Options) -> Flow[Any]:
        arguments, options, answer = self._prepared(method, arguments, options)
        return answer((yield from made(self, method, arguments, options)))

    def _prepared(
        self, method: str, arguments: Arguments, options: Options
    ) -> tuple[Arguments, Options, Answer]:
        """The arguments as plain values that fit, and what makes a result of what is answered."""
        arguments, options = read_out(self._base, method, arguments, options)
        answer = self._answer(method, arguments)
        arguments = self._entered(method, arguments)
        if method == "sort":
            options = {**options, "key": self._sort_key(options.get("key"))}
        foreseen(self, method, arguments, options)
        return arguments, options, answer

    def _entered(self, method: str, arguments: Arguments) -> Arguments:
        """The arguments as plain values."""
        raise NotImplementedError

    def _sort_key(self, key: Answer | None) -> Answer | None:
        shape, where = self._origin.shape.below(0), place_of(self)
        if shape.is_exact:
            return key
        return lambda plain: (key or same)(shape.load(plain, where))

    def _answer(self, method: str, arguments: Arguments) -> Answer:  # noqa: ARG002 - of dicts
        shape = self._origin.shape.below(0)
        if method != "pop" or shape.is_exact:
            return same
        return lambda result: shape.load(result, place_of(self))

    def _enter_all(self, values: Iterable[Any], first: int = 0) -> list[Any]:
        item = self._origin.shape.below(0)
        return [item.enter(each, place_of(self, at)) for at, each in enumerate(values, first)]

    def copy(self) -> Any:
        """A detached copy."""
        return self._declared_copy()

    def __copy__(self) -> Any:
        return self._declared_copy()

    def __deepcopy__(self, _: object) -> Any:
        return self._declared_copy()

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return self._base, (self._declared_copy(),)


def same(result: Any) -> Any:
    """What is given, as it is."""
    return result


def reading_as(*names: str) -> Callable[[P], P]:
    """Make a class what its container reads as.

    Its methods of these `names`, which only look, see what the annotation says where that is not
    what is stored.
    """

    def add(proxy: P) -> P:
        for name in names:
            setattr(proxy, name, _looking(proxy._base, name, getattr(proxy, name)))
        KINDS.proxies[proxy._base] = proxy
        return proxy

    return add


def _looking(base: type, name: str, inherited: Callable[..., Any]) -> Callable[..., Any]:
    plain = getattr(base, name)

    def method(self: Any, /, *arguments: Any) -> Any:
        if self._origin.shape.is_exact:
            return inherited(self, *arguments)
        others = (
            each._declared_copy() if isinstance(each, Declared) else each for each in arguments
        )
        return plain(self._declared_copy(), *others)

    method.__name__, method.__doc__ = name, plain.__doc__
    return method
