"""The journal: what was appended is there, whole and once, whatever happens to its process."""

from __future__ import annotations

import json
import logging
import mmap
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it says nothing of its types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_memory.errors import JournalError, RedisMemoryError
from redis_memory.journal import main
from redis_memory.link import journal as module
from redis_memory.link import journal_file
from redis_memory.link.journal import Fsync, Header, Journal, Orphan, adopt, journals, peek
from tests.waiting import wait_until

SERVER = "redis://127.0.0.1:6379/0"
HEADER = Header(SERVER, "app", "alice", "_w0123456789abcdef01", "boot", 1_700_000_000.25)
NAME = "_w0123456789abcdef01.journal"
RECORDS = [b"one", b"", b"three" * 3]
WEEK_S = 7 * 86400.0
SECRET = "attack at dawn"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that does not exist yet."""
    return tmp_path / "journals"


def left(folder: Path, records: list[bytes], header: Header = HEADER) -> Path:
    """The journal of an owner that is gone."""
    journal = Journal.create(folder, header, "off")
    for record in records:
        journal.append(record)
    journal.close()
    return journal.path


def adopted(folder: Path, server: str = SERVER, max_age_s: float = WEEK_S) -> list[Orphan]:
    """All orphans, held as long as somebody keeps them."""
    return list(adopt(folder, server, max_age_s))


def the_records(folder: Path) -> list[bytes]:
    """What is in the only orphan, which stays one."""
    (orphan,) = adopted(folder)
    orphan.journal.close()
    return orphan.records


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """What would tell that a file was touched."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def in_child(work: Callable[[], object]) -> int:
    """Run work in a forked child, which ends without the parent's clean-up; returns its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a child must never return into the test
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def exit_code(pid: int) -> int:
    """How a child has ended, once it has."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe; closed at the end, which wakes whoever reads."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with suppress(OSError):
                os.close(end)


# what is written comes back


@given(st.lists(st.binary(max_size=200)))
def test_what_was_written_comes_back(records: list[bytes]) -> None:
    """An adopter gets the header and every record, in order, whatever the bytes."""
    with tempfile.TemporaryDirectory() as name:
        left(Path(name), [*records, b"last"])
        (orphan,) = adopted(Path(name))
        assert orphan.header == orphan.journal.header == HEADER
        assert orphan.records == [*records, b"last"]
        orphan.journal.close()


def test_a_large_record_comes_back(folder: Path) -> None:
    """Only the header is limited, to a megabyte; a record may have any size."""
    left(folder, [bytes(3_000_000)])
    assert the_records(folder) == [bytes(3_000_000)]


@given(st.from_type(Header))
def test_every_header_comes_back(header: Header) -> None:
    """Ids and prefixes may be any text, lone surrogates among them, or be missing."""
    header = replace(header, writer=HEADER.writer, created_s=1.5)
    with tempfile.TemporaryDirectory() as name:
        assert peek(left(Path(name), [], header)).header == header


def test_only_the_user_can_read_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Folder 0700, every file 0600, whatever the umask; programs that are started get none."""
    before = os.umask(0)
    try:
        journal = Journal.create(folder, HEADER, "always")
        journal.append(b"one")
        journal.rewrite(RECORDS)
        assert not os.get_inheritable(journal._descriptor)
        journal.path.with_name("torn.journal").write_bytes(journal.path.read_bytes()[:-1])
        journal.path.with_name("torn.journal").chmod(0o600)
        adopted(folder)[0].journal.close()
        journal.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys([NAME, "torn.journal", "torn.damaged-1"], 0o600)


def test_a_second_journal_of_a_writer_leaves_the_first_alone(folder: Path) -> None:
    """It gets a number, and both are adopted."""
    left(folder, RECORDS)
    before = contents(folder)
    second = Journal.create(folder, HEADER, "off")
    second.append(b"more")
    second.close()
    assert contents(folder).items() > before.items()
    adopted = [orphan.records for orphan in adopt(folder, SERVER, 60.0)]
    assert sorted(adopted) == sorted([RECORDS, [b"more"]])


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """The error names the file and the reason, and is one of ours and an OSError."""
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=f"{NAME}: Not a directory") as caught:
        Journal.create(tmp_path / "file" / "journals", HEADER, "off")
    assert isinstance(caught.value, RedisMemoryError)
    assert isinstance(caught.value, OSError)


def test_no_repr_shows_a_record(folder: Path) -> None:
    """Values are the user's: what is found in a journal does not print them."""
    path = left(folder, [SECRET.encode()])
    found = peek(path)
    (orphan,) = adopted(folder)
    assert not [thing for thing in (found, orphan, orphan.journal) if SECRET in repr(thing)]


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

    monkeypatch.setattr(module, "lock", lock_late)
    assert not adopted(folder)
    assert owner.path.exists() == (what == "rewrite")


