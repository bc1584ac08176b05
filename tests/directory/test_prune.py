"""Pruning: the idle ones go, and nothing else."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from redis_memory import (
    ArchiveError,
    ConversationMemory,
    Conversations,
    PruneReport,
    snapshot,
)
from redis_memory.archives import Archive
from tests.directory.conftest import Begin
from tests.directory.faces import Faces
from tests.directory.test_index import ODD_IDS, entries
from tests.directory.test_listing import age
from tests.feed.listeners import knows
from tests.servers import Server
from tests.waiting import wait_until

Old = Any


@pytest.fixture
def old(begin: Begin, server: Server) -> Iterator[Any]:
    """Begin a conversation that has been idle for many days."""

    def begun(conversation_id: str, days: float = 60, **values: object) -> ConversationMemory:
        memory = begin(conversation_id, **values)
        age(server, conversation_id, days)
        return memory

    return begun  # type: ignore[return-value]


def keys(server: Server) -> set[bytes]:
    """All keys of the server but the index."""
    found: Any = server.client().keys("*")
    return {key for key in found if b"~conversations" not in key}


def test_idle_conversations_leave_nothing(
    open_directory: Faces, begin: Begin, old: Old, server: Server
) -> None:
    """No key, no entry; the active ones are untouched, and the report tells all."""
    gone = old("old", messages=["a"] * 20, box={1: 2})
    del gone.box  # leaves a note of the deletion
    age(server, "old", 60)
    begin("new", messages=["b"])
    before = keys(server)
    directory = open_directory(server.url)
    report = directory.prune(timedelta(days=30))
    assert report.ids == ("old",)
    assert (report.pruned, report.examined, report.kept, report.active) == (1, 1, 0, 0)
    assert report.bytes_freed > 100
    assert keys(server) == {key for key in before if key.startswith(b"memory:{new}")}
    assert entries(server).keys() == {b"new"}
    assert directory.prune().pruned == 0


def test_a_dry_run_deletes_nothing(open_directory: Faces, old: Old, server: Server) -> None:
    """And tells the same."""
    old("a", messages=["a"])
    old("b")
    before = keys(server)
    directory = open_directory(server.url)
    dry = directory.prune(dry_run=True)
    assert keys(server) == before
    assert dry.dry_run
    real = directory.prune()
    assert (dry.ids, dry.bytes_freed) == (real.ids, real.bytes_freed)


def test_who_becomes_active_during_the_run_is_kept(
    open_directory: Faces, old: Old, url: str
) -> None:
    """The server looks at the last activity in the step that deletes."""
    memories = {name: old(name, messages=["a"]) for name in "abcdef"}

    def wake(found: dict[str, Any]) -> bool:
        # after the conversations were read, and before they are deleted
        memories["c"].messages.append("I am back")
        return True

    report = open_directory(url).prune(where=wake)
    assert set(report.ids) == set("abdef")
    assert report.active == 1
    assert memories["c"].messages[-1] == "I am back"


def test_an_entry_that_lags_behind_deletes_nothing(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """What the index says is not what is acted on."""
    begin("active")
    server.client().zadd("memory:~conversations", {"active": 1})
    assert open_directory(server.url).prune(10).pruned == 0
    assert snapshot(ConversationMemory("active", server.url))


@pytest.mark.parametrize(
    ("options", "pruned"),
    [
        ({"where": 'state == "archived"'}, {"b"}),
        ({"where": lambda found: found["state"] == "open"}, {"a", "c"}),
        ({"keep": ["a", "b"]}, {"c"}),
        ({"keep": {"c"}}, {"a", "b"}),
        ({"keep": 'state == "archived"'}, {"a", "c"}),
        ({"keep": lambda found: len(found["messages"]) > 1}, {"a", "b"}),
        ({"where": 'state == "open"', "keep": ["a"]}, {"c"}),
        ({"batch": 1}, {"a", "b", "c"}),
    ],
)
def test_where_and_keep_choose(
    open_directory: Faces, old: Old, url: str, options: Any, pruned: set[str]
) -> None:
    """By attributes, or by ids."""
    old("a", state="open", messages=["1"])
    old("b", state="archived", messages=["1"])
    old("c", state="open", messages=["1", "2"])
    report = open_directory(url).prune(**options)
    assert set(report.ids) == pruned
    assert report.kept == 3 - len(pruned)


@pytest.mark.parametrize("conversation_id", ODD_IDS)
def test_an_odd_id_prunes_no_other(begin: Begin, server: Server, conversation_id: str) -> None:
    """An id that reads like a pattern is one conversation."""
    begin("alice", messages=["a"])
    begin(conversation_id, messages=["a"])
    with Conversations(server.url) as directory:
        assert directory.prune(0, keep=["alice"]).ids == (conversation_id,)
        assert directory.list().ids == ("alice",)


def test_the_archive_holds_what_was_pruned(
    open_directory: Faces, old: Old, url: str, tmp_path: Path
) -> None:
    """It is appended to, and `load` brings all back."""
    old("a", messages=["1"], tags={1})
    old("b", state="open")
    directory = open_directory(url)
    archive = tmp_path / "archive.jsonl"
    assert directory.prune(where="exists(state)", archive_to=archive).archived == 1
    assert directory.prune(archive_to=archive).archived == 1
    assert directory.count() == 0
    assert directory.load(archive).created == 2
    assert snapshot(ConversationMemory("a", url)) == {"messages": ["1"], "tags": {1}}


def test_an_archive_that_cannot_be_written_deletes_nothing(
    open_directory: Faces, old: Old, server: Server, tmp_path: Path
) -> None:
    """Neither one that cannot be opened, nor one that fails in the middle."""
    for name in "abc":
        old(name)

    class FullDisk(io.BytesIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    directory = open_directory(server.url)
    for archive in (tmp_path / "nowhere" / "file", tmp_path, FullDisk()):
        with pytest.raises(ArchiveError):
            directory.prune(archive_to=archive)
    assert directory.count() == 3


def test_what_cannot_be_archived_is_not_deleted(
    open_directory: Faces, old: Old, server: Server, tmp_path: Path
) -> None:
    """It is named in the report, and a dry run tells of it already."""
    old("bad", topic="billing")
    old("good")
    server.client().hset("memory:{bad}", "topic", "rubbish")
    directory = open_directory(server.url)
    for dry_run in (True, False):
        report = directory.prune(archive_to=tmp_path / "archive", dry_run=dry_run)
        assert report.ids == ("good",)
        assert [one.where for one in report.damaged] == ["bad"]
        assert (tmp_path / "archive").exists() is not dry_run
    assert directory.exists("bad")


def test_a_new_archive_is_in_its_folder_before_anything_is_deleted(
    open_directory: Faces, old: Old, url: str, tmp_path: Path
) -> None:
    """A crash of the machine leaves no conversation without a line that can be found."""
    old("c-1")
    sync, synced = os.fsync, list[int]()

    def noted(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    def told(_: PruneReport) -> None:
        assert synced == [tmp_path.stat().st_ino, (tmp_path / "archive").stat().st_ino]

    with patch("os.fsync", noted):
        report = open_directory(url).prune(archive_to=tmp_path / "archive", progress=told)
    assert report.pruned == 1


def test_two_runs_may_append_to_one_archive(tmp_path: Path) -> None:
    """Neither writes into the lines of the other, whichever is on the disk first."""
    path = tmp_path / "archive"
    lines = [[b"%b%d%b\n" % (mark, at, mark * 999) for at in range(50)] for mark in (b"a", b"b")]
    runs = [Archive(path, appends=True) for _ in lines]
    for run in runs:
        run.open()
    for run, mine in zip(runs, lines, strict=True):
        run.write(mine)
    for run in runs:
        run.finish()
    assert path.read_bytes().splitlines(keepends=True) == [*lines[0], *lines[1]]


def test_half_a_line_of_another_run_harms_none_of_this_one(
    open_directory: Faces, old: Old, url: str, tmp_path: Path
) -> None:
    """Also when that one is killed in the middle of this one."""
    for number in range(6):
        old(f"c-{number}")
    archive = tmp_path / "archive"

    def die(_: PruneReport) -> None:
        with archive.open("ab") as file:
            file.write(b'{"redis_memory":1,"id":"half')

    directory = open_directory(url)
    assert directory.prune(archive_to=archive, batch=2, progress=die).pruned == 6
    loaded = directory.load(archive)
    assert (loaded.created, len(loaded.damaged)) == (6, 3)


def test_a_run_that_was_killed_can_be_repeated(
    begin: Begin, old: Old, server: Server, tmp_path: Path
) -> None:
    """What it had deleted is in the archive, and the rest goes now; half a line harms no other."""
    for number in range(40):
        old(f"c-{number}", messages=["a"])
    archive = tmp_path / "archive"
    if (child := os.fork()) == 0:

        def die(report: PruneReport) -> None:
            if report.pruned >= 15:
                os.kill(os.getpid(), signal.SIGKILL)

        Conversations(server.url).prune(archive_to=archive, batch=5, progress=die)
        os._exit(0)
    os.waitpid(child, 0)
    with archive.open("ab") as file:
        file.write(b'{"redis_memory":1,"id":"half')
    with Conversations(server.url) as directory:
        report = directory.prune(archive_to=archive)
        assert 0 < report.pruned <= 25
        assert directory.count() == 0
        loaded = directory.load(archive)
        assert directory.count() == 40
    assert len(loaded.damaged) == 1


def test_a_writer_of_a_pruned_conversation_begins_a_new_one(
    open_directory: Faces, begin: Begin, url: str
) -> None:
    """Who has it open notices no loss; nothing of the old one comes back."""
    memory = begin("c-1", topic="billing", messages=["a"])
    held = memory.messages
    assert open_directory(url).prune(0).pruned == 1
    assert not hasattr(memory, "topic")
    memory.topic = "new"
    assert snapshot(memory) == {"topic": "new"}
    assert held == ["a"]
    assert open_directory(url).list().ids == ("c-1",)


def test_copies_do_not_outlive_a_pruned_conversation(
    open_directory: Faces, old: Old, url: str
) -> None:
    """Who reads without asking is told that it is gone."""
    old("c-1", days=1, topic="billing")
    with ConversationMemory("c-1", url, read_mode="cached", cached_max_age_s=60) as reader:
        wait_until(lambda: reader.topic == "billing" and knows(reader, "topic"))
        assert open_directory(url).prune(timedelta(hours=1)).pruned == 1
        wait_until(lambda: not hasattr(reader, "topic"))


def test_progress_is_told(open_directory: Faces, old: Old, url: str) -> None:
    """After each batch, with the report so far."""
    for number in range(10):
        old(f"c-{number}")
    told: list[int] = []
    open_directory(url).prune(batch=4, progress=lambda report: told.append(report.pruned))
    assert told == [4, 8, 10]


@pytest.mark.parametrize(
    "wrong", [{"idle_for": -1}, {"batch": 0}, {"where": "=="}, {"keep": "=="}, {"keep": 3}]
)
def test_wrong_arguments_are_errors(open_directory: Faces, url: str, wrong: Any) -> None:
    """Nothing is deleted."""
    with pytest.raises((ValueError, TypeError)):
        open_directory(url).prune(**wrong)


def test_a_lost_reply_is_counted_once(old: Old, server: Server) -> None:
    """What was deleted, and not answered, is in the report."""
    from tests.faults import FaultProxy, named  # noqa: PLC0415

    old("first")
    with FaultProxy(server.url) as proxy, Conversations(proxy.url) as directory:
        # the answer that is lost must not be that the script is unknown
        assert directory.prune().pruned == 1
        for number in range(5):
            old(f"c-{number}")
        assert directory.count() == 5
        proxy.lose_replies(1, when=named("EVALSHA", "EVAL"))
        report = directory.prune()
        wait_until(lambda: proxy.lost == 1)
        assert directory.count() == 0
        assert report.pruned == 5
