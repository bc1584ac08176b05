"""What a test may leave behind: no thread that is not a daemon, and no child process."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tests.background import THREAD_NAME
from tests.children import LAUNCHER

# kept by the standard library for the whole life of a process
_KEPT_PROCESSES = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


def running_threads() -> set[threading.Thread]:
    """Threads that a test has to end: those that are no daemons, and those of its servers."""
    return {
        thread
        for thread in threading.enumerate()
        if (not thread.daemon or thread.name == THREAD_NAME)
        and not thread.name.startswith(LAUNCHER)
    }


def child_processes(*, without: Collection[int] = ()) -> dict[int, str]:
    """Children of this process by pid, with their command lines; ended ones until waited for.

    Args:
        without: Pids that are meant to stay.

    Empty on systems without /proc.
    """
    multiprocessing.active_children()  # waits for those of its own that have ended
    found = {}
    for entry in _candidates():
        try:
            state = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while the table was read
        # the name of the program, in parentheses, may itself hold spaces and parentheses
        parent = int(state.rpartition(")")[2].split()[1])
        kept = any(name in command for name in _KEPT_PROCESSES)
        if parent == os.getpid() and int(entry.name) not in without and not kept:
            words = command.replace(b"\0", b" ").decode(errors="replace")
            found[int(entry.name)] = words.strip() or "(ended, not waited for)"
    return found


def _candidates() -> list[Path]:
    """Where to look: at what the kernel lists as children, where it does, or at every process."""
    pids: list[str] = []
    is_listed = False
    for task in Path("/proc/self/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended since
            pids += (task / "children").read_text().split()
            is_listed = True
    if is_listed:
        return [Path("/proc", pid) for pid in pids]
    return list(Path("/proc").glob("[0-9]*"))
