"""Child processes that cannot outlive the test run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
