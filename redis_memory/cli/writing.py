"""`set`: giving an attribute a value."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, NoReturn

import typer

import redis_memory
from redis_memory.cli import options
from redis_memory.cli.opening import opened, standard_input
from redis_memory.core.tagged import from_json
from redis_memory.errors import CorruptValueError


def set_attribute(
    conversation_id: options.Id,
    name: options.Name,
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE", show_default=False, help="JSON; - reads standard input."),
    ],
    as_text: Annotated[bool, typer.Option("--text", help="VALUE is a text, not JSON.")] = False,
    url: options.Url = None,
    prefix: options.Prefix = None,
) -> None:
    """Give an attribute a value, now or not at all. A conversation that is not there is begun."""
    given = value
    if value == "-":
        given = standard_input().read().decode("utf-8", "surrogateescape")
    stored = given if as_text else _parsed(given)
    with (
        opened(conversation_id, url, prefix) as memory,
        # while the server is away a plain assignment would wait, and end with this process
        redis_memory.transaction(memory),
    ):
        memory[name] = stored


def _parsed(text: str) -> Any:
    try:
        return from_json(json.loads(text, parse_constant=_refused, parse_float=_finite))
    except CorruptValueError as error:
        raise typer.BadParameter(f"it is JSON, and stands for no value: {error}") from None
    except (ValueError, RecursionError):
        raise typer.BadParameter(
            "it is no JSON; a text has quotes of its own, '\"open\"', or --text"
        ) from None


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise CorruptValueError("a number that is too large")
    return value


def _refused(constant: str) -> NoReturn:
    raise ValueError(constant)
