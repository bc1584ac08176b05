"""What commands say: data to standard output, everything else to standard error.

No text of a user's is taken for markup, and none moves the cursor or ends a line.
"""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

from redis_memory.cli.failures import without_secrets
from redis_memory.core.tagged import to_json

_CUT: Final = 100
_GAP: Final = "  "


class ClosedPipeError(Exception):
    """Nobody reads standard output any more."""


def say(text: str) -> None:
    """A line of data. Errors as of `flush`."""
    with _written():
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")


def flush() -> None:
    """Have whoever reads get what was said.

    Raises:
        ClosedPipeError: Nobody reads it.
        OSError: It cannot be written, to a full disk for example.
    """
    with _written():
        sys.stdout.flush()


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedPipeError from error
    except OSError as error:
        raise OSError(f"cannot write the output: {error.strerror}") from error


def check_reader() -> None:
    """Look whether somebody still reads.

    Raises:
        ClosedPipeError: Nobody does.
    """
    poll = select.poll()
    # without any event: an error is told all the same
    poll.register(sys.stdout.fileno(), 0)
    # which of the two it is depends on the system
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        raise ClosedPipeError


def tell(text: str) -> None:
    """A message, which is no data: to standard error, in one line, without passwords."""
    lines = [printable(line) for line in without_secrets(text).splitlines()] or [""]
    with suppress(OSError, ValueError):  # where it is closed there is nobody to be told
        sys.stderr.write("redis-memory: " + "\n".join(lines) + "\n")
        sys.stderr.flush()


def say_json(document: Any) -> None:
    """A document for programs, in ASCII."""
    say(json.dumps(document, indent=2, allow_nan=False))


def say_json_line(document: Any) -> None:
    """One of several documents for programs, in a line of its own, at once."""
    say(json.dumps(document, allow_nan=False))
    flush()


def say_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under headings: drawn on a terminal, else in plain columns of full width."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(headings, cells)
        return
    every = [list(headings), *cells]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    for row in every:
        say(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _draw(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - a terminal waits for it, a program need not
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console(highlight=False, markup=False, emoji=False).print(drawn)


def say_facts(facts: Iterable[tuple[str, str]]) -> None:
    """One fact a line, in two columns."""
    pairs = [(name, printable(fact)) for name, fact in facts]
    width = max(len(name) for name, _ in pairs)
    for name, fact in pairs:
        say(f"{name.ljust(width)}{_GAP}{fact}")


def printable(text: str) -> str:
    """The text; in quotes and escaped where it would move the cursor or break a line."""
    return text if text.isprintable() else ascii(text)


def shown(value: Any) -> str:
    """A value in one line: a text as it is, everything else as JSON."""
    if isinstance(value, str):
        return printable(value)
    return printable(json.dumps(to_json(value), ensure_ascii=False))


def shortened(text: str) -> str:
    """The beginning of a text that is too long for a table."""
    return text if len(text) <= _CUT else text[: _CUT - 1] + "…"


def when(moment: datetime | None) -> str:
    """A moment for people, to the second, in UTC."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def iso(moment: datetime | None) -> str | None:
    """A moment for programs, to the microsecond."""
    return None if moment is None else moment.isoformat()


def counted(count: int, thing: str) -> str:
    """So many things, in words for people."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def size(count: int) -> str:
    """A number of bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:  # noqa: PLR2004 - what the units stand for
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
