"""Processes that write, lose the server, die or end, and what they leave in a folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis_memory import ConversationMemory, push, snapshot, status
from redis_memory.link.journal_file import peek
from tests.children import Child
from tests.resp import named
from tests.servers import Server
from tests.waiting import wait_until

LIMIT_S = 20.0
OPTIONS: dict[str, Any] = {"timeout_s": 0.3, "reconnect_max_s": 0.1}
is_script = named("EVALSHA", "EVAL")


def opened(name: str, url: str, **options: Any) -> ConversationMemory:
    """A memory that notices an outage fast."""
    return ConversationMemory(name, url, **{**OPTIONS, **options})


def stored(name: str, server: Server) -> dict[str, Any]:
    """What the server holds, as somebody sees it who knows nothing of it yet."""
    with ConversationMemory(name, server.url, timeout_s=5) as reader:
        return snapshot(reader)


def lose(memory: ConversationMemory, server: Server) -> None:
    """Stop the server, and have this process notice."""
    server.stop()
    assert not status(memory).online


def records_left(folder: Path) -> list[bytes]:
    """What still waits in the folder; an interrupted creation may leave an empty file."""
    return [record for path in folder.iterdir() for record in peek(path).records]


def journal_files(folder: Path) -> list[str]:
    """The names of all files in the folder of the journals."""
    return sorted(path.name for path in folder.iterdir())


def leave_orphan(
    name: str, url: str, folder: Path, lose: Callable[[], object], count: int = 100
) -> None:
    """Have a process die (SIGKILL) that has written, lost the server and queued `count` changes."""

    def work(child: Child) -> None:
        memory = opened(name, url, journal=folder)
        push(memory, "log", "first")
        child.tell()
        child.wait()
        status(memory)  # asks for a sign of life, so that a stopped server is sent no change
        for number in range(count):
            push(memory, "log", number)
        assert status(memory).queued == count
        child.tell()
        child.wait()

    child = Child(work)
    child.reached()
    lose()
    child.go()
    child.reached()
    child.kill()


def adopt(name: str, url: str, folder: Path) -> None:
    """Open the memory in another process, and wait until nothing is left in the folder."""
    with started(open_and_wait, name, url, folder) as process:
        _, errors = process.communicate(timeout=2 * LIMIT_S)
    assert process.returncode == 0, errors


def open_and_wait(name: str, url: str, folder: Path) -> None:
    """Deliver what lies in a folder; a process's work."""
    with opened(name, url, journal=folder):
        wait_until(lambda: not journal_files(folder), LIMIT_S, what="the delivery")


def started(work: Callable[..., object], *arguments: object) -> subprocess.Popen[str]:
    """Run a function in a process of its own, whose lines are read and answered.

    Args:
        work: Found by its name in its module.
        arguments: Told to the process by their reprs; paths are understood.
    """
    call = f"{work.__name__}({', '.join(map(repr, arguments))})"
    names = f"from pathlib import *; from {work.__module__} import {work.__name__}"
    return subprocess.Popen(
        [sys.executable, "-c", f"{names}; {call}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def say(text: str) -> None:
    """In the process: write a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def ask(what: str) -> None:
    """In the process: ask for something, and wait until it is done."""
    say(what)
    sys.stdin.readline()


def answer(process: subprocess.Popen[str], asked: str, do: Callable[[], object]) -> None:
    """Do what the process asks for, and let it go on."""
    assert process.stdout is not None
    assert process.stdin is not None
    line = process.stdout.readline().strip()
    if line != asked:
        _, errors = process.communicate(timeout=LIMIT_S)
        raise AssertionError(f"{line!r} instead of {asked!r}: {errors}")
    do()
    process.stdin.write("\n")
    process.stdin.flush()
