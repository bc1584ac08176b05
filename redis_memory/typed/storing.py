"""What pydantic leaves as an object, in values that can be stored."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, to_jsonable_python

from redis_memory.core.storable import KEY_TYPES, SCALAR_TYPES

# a named tuple, a str subclass: pydantic keeps them, and would make them again of the plain ones
_BASES: tuple[Any, ...] = (tuple, list, dict, set, frozenset, str, bytes, int, float)


def storable(value: Any) -> Any:
    """The value with its enum members, subclasses and other objects as plain values.

    What has no plain value stays, and is refused where values go in.
    """
    kind = type(value)
    if kind in SCALAR_TYPES:
        return value
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return kind(storable(item) for item in value)
    if kind is dict:
        return {storable_key(key): storable(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return storable(value.value)
    base = next((base for base in _BASES if isinstance(value, base)), None)
    return _of_object(value) if base is None else storable(base(value))


def _of_object(value: Any) -> Any:
    if isinstance(value, (SecretStr, SecretBytes)):
        return value.get_secret_value()
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError):
        return value


def storable_key(key: Any) -> Any:
    """A key of a dict: what no stored dict can have for a key becomes text."""
    key = storable(key)
    return key if type(key) in KEY_TYPES else to_jsonable_python(key)
