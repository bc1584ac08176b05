"""Is there an order in which what was seen at the same time could have happened one by one?

After Wing and Gong: operations that do not overlap keep their order, and each must give, in the
order that is looked for, the result that it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

# What an operation does: from a state and the operation to the state afterwards; None where the
# operation cannot have given its result in that state.
Step = Callable[[Any, "Operation"], Hashable | None]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one process.

    `begun_s` and `ended_s` are by one clock for all processes; an operation of which nobody knows
    whether it was made ends at infinity, and may be left out where `is_doubtful`.
    """

    process: int
    begun_s: float
    ended_s: float
    what: Any
    result: Any = None
    is_doubtful: bool = False


def order_of(history: Sequence[Operation], step: Step, start: Hashable) -> list[Operation] | None:
    """An order that explains the history, None when there is none.

    Args:
        history: In any order.
        step: What an operation does to a state; states are compared and remembered.
        start: The state before all of them.

    Cost: exponential in how many overlap at the worst; states reached twice are looked at once.
    """
    waiting = sorted(history, key=lambda operation: operation.begun_s)
    order: list[Operation] = []
    # the choices at each length of the order: the states before, and what is still to be tried
    stack: list[tuple[Hashable, list[Operation], list[Operation]]] = []
    state: Hashable = start
    seen: set[tuple[frozenset[Any], Hashable]] = set()
    stack.append((state, waiting, _first(waiting)))
    while stack:
        state, left, choices = stack[-1]
        if all(operation.is_doubtful for operation in left):
            return order
        if not choices:
            stack.pop()
            if order:
                order.pop()
            continue
        chosen = choices.pop()
        after = step(state, chosen)
        if after is None:
            continue
        rest = [operation for operation in left if operation is not chosen]
        key = (frozenset(map(_name, rest)), after)
        if key in seen:
            continue
        seen.add(key)
        order.append(chosen)
        stack.append((after, rest, _first(rest)))
    return None


def _name(operation: Operation) -> Any:
    return operation.process, operation.begun_s


def _first(left: Sequence[Operation]) -> list[Operation]:
    """Those that may come first: none of the others has ended before they began."""
    if not left:
        return []
    ended_s = min(operation.ended_s for operation in left)
    return [operation for operation in left if operation.begun_s <= ended_s]
