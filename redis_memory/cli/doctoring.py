"""`doctor` and `reindex`: what is wrong, and mending the index."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from redis_memory.cli import options
from redis_memory.cli.failures import FAILED, UNREACHABLE, without_secrets
from redis_memory.cli.opening import listed
from redis_memory.cli.output import counted, say, say_json, say_table, tell
from redis_memory.cli.progress import Progress

if TYPE_CHECKING:
    from redis_memory.doctor import Examination


def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Fail for a warning, too.")] = False,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Check server, rights and index. What is not well is told with what to do about it."""
    from redis_memory.doctor import examine  # noqa: PLC0415 - no other command needs it

    found = examine(url, prefix=prefix)
    if as_json:
        say_json(
            {
                "server": found.server,
                "prefix": found.prefix,
                "ok": found.count("failure") == 0,
                "findings": [
                    {**asdict(one), "found": without_secrets(one.found)} for one in found.findings
                ],
            }
        )
    else:
        _say(found)
    reachable = [one.verdict for one in found.findings if one.check == "reachable"]
    if reachable and all(verdict == "failure" for verdict in reachable):
        raise typer.Exit(UNREACHABLE)
    if found.count("failure") or (strict and found.count("warning")):
        raise typer.Exit(FAILED)


def _say(found: Examination) -> None:
    has_nodes = any(finding.where for finding in found.findings)
    headings = ("CHECK", "VERDICT", *(["NODE"] if has_nodes else []), "FOUND", "WHAT TO DO")
    rows = [
        (
            finding.check,
            finding.verdict,
            *([finding.where.rpartition(" ")[2].strip("()")] if has_nodes else []),
            without_secrets(finding.found),
            finding.advice,
        )
        for finding in found.findings
    ]
    say_table(headings, rows)
    tell(
        f"{found.server}, prefix {found.prefix}: {counted(found.count('failure'), 'failure')}, "
        f"{counted(found.count('warning'), 'warning')}"
    )


def reindex(
    url: options.Url = None, prefix: options.Prefix = None, as_json: options.AsJson = False
) -> None:
    """Make the index anew, after data was restored without it. Goes through all keys."""
    with listed(url, prefix) as directory, Progress() as bar:
        report = directory.reindex(progress=lambda count: bar.at(f"{count:,} found", count))
    if as_json:
        say_json(asdict(report))
    else:
        say(
            f"found {counted(report.found, 'conversation')}; entries: {report.added:,} added, "
            f"{report.corrected:,} corrected, {report.removed:,} removed"
        )
