"""What becomes of a change that waited and met others: who wins, and what is reported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from redis_memory.core import contents, leaves
from redis_memory.core.conflicts import MISSING, Conflict
from redis_memory.core.descriptor import CONTAINERS, DICT, LIST, NUMBER, SET, split
from redis_memory.core.keys import name_text
from redis_memory.core.operations import Operation, Recipe
from redis_memory.core.state import State
from redis_memory.core.values import unpack
from redis_memory.errors import CorruptValueError, RedisMemoryError

_log = logging.getLogger("redis_memory")

# Writers and notes outlive a memory without attributes, to fence off what arrives late.
FENCE_S = b"604800"

# What is no conflict: the change was made, or what it wanted was so already.
_WELL = frozenset({b"ok", b"exists", b"skipped", b"duplicate", b"old"})
_DONE = frozenset({("dict", b"absent"), ("set", b"absent"), ("delete", b"gone")})
_REASONS = {
    b"stale": "moved",
    b"conflict": "moved",
    b"gone": "gone",
    b"kind": "gone",
    b"absent": "gone",
    b"cleared": "cleared",
}

# Which argument is the one value that a change is to store, or to remove.
_AT = {
    ("list", b"set"): 1,
    ("list", b"insert"): 1,
    ("list", b"remove"): 0,
    ("swap", b"swap"): 2,
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the server tells of one change: its number, how it went, and about what.

    `part` is which one it is of those that are made as one.
    """

    turn: int
    status: bytes
    winner: bytes
    key: bytes
    theirs_at: bytes
    value: bytes
    elements: list[bytes]
    part: int | None = None


def report(state: State, operation: Operation, told: Told) -> None:
    """Report what the server tells of a change, unless all is well."""
    if operation.script == "together":
        parts = operation.parts
        for part in parts if told.part is None else (parts[told.part],):
            report(state, part, told)
        return
    is_done = (operation.script, told.status) in _DONE
    if told.status in _WELL or is_done or operation.script == "skip":
        return
    if told.winner:
        state.conflicts.report(state.label, _contested(state, operation, told))
        return
    reason = _REASONS.get(told.status, "refused")
    detail = "the sum is too large for the server to add" if told.status == b"large" else ""
    if told.status == b"error":
        detail = told.value.decode("utf-8", "replace")
    _report(state, operation, reason, detail)


def report_in_doubt(state: State, operation: Operation) -> None:
    """Report a change of which nobody knows whether it was made."""
    for part in operation.parts:
        _report(state, part, "in doubt")


def report_expired(state: State, operation: Operation) -> None:
    """Report a change of a memory whose lifetime was over before it could be made."""
    for part in operation.parts:
        _report(state, part, "cleared")


def _report(state: State, operation: Operation, reason: str, detail: str = "") -> None:
    mine = _mine(state, operation)
    name = _name(operation.name)
    conflict = Conflict(name, MISSING, mine, MISSING, "theirs", reason, detail=detail)
    state.conflicts.report(state.label, conflict)


def _contested(state: State, operation: Operation, told: Told) -> Conflict:
    winner: Literal["mine", "theirs", "function"] = "mine" if told.winner == b"mine" else "theirs"
    if winner == "mine" and operation.policy:
        winner = "function"
    if operation.script == "clear":  # contested by one attribute
        name, told = _name(told.key), replace(told, key=b"")
    else:
        name = _name(operation.name)
    key, theirs = MISSING, _theirs(state, operation, told)
    if told.key:
        key = _safely(lambda: _key(state, operation, told))
    return Conflict(
        name,
        key,
        _mine(state, operation, told.key),
        theirs,
        winner,
        "newer",
        _time(operation.at_us + (state.queue.offset_us or 0)),
        _time(int(told.theirs_at[:13], 16)) if told.theirs_at else None,
    )


def _time(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)


def _name(encoded: bytes) -> str:
    try:
        return name_text(encoded)
    except CorruptValueError:
        return repr(encoded)


def _safely(decode: Callable[[], Any]) -> Any:
    """A value for a report; a damaged one must not stop it."""
    try:
        return decode()
    except RedisMemoryError:
        return MISSING


def _theirs(state: State, operation: Operation, told: Told) -> Any:
    """What the server held."""
    if not told.value:
        return MISSING
    if told.key:
        return _safely(lambda: contents.decode_item(told.key, told.value, state.limits)[1])

    def decode() -> Any:
        descriptor, payload = split(told.value, _name(operation.name))
        kind = descriptor[:1]
        if kind in CONTAINERS:
            return contents.decode(kind, told.elements, state.limits)
        return contents.decode_scalar(kind, payload, state.limits)

    return _safely(decode)


def _key(state: State, operation: Operation, told: Told) -> Any:
    """The key of a dict that both have changed, as this process or, if it deletes, others say."""
    operation = operation.meant or operation
    if operation.operation == b"take":
        return contents.decode_item(told.key, told.value, state.limits)[0]
    spelled, _ = _items(operation.arguments[2:])[told.key]
    return unpack(spelled, state.limits)


def _mine(state: State, operation: Operation, key: bytes = b"") -> Any:
    """What the change was to store."""
    meant = operation.meant or operation
    return _safely(lambda: _wanted(state, meant, meant.arguments[2:], key))


