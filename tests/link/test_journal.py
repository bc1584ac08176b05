"""The journal: what was appended is there, whole and once, however the disk behaves."""

from __future__ import annotations

import os
import resource
import signal
import stat
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_memory.errors import JournalError, RedisMemoryError
from redis_memory.link import journal as module
from redis_memory.link.adoption import adopt
from redis_memory.link.journal import Fsync, Journal
from redis_memory.link.journal_file import Header, peek
from tests.children import exit_code, in_child
from tests.link.journals import (
    HEADER,
    NAME,
    RECORDS,
    SECRET,
    SERVER,
    adopted,
    after,
    contents,
    left,
    the_records,
)

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


# no room, and disks that fail


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
