"""What a mutator of a proxy inside an element does: a compare-and-set of that element's bytes."""

from __future__ import annotations

from typing import Any

from redis_memory.core.arguments import is_by_index, moved_paths, prepared
from redis_memory.core.calls import Flow
from redis_memory.core.delivery import QUEUED, Waiter, deliver
from redis_memory.core.descriptor import DICT, LIST, parse
from redis_memory.core.effects import Effect
from redis_memory.core.operations import Recipe
from redis_memory.core.places import Path, changed_at, detached, step_into
from redis_memory.core.sources import Source, stale
from redis_memory.core.state import State
from redis_memory.core.values import identity, pack, unpack
from redis_memory.errors import StaleProxyError

# What hands something to exactly one taker must know that it was there.
_TAKES = ("pop", "popitem")
# What is meant for the list that was seen.
_REARRANGES = ("sort", "reverse", "__imul__")


class Place:
    """Where a proxy inside an element lies.

    `path` leads there from the attribute's container, `lists` are the positions in it that are
    indexes of lists, `seen` is the version at which this was so.
    """

    __slots__ = ("lists", "path", "seen", "source")

    def __init__(self, source: Source, path: Path, lists: tuple[int, ...], seen: int) -> None:
        self.source: Source = source
        self.path: Path = path
        self.lists: tuple[int, ...] = lists
        self.seen: int = seen

    @property
    def depth(self) -> int:
        """How many steps lead to the element that is compared: 0 when it is the whole attribute."""
        return 1 if self.source.kind in (LIST, DICT) else 0

    def below(self, step: Path, *, into_list: bool) -> Place:
        """The place of a container inside this one."""
        lists = (*self.lists, len(self.path)) if into_list else self.lists
        # what a proxy inside an element shows may be older than the proxy of the whole attribute
        seen = self.seen if self.path else self.source.version
        return Place(self.source, self.path + step, lists, seen)

    def check(self, *, by_index: bool) -> None:
        """Raise StaleProxyError when an index on the way may mean another element.

        With `by_index`, also when an index into the list at the place may.
        """
        lists = (*self.lists, len(self.path)) if by_index else self.lists
        if self.source.moves.overtook(self.path, lists, self.seen):
            raise stale(self.source.attribute.name)


def mutate_inside(
    place: Place,
    root: Any,
    box: Any,
    base: type,
    method: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Flow[tuple[Any, Any]]:
    """Run a mutator of `box`, a proxy inside an element of `root`, the proxy of the attribute.

    The method runs on a copy of the element; the server takes the result only while it still holds
    the bytes that the copy was made of. When it holds others, the method runs again on those.

    Returns:
        The container now at the place, and what the method returned.

    Raises:
        StaleProxyError: The place is gone, or an index on the way may mean another element.

    Cost: one round trip, and one more each time that somebody else changed the element meanwhile.
    """
    source, depth = place.source, place.depth
    state, attribute = source.state, source.attribute
    arguments, options = prepared(base, box, method, arguments, options)
    moved = moved_paths(base, method, arguments, place.path)
    by_index = is_by_index(base, method, arguments)
    place.check(by_index=by_index)
    waiter = _waiter(place, base, method, arguments, options)
    yield from source.be_current(root, by_index=by_index or bool(place.lists))
    element = _element(place, root)
    old = pack(element)

    def change(leaf: Any) -> Any:
        return getattr(base, method)(leaf, *arguments, **options)

    while True:
        new, result = changed_at(element, place.path[depth:], base, change)
        packed = pack(new, state.inside if depth else state.limits)
        swapped = (_where(place), old, packed, b"1" if moved else b"0", *_told(state, source))
        known = source.known
        answer = yield from deliver(
            state, attribute, "swap", known, b"swap", *swapped, waiter=waiter
        )
        if answer.status != b"conflict":
            break
        _check_moved(place, answer.descriptor, by_index=by_index)
        if not source.can_follow(known, answer):
            yield from source.start_again(root)
            element = _element(place, root)
            old = pack(element)
        else:
            old = answer.result
            element = unpack(old, state.limits)
    if answer.status == QUEUED:
        source.follow_here(root, _replacement(place, unpack(packed, state.limits), moved))
        place.seen = source.version
        return _at(_element(place, root), place.path[depth:]), detached(result)
    if answer.status == b"stale":
        raise stale(attribute.name)
    if answer.status != b"ok":
        raise StaleProxyError(f"the place in {attribute.name!r} that this value came from is gone")
    if not source.can_follow(known, answer):
        yield from source.start_again(root)
    else:
        source.follow(root, answer, _replacement(place, unpack(packed, state.limits), moved))
    place.seen = source.version if source.known else place.seen
    return _at(_element(place, root), place.path[depth:]), detached(result)


def _told(state: State, source: Source) -> tuple[bytes, ...]:
    """What who seals the values must know, and the server is not told: what they lie in."""
    return () if state.sealer is None else (source.kind,)


def _waiter(
    place: Place, base: type, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Waiter:
    """Whether the change may wait, and how to make it on what the element is by then."""
    waiter = Waiter(may_wait=method not in _TAKES)
    depth = place.depth
    # what stands at an index cannot be found again, and a sort's key function not be written down
    is_fragile = is_by_index(base, method, arguments) or method in _REARRANGES or bool(options)
    if not is_fragile:
        by_index = any(position >= depth for position in place.lists)
        steps = place.path[depth:]
        waiter.recipe = Recipe(steps, base.__name__, method, arguments, options, by_index)
    return waiter


def _element(place: Place, root: Any) -> Any:
    """The element, or the whole scalar, that the place lies in."""
    try:
        return step_into(root, place.path[0]) if place.depth else place.source.scalar
    except LookupError as error:
        name = place.source.attribute.name
        message = f"the element of {name!r} that this value came from is gone"
        raise StaleProxyError(message) from error


def _at(element: Any, path: Path) -> Any:
    for step in path:
        element = step_into(element, step)
    return element


def _where(place: Place) -> bytes:
    if place.source.kind == LIST:
        return b"%d" % place.path[0]
    return identity(place.path[0]) if place.depth else b""


def _check_moved(place: Place, descriptor: bytes | None, *, by_index: bool) -> None:
    """The element has changed: may an index of a list inside it mean something else now?"""
    if not by_index and not any(position >= place.depth for position in place.lists):
        return
    name = place.source.attribute.name
    # the descriptor of a scalar does not say when a list inside it moved
    if not place.depth or descriptor is None:
        raise stale(name)
    if parse(descriptor, name).inner > place.source.version:
        raise stale(name)


def _replacement(place: Place, new: Any, moved: tuple[Path, ...]) -> Effect:
    """The change of the attribute's container that follows: the whole element is another one."""

    def apply(holder: Any, _: bytes) -> None:
        if isinstance(holder, list):
            list.__setitem__(holder, place.path[0], new)
        elif isinstance(holder, dict):
            dict.__setitem__(holder, place.path[0], new)

    if not place.depth:
        copy = place.source.attribute.copy
        if copy is not None and copy.descriptor == place.source.known:
            copy.value = new
        place.source.scalar = new
    return Effect("swap", b"swap", (), apply, moved=moved)
