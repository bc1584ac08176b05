"""The folder of an embedded server, its socket, its lock, and the data another server wrote."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_memory.errors import EmbeddedServerError
from redis_memory.link import binaries, embedded
from redis_memory.link import folder as folders
from tests.inhabitants import (
    LIMIT_S,
    emptied,
    folder,
    launchers,
    servers,
    started,
    stop,
)
from tests.waiting import wait_until

__all__ = ["folder"]

NOBODY = 65534


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Short enough for a socket in a folder below it, whatever the test is called."""
    with tempfile.TemporaryDirectory(prefix="rm-") as name:
        yield Path(name).resolve()


def test_only_the_user_gets_in(folder: Path) -> None:
    """Folder 0700, socket 0600, and no file in it is open to others, whatever the umask."""
    before = os.umask(0)
    try:
        path = embedded.ensure_running(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [file for file in folder.rglob("*") if file.stat().st_mode & 0o077]


def test_the_log_holds_two_starts(folder: Path) -> None:
    """The log does not grow from start to start: the last two are kept, in two files."""
    pids = []
    for _ in range(3):
        pids.append(started(folder))
        stop(folder)
    logs = {path.name: path.read_text() for path in folder.glob("server.log*")}
    assert sorted(logs) == ["server.log", "server.log.1"]
    assert f"pid={pids[2]}," in logs["server.log"]
    assert f"pid={pids[1]}," in logs["server.log.1"]
    assert f"pid={pids[0]}," not in "".join(logs.values())


def test_an_empty_folder_is_closed_to_others(folder: Path) -> None:
    """A folder made with the usual mode is taken over when nothing is in it."""
    folder.mkdir()
    folder.chmod(0o755)
    started(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_shared_folder_is_refused_and_left_alone(folder: Path) -> None:
    """A folder that others may enter and that holds something keeps its mode."""
    folder.mkdir()
    (folder / "notes.txt").touch()
    folder.chmod(0o755)
    with pytest.raises(EmbeddedServerError, match="open to other users"):
        embedded.ensure_running(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can lay out a folder for somebody else to trust."""
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY - 1)
    with pytest.raises(EmbeddedServerError, match="belongs to another user"):
        embedded.ensure_running(folder)


def test_a_file_in_place_of_the_folder_is_reported(folder: Path) -> None:
    """What cannot become a folder is named, with the reason."""
    folder.touch()
    with pytest.raises(EmbeddedServerError, match=rf"{folder} cannot be used: File exists"):
        embedded.ensure_running(folder)


def test_a_read_only_folder_is_reported(short_folder: Path) -> None:
    """A folder that cannot be written is named, with the reason."""
    data = short_folder / "data"
    data.mkdir(mode=0o500)
    short_folder.chmod(0o755)
    root = os.geteuid() == 0
    if root:  # nothing is read-only to root
        os.chown(data, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        with pytest.raises(EmbeddedServerError, match="cannot be written: Permission denied"):
            embedded.ensure_running(data)
    finally:
        if root:
            os.seteuid(0)


def test_a_long_folder_has_its_socket_elsewhere(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path too long for a socket works, for processes with another environment as well."""
    data = tmp_path / ("d" * 200)
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    runtime = short_folder / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with emptied(data):
        path = embedded.ensure_running(data)
        assert path.parent.parent == runtime
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        assert embedded.ensure_running(data) == path
        assert len(servers(data)) == 1
        wait_until(lambda: len(launchers(data)) == 1)
        stop(data)
        assert not path.exists()
        shutil.rmtree(runtime)
        assert embedded.ensure_running(data).parent.parent == short_folder


def test_two_long_folders_do_not_share_a_socket(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long folders are told apart, and one folder always has the same socket."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    one, other = tmp_path / ("a" * 200), tmp_path / ("b" * 200)
    assert embedded.socket_path(one) != embedded.socket_path(other)
    assert embedded.socket_path(one) == embedded.socket_path(one)


@pytest.mark.parametrize("trap", ["link", "open", "foreign"])
def test_a_prepared_socket_folder_is_refused(
    trap: str, tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a temporary folder that all can write, nobody can lay out the folder of our sockets."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    uid = os.geteuid()
    shelter = short_folder / f"redis_memory-{uid}"
    if trap == "link":
        (short_folder / "elsewhere").mkdir(mode=0o700)
        shelter.symlink_to(short_folder / "elsewhere")
    else:
        shelter.mkdir(mode=0o700)
    if trap == "open":
        shelter.chmod(0o777)
    if trap == "foreign":
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
        shelter.rename(short_folder / f"redis_memory-{uid + 1}")
    with pytest.raises(EmbeddedServerError, match="no private folder can be made"):
        embedded.socket_path(tmp_path / ("d" * 200))


def test_the_default_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XDG_DATA_HOME comes first, an absolute one, then the home folder; nothing is created."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert embedded.default_folder() == tmp_path / "data" / "redis_memory"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert embedded.default_folder() == tmp_path / ".local" / "share" / "redis_memory"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", ["", "relative", "/nonexistent"])
def test_an_unusable_home_is_reported(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home folder the error names what to set."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    with pytest.raises(EmbeddedServerError, match="set XDG_DATA_HOME, or name a folder"):
        embedded.default_folder()


def test_a_forked_child_does_not_hold_the_lock(folder: Path) -> None:
    """A child forked by another thread during a start cannot keep the server from a restart."""
    folder.mkdir(mode=0o700)
    reader, writer = os.pipe()
    children: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        children.append(pid)

    thread = threading.Thread(target=fork)
    try:
        with folders.try_lock(folder) as first:
            thread.start()
            thread.join(0.2)
            assert first is not None
        thread.join(LIMIT_S)
        assert children
        with folders.try_lock(folder) as second:
            assert second is not None
    finally:
        os.close(writer)
        for pid in children:
            os.waitpid(pid, 0)
        os.close(reader)


def fake_server(path: Path, banner: str) -> Path:
    """A program that can do nothing but state its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{banner} sha=00000000:0 malloc=libc bits=64'\n")
    path.chmod(0o755)
    return path


def test_data_of_another_server_is_not_touched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that may not read the data is refused before it can do harm; the writer is named."""
    started(folder)
    stop(folder)
    writer = binaries.choose().release
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    other = fake_server(tmp_path / "other", "Redis server v=7.0.15")
    monkeypatch.setenv("REDIS_MEMORY_SERVER", str(other))
    with pytest.raises(EmbeddedServerError, match=f"written by {writer}.*Redis 7.0.15.*another"):
        embedded.ensure_running(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    monkeypatch.delenv("REDIS_MEMORY_SERVER")
    started(folder)


def test_a_newer_server_takes_the_data_over(folder: Path) -> None:
    """Data of an older server is read, and the new one is remembered from then on."""
    folder.mkdir(mode=0o700)
    record = folder / "server.json"
    record.write_text(json.dumps({"flavour": "redis", "version": [6, 2, 14]}))
    started(folder)
    release = binaries.choose().release
    assert json.loads(record.read_text()) == {
        "flavour": release.flavour,
        "version": list(release.version),
    }


@pytest.mark.parametrize(
    "content", ["", "[]", "\xff", '{"flavour": "keydb", "version": [6, 3, 4]}', '{"version": 7}']
)
def test_a_damaged_record_is_reported(folder: Path, content: str) -> None:
    """When nobody knows who wrote the data, no server is let near it."""
    folder.mkdir(mode=0o700)
    (folder / "server.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(EmbeddedServerError, match=r"server\.json is damaged"):
        embedded.ensure_running(folder)
