"""What the journals in a folder hold: `python -m redis_memory.journal FOLDER`.

Each journal, and each file that was kept aside, in numbers and names; never a value.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# msgpack says nothing of its types.
from msgpack import OutOfData, Unpacker  # type: ignore[import-untyped]

from redis_memory.errors import JournalError
from redis_memory.link.journal_file import journals, peek

_DAMAGE = (ValueError, TypeError, ArithmeticError, RecursionError, OutOfData)


@dataclass(frozen=True, slots=True)
class Report:
    """One file: `age_s` seconds have passed since it was changed.

    `server`, `prefix`, `conversation_id` and `writer` are None where the header cannot be read;
    `attributes` counts the changes of each, those of the whole memory under an empty name.
    """

    file: str
    conversation_id: str | None
    prefix: str | None
    server: str | None
    writer: str | None
    changes: int
    bytes: int
    age_s: float
    is_held: bool
    damaged_bytes: int
    unreadable: int
    attributes: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the journals of a folder hold; returns 0, or exits with 2 without a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m redis_memory.journal",
        description="Show which changes wait in the journals of a folder. No value is shown.",
    )
    parser.add_argument("folder", type=Path, help="where the journals lie")
    parser.add_argument("--json", action="store_true", help="print a list for programs")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"there is no folder {options.folder}")
    try:
        reports = list(_reports(journals(options.folder)))
    except JournalError as error:
        parser.error(str(error))
    if options.json:
        _say(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        _say("\n\n".join(map(_block, reports)) or f"no journals in {options.folder}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _reports(paths: Iterable[Path]) -> Iterator[Report]:
    for path in paths:
        try:
            yield _report(path)
        except FileNotFoundError:  # delivered and removed meanwhile
            continue
        except JournalError as error:
            sys.stderr.write(f"{error}\n")


def _report(path: Path) -> Report:
    status = path.stat()
    found = peek(path)
    header = found.header
    attributes, unreadable = _count(found.records)
    return Report(
        file=path.name,
        conversation_id=header.conversation_id if header else None,
        prefix=header.prefix if header else None,
        server=header.server if header else None,
        writer=header.writer if header else None,
        changes=attributes.total(),
        bytes=status.st_size,
        age_s=round(max(time.time() - status.st_mtime, 0), 3),
        is_held=found.is_held,
        damaged_bytes=found.damaged_bytes,
        unreadable=unreadable,
        attributes=dict(sorted(attributes.items())),
    )


def _count(records: Iterable[bytes]) -> tuple[Counter[str], int]:
    """How many changes each attribute has, and how many records cannot be read."""
    attributes: Counter[str] = Counter()
    unreadable = 0
    for record in records:
        try:
            attributes.update(_attribute(record))
        except _DAMAGE:
            unreadable += 1
    return attributes, unreadable


def _attribute(record: bytes) -> list[str]:
    """The name of the attribute that a record changes, or none if the record is a mark.

    Raises:
        ValueError: It is neither; errors of msgpack may be of other types.
    """
    unpacker = Unpacker(max_buffer_size=max(len(record), 1))
    unpacker.feed(record)
    length = unpacker.read_array_header()
    first = [unpacker.unpack() for _ in range(min(length, 3))]
    for _ in range(length - len(first)):  # values are passed over, never built
        unpacker.skip()
    if unpacker.tell() != len(record):
        raise ValueError("bytes left over")
    match first:
        case [str(), *_]:
            return []
        case [bool(), *_]:
            raise ValueError("no number")
        case [int(), str(), bytes(name)]:
            return [name.decode("utf-8", "backslashreplace")]
    raise ValueError("neither a change nor a mark")


def _block(report: Report) -> str:
    conversation = ("prefix", report.prefix)
    if report.conversation_id is not None:
        conversation = ("conversation", report.conversation_id)
    lines = [
        conversation,
        ("server", report.server),
        ("writer", report.writer),
        ("changes", report.changes),
        ("bytes", report.bytes),
        ("last change", f"{report.age_s:.0f} s ago"),
        ("owner", "alive" if report.is_held else "gone"),
        ("damaged bytes", report.damaged_bytes),
        ("unreadable", report.unreadable),
    ]
    for name, changes in report.attributes.items():
        lines.append((f"  {_printable(name)}" if name else "  (whole memory)", changes))
    shown = [
        f"  {what:<16} {'unknown' if it is None else _printable(str(it))}" for what, it in lines
    ]
    return "\n".join([_printable(report.file), *shown])


def _printable(text: str) -> str:
    """The text, in quotes and escaped where it would move the cursor or break a line."""
    return text if text.isprintable() else ascii(text)


if __name__ == "__main__":
    sys.exit(main())
