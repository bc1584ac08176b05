"""The command `migrate`: from the packages `redis-memory` 0.2 to 0.4 and `synced-memory`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from redis_memory.cli import options
from redis_memory.cli.failures import FAILED
from redis_memory.cli.output import printable, say, say_json, tell
from redis_memory.cli.progress import Progress

if TYPE_CHECKING:
    from redis_memory.migration import MigrationReport

# what `migrate` takes for it as well
_OLD_PREFIX: Final = "memory:"


def migrate_command(
    *,
    source: Annotated[
        str | None,
        typer.Option(
            help="Url of the server with the old keys; without one, as the library connects.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Url of the server that gets them; without one, the source."),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="What the old keys begin with; REDIS_PREFIX says nothing of that.")
    ] = _OLD_PREFIX,
    target_prefix: Annotated[
        str | None, typer.Option(help="What the new keys begin with; without one, the same.")
    ] = None,
    flat: Annotated[
        bool,
        typer.Option(
            "--flat", help="There are no conversations: names are not split at their colons."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without this, only what would be done is told.")
    ] = False,
    delete_old: Annotated[
        bool, typer.Option("--delete-old", help="Delete each old key that was brought.")
    ] = False,
    on_existing: Annotated[
        Literal["newest", "skip", "replace"],
        typer.Option(help="Which value stays where there is one already."),
    ] = "newest",
    timeout_s: Annotated[
        float | None,
        typer.Option(
            help="How many seconds each question to a server may take; without one, "
            "REDIS_MEMORY_TIMEOUT_S, or 5."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Bring what redis-memory 0.2 to 0.4 or synced-memory has stored; a dry run without --yes.

    May be interrupted and repeated. Old keys stay unless --delete-old is given. Exit code 1 when a
    key of theirs is damaged, or when it failed; 3 when a server cannot be reached.
    """
    from redis_memory.migration import migrate  # noqa: PLC0415 - the others start sooner without it

    given: dict[str, Any] = {} if timeout_s is None else {"timeout_s": timeout_s}
    with Progress() as bar:
        report = migrate(
            source,
            target,
            prefix=prefix,
            target_prefix=target_prefix,
            flat=flat,
            dry_run=not yes,
            delete_old=delete_old,
            on_existing=on_existing,
            progress=lambda done, of: bar.at(f"{done:,} of {of:,} keys", done),
            **given,
        )
    if as_json:
        say_json(asdict(report))
    else:
        for line in _told(report, delete_old=delete_old):
            say(line)
        if report.dry_run:
            tell("nothing was changed: add --yes to do it")
    if report.damaged:
        raise typer.Exit(FAILED)


def _told(report: MigrationReport, *, delete_old: bool) -> Iterator[str]:
    """A report for people."""
    would = "would be " if report.dry_run else ""
    attributes = (report.brought, len(report.replaced), report.known)
    places = (len(report.ids), report.of_prefix, report.bytes)
    yield f"{report.keys} keys found"
    yield "{0} attributes {3}brought, {1} {3}replaced, {2} brought before".format(
        *attributes, would
    )
    yield "{} conversations, {} attributes of the whole prefix, {} bytes".format(*places)
    if delete_old:
        yield f"{report.deleted} old keys {would}deleted"
    for key in report.replaced:
        yield f"replaced: {printable(key)}: the old value wins"
    for key in report.changed:
        yield f"not deleted: {printable(key)}: changed meanwhile"
    for one in report.skipped:
        yield f"{one.kind}: {printable(one.key)}: {one.reason}"
