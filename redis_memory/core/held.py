"""What a block knows, and what is asked of several attributes at once with the block's changes."""

from __future__ import annotations

from typing import Any

from redis_memory.core import contents, replica
from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.blocks import Block, View
from redis_memory.core.calls import Flow
from redis_memory.core.delivery import MAY_WAIT, NEEDS_ANSWER, deliver
from redis_memory.core.descriptor import NUMBER, wrong_kind
from redis_memory.core.places import detached
from redis_memory.core.reading import read
from redis_memory.core.state import State
from redis_memory.core.values import unpack
from redis_memory.errors import OfflineError


def shows(state: State, attribute: Attribute) -> bool:
    """Does the copy here show what a block has done to the attribute?"""
    return state.block is not None and state.block.shows(attribute)


def knows(state: State, attribute: Attribute) -> bool:
    """Need a block not ask the server for the attribute, or not for it alone?"""
    block = state.block
    if block is None:
        return False
    is_known = attribute.name in block.views or block.is_emptied or block.is_away
    return is_known or block.is_read(attribute)


def is_there(state: State, block: Block, name: str) -> Flow[bool]:
    """Is there such an attribute, for all that is known? Asks only where nothing is.

    From then on the block relies on what is missing.
    """
    attribute = state.attribute(name)
    view = block.views.get(name)
    if view is None and attribute.copy is not None and not block.is_emptied:
        block.note_there(attribute.encoded, is_there=True)
        return True
    if view is not None and not view.is_local:
        return True
    try:
        copy = yield from read(state, name)
    except OfflineError:
        return True
    if copy is None:
        block.rely(attribute)
    return copy is not None


def is_known_there(state: State, block: Block, name: str) -> Flow[bool]:
    """Is there an attribute that the block knows of?"""
    view = block.views.get(name)
    if view is not None and not view.is_local:
        return True
    return (yield from read(state, name)) is not None


def increment(state: State, block: Block, name: str, by: float) -> Flow[None]:
    """Add to a number when the block ends. What the server cannot add is added here, to what it is.

    Raises:
        WrongKindError: The block knows that the attribute is no number.
    """
    attribute = state.attribute(name)
    kind, (text,), _ = contents.encode(by, state.limits, name)
    # the server cannot add to what it cannot read
    is_blind = state.sealer is not None
    is_small, total = not is_blind and kind == NUMBER and _can_add(attribute.copy, by), by
    if not is_small or block.shows(attribute) or block.is_read(attribute):
        copy = yield from read(state, name)
        current = 0 if copy is None else copy.value
        if type(current) not in (int, float):
            raise wrong_kind(name, "number")
        total = current + by
        is_small = not is_blind and kind == NUMBER and _can_add(copy, by)
    if not is_small:
        kind, (text,), _ = contents.encode(total, state.limits, name)
        block.rely(attribute)
        waiter = NEEDS_ANSWER if is_blind else MAY_WAIT
        yield from deliver(state, attribute, "scalar", kind, text, waiter=waiter)
        replica.store(state, attribute, kind, total)
        return
    yield from deliver(state, attribute, "increment", b"", b"increment", text)
    if block.shows(attribute):
        replica.store(state, attribute, NUMBER, total)


def _can_add(copy: Copy | None, by: float) -> bool:
    """Can the server add to the number, as far as it is known here?"""
    if copy is None or type(copy.value) not in (int, float):
        return True
    return all(contents.is_counter(value) for value in (copy.value, copy.value + by))


def overlaid(state: State, block: Block, values: dict[str, Any]) -> dict[str, Any]:
    """The values of all attributes as the block sees them."""
    shown = {} if block.is_emptied else dict(values)
    for name, view in block.views.items():
        if not view.is_local:
            shown[name] = _with_blind(state, view, shown.get(name))
            continue
        copy = state.attribute(name).copy
        if copy is not None:
            shown[name] = detached(copy.value)
        else:
            shown.pop(name, None)
    return dict(sorted(shown.items()))


def _with_blind(state: State, view: View, value: Any) -> Any:
    for part in view.blind:
        own = part.arguments[2:]
        if part.script == "append":
            value = [] if value is None else value
            if type(value) is not list:
                raise wrong_kind(view.attribute.name, "list")
            value = [*value, *(unpack(one, state.limits) for one in own)]
        else:
            value = 0 if value is None else value
            if type(value) not in (int, float):
                raise wrong_kind(view.attribute.name, "number")
            value += contents.decode_scalar(NUMBER, own[0], state.limits)
    return value


def names_shown(state: State, block: Block, names: list[str]) -> list[str]:
    """The names of all attributes as the block sees them."""
    shown = set() if block.is_emptied else set(names)
    for name, view in block.views.items():
        is_gone = view.is_local and state.attribute(name).copy is None
        (shown.discard if is_gone else shown.add)(name)
    return sorted(shown)
