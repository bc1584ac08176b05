"""Signal handlers that strike in the middle of a call, and exceptions at any line of it."""

from __future__ import annotations

import linecache
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class AlarmError(Exception):
    """What the signal handlers of the tests raise."""


@contextmanager
def alarms(every_s: float, handler: Callable[[], None]) -> Iterator[None]:
    """Let a signal strike again and again, each time at some other place of the block."""

    def strike(_: int, __: FrameType | None) -> None:
        handler()

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, every_s, every_s)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def raising_alarms(every_s: float) -> Iterator[Callable[[Callable[[], object]], bool]]:
    """Give a runner: its calls are struck by a handler that raises; it says which of them ended."""
    is_armed = False

    def strike() -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False  # a second one could strike while the first is being caught
            raise AlarmError

    def run(call: Callable[[], object]) -> bool:
        nonlocal is_armed
        try:
            is_armed = True
            call()
            is_armed = False
        except AlarmError:
            return False
        return True

    with alarms(every_s, strike):
        yield run


def interrupted(
    call: Callable[[], object],
    at: int,
    *,
    within: Callable[[str], bool],
    at_the_end_of_with: bool = True,
) -> bool:
    """Run a call and raise in front of the `at`th line of some files; whether it came so far.

    Args:
        call: What is cut off.
        at: Counts the lines as they are run, from 1 on.
        within: Chooses the files by their paths.
        at_the_end_of_with: The end of a `with` has its line too, where no real signal comes
            between body and exit; False leaves out all lines that begin with `with`.
    """
    left = at

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        path = frame.f_code.co_filename
        if not within(path):
            return None
        if event == "line" and (at_the_end_of_with or not is_with(path, frame.f_lineno)):
            left -= 1
            if left == 0:
                raise AlarmError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except AlarmError:
        return True
    finally:
        sys.settrace(before)
    return False


def is_with(path: str, line: int) -> bool:
    """Whether a line of a file begins a `with`."""
    return linecache.getline(path, line).lstrip().startswith("with ")


def press_ctrl_c() -> None:
    """Send what Ctrl-C sends: the signal reaches the main thread, whoever calls this."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
