"""Waiting for a condition, with a limit: what tests do instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.002


def wait_until(condition: Callable[[], T], limit_s: float = 5.0, *, what: str = "") -> T:
    """Return the first true value that `condition` gives.

    Args:
        condition: Called again and again, every two milliseconds; its errors are not caught.
        limit_s: Seconds after which the wait is given up.
        what: What is waited for, for the message.

    Raises:
        AssertionError: The limit has passed; it names the last value.
    """
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(_message(limit_s, what, value))
        time.sleep(_PAUSE_S)  # between two looks at the condition
    return value


async def async_wait_until(
    condition: Callable[[], T], limit_s: float = 5.0, *, what: str = ""
) -> T:
    """Do what `wait_until` does, and let the other tasks of the event loop run meanwhile."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(_message(limit_s, what, value))
        await asyncio.sleep(_PAUSE_S)
    return value


def _message(limit_s: float, what: str, value: object) -> str:
    return f"waited {limit_s} s for {what or 'a condition'}; last value: {value!r}"
