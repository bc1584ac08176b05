"""Damage to a journal costs what follows it and nothing else, and is kept aside."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_memory.errors import JournalError
from redis_memory.link import journal as module
from redis_memory.link import journal_file
from redis_memory.link.journal import Journal
from redis_memory.link.journal_file import journals, peek
from tests.link.journals import HEADER, NAME, RECORDS, adopted, contents, left, the_records


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


def test_a_file_without_a_header_is_damaged_as_a_whole(folder: Path) -> None:
    """What was kept aside can be looked at as well."""
    path = left(folder, RECORDS)
    path.write_bytes(path.read_bytes() + b"torn")
    assert the_records(folder) == RECORDS
    found = peek(path.with_suffix(".damaged-1"))
    assert (found.header, found.records, found.damaged_bytes) == (None, [], 4)


# what is no journal


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
