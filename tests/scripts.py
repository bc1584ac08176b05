"""Python files, run with all that they start; as a user with a bare machine runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def run_python(
    *arguments: str | Path, limit_s: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own; what it has started ends with it.

    Args:
        arguments: The file, then its arguments.
        limit_s: Seconds after which the process and its children are killed.
        env: Its environment; without one, that of this process.

    Raises:
        subprocess.TimeoutExpired: It was still running after `limit_s`.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        finally:
            # servers and workers that it has started are in its group, and may outlive it
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_script(
    script: Path, *, data_home: Path, limit_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a file in a process of its own, without settings, on an embedded server of its own.

    Args:
        script: The file; its folder is where it finds its neighbours.
        data_home: Where the embedded server keeps its data.
        limit_s: Seconds after which the process and its children are killed.

    Raises:
        subprocess.TimeoutExpired: It was still running after `limit_s`.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
    env = {**plain, "XDG_DATA_HOME": str(data_home)}
    return run_python(script, limit_s=limit_s, env=env)