def test_a_journal_that_nobody_keeps_is_an_orphan(folder: Path) -> None:
    """An adopter that drops what it got, or a journal that is not closed, blocks nobody."""
    left(folder, RECORDS)
    adopted(folder)
    assert the_records(folder) == RECORDS


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
            patch.setattr(module, "lock", after(journal_file.lock, fork))
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
            wait_until(lambda: adopted(folder), 2)
        finally:
            os.close(finish)
            codes = [exit_code(pid) for pid in pids]
    assert codes == [0]


def after(function: Callable[..., int], step: Callable[[], object]) -> Callable[..., int]:
    """The function, followed by a step."""

    def both(*arguments: object, **options: object) -> int:
        result = function(*arguments, **options)
        step()
        return result

    return both


# damage


def damaged(whole: bytes) -> Iterator[tuple[int, bytes]]:
    """Where a journal is damaged, and what is left of it: cut at, or flipped in, every byte.

    After a loss of power, a file may also end with zeros.
    """
    yield len(whole), whole + bytes(64)
    for position in range(len(whole)):
        yield position, whole[:position]
        flipped = bytes([whole[position] ^ 1 << random.randrange(8)])
        yield position, whole[:position] + flipped + whole[position + 1 :]


def ends_of_frames(folder: Path) -> list[int]:
    """The sizes of a journal with no record, with the first one, with two ..."""
    path = folder / NAME
    journal = Journal.create(folder, HEADER, "off")
    ends = [path.stat().st_size]
    for record in RECORDS:
        journal.append(record)
        ends.append(path.stat().st_size)
    journal.close()
    return ends


