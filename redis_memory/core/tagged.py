"""Values as JSON that keeps every type: what JSON lacks stands in an object with one `$` key.

None, bool, text without surrogates, list, finite float, int of up to 64 bits, and dicts whose keys
are such texts without a `$` in front are plain JSON. The rest: `{"$bytes": "AAE="}`,
`{"$set": [1, 2]}`, `{"$tuple": []}`, `{"$dict": [[1, "one"]]}`, `{"$decimal": "1.50"}`, ...
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from redis_memory.core.extensions import DECODERS, ENCODERS, MICROSECOND
from redis_memory.errors import CorruptValueError, UnstorableValueError

_LARGEST: Final = 2**63


def _is_plain(text: str) -> bool:
    """JSON takes two surrogates in a row for one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_to_base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def _text_from_base64(encoded: str) -> str:
    return base64.b64decode(encoded, validate=True).decode("utf-8", "surrogatepass")


_CONTAINERS: dict[type, str] = {tuple: "$tuple", set: "$set", frozenset: "$frozenset"}
_FROM_LIST: dict[str, Callable[[list[Any]], Any]] = {
    name: kind for kind, name in _CONTAINERS.items()
}


def _extension(kind: type) -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    """The text that stands for a scalar in MessagePack, too: nothing of it gets lost there."""
    code, to_bytes = ENCODERS[kind]
    from_bytes = DECODERS[code]
    return (lambda value: to_bytes(value).decode("ascii")), (
        lambda text: from_bytes(text.encode("ascii"))
    )


_SCALARS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    bytes: (
        "$bytes",
        lambda value: base64.b64encode(value).decode("ascii"),
        lambda text: base64.b64decode(text, validate=True),
    ),
    str: ("$text", _text_to_base64, _text_from_base64),
    int: ("$int", hex, lambda text: int(text, 16)),
    float: ("$float", repr, float),
    timedelta: (
        "$timedelta",
        lambda value: value // MICROSECOND,
        lambda micros: timedelta(microseconds=micros),
    ),
    UUID: ("$uuid", str, UUID),
    Decimal: ("$decimal", *_extension(Decimal)),
    datetime: ("$datetime", *_extension(datetime)),
    date: ("$date", *_extension(date)),
    time: ("$time", *_extension(time)),
}
_BY_NAME = {name: (kind, read) for kind, (name, _, read) in _SCALARS.items()}


def to_json(value: Any) -> Any:  # noqa: PLR0911 - one for each form
    """A value as what `json.dumps` takes.

    Raises:
        UnstorableValueError: It is no value that a memory holds.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return value if _is_plain(value) else {"$text": _text_to_base64(value)}
    if kind is int and -_LARGEST <= value < _LARGEST:
        return value
    if kind is float and math.isfinite(value):
        return value
    if kind is list:
        return [to_json(part) for part in value]
    if kind is dict:
        if all(type(key) is str and key[:1] != "$" and _is_plain(key) for key in value):
            return {key: to_json(part) for key, part in value.items()}
        return {"$dict": [[to_json(key), to_json(part)] for key, part in value.items()]}
    if kind in _CONTAINERS:
        return {_CONTAINERS[kind]: [to_json(part) for part in value]}
    if kind in _SCALARS:
        name, write, _ = _SCALARS[kind]
        return {name: write(value)}
    raise UnstorableValueError(f"cannot store {kind.__name__}")


def from_json(form: Any) -> Any:
    """The value that such a form stands for.

    Raises:
        CorruptValueError: It stands for none.
    """
    try:
        return _value(form)
    except CorruptValueError:
        raise
    # AttributeError: a number where a text is expected
    except (
        *(ValueError, TypeError, AttributeError),
        *(ArithmeticError, LookupError, RecursionError),
    ) as error:
        raise CorruptValueError(f"no value: {type(error).__name__}") from None


def _value(form: Any) -> Any:
    if isinstance(form, list):
        return [_value(part) for part in form]
    if not isinstance(form, dict):
        return form
    if len(form) != 1 or not next(iter(form)).startswith("$"):
        return {key: _value(part) for key, part in form.items()}
    ((name, content),) = form.items()
    if name == "$dict":
        return {_value(key): _value(part) for key, part in content}
    if name in _FROM_LIST:
        if not isinstance(content, list):
            raise CorruptValueError(f"{name} holds no list")
        return _FROM_LIST[name]([_value(part) for part in content])
    if name not in _BY_NAME:
        raise CorruptValueError(f"nothing is known of {name[:20]!r}")
    kind, read = _BY_NAME[name]
    value = read(content)
    if type(value) is not kind:
        raise CorruptValueError(f"{name} holds something else")
    return value
