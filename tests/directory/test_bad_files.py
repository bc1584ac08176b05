"""Files that cannot be written or read, and runs that are killed in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from redis_memory import ArchiveError, AsyncConversations, Conversations, UnknownConversationError
from tests.directory.conftest import Begin
from tests.directory.faces import Faces
from tests.directory.test_archives import held
from tests.directory.test_index import entries
from tests.servers import Server
from tests.waiting import async_wait_until

FULL = Path("/dev/full")
NAMES = [f"c-{number}" for number in range(60)]


def killed_in(work: Callable[[Callable[[Any], None]], object]) -> None:
    """Do work in a child that is killed when it tells of its progress for the second time."""
    if (child := os.fork()) == 0:
        told: list[object] = []

        def die(report: object) -> None:
            told.append(report)
            if len(told) == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            work(die)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it was too fast"


@pytest.mark.skipif(not FULL.exists(), reason="this machine has no device that is always full")
def test_a_full_disk_is_a_clear_error(open_directory: Faces, begin: Begin, server: Server) -> None:
    """Nothing is deleted, and the device is still one."""
    begin("c-1")
    directory = open_directory(server.url)
    for call in (directory.export, lambda file: directory.prune(0, archive_to=file)):
        with pytest.raises(ArchiveError, match=r"/dev/full.*No space left"):
            call(FULL)
    assert FULL.is_char_device()
    assert directory.list().ids == ("c-1",)


def test_what_is_no_file_cannot_be_an_archive(
    open_directory: Faces, begin: Begin, url: str, tmp_path: Path
) -> None:
    """A folder, and a path through a file: the error names it, nothing is deleted or left."""
    begin("c-1")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    directory = open_directory(url)
    for path in (tmp_path / "folder", tmp_path / "file" / "inside"):
        for call in (
            directory.export,
            directory.load,
            lambda file: directory.prune(0, archive_to=file),
        ):
            with pytest.raises(ArchiveError, match=str(path)):
                call(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert directory.list().ids == ("c-1",)


def test_a_file_in_the_wrong_mode_is_a_clear_error(
    open_directory: Faces, begin: Begin, url: str, tmp_path: Path
) -> None:
    """One that is open for reading holds nothing afterwards; one for writing gives nothing."""
    begin("c-1")
    path = tmp_path / "file"
    path.write_text("")
    directory = open_directory(url)
    with path.open("rb") as file, pytest.raises(ArchiveError, match="cannot write"):
        directory.export(file)
    with path.open("wb") as file, pytest.raises(ArchiveError, match="cannot read"):
        directory.load(file)


def test_a_link_leads_to_the_file(
    open_directory: Faces, begin: Begin, url: str, tmp_path: Path
) -> None:
    """What it leads to is replaced, and the link stays one."""
    begin("c-1")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    directory = open_directory(url)
    for _ in range(2):
        assert directory.export(tmp_path / "link").conversations == 1
        assert (tmp_path / "link").is_symlink()
        assert directory.load(tmp_path / "file").skipped == 1


def test_an_export_can_be_piped(open_directory: Faces, begin: Begin, url: str) -> None:
    """To a program that reads it from its input."""
    begin("c-1")
    reading, writing = os.pipe()
    lines: list[bytes] = []
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as target:
        thread = threading.Thread(target=lambda: lines.extend(source.readlines()))
        thread.start()
        assert open_directory(url).export(f"/dev/fd/{target.fileno()}").conversations == 1
        target.close()
        thread.join()
    assert len(lines) == 1


def test_a_temporary_file_of_text_will_do(open_directory: Faces, begin: Begin, url: str) -> None:
    """It is no text file itself, it holds one."""
    begin("c-1")
    directory = open_directory(url)
    with tempfile.NamedTemporaryFile("w+") as file:
        assert directory.export(file).conversations == 1
        file.seek(0)
        assert directory.load(file).skipped == 1


def test_an_export_that_was_killed_leaves_the_older_file(
    begin: Begin, server: Server, tmp_path: Path
) -> None:
    """And can be repeated."""
    for name in NAMES:
        begin(name)
    archive = tmp_path / "all"
    archive.write_text("older")
    killed_in(lambda die: Conversations(server.url).export(archive, progress=die))
    assert archive.read_text() == "older"
    with Conversations(server.url) as directory:
        assert directory.export(archive).conversations == len(NAMES)
        assert directory.load(archive).skipped == len(NAMES)


@pytest.mark.parametrize("on_existing", ["skip", "replace"])
def test_a_load_that_was_killed_can_be_repeated(
    begin: Begin, server: Server, tmp_path: Path, on_existing: str
) -> None:
    """Each conversation is there as a whole afterwards, and listed."""
    values = {"messages": ["a"] * 20, "box": {1: {2}}}
    for name in NAMES:
        begin(name, **values)
    archive = tmp_path / "all"
    with Conversations(server.url) as directory:
        directory.export(archive)
        directory.prune(0)
        assert directory.count() == 0
        killed_in(lambda die: Conversations(server.url).load(archive, progress=die))
        there = directory.count()
        assert 0 < there < len(NAMES)
        report = directory.load(archive, on_existing=on_existing)  # type: ignore[arg-type]
        assert report.created == len(NAMES) - there
        assert report.damaged == ()
        assert sorted(directory.list().ids) == sorted(NAMES)
    assert all(held(server.url, name) == values for name in NAMES)


def test_a_reindex_that_was_killed_can_be_repeated(begin: Begin, server: Server) -> None:
    """The index it leaves is no worse than before, and whole after the next run."""
    for name in NAMES:
        begin(name)
    client = server.client()
    client.delete("memory:~conversations")
    client.zadd("memory:~conversations", {"ghost": 5})
    for number in range(5000):
        client.set(f"elsewhere:{number}", 1)
    killed_in(lambda die: Conversations(server.url).reindex(progress=die))
    with Conversations(server.url) as directory:
        report = directory.reindex()
        assert report.found == len(NAMES)
        assert sorted(directory.list().ids) == sorted(NAMES)
    assert b"ghost" not in entries(server)


def test_an_unknown_id_writes_no_file(
    open_directory: Faces, begin: Begin, url: str, tmp_path: Path
) -> None:
    """Export and copy name the id; neither a file nor a conversation comes of it."""
    begin("c-1")
    directory = open_directory(url)
    with pytest.raises(UnknownConversationError, match="nobody"):
        directory.export(tmp_path / "all", ["c-1", "nobody"])
    with pytest.raises(UnknownConversationError, match="nobody"):
        directory.copy("nobody", "c-2")
    assert list(tmp_path.iterdir()) == []
    assert directory.list().ids == ("c-1",)


async def test_a_cancelled_export_leaves_no_file(begin: Begin, url: str, tmp_path: Path) -> None:
    """Also when it is cancelled while the file is being made."""
    begin("c-1")
    begun, may_go_on = threading.Event(), threading.Event()
    make = tempfile.mkstemp

    def slowly(*arguments: Any, **named: Any) -> Any:
        begun.set()
        may_go_on.wait()
        return make(*arguments, **named)

    async with AsyncConversations(url) as directory:
        with patch("tempfile.mkstemp", slowly):
            export = asyncio.create_task(directory.export(tmp_path / "all"))
            await async_wait_until(begun.is_set)
            export.cancel()
            await asyncio.sleep(0)  # so that it hears of it
            may_go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await export
        assert (await directory.export(tmp_path / "other")).conversations == 1
    assert os.listdir(tmp_path) == ["other"]  # noqa: PTH208