def test_damage_costs_what_follows_it_and_nothing_else(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut or flipped at any byte: whole records are kept, the rest is set aside with a warning."""
    ends = ends_of_frames(folder)
    path = folder / NAME
    whole = path.read_bytes()
    for position, content in damaged(whole):
        path.write_bytes(content)
        caplog.clear()
        orphans = adopted(folder)
        kept = sum(end <= position for end in ends) - 1
        records = [record for orphan in orphans for record in orphan.records]
        assert records == RECORDS[: max(kept, 0)]
        for orphan in orphans:
            assert path.read_bytes() == whole[: ends[kept]]
            orphan.journal.append(b"later")
            orphan.journal.close()
            assert the_records(folder) == [*records, b"later"]
            orphan.journal.path.unlink()
        rest = content[ends[kept] if kept >= 0 else 0 :]
        aside = path.with_name(f"{NAME if kept < 0 else path.stem}.damaged-1")
        if rest or kept < 0:
            (warning,) = (record.getMessage() for record in caplog.records)
            assert f"{NAME} is damaged: {len(rest)} bytes" in warning
            assert aside.read_bytes() == rest
            aside.unlink()
        assert not list(folder.iterdir())


def test_no_older_damage_is_overwritten(folder: Path) -> None:
    """What was kept aside before stays, under the number it got."""
    ends = ends_of_frames(folder)
    for number in (1, 2, 3):
        path = folder / NAME
        path.write_bytes(path.read_bytes()[: ends[3]] + b"%d" % number)
        assert the_records(folder) == RECORDS
    asides = sorted(folder.glob("*.damaged-*"))
    assert [aside.read_bytes() for aside in asides] == [b"1", b"2", b"3"]


def test_a_journal_that_was_cut_back_is_one_like_any_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that fails after the damage leaves what is before it."""
    path = left(folder, RECORDS)
    path.write_bytes(path.read_bytes() + b"torn" * 10)
    (orphan,) = adopted(folder)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", lambda descriptor, frame: os.write(descriptor, frame[:-1]))
        with pytest.raises(JournalError, match="append to"):
            orphan.journal.append(b"four")
    orphan.journal.append(b"five")
    orphan.journal.close()
    assert the_records(folder) == [*RECORDS, b"five"]
    assert len(journals(folder)) == 2


def test_damage_does_not_make_a_journal_younger(folder: Path) -> None:
    """Cutting a journal back is no change: it still expires in time."""
    path = left(folder, RECORDS)
    path.write_bytes(path.read_bytes() + b"torn")
    os.utime(path, (1.6e9, 1.6e9))
    (orphan,) = adopted(folder, max_age_s=float("inf"))
    assert path.stat().st_mtime == 1.6e9
    orphan.journal.close()


def test_a_folder_that_cannot_keep_the_damage_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where what is damaged cannot be set aside, the journal stays as it is, with a warning."""
    path = left(folder, RECORDS)
    path.write_bytes(path.read_bytes() + b"torn")
    before = contents(folder)

    def no_room(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_file, "sync_data", no_room)
    assert not adopted(folder)
    assert contents(folder) == before
    assert f"{NAME} cannot be adopted: No space left on device" in caplog.text
    monkeypatch.undo()
    assert the_records(folder) == RECORDS


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


def test_odd_files_do_no_harm(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The journals beside them are adopted, and what only looks like a journal is set aside."""
    target = left(folder / "elsewhere", RECORDS)
    (folder / "folder.journal").mkdir()
    (folder / "link.journal").symlink_to(target)
    os.mkfifo(folder / "pipe.journal")
    (folder / "notes.txt").write_text("notes")
    (folder / "empty.journal").touch()
    (folder / "text.journal").write_text("hello " * 1000)
    (folder / ".hidden.journal").write_text("hidden")
    (folder / "json.journal").write_bytes(journal_file._frame(b'{"server": 1}'))
    (folder / "deep.journal").write_bytes(journal_file._frame(b"[" * 100_000))
    before = {path.name for path in folder.iterdir()}
    left(folder, RECORDS)
    assert the_records(folder) == RECORDS
    odd = {"empty.journal", "text.journal", "json.journal", "deep.journal"}
    expected = before - odd | {f"{name}.damaged-1" for name in odd} | {NAME}
    assert {path.name for path in folder.iterdir()} == expected
    assert (folder / "text.journal.damaged-1").read_text() == "hello " * 1000
    assert len(caplog.records) == len(odd)


def test_a_large_file_of_others_is_not_read(folder: Path) -> None:
    """What begins with a header of 150 MB is no journal, and takes no memory."""
    folder.mkdir()
    path = folder / "large.journal"
    path.write_bytes((150_000_000).to_bytes(4, "little"))
    os.truncate(path, 200_000_000)
    tracemalloc.start()
    try:
        assert not adopted(folder)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
        path.with_name("large.journal.damaged-1").unlink()


def test_what_a_crash_left_half_made_goes_after_a_day(folder: Path) -> None:
    """A journal that was never finished is removed; one that may still be, is not."""
    old, fresh = (left(folder, RECORDS).rename(folder / f".{name}.journal.new") for name in "ab")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert not adopted(folder)
    assert [path.name for path in folder.iterdir()] == [fresh.name]


def test_the_oldest_change_comes_first(folder: Path) -> None:
    """Orphans come in the order of their last changes."""
    for age_s, letter in ((10, "b"), (30, "c"), (20, "a")):
        path = left(folder, [letter.encode()], replace(HEADER, writer=f"_w{letter}"))
        os.utime(path, (time.time() - age_s,) * 2)
    assert [orphan.records for orphan in adopted(folder)] == [[b"c"], [b"a"], [b"b"]]


# no room


def test_a_full_disk_is_reported_and_costs_nothing(folder: Path) -> None:
    """What does not fit raises, the file stays whole, and later there may be room again."""

    def limit(size_bytes: int) -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        journal = Journal.create(folder, HEADER, "off")
        journal.append(b"one")
        whole = journal.path.read_bytes()
        limit(len(whole) + 20)
        with pytest.raises(JournalError, match=rf"{NAME}: the disk took only 20 of 108 bytes"):
            journal.append(b"x" * 100)
        assert journal.path.read_bytes() == whole
        journal.append(b"fits")
        limit(len(whole) + 12)
        with pytest.raises(JournalError, match="File too large"):
            journal.append(b"two")
        with pytest.raises(JournalError, match=r"cannot rewrite .*: File too large"):
            journal.rewrite([b"x" * 1000])
        limit(resource.RLIM_INFINITY)
        journal.append(b"later")

    assert exit_code(in_child(work)) == 0
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert the_records(folder) == [b"one", b"fits", b"later"]


def fail(*_: object) -> None:
    """What a broken disk does."""
    raise OSError(5, "Input/output error")


def interrupt(*_: object) -> None:
    """What the handler of Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("fsync", ["interval", "always"])
def test_a_record_that_is_not_synced_is_not_there(
    folder: Path, fsync: Fsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk does not keep the promise, the record is taken back."""
    journal = Journal.create(folder, HEADER, fsync)
    journal.append(b"one")
    journal._synced_at_s = 0
    with monkeypatch.context() as patch:
        patch.setattr(module, "sync_data", fail)
        with pytest.raises(JournalError, match=f"append to .*{NAME}: Input/output error"):
            journal.append(b"two")
    journal.append(b"three")
    journal.close()
    assert the_records(folder) == [b"one", b"three"]


def test_an_interrupted_record_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that raises after the write takes the record back."""
    journal = Journal.create(folder, HEADER, "off")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", after(os.write, interrupt))
        with pytest.raises(KeyboardInterrupt):
            journal.append(b"one")
    journal.append(b"two")
    journal.close()
    assert the_records(folder) == [b"two"]


def test_nothing_follows_a_torn_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While half a record cannot be removed, no other is written behind it, to be lost there."""
    journal = Journal.create(folder, HEADER, "off")
    journal.append(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", lambda descriptor, frame: os.write(descriptor, frame[:-1]))
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(JournalError, match="the disk took only 10 of 11 bytes"):
            journal.append(b"two")
        patch.setattr(module, "_write", os.write)
        with pytest.raises(JournalError, match=r"append to .*: Input/output error"):
            journal.append(b"three")
    journal.append(b"four")
    journal.close()
    assert the_records(folder) == [b"one", b"four"]


# rewriting, removing, closing, syncing


def test_rewriting_replaces_the_records(folder: Path) -> None:
    """Afterwards it holds the new records and what is appended to them, and is still held."""
    journal = Journal.create(folder, HEADER, "interval")
    for record in RECORDS:
        journal.append(record)
    (folder / f".{NAME}.new").write_bytes(b"left by a crash")
    journal.rewrite(record for record in RECORDS[1:])
    journal.append(b"four")
    assert not adopted(folder)
    assert [path.name for path in folder.iterdir()] == [NAME]
    journal.close()
    assert the_records(folder) == [*RECORDS[1:], b"four"]


def test_an_orphan_can_be_appended_to_and_rewritten(folder: Path) -> None:
    """What was adopted is a journal like any other."""
    left(folder, RECORDS)
    (orphan,) = adopted(folder)
    orphan.journal.append(b"four")
    orphan.journal.close()
    (orphan,) = adopted(folder)
    assert orphan.records == [*RECORDS, b"four"]
    orphan.journal.rewrite([b"five"])
    orphan.journal.close()
    assert the_records(folder) == [b"five"]


@pytest.mark.parametrize("failure", [fail, interrupt])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_failed_rewrite_loses_nothing(
    folder: Path,
    failure: Callable[..., None],
    is_late: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the rename the old records are kept, after it the new ones; appending works on."""
    journal = Journal.create(folder, HEADER, "off")
    journal.append(b"old")
    rename = Path.replace

    def fail_around(path: Path, target: Path) -> None:
        if is_late:
            rename(path, target)
        failure()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_around)
        with pytest.raises((JournalError, KeyboardInterrupt)):
            journal.rewrite([b"new"])
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert not adopted(folder)
    journal.append(b"later")
    journal.close()
    assert the_records(folder) == [b"new" if is_late else b"old", b"later"]


def test_removing_and_closing_can_be_repeated(folder: Path) -> None:
    """Removed is removed, closed is closed, and a file that is an adopter's is not touched."""
    journal = Journal.create(folder, HEADER, "off")
    for _ in range(2):
        journal.remove()
        journal.close()
    assert not list(folder.iterdir())
    left_open = Journal.create(folder, HEADER, "interval")
    left_open.append(b"one")
    for _ in range(2):
        left_open.close()
        left_open.remove()
    left_open.sync()
    with pytest.raises(JournalError, match=f"{NAME}: it is closed"):
        left_open.append(b"two")
    with pytest.raises(JournalError, match=f"{NAME}: it is closed"):
        left_open.rewrite([])
    assert the_records(folder) == [b"one"]


def test_the_disk_has_what_was_promised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record with "always", none with "off"; "interval" waits for its time, sync or close."""
    synced: list[int] = []
    monkeypatch.setattr(module, "sync_data", synced.append)
    clock = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[-1])

    def syncs(call: Callable[[], object]) -> int:
        before = len(synced)
        call()
        return len(synced) - before

    modes: tuple[Fsync, ...] = ("off", "interval", "always")
    off, interval, always = (
        Journal.create(folder, replace(HEADER, writer=f"_w{fsync}"), fsync) for fsync in modes
    )
    steps: list[tuple[int, Callable[[], None]]] = [
        (0, lambda: off.append(b"1")),
        (0, off.sync),
        (0, off.close),
        (1, lambda: always.append(b"1")),
        (1, lambda: always.append(b"2")),
        (0, always.sync),
        (0, always.close),
        (0, lambda: interval.append(b"1")),
        (1, interval.sync),
        (0, interval.sync),
        (0, lambda: clock.append(1000.2)),
        (1, lambda: interval.append(b"3")),
        (0, lambda: interval.append(b"4")),
        (1, interval.close),
    ]
    assert [syncs(step) for _, step in steps] == [count for count, _ in steps]


def test_a_sync_that_fails_is_still_owed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file; the next call tries again; closing closes in any case."""
    journal = Journal.create(folder, HEADER, "interval")
    journal.append(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(module, "sync_data", fail)
        for _ in range(2):
            with pytest.raises(JournalError, match=f"cannot sync .*{NAME}: Input/output error"):
                journal.sync()
        with pytest.raises(JournalError, match=f"cannot close .*{NAME}: Input/output error"):
            journal.close()
    assert the_records(folder) == [b"one"]


# looking


def test_a_peek_changes_nothing(folder: Path) -> None:
    """It tells header, records, damage and owner, and leaves file and lock as they are."""
    journal = Journal.create(folder, HEADER, "off")
    journal.append(b"one")
    with journal.path.open("ab") as file:
        file.write(b"torn")
    before = contents(folder)
    held = peek(journal.path)
    journal.close()
    free = peek(journal.path)
    assert contents(folder) == before
    assert (held.header, held.records, held.damaged_bytes) == (HEADER, [b"one"], 4)
    assert (held.is_held, free.is_held) == (True, False)
    assert replace(free, is_held=True) == held
    assert len(adopted(folder)) == 1
    with pytest.raises(JournalError, match=r"missing\.journal: No such file"):
        peek(folder / "missing.journal")


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


def test_a_file_without_a_header_is_damaged_as_a_whole(folder: Path) -> None:
    """What was kept aside can be looked at as well."""
    path = left(folder, RECORDS)
    path.write_bytes(path.read_bytes() + b"torn")
    assert the_records(folder) == RECORDS
    found = peek(path.with_suffix(".damaged-1"))
    assert (found.header, found.records, found.damaged_bytes) == (None, [], 4)


# the command


def change(number: int, name: bytes, *rest: object) -> bytes:
    """The record of a change."""
    packed: bytes = msgpack.packb([number, "list", name, *rest])
    return packed


@pytest.fixture
def mixed(folder: Path) -> Path:
    """A folder with a held journal, a kept one, and some damage."""
    records = [
        change(1, b"messages", SECRET),
        change(2, b"messages", {"a": [SECRET]}, msgpack.ExtType(5, SECRET.encode())),
        change(3, b"", SECRET),
        change(4, "naïve\n".encode(), SECRET),
        change(5, b"bad \xff"),
        msgpack.packb(["delivered", 17, SECRET]),
        SECRET.encode(),
        b"",
        b"\x95\x01",
        change(6, b"messages") + b"more",
        msgpack.packb([True, "list", b"messages"]),
        msgpack.packb([7, b"list", b"messages"]),
        msgpack.packb([]),
        msgpack.packb({"a": 1}),
    ]
    path = left(folder, records)
    path.write_bytes(path.read_bytes() + SECRET.encode())
    (folder / "notes.txt").write_text(SECRET)
    old = left(folder, [change(1, b"box")], replace(HEADER, conversation_id=None, writer="_wb"))
    old.rename(old.with_suffix(".expired"))
    (folder / "_wc.damaged-1").write_bytes(SECRET.encode())
    return folder


def test_the_command_shows_numbers_and_names(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One block for each journal, also the ones kept aside, and never a value."""
    with suppress(FileNotFoundError):
        os.utime(mixed / NAME, (time.time() - 100,) * 2)
    assert main([str(mixed)]) == 0
    output = capsys.readouterr().out
    assert SECRET not in output
    first, second, third = (block.splitlines() for block in output.strip().split("\n\n"))
    assert (first[0], second[0], third[0]) == (NAME, "_wb.expired", "_wc.damaged-1")
    rows = [line.strip().rsplit(maxsplit=1) for line in first[1:]]
    assert ["conversation", "alice"] in rows
    assert ["server", SERVER] in rows
    assert ["writer", HEADER.writer] in rows
    assert ["changes", "5"] in rows
    assert ["damaged bytes", str(len(SECRET))] in rows
    assert ["owner", "gone"] in rows
    assert ["unreadable", "8"] in rows
    assert ["messages", "2"] in rows
    assert ["(whole memory)", "1"] in rows
    assert [r"'na\xefve\n'", "1"] in rows
    assert any(line.split() == ["last", "change", "100", "s", "ago"] for line in first)
    assert ["prefix", "app"] in [line.split() for line in second]
    assert ["server", "unknown"] in [line.split() for line in third]


def test_the_command_speaks_to_programs(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints a list of objects with the same numbers, and never a value."""
    holder = next(adopt(mixed, SERVER, WEEK_S)).journal
    assert main([str(mixed), "--json"]) == 0
    output = capsys.readouterr().out
    assert SECRET not in output
    first, aside, second, third = json.loads(output)
    assert first["file"] == NAME.replace("journal", "damaged-1")
    assert (aside["file"], second["file"], third["file"]) == (NAME, "_wb.expired", "_wc.damaged-1")
    assert aside["attributes"] == {"": 1, "bad \\xff": 1, "messages": 2, "naïve\n": 1}
    numbers = {name: aside[name] for name in ("changes", "unreadable", "damaged_bytes", "is_held")}
    assert numbers == {"changes": 5, "unreadable": 8, "damaged_bytes": 0, "is_held": True}
    assert aside["bytes"] == (mixed / NAME).stat().st_size
    assert (second["conversation_id"], second["prefix"]) == (None, "app")
    assert (third["server"], third["damaged_bytes"]) == (None, len(SECRET))
    holder.close()


def test_the_command_runs_as_a_module(folder: Path, tmp_path: Path) -> None:
    """`python -m redis_memory.journal FOLDER` ends with 0, and with 2 without a folder."""
    left(folder, [change(1, b"messages")])
    command = [sys.executable, "-m", "redis_memory.journal"]
    good, bad = (
        subprocess.run([*command, place], capture_output=True, text=True, check=False)
        for place in (folder, tmp_path / "missing")
    )
    assert (good.returncode, bad.returncode) == (0, 2)
    assert "messages" in good.stdout
    assert "there is no folder" in bad.stderr


def test_the_command_says_that_there_is_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An empty folder is a good answer, not an error."""
    with caplog.at_level(logging.DEBUG):
        assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no journals in {tmp_path}\n"
