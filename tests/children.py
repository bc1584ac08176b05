"""Child processes: programs that cannot outlive the test run, and forks of this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

LAUNCHER = "child-launcher"

# Runs in the child before the real program, which keeps its pid. A `preexec_fn` would do the
# same, but it forks this process, with its threads and its at-fork handlers, to do so.
_DIE_WITH_PARENT = """\
import ctypes, os, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent died first")
os.execv(sys.argv[2], sys.argv[2:])
"""

# The kernel counts as parent the *thread* that started the child, so one thread that lives as
# long as this process starts them all: a test may start a server in a thread that ends.
_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix=LAUNCHER)


def start_child(arguments: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    """Start a program that the kernel kills when this process ends, however it ends.

    Args:
        arguments: The path of the program, then its arguments.
        log: Both output streams are appended to this file.

    On systems other than Linux the child survives a SIGKILL of this process.
    """
    return _launcher.submit(_start, arguments, log).result()


def _start(arguments: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    interpreter = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*interpreter, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for pytest; the children end when it closes them
            start_new_session=True,
        )


def in_child(work: Callable[[], object]) -> int:
    """Run work in a forked child, which ends without the parent's clean-up; returns its pid."""
    pid = os.fork()
    if pid == 0:
        _end_after(work)
    return pid


def _end_after(work: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must never return into the test
        traceback.print_exc()
    finally:
        os._exit(code)


def exit_code(pid: int) -> int:
    """How a child has ended, once it has."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Child:
    """A forked process that does its work, says so where it is asked to, and ends."""

    def __init__(self, work: Callable[[Child], object]) -> None:
        self._told, tell = os.pipe()
        go, self._goes = os.pipe()
        self._tell, self._go = tell, go
        self.pid = in_child(partial(self._work, work))
        os.close(tell)
        os.close(go)

    def tell(self) -> None:
        """In the child: say that a point is reached."""
        os.write(self._tell, b"!")

    def wait(self) -> None:
        """In the child: until the parent lets it go on."""
        os.read(self._go, 1)

    def reached(self) -> None:
        """In the parent: wait until the child has told."""
        assert os.read(self._told, 1) == b"!", "the child ended before it had told"

    def go(self) -> None:
        """In the parent: let it go on."""
        os.write(self._goes, b"!")

    def kill(self) -> None:
        """In the parent: end it at once, and wait for that."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.status() == -signal.SIGKILL

    def status(self) -> int:
        """In the parent: the exit status, when it has ended."""
        code = exit_code(self.pid)
        os.close(self._told)
        os.close(self._goes)
        return code

    def ended(self) -> None:
        """In the parent: wait for its good end."""
        assert self.status() == 0

    def _work(self, work: Callable[[Child], object]) -> None:
        # or its waiting would not end with the parent
        os.close(self._goes)
        work(self)


def end_together(children: Sequence[Child]) -> None:
    """Let children go on at one moment, when all have told that they are ready; wait for the end.

    They end well, each of them.
    """
    for child in children:
        child.reached()
    for child in children:
        child.go()
    for child in children:
        child.ended()


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe; closed at the end, which wakes whoever reads."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with suppress(OSError):
                os.close(end)
