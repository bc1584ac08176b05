"""A journal outlives its process: one adopter gets it, whole, and no child holds it."""

from __future__ import annotations

import mmap
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from redis_memory.errors import JournalError
from redis_memory.link import adoption, journal_file
from redis_memory.link import journal as module
from redis_memory.link.adoption import adopt
from redis_memory.link.journal import Journal
from redis_memory.link.journal_file import Header, journals, peek
from tests.children import exit_code, in_child, pipe
from tests.link.journals import (
    HEADER,
    NAME,
    RECORDS,
    SERVER,
    WEEK_S,
    adopted,
    after,
    contents,
    left,
    the_records,
)
from tests.waiting import wait_until

# death


def test_a_killed_process_loses_nothing(folder: Path) -> None:
    """Each of 100 records is there after SIGKILL, for none of them waits in a buffer."""
    with pipe() as (ready, tell):

        def work() -> None:
            journal = Journal.create(folder, HEADER, "off")
            for number in range(100):
                journal.append(b"%d" % number)
            os.write(tell, b"!")
            signal.pause()

        pid = in_child(work)
        assert os.read(ready, 1) == b"!"
        assert not adopted(folder)
        os.kill(pid, signal.SIGKILL)
        assert exit_code(pid) == -signal.SIGKILL
    assert the_records(folder) == [b"%d" % number for number in range(100)]


def test_killed_at_any_moment(folder: Path) -> None:
    """What `append` has returned for is there, in order, and at most one record more."""
    shared = mmap.mmap(-1, 8)

    def appended() -> int:
        return int.from_bytes(shared[:], "little")

    def work(place: Path) -> None:
        journal = Journal.create(place, HEADER, "off")
        for number in range(10**9):
            journal.append(b"%d" % number)
            shared[:] = (number + 1).to_bytes(8, "little")

    for place in (folder / str(number) for number in range(20)):
        shared[:] = bytes(8)
        pid = in_child(partial(work, place))
        enough = random.randint(1, 5000)
        try:
            wait_until(partial(lambda least: appended() >= least, enough))
        finally:
            os.kill(pid, signal.SIGKILL)
            exit_code(pid)
        done = appended()
        records = the_records(place)
        assert records == [b"%d" % number for number in range(len(records))]
        assert done <= len(records) <= done + 1


@pytest.mark.parametrize("removes", [False, True])
def test_two_processes_adopt_and_one_wins(folder: Path, removes: bool) -> None:  # noqa: FBT001
    """Of two that look at the same moment, one gets the journal; also when that one is quick."""

    def work(start: int, result: int, end: int) -> None:
        os.read(start, 1)
        orphans = adopted(folder)
        if removes:
            for orphan in orphans:
                orphan.journal.remove()
        os.write(result, b"%d" % sum(len(orphan.records) for orphan in orphans))
        os.read(end, 1)

    for _ in range(20):
        left(folder, RECORDS)
        with pipe() as (start, go), pipe() as (results, result), pipe() as (end, finish):
            pids = [in_child(partial(work, start, result, end)) for _ in range(2)]
            os.write(go, b"!!")
            answers = os.read(results, 1) + os.read(results, 1)
            os.write(finish, b"!!")
            assert [exit_code(pid) for pid in pids] == [0, 0]
        assert sorted(answers) == sorted(b"03")
        for path in folder.iterdir():
            path.unlink()