def _wanted(state: State, operation: Operation, own: Sequence[bytes], key: bytes) -> Any:
    limits, script, word = state.limits, operation.script, operation.operation
    if (script, word) in _AT:
        return unpack(own[_AT[script, word]], limits)
    if script == "assign":
        return _assigned(own[0], own[1:], state)
    if script == "append" or word == b"rewrite":
        return [unpack(value, limits) for value in own]
    if script == "dict" and key and own[2:]:
        return unpack(_items(own)[key][1], limits)
    kind = {"dict": DICT, "set": SET, "increment": NUMBER}.get(script)
    # a deletion names a key and nothing else
    is_deletion = kind is None or not own or (kind == DICT and not own[2:])
    return MISSING if is_deletion else _assigned(kind or b"", own, state)


def _assigned(kind: bytes, own: Sequence[bytes], state: State) -> Any:
    limits = state.limits
    if kind == LIST:
        return [unpack(value, limits) for value in own]
    if kind == DICT:
        items = _items(own).values()
        return {unpack(spelled, limits): unpack(value, limits) for spelled, value in items}
    if kind in CONTAINERS:
        return {unpack(own[i + 1] or own[i], limits) for i in range(0, len(own) - 1, 2)}
    return contents.decode_scalar(kind, own[0], limits)


def _items(own: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    """The items of a dict by canonical key: the key as spelled, and the value."""
    triples = zip(own[::3], own[1::3], own[2::3], strict=True)
    return {canonical: (spelled or canonical, value) for canonical, spelled, value in triples}


def pass_over(operation: Operation) -> None:
    """Have a change only use up its number."""
    operation.script, operation.arguments, operation.recipe = "skip", (), None


def swap_again(state: State, operation: Operation, told: Told) -> None:
    """Make a change inside an element on what the element is now, or report that it cannot be."""
    known, word, where, before, _, is_moved, *kind = operation.arguments
    try:
        if operation.recipe is None or (operation.recipe.is_by_index and _has_moved(known, told)):
            raise LookupError
        recipe = _undisputed(state, operation, operation.recipe, before, told)
        new = recipe.made(told.value, state.limits) if recipe else b""
    except (RedisMemoryError, LookupError, TypeError, ValueError, AttributeError):
        _report(state, operation, "moved")
        pass_over(operation)
        return
    if recipe is None:
        pass_over(operation)
        return
    operation.recipe = recipe
    operation.arguments = (known, word, where, told.value, new, is_moved, *kind)


def _has_moved(known: bytes, told: Told) -> bool:
    """Have elements of lists inside the element moved since its change was made?"""
    return not known or not told.elements or told.elements[0] > known[1:14]


def _undisputed(
    state: State, operation: Operation, recipe: Recipe, before: bytes, told: Told
) -> Recipe | None:
    """The change without the keys that others have won, and with the values that were decided."""
    quarrels = leaves.contested(recipe, before, told.value, state.limits)
    if not quarrels:
        return recipe
    values = leaves.wanted(recipe)
    for quarrel in quarrels:
        key = (*recipe.path, quarrel.key) if recipe.path else quarrel.key
        conflict = Conflict(
            _name(operation.name),
            key,
            quarrel.mine,
            quarrel.theirs,
            "mine" if _is_later(state, operation, told.theirs_at) else "theirs",
            "newer",
            _time(operation.at_us + (state.queue.offset_us or 0)),
            _time(int(told.theirs_at[:13], 16)) if told.theirs_at else None,
        )
        policy = state.conflicts.policy
        if callable(policy):
            try:
                values[quarrel.key] = policy(conflict)
                conflict = replace(conflict, winner="function")
            except Exception:  # noqa: BLE001 - the user's code; what the server holds stays
                _log.exception("the function that decides conflicts failed")
                conflict = replace(conflict, winner="theirs")
        if conflict.winner == "theirs":
            del values[quarrel.key]
        state.conflicts.report(state.label, conflict)
    return leaves.settled(recipe, values)


def _is_later(state: State, operation: Operation, theirs_at: bytes) -> bool:
    """Does this process's change win, but for a function that decides?"""
    policy = state.conflicts.policy
    if policy in ("mine", "theirs"):
        return policy == "mine"
    return b"%013x" % (operation.at_us + (state.queue.offset_us or 0)) > theirs_at[:13]


def decide(state: State, operation: Operation, told: Sequence[Told]) -> None:
    """Let the memory's own function decide, and have the change store what it gives."""
    ask = state.conflicts.policy
    operation.meant = copy(operation)
    try:
        for one in told:
            if callable(ask) and one.winner == b"ask":
                _take_over(state, operation, one, ask(_contested(state, operation, one)))
    except Exception:  # noqa: BLE001 - the user's code; what the server holds stays, and is told
        _log.exception("the function that decides conflicts failed")
        operation.policy = b"theirs"
    else:
        operation.policy = b"mine"


def _take_over(state: State, operation: Operation, told: Told, value: Any) -> None:
    """Have the change store `value` where it was contested."""
    known = operation.arguments[0]
    if told.key:
        key = _key(state, operation, told)
        items = _items(operation.arguments[2:]) if operation.operation == b"put" else {}
        spelled, _ = items.pop(told.key, (told.key, b""))
        if value is MISSING and items:
            items[told.key] = (spelled, b"")
        elif value is not MISSING:
            (_, spelled, packed), _ = contents.encode_items([(key, value)], state.inside, "value")
            items[told.key] = (spelled or told.key, packed)
        else:
            operation.arguments = (known, b"take", told.key)
            return
        triples = ((key, b"" if s == key else s, v) for key, (s, v) in items.items())
        operation.arguments = (known, b"put", *(part for triple in triples for part in triple))
    elif value is MISSING:
        operation.script, operation.arguments = "delete", (b"", b"delete", FENCE_S)
    else:
        kind, own, _ = contents.encode(value, state.limits, "value")
        operation.script, operation.arguments = "assign", (b"", b"assign", kind, *own)
