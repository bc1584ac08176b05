"""What runs in the folder of an embedded server, and how it is brought to an end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_memory.link import embedded
from tests.waiting import wait_until

LIMIT_S = 10.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that does not exist yet, in which nothing runs when the test has ended."""
    monkeypatch.delenv("REDIS_MEMORY_SERVER", raising=False)
    data = tmp_path / "data"
    with emptied(data):
        yield data


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Leave no process in the folder, however the test ends."""
    try:
        yield
    finally:
        wait_until(lambda: not kill_all(folder), LIMIT_S, what="the folder's processes to end")


def kill_all(folder: Path) -> dict[int, str]:
    """Kill what works in the folder, and return what that was."""
    found = inhabitants(folder)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found


def inhabitants(folder: Path) -> dict[int, str]:
    """The processes that work in the folder, by pid, with the name of their program."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found[int(process.name)] = (process / "exe").readlink().name
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has just ended, or is not ours
    return found


def servers(folder: Path) -> list[int]:
    """The servers of the folder, by pid."""
    return [pid for pid, name in inhabitants(folder).items() if name.endswith("-server")]


def launchers(folder: Path) -> list[int]:
    """The launchers of the folder, guards and those just starting among them, by pid."""
    return [pid for pid, name in inhabitants(folder).items() if not name.endswith("-server")]


@contextmanager
def connected(path: Path) -> Iterator[redis.Redis]:
    """A client that never tries again."""
    client = redis.Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))
    try:
        yield client
    finally:
        client.close()


def started(folder: Path, linger_s: float = 60.0) -> int:
    """Start the server and return its pid, when its launcher is alone with it."""
    embedded.ensure_running(folder, timeout_s=LIMIT_S, linger_s=linger_s)
    wait_until(lambda: len(launchers(folder)) == 1, LIMIT_S, what="a single launcher")
    (pid,) = servers(folder)
    return pid


def stop(folder: Path) -> None:
    """Ask the launcher to stop the server, and wait until both are gone."""
    (launcher,) = launchers(folder)
    os.kill(launcher, signal.SIGTERM)
    wait_until_deserted(folder)


def wait_until_deserted(folder: Path) -> None:
    """Wait until nothing works in the folder any more."""
    wait_until(lambda: not inhabitants(folder), LIMIT_S, what="the server to be gone")
