"""Running what yields steps and is sent what they gave: blocking, and awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from redis_memory.errors import RedisMemoryError

StepT = TypeVar("StepT")
T = TypeVar("T")


def driven(steps: Generator[StepT, Any, T], do: Callable[[StepT], Any]) -> T:
    """Run to the end; errors of the library are thrown in, all others end it."""
    try:
        step = next(steps)
        while True:
            try:
                result = do(step)
            except RedisMemoryError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        found: T = end.value
        return found


async def async_driven(steps: Generator[StepT, Any, T], do: Callable[[StepT], Awaitable[Any]]) -> T:
    """The same, awaited."""
    try:
        step = next(steps)
        while True:
            try:
                result = await do(step)
            except RedisMemoryError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        found: T = end.value
        return found
