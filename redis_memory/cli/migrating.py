"""The command `migrate`: from the packages `redis-memory` 0.2 to 0.4 and `synced-memory`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from redis_memory.errors import ConfigurationError, OfflineError, RedisMemoryError

if TYPE_CHECKING:
    from redis_memory.migration import MigrationReport

# what `migrate` takes for it as well
_OLD_PREFIX: Final = "memory:"
_FAILED, _WRONG, _UNREACHABLE = 1, 2, 3


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
    as_json: Annotated[
        bool, typer.Option("--json", help="Tell it as JSON, with every key that was left alone.")
    ] = False,
) -> None:
    """Bring what redis-memory 0.2 to 0.4 or synced-memory has stored; a dry run without --yes.

    May be interrupted and repeated. Old keys stay unless --delete-old is given. Exit code 1 when a
    key of theirs is damaged, or when it failed; 3 when a server cannot be reached.
    """
    from redis_memory.migration import migrate  # noqa: PLC0415 - the others start sooner without it

    options: dict[str, Any] = {"progress": _tell} if sys.stderr.isatty() else {}
    if timeout_s is not None:
        options["timeout_s"] = timeout_s
    try:
        report = migrate(
            source,
            target,
            prefix=prefix,
            target_prefix=target_prefix,
            flat=flat,
            dry_run=not yes,
            delete_old=delete_old,
            on_existing=on_existing,
            **options,
        )
    except RedisMemoryError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(_code_of(error)) from None
    typer.echo(json.dumps(asdict(report)) if as_json else _told(report, delete_old=delete_old))
    if report.damaged:
        raise typer.Exit(_FAILED)


def _code_of(error: RedisMemoryError) -> int:
    if isinstance(error, OfflineError):
        return _UNREACHABLE
    return _WRONG if isinstance(error, ConfigurationError) else _FAILED


def _tell(done: int, of: int) -> None:
    """How far it has come, on a terminal: one line that is written over."""
    typer.echo(f"\r{done} of {of} keys", err=True, nl=done == of)


def _told(report: MigrationReport, *, delete_old: bool) -> str:
    """A report for people. Keys are escaped: one may hold what moves the cursor."""
    would = "would be " if report.dry_run else ""
    attributes = (report.brought, len(report.replaced), report.known)
    places = (len(report.ids), report.of_prefix, report.bytes)
    lines = [
        f"{report.keys} keys found",
        "{0} attributes {3}brought, {1} {3}replaced, {2} brought before".format(*attributes, would),
        "{} conversations, {} attributes of the whole prefix, {} bytes".format(*places),
    ]
    if delete_old:
        lines.append(f"{report.deleted} old keys {would}deleted")
    lines += [f"replaced: {_shown(key)}: the old value wins" for key in report.replaced]
    lines += [f"not deleted: {_shown(key)}: changed meanwhile" for key in report.changed]
    lines += [f"{one.kind}: {_shown(one.key)}: {one.reason}" for one in report.skipped]
    if report.dry_run:
        lines.append("nothing was changed: give --yes to do it")
    return "\n".join(lines)


def _shown(key: str) -> str:
    return key if key.isprintable() else ascii(key)
