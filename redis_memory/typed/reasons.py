"""Why a value does not fit its annotation: places and reasons, never values."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from redis_memory.errors import InvalidValueError

Where = tuple[Any, ...]

_SHORT = 40


def named(where: Where) -> str:
    """How messages name a place: the attribute, then the steps inside it."""
    name, *steps = where
    return str(name) + "".join(map(_step, steps))


def _step(step: Any) -> str:
    if isinstance(step, str) and step.isidentifier() and len(step) <= _SHORT:
        return f".{step}"
    if isinstance(step, int):
        return f"[{step}]"
    return f"[{step!r}]" if isinstance(step, str) and len(step) <= _SHORT else "[...]"


def invalid(where: Where, reason: str) -> InvalidValueError:
    """The error for one place and one reason."""
    place = named(where)
    return InvalidValueError(f"{place}: {reason}", reasons={place: reason})


def translated(error: ValidationError, where: Where, *, first: int = 0) -> InvalidValueError:
    """The same error without the values that pydantic quotes; `first` is where a part began."""
    reasons: dict[str, str] = {}
    for details in error.errors(include_url=False, include_input=False):
        steps = details["loc"]
        if first and steps and isinstance(steps[0], int):
            steps = (steps[0] + first, *steps[1:])
        reasons.setdefault(named((*where, *steps)), _reason(details["type"], details["msg"]))
    message = "; ".join(f"{place}: {reason}" for place, reason in reasons.items())
    return InvalidValueError(message, reasons=reasons)


def _reason(kind: str, message: str) -> str:
    if kind == "union_tag_invalid":
        return "The tag is none of those that are expected"
    # what follows tells where in the input it stopped, and quotes it
    return message.partition(", ")[0] if kind.endswith(("_parsing", "_invalid")) else message


def is_frozen(error: ValidationError) -> bool:
    """Does a model refuse every assignment, or every one of this field?"""
    return any(each["type"].startswith("frozen_") for each in error.errors(include_url=False))
