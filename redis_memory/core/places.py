"""Places inside the elements of a container: how to find them, change them, and see them move.

A place is a path of steps (keys and indexes) from the attribute's container. Plain values are
shared and never changed: a change copies the containers along its path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from redis_memory.errors import StaleProxyError

T = TypeVar("T")

Path = tuple[Any, ...]


def step_into(value: Any, step: Any) -> Any:
    """Follow one step without creating a proxy.

    Raises:
        LookupError, TypeError: There is no such place.
    """
    if isinstance(value, dict):
        return dict.__getitem__(value, step)
    if isinstance(value, list):
        return list.__getitem__(value, step)
    if isinstance(value, tuple):
        return value[step]
    raise TypeError("not a container with places")


def changed_at(element: Any, path: Path, base: type, change: Callable[[Any], T]) -> tuple[Any, T]:
    """Change a copy of what lies at `path` inside `element`.

    Returns:
        The new element, and what `change` returned.

    Raises:
        StaleProxyError: There is no `base` (list, dict or set) at that path.
    """
    if not path:
        if type(element) is not base:
            raise StaleProxyError(f"the {base.__name__} that this value was read from is gone")
        leaf = base(element)
        return leaf, change(leaf)
    try:
        below = step_into(element, path[0])
    except (LookupError, TypeError) as error:
        raise StaleProxyError("the place that this value was read from is gone") from error
    new, result = changed_at(below, path[1:], base, change)
    if isinstance(element, tuple):
        return (*element[: path[0]], new, *element[path[0] + 1 :]), result
    copied = element.copy()
    copied[path[0]] = new
    return copied, result


def detached(value: Any) -> Any:
    """A plain copy that shares no mutable part with `value`, which may hold proxies."""
    if isinstance(value, list):
        return [detached(item) for item in list.__iter__(value)]
    if isinstance(value, dict):
        return {key: detached(item) for key, item in dict.items(value)}
    if isinstance(value, set):
        return set(set.__iter__(value))
    if type(value) is tuple:
        return tuple(detached(item) for item in value)
    return value


def holds_container(value: object) -> bool:
    """Is it, or does a tuple hold, something with a place inside?"""
    if type(value) is tuple:
        return any(holds_container(item) for item in value)
    return isinstance(value, (list, dict, set))


def refill(box: Any, plain: Any) -> None:
    """Give a container, proxy or plain, other contents, without the mutators of its own type."""
    if isinstance(box, list):
        list.__setitem__(box, slice(None), plain)
    elif isinstance(box, dict):
        dict.clear(box)
        dict.update(box, plain)
    else:
        set.clear(box)
        set.update(box, plain)


_MOST_MOVES = 64


class Moves:
    """When lists moved their elements to other indexes, as far as one proxy knows."""

    __slots__ = ("_moves",)

    def __init__(self) -> None:
        self._moves: dict[tuple[Path, int], int] = {}

    def copy(self) -> Moves:
        """The same, to be gone back to."""
        copied = Moves()
        copied._moves = dict(self._moves)
        return copied

    def note(self, path: Path, version: int, depth: int | None = None) -> None:
        """Below `path`, steps into lists from `depth` (its own length) on mean other elements."""
        self._moves[path, len(path) if depth is None else depth] = version
        if len(self._moves) > _MOST_MOVES:  # rather refuse more than remember everything
            self._moves = {((), 0): max(self._moves.values())}

    def overtook(self, path: Path, lists: tuple[int, ...], seen: int) -> bool:
        """Did a list on the way along `path` move since version `seen`?

        `lists` are the positions in `path` that are indexes of lists.
        """
        return (
            any(
                version > seen and path[: len(moved)] == moved and lists[-1] >= depth
                for (moved, depth), version in self._moves.items()
            )
            if lists
            else False
        )
