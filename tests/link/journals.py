"""Journals whose owners are gone, and what an adopter finds in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from redis_memory.link.adoption import Orphan, adopt
from redis_memory.link.journal import Journal
from redis_memory.link.journal_file import Header

SERVER = "redis://127.0.0.1:6379/0"
HEADER = Header(SERVER, "app", "alice", "_w0123456789abcdef01", "boot", 1_700_000_000.25)
NAME = "_w0123456789abcdef01.journal"
RECORDS = [b"one", b"", b"three" * 3]
WEEK_S = 7 * 86400.0
SECRET = "attack at dawn"


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


def after(function: Callable[..., int], step: Callable[[], object]) -> Callable[..., int]:
    """The function, followed by a step."""

    def both(*arguments: object, **options: object) -> int:
        result = function(*arguments, **options)
        step()
        return result

    return both
