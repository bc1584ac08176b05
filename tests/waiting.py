"""Waiting for a condition, with a limit: what tests do instead of sleeping; and what takes long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.002
_BEAT_S = 0.01


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


@contextmanager
def in_time(limit_s: float) -> Iterator[None]:
    """Fail when the block takes longer than it may, on a machine that is free.

    What a busy machine takes is not counted: by so much a thread is late, summed up, that only
    wants to wake every ten milliseconds. On a free machine that is next to nothing.
    """
    is_over, late_s = threading.Event(), 0.0

    def beat() -> None:
        nonlocal late_s
        ends = False
        while not ends:
            slept_s = time.monotonic()
            ends = is_over.wait(_BEAT_S)
            late_s += max(0.0, time.monotonic() - slept_s - _BEAT_S)

    metronome = threading.Thread(target=beat, name="metronome")
    metronome.start()
    begin_s = time.monotonic()
    try:
        yield
    finally:
        took_s = time.monotonic() - begin_s
        is_over.set()
        metronome.join()
    message = f"took {took_s:.3f} s, not {limit_s} s, and was kept waiting {late_s:.3f} s at most"
    assert took_s < limit_s + late_s, message


def _message(limit_s: float, what: str, value: object) -> str:
    return f"waited {limit_s} s for {what or 'a condition'}; last value: {value!r}"
