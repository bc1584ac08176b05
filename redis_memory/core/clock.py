"""The local clock of what waits: it counts on while the machine sleeps, and nobody can set it."""

from __future__ import annotations

import time

# CLOCK_MONOTONIC stands still while a machine is suspended, and Redis's clock does not
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC", None)


def now_us() -> int:
    """Microseconds since some moment that is the same for all processes until the next boot."""
    if _CLOCK is None:
        return time.monotonic_ns() // 1000
    return time.clock_gettime_ns(_CLOCK) // 1000
