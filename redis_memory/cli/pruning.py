"""`prune`: deleting what has been idle for long. A dry run, unless it is told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from redis_memory.cli import options
from redis_memory.cli.failures import FAILED
from redis_memory.cli.opening import listed
from redis_memory.cli.output import counted, printable, say, say_json, size, tell
from redis_memory.cli.progress import Progress

if TYPE_CHECKING:
    from redis_memory import PruneReport

_SHOWN: Final = 20


def prune(
    idle_for: Annotated[
        str, typer.Option(metavar="DURATION", help="How long they must have been idle.")
    ] = "30d",
    where: options.Where = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION", show_default=False, help="But not those for which this is true."
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False, help="Append them to this file before they go."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="How many are looked at at a time.")] = 500,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; else only tell.")] = False,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete the conversations that nobody has changed for long. Without --yes a dry run."""
    idle_s = options.seconds(idle_for, "--idle-for") or 0.0
    done = 0
    with listed(url, prefix) as directory, Progress() as bar:

        def told(report: PruneReport) -> None:
            nonlocal done
            done = report.pruned
            bar.at(f"looked at {report.examined:,}, pruned {done:,}", report.examined)

        try:
            report = directory.prune(
                idle_s,
                where=where,
                keep=keep,
                dry_run=not yes,
                archive_to=archive,
                batch=batch,
                progress=told,
            )
        except BaseException:  # Ctrl-C and SIGTERM too
            if yes and done:
                tell(
                    f"stopped in the middle: at least {done:,} are gone; run it again for the rest"
                )
            raise
    if as_json:
        say_json(receipt(report))
    else:
        _say(report)
    for one in report.damaged:
        tell(f"{one.where!r} was left alone: {one.reason}")
    if report.damaged:
        raise typer.Exit(FAILED)


def receipt(report: PruneReport) -> dict[str, Any]:
    """The report for programs."""
    return {
        "dry_run": report.dry_run,
        "examined": report.examined,
        "pruned": report.pruned,
        "kept": report.kept,
        "active": report.active,
        "archived": report.archived,
        "bytes_freed": report.bytes_freed,
        "seconds": round(report.seconds, 3),
        "ids": list(report.ids),
        "damaged": [{"where": one.where, "reason": one.reason} for one in report.damaged],
    }


def _say(report: PruneReport) -> None:
    for one in report.ids[:_SHOWN] if report.dry_run else ():
        say(printable(one))
    if report.dry_run and report.pruned > _SHOWN:
        say(f"... and {report.pruned - _SHOWN:,} more (--json names them all)")
    verb = "would prune" if report.dry_run else "pruned"
    freed = "to be freed" if report.dry_run else "freed"
    say(
        f"{verb} {report.pruned:,} of {counted(report.examined, 'idle conversation')}, "
        f"{size(report.bytes_freed)} {freed}; kept {report.kept:,}, active again {report.active:,}"
    )
    if report.archived:
        say(f"archived {report.archived:,}")
    if report.dry_run and report.pruned:
        tell("nothing was deleted: add --yes to do it")
