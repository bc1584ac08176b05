"""`watch` and `tail`: what happens in a conversation, as it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import redis_memory
from redis_memory.cli import options
from redis_memory.cli.opening import listed, opened, unknown_attribute
from redis_memory.cli.output import (
    check_reader,
    flush,
    iso,
    printable,
    say,
    say_json_line,
    shortened,
    shown,
    tell,
)
from redis_memory.core.tagged import to_json
from redis_memory.errors import CorruptValueError, OfflineError, WrongKindError

if TYPE_CHECKING:
    from redis_memory import Change
    from redis_memory.watching import Watch

# How often it is looked whether somebody still reads what is said.
_LOOK_S: Final = 0.5


def watch(
    conversation_id: options.Id,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Only these attributes.", show_default=False),
    ] = None,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell each change of a conversation as it happens, until Ctrl-C."""
    with (
        opened(conversation_id, url, prefix) as memory,
        redis_memory.watch(memory, *(names or ()), timeout_s=_LOOK_S) as changes,
    ):
        with listed(url, prefix) as directory:
            is_there = directory.exists(conversation_id)
        tell(f"watching {conversation_id!r}" + ("" if is_there else ", which is not there yet"))
        for change in _endless(changes):
            if change is None:
                continue
            if as_json:
                say_json_line(_described(change))
            else:
                value = "" if change.value is redis_memory.MISSING else shown(change.value)
                at = f"{change.at:%Y-%m-%d %H:%M:%S.%f}Z"
                say(shortened(f"{at}  {change.kind:<6}  {printable(change.name)}  {value}"))
                flush()


def _endless(changes: Watch) -> Iterator[Change | None]:
    """The changes, for as long as somebody reads what is said of them; None now and then."""
    while True:
        try:
            yield from changes
        except CorruptValueError as error:
            tell(str(error))
        check_reader()
        yield None


def _described(change: Change) -> dict[str, Any]:
    value = {} if change.value is redis_memory.MISSING else {"value": to_json(change.value)}
    return {
        "name": change.name,
        "kind": change.kind,
        **value,
        "writer": change.writer,
        "version": change.version,
        "at": iso(change.at),
    }


def tail(
    conversation_id: options.Id,
    name: options.Name,
    count: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many to begin with.")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is appended, until Ctrl-C.")
    ] = False,
    url: options.Url = None,
    prefix: options.Prefix = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the last elements of a list attribute, one a line."""

    def told(elements: list[Any]) -> None:
        for element in elements:
            if as_json:
                say_json_line(to_json(element))
            else:
                say(shown(element))
        flush()

    with opened(conversation_id, url, prefix) as memory:
        try:
            if follow:
                with redis_memory.watch(memory, name, timeout_s=_LOOK_S) as changes:
                    length = _length(conversation_id, name, url, prefix)
                    _follow(memory, name, changes, max(length - count, 0), count, told)
            else:
                told(redis_memory.window(memory, name, -count, None) if count else [])
        except AttributeError:
            raise unknown_attribute(conversation_id, name, url, prefix) from None


def _length(conversation_id: str, name: str, url: str | None, prefix: str | None) -> int:
    with listed(url, prefix) as directory:
        found = directory.info(conversation_id).attributes.get(name)
    if found is None:
        raise unknown_attribute(conversation_id, name, url, prefix)
    return found.length or 0


def _follow(
    memory: redis_memory.ConversationMemory,
    name: str,
    changes: Watch,
    begin: int,
    count: int,
    told: Callable[[list[Any]], None],
) -> None:
    """Tell what is there from an index on, and what comes behind it.

    What was appended is read by its index, so that it is told once however it was heard of.
    """

    def catch_up(at: int) -> int:
        elements = redis_memory.window(memory, name, at, None)
        told(elements)
        return at + len(elements)

    known, is_behind = catch_up(begin), False
    for change in _endless(changes):
        if change is None or change.kind == "append":
            if change is not None or is_behind:
                try:
                    known, is_behind = catch_up(known), False
                except OfflineError:
                    is_behind = True
                except (AttributeError, WrongKindError):
                    pass  # the change that has made it so is about to be told
        elif isinstance(change.value, list):
            tell(f"{name!r} was changed otherwise than by appending; its end is now:")
            told(change.value[-count:] if count else [])
            known = len(change.value)
        else:
            tell(f"{name!r} is no list any more")
            known = 0
