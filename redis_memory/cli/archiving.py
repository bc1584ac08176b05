"""`export` and `import`: conversations to a file of JSON Lines, and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from redis_memory.cli import options
from redis_memory.cli.failures import FAILED
from redis_memory.cli.opening import listed, standard_input
from redis_memory.cli.output import ClosedPipeError, counted, say, say_json, size, tell
from redis_memory.cli.progress import Progress
from redis_memory.errors import ArchiveError

if TYPE_CHECKING:
    from redis_memory import Damaged

_STANDARD: Final = "-"

File = Annotated[
    str,
    typer.Argument(metavar="FILE", show_default=False, help="A file of JSON Lines; - is a pipe."),
]


class _StandardOutput:
    """Standard output as a file that cannot be synced."""

    def write(self, line: bytes) -> int:
        return sys.stdout.buffer.write(line)

    def flush(self) -> None:
        sys.stdout.buffer.flush()


def export(
    file: File,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Only these.", show_default=False),
    ] = None,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Write conversations to a file that keeps every type. It is there whole or not at all."""
    target: Any = _StandardOutput() if file == _STANDARD else file
    with listed(url, prefix) as directory, Progress() as bar:
        try:
            report = directory.export(
                target, ids or None, progress=lambda count: bar.at(f"{count:,} written", count)
            )
        except ArchiveError as error:
            if isinstance(error.__cause__, BrokenPipeError):
                raise ClosedPipeError from error
            raise
    found = {"conversations": report.conversations, "bytes": report.bytes}
    told = f"exported {counted(report.conversations, 'conversation')}, {size(report.bytes)}"
    if file == _STANDARD:
        tell(told)
    else:
        _report(found, told, report.damaged, as_json=as_json)
    _complain(report.damaged)


def import_file(
    file: File,
    on_existing: Annotated[
        Literal["skip", "replace", "error"],
        typer.Option(help="What to do with a conversation that is there already."),
    ] = "skip",
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Store the conversations of an archive. `export` and `prune --archive` write such files."""
    source = standard_input() if file == _STANDARD else file
    with listed(url, prefix) as directory, Progress() as bar:
        report = directory.load(
            source, on_existing, progress=lambda count: bar.at(f"{count:,} loaded", count)
        )
    found = {
        "created": report.created,
        "replaced": report.replaced,
        "skipped": report.skipped,
    }
    told = (
        f"created {report.created:,}, replaced {report.replaced:,}, skipped {report.skipped:,} "
        "that were there"
    )
    _report(found, told, report.damaged, as_json=as_json)
    _complain(report.damaged)


def _report(found: dict[str, int], told: str, damaged: Sequence[Damaged], *, as_json: bool) -> None:
    if as_json:
        bad = [{"where": one.where, "reason": one.reason} for one in damaged]
        say_json({**found, "damaged": bad})
    else:
        say(told)


def _complain(damaged: Sequence[Damaged]) -> None:
    """Name what could not be taken, and fail for it."""
    for one in damaged:
        tell(f"{one.where}: {one.reason}; the others were taken")
    if damaged:
        raise typer.Exit(FAILED)
