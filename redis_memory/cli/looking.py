"""`ls`, `show`, `get`, `stats`: what there is."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated, Any, Literal

import typer

import redis_memory
from redis_memory.cli import options
from redis_memory.cli.opening import listed, opened, unknown_attribute, value_of
from redis_memory.cli.output import (
    iso,
    say,
    say_facts,
    say_json,
    say_table,
    shortened,
    shown,
    size,
    tell,
    when,
)
from redis_memory.core.tagged import to_json
from redis_memory.errors import CorruptValueError


def ls(
    order: Annotated[
        Literal["recent", "oldest"], typer.Option(help="Whose activity comes first.")
    ] = "recent",
    idle_for: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", show_default=False, help="Only those unchanged for so long."
        ),
    ] = None,
    active_within: Annotated[
        str | None,
        typer.Option(metavar="DURATION", show_default=False, help="Only those changed since."),
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN", show_default=False, help="Only such ids: *, ?, [abc], as in a shell."
        ),
    ] = None,
    where: options.Where = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 100,
    cursor: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", show_default=False, help="Go on behind an earlier listing."),
    ] = None,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """List conversations, most recently active first."""
    with listed(url, prefix) as directory:
        page = directory.list(
            order,
            idle_for=options.seconds(idle_for, "--idle-for"),
            active_within=options.seconds(active_within, "--active-within"),
            match=match,
            where=where,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        found = [
            {
                "id": entry.id,
                "created": iso(entry.created),
                "last_activity": iso(entry.last_activity),
            }
            for entry in page.entries
        ]
        say_json({"conversations": found, "cursor": page.cursor})
        return
    if page.entries:
        rows = [(one.id, when(one.last_activity), when(one.created)) for one in page.entries]
        say_table(("CONVERSATION", "LAST ACTIVITY", "CREATED"), rows)
    else:
        tell("no conversation found")
    if page.cursor is not None:
        tell(f"there may be more: --cursor {page.cursor}")


def show(
    conversation_id: options.Id,
    values: Annotated[
        bool, typer.Option("--values", help="What the attributes hold, too.")
    ] = False,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a conversation consists of."""
    with listed(url, prefix) as directory:
        info = directory.info(conversation_id)
    held: dict[str, tuple[Any, str]] = {}
    if values:
        with opened(conversation_id, url, prefix) as memory:
            held = {name: _held(memory, name) for name in info.attributes}
    if as_json:
        say_json(_described(info, held))
        return
    ends = None if info.ttl_s is None else str(timedelta(seconds=round(info.ttl_s)))
    say_facts(
        [
            ("conversation", info.id),
            ("created", when(info.created)),
            ("last activity", when(info.last_activity)),
            ("bytes", size(info.bytes)),
            ("ends in", ends or "never"),
            ("writers", str(info.writers)),
        ]
    )
    say("")
    headings = ("ATTRIBUTE", "KIND", "LENGTH", "BYTES", "CHANGED", *(["VALUE"] if values else []))
    rows = []
    for name, one in info.attributes.items():
        length = "" if one.length is None else str(one.length)
        row = [name, one.kind, length, size(one.bytes), when(one.changed)]
        if values:
            value, reason = held[name]
            row.append(f"({reason})" if reason else shortened(shown(value)))
        rows.append(row)
    say_table(headings, rows)


def _held(memory: redis_memory.ConversationMemory, name: str) -> tuple[Any, str]:
    """The value of an attribute, or why there is none."""
    try:
        return value_of(memory, name), ""
    except KeyError:
        return None, "deleted just now"
    except CorruptValueError as error:
        return None, str(error)


def _described(
    info: redis_memory.ConversationInfo, held: dict[str, tuple[Any, str]]
) -> dict[str, Any]:
    attributes: dict[str, dict[str, Any]] = {}
    for name, one in info.attributes.items():
        attributes[name] = {
            "kind": one.kind,
            "length": one.length,
            "bytes": one.bytes,
            "changed": iso(one.changed),
        }
        if name in held:
            value, reason = held[name]
            attributes[name] |= {"error": reason} if reason else {"value": to_json(value)}
    return {
        "id": info.id,
        "created": iso(info.created),
        "last_activity": iso(info.last_activity),
        "bytes": info.bytes,
        "ttl_s": info.ttl_s,
        "writers": info.writers,
        "attributes": attributes,
    }


def get(
    conversation_id: options.Id,
    name: options.Name,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the value of an attribute. A text is printed as it is, everything else as JSON."""
    with opened(conversation_id, url, prefix) as memory:
        try:
            value = value_of(memory, name)
        except KeyError:
            raise unknown_attribute(conversation_id, name, url, prefix) from None
    if as_json or not isinstance(value, str):
        say_json(to_json(value))
    else:
        say_text(value)


def say_text(text: str) -> None:
    """A text as it is; on a terminal without what would move its cursor."""
    if sys.stdout.isatty():
        text = "\n".join(shown(line) for line in text.split("\n"))
    say(text)


def stats(
    url: options.Url = None, prefix: options.Prefix = None, as_json: options.AsJson = False
) -> None:
    """Count conversations, and how many of them were active lately."""
    with listed(url, prefix) as directory:
        found = directory.stats()
        under = directory.prefix
    if as_json:
        say_json(
            {
                "prefix": under,
                "conversations": found.conversations,
                "active_hour": found.active_hour,
                "active_day": found.active_day,
                "active_week": found.active_week,
                "idle_month": found.idle_month,
                "expiring": found.expiring,
                "oldest_activity": iso(found.oldest_activity),
                "newest_activity": iso(found.newest_activity),
            }
        )
        return
    say_facts(
        [
            ("prefix", under),
            ("conversations", str(found.conversations)),
            ("active in the last hour", str(found.active_hour)),
            ("active in the last day", str(found.active_day)),
            ("active in the last week", str(found.active_week)),
            ("idle for 30 days", str(found.idle_month)),
            ("with a lifetime", str(found.expiring)),
            ("oldest activity", when(found.oldest_activity)),
            ("newest activity", when(found.newest_activity)),
        ]
    )