@pytest.mark.parametrize("what", ["remove", "rewrite"])
def test_who_comes_late_gets_nothing(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a file that has lost its name in the meantime is worth nothing."""
    owner = Journal.create(folder, HEADER, "off")
    owner.append(b"delivered")

    def lock_late(descriptor: int, *, exclusive: bool) -> bool:
        owner.remove() if what == "remove" else owner.rewrite([b"the rest"])
        return journal_file.lock(descriptor, exclusive=exclusive)

    monkeypatch.setattr(adoption, "lock", lock_late)
    assert not adopted(folder)
    assert owner.path.exists() == (what == "rewrite")


def test_a_journal_that_nobody_keeps_is_an_orphan(folder: Path) -> None:
    """An adopter that drops what it got, or a journal that is not closed, blocks nobody."""
    left(folder, RECORDS)
    adopted(folder)
    assert the_records(folder) == RECORDS


def test_the_oldest_change_comes_first(folder: Path) -> None:
    """Orphans come in the order of their last changes."""
    for age_s, letter in ((10, "b"), (30, "c"), (20, "a")):
        path = left(folder, [letter.encode()], replace(HEADER, writer=f"_w{letter}"))
        os.utime(path, (time.time() - age_s,) * 2)
    assert [orphan.records for orphan in adopted(folder)] == [[b"c"], [b"a"], [b"b"]]


# forks


def test_a_living_child_does_not_hold_a_dead_parents_journal(folder: Path) -> None:
    """The journal of a killed process can be adopted while a child of it lives on."""
    with pipe() as (end, finish), pipe() as (alive, tell):

        def child() -> None:
            os.close(finish)
            os.write(tell, b"c")
            os.read(end, 1)
            os.write(tell, b"e")

        def parent() -> None:
            journal = Journal.create(folder, HEADER, "off")
            journal.append(b"one")
            in_child(child)
            signal.pause()

        pid = in_child(parent)
        assert os.read(alive, 1) == b"c"
        assert not adopted(folder)
        os.kill(pid, signal.SIGKILL)
        exit_code(pid)
        assert the_records(folder) == [b"one"]
        os.write(finish, b"!")
        assert os.read(alive, 1) == b"e"


def test_a_child_cannot_touch_its_parents_journal(folder: Path) -> None:
    """Every call in the child is refused, and the parent's journal stays whole and held."""
    journal = Journal.create(folder, HEADER, "interval")
    journal.append(b"one")

    def work() -> None:
        calls: list[Callable[[], object]] = [
            lambda: journal.append(b"two"),
            lambda: journal.rewrite([]),
            journal.sync,
            journal.remove,
        ]
        for call in calls * 2:
            with pytest.raises(JournalError, match="process that this one was forked from"):
                call()
        journal.close()

    assert exit_code(in_child(work)) == 0
    assert not adopted(folder)
    journal.append(b"three")
    journal.close()
    assert the_records(folder) == [b"one", b"three"]


@pytest.mark.parametrize("opening", ["create", "adopt", "rewrite"])
def test_a_fork_by_another_thread_gets_no_lock(
    folder: Path, opening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child forked while a journal is being opened does not hold it either."""
    pids: list[int] = []
    with pipe() as (end, finish):

        def child() -> None:
            os.close(finish)
            os.read(end, 1)

        thread = threading.Thread(target=lambda: pids.append(in_child(child)))

        def fork() -> None:
            thread.start()
            thread.join(0.2)

        path = left(folder, RECORDS)
        if opening == "create":
            path.unlink()
        journal = next(adopt(folder, SERVER, WEEK_S)).journal if opening == "rewrite" else None
        with monkeypatch.context() as patch:
            patch.setattr(module, "fill", after(journal_file.fill, fork))
            patch.setattr(adoption, "lock", after(journal_file.lock, fork))
            if journal is not None:
                journal.rewrite(RECORDS)
            elif opening == "adopt":
                journal = next(adopt(folder, SERVER, WEEK_S)).journal
            else:
                journal = Journal.create(folder, HEADER, "off")
                journal.append(b"one")
        journal.close()
        thread.join()
        try:  # what it was forked with, a child closes when it first runs
            wait_until(lambda: adopted(folder))
        finally:
            os.close(finish)
            codes = [exit_code(pid) for pid in pids]
    assert codes == [0]


def test_a_child_forked_during_a_peek_holds_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking takes the lock for a moment, and gives it back for all that share it."""
    path = left(folder, RECORDS)
    with pipe() as (end, finish), monkeypatch.context() as patch:
        pids: list[int] = []

        def child() -> None:
            os.close(finish)
            os.read(end, 1)

        def read_late(descriptor: int) -> tuple[Header | None, list[bytes], int]:
            pids.append(in_child(child))
            return read(descriptor)

        read = journal_file.read
        patch.setattr(journal_file, "read", read_late)
        assert not peek(path).is_held
        orphans = adopted(folder)
        os.close(finish)
        assert [exit_code(pid) for pid in pids] == [0]
        assert len(orphans) == 1


# what is not adopted


def test_an_old_journal_is_kept_aside(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What has waited too long is never delivered in silence, and never lost."""
    for number in (1, 2):
        path = left(folder, [b"%d" % number])
        week_ago = time.time() - WEEK_S
        os.utime(path, (week_ago - 60, week_ago - 60))
        assert not adopted(folder)
    names = [f"{HEADER.writer}.expired", f"{HEADER.writer}.expired-1"]
    assert [path.name for path in journals(folder)] == names
    assert [peek(folder / name).records for name in names] == [[b"1"], [b"2"]]
    assert caplog.text.count(f"{NAME} is older than 604800 s") == 2
    os.utime(left(folder, RECORDS), (week_ago + 60, week_ago + 60))
    assert the_records(folder) == RECORDS


def test_another_servers_journal_is_left_alone(folder: Path) -> None:
    """Whatever its age, and without a lock that the right adopter could stumble over."""
    path = left(folder, RECORDS)
    os.utime(path, (1.6e9, 1.6e9))
    before = contents(folder)
    assert not adopted(folder, "redis://127.0.0.1:6380/0")
    assert contents(folder) == before


def test_an_empty_journal_is_removed(folder: Path) -> None:
    """Nothing is kept of a writer that never had to wait."""
    left(folder, [])
    assert not adopted(folder)
    assert not list(folder.iterdir())


def test_a_missing_folder_has_no_orphans(folder: Path) -> None:
    """Looking creates nothing; what is no folder is reported."""
    assert not adopted(folder)
    assert not folder.exists()
    folder.touch()
    with pytest.raises(JournalError, match=f"in {folder}: Not a directory"):
        adopted(folder)


def test_what_a_crash_left_half_made_goes_after_a_day(folder: Path) -> None:
    """A journal that was never finished is removed; one that may still be, is not."""
    old, fresh = (left(folder, RECORDS).rename(folder / f".{name}.journal.new") for name in "ab")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert not adopted(folder)
    assert [path.name for path in folder.iterdir()] == [fresh.name]
