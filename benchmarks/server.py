"""A server that a benchmark starts for itself, on a Unix socket; it keeps nothing by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from redis_memory.link import binaries

OPTIONS = {"port": "0", "save": "", "appendonly": "no"}


def pin_to_one_core() -> int | None:
    """Keep this process, and all it starts, on one core; None where the system cannot.

    A round trip then costs the work of both sides and the change between them, wherever the
    scheduler would have put them.
    """
    if sys.platform != "linux":
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


class Server:
    """A server of one's own, gone with all its data at the end of the `with` block.

    Args:
        options: Lines of its configuration, with `_` for `-`: `appendonly="yes"`.
    """

    def __init__(self, **options: str) -> None:
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._folder = tempfile.TemporaryDirectory(prefix="rm-bench-")
        self.socket = str(Path(self._folder.name, "server.sock"))
        self.url = f"unix://{self.socket}"

    def __enter__(self) -> Self:
        own = {"unixsocket": self.socket, "dir": self._folder.name}
        options = {**OPTIONS, **own, **self._options}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [binaries.choose().path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        patient = Retry(ConstantBackoff(0.01), 1000)
        with redis.Redis(unix_socket_path=self.socket, retry=patient) as client:
            client.ping()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def client(self) -> redis.Redis:
        """redis-py as everybody uses it: a pool of its own, hiredis, all defaults."""
        return redis.Redis(unix_socket_path=self.socket)
