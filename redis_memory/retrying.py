"""Running a function again when others were faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

import tenacity

from redis_memory.errors import ConflictError

P = ParamSpec("P")
T = TypeVar("T")

# The first pause is at most so long, and each at most twice as long as the one before.
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25


@overload
def retry_on_conflict(function: Callable[P, T]) -> Callable[P, T]: ...


@overload
def retry_on_conflict(*, attempts: int = 20) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def retry_on_conflict(function: Any = None, *, attempts: int = 20) -> Any:
    """Run a function, or a coroutine function, again when it raises ConflictError.

    Between two attempts it pauses for a random time; the longest possible one grows from 2 ms to
    0.25 s.

    Args:
        function: Begins and ends its transactions itself; given where the decorator stands bare.
        attempts: How often it is run at most, 1 or more.

    Raises:
        ConflictError: That of the last attempt.
    """
    if attempts < 1:
        raise ValueError(f"a function runs once at least, not {attempts} times")
    again = tenacity.retry(
        retry=tenacity.retry_if_exception_type(ConflictError),
        wait=tenacity.wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
        stop=tenacity.stop_after_attempt(attempts),
        reraise=True,
    )
    return again if function is None else again(function)
