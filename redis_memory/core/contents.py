"""A container's elements as they lie in Redis, and back.

A list is a Redis list of packed values. A dict is a hash from each key's canonical form to
`<turn>;<value>`, or `<turn>:<n>:<key><value>` where the key's own n bytes differ from it, with a
stamp behind the turn where the value was set later; the turn gives the order of insertion. A set is
a hash from canonical form to the element's bytes, or to nothing when they are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

from redis_memory.core.descriptor import DICT, LIST, NUMBER, SET, VALUE
from redis_memory.core.sealing import is_sealed
from redis_memory.core.values import Limits, copy_in, identity, is_key, pack, unpack
from redis_memory.errors import CorruptValueError, DecryptionError, UnstorableValueError

# `lua/dict.lua` says what stands before a value
_ITEM = re.compile(rb"([0-9a-f]{1,16})(?:,[0-9a-f~]{1,32})?(?:;|:([0-9]{1,10}):)")

# a double holds every integer of 15 digits, so the server may add them
_LARGEST_COUNTER = 10**15


@lru_cache
def inside(limits: Limits) -> Limits:
    """The limits for an element of a container: one level less is left."""
    return replace(limits, max_depth=limits.max_depth - 1)


def encode_key(key: object, limits: Limits, path: str) -> tuple[bytes, bytes]:
    """Return a dict key's canonical form and its own bytes, b"" when they are the same.

    Raises:
        UnstorableValueError: No stored dict can have that key.
    """
    if not is_key(key):
        raise UnstorableValueError(f"cannot use {type(key).__name__} as a key of {path}")
    return _spelled(key, limits, path)


def _spelled(value: object, limits: Limits, path: str) -> tuple[bytes, bytes]:
    packed = pack(value, limits, path)
    canonical = identity(value)
    return canonical, b"" if packed == canonical else packed


def encode_members(
    members: Iterable[object], limits: Limits, path: str
) -> tuple[list[bytes], list[Any]]:
    """Return the arguments for the elements of a set, in pairs, and the elements themselves."""
    arguments: list[bytes] = []
    plain = list(members)
    for member in plain:
        arguments += _spelled(member, limits, path)
    return arguments, plain


def encode_items(
    items: Iterable[tuple[object, object]], limits: Limits, path: str
) -> tuple[list[bytes], dict[Any, Any]]:
    """Return the arguments for the items of a dict, in triples, and plain copies of them."""
    arguments: list[bytes] = []
    plain: dict[Any, Any] = {}
    for key, value in items:
        canonical, spelling = encode_key(key, limits, path)
        packed, plain[key] = copy_in(value, limits, f"{path}[{key!r}]")
        arguments += (canonical, spelling, packed)
    return arguments, plain


def encode_values(
    values: Iterable[object], limits: Limits, path: str
) -> tuple[list[bytes], list[Any]]:
    """Return the arguments for the elements of a list, and plain copies of them."""
    packed: list[bytes] = []
    plain: list[Any] = []
    for at, value in enumerate(values):
        encoded, copied = copy_in(value, limits, f"{path}[{at}]")
        packed.append(encoded)
        plain.append(copied)
    return packed, plain


def encode(  # noqa: PLR0911 - one return for each kind
    value: Any, limits: Limits, path: str
) -> tuple[bytes, list[bytes], Any]:
    """Return kind, arguments and a plain copy of a value that becomes a whole attribute.

    Raises:
        UnstorableValueError: A part of the value cannot be stored.
    """
    kind = type(value)
    if kind is str or value is None:
        return VALUE, [pack(value, limits, path)], value
    if kind is int and -_LARGEST_COUNTER < value < _LARGEST_COUNTER:
        return NUMBER, [b"%d" % value], value
    if kind is float and value - value == 0.0:  # neither infinite nor nan
        return NUMBER, [repr(value).encode()], value
    if kind is list or is_synced(value, list):
        return LIST, *encode_values(list.__iter__(value), inside(limits), path)
    if kind is dict or is_synced(value, dict):
        return DICT, *encode_items(dict.items(value), inside(limits), path)
    if kind is set or is_synced(value, set):
        arguments, members = encode_members(set.__iter__(value), inside(limits), path)
        return SET, arguments, set(members)
    packed, plain = copy_in(value, limits, path)
    return VALUE, [packed], plain


def is_counter(value: float) -> bool:
    """Is it a number that the server can add to?"""
    if type(value) is int:
        return -_LARGEST_COUNTER < value < _LARGEST_COUNTER
    return value - value == 0.0  # neither infinite nor nan


def is_synced(value: object, base: type) -> bool:
    """Is this a proxy for a `base` (list, dict or set)?"""
    return isinstance(value, base) and getattr(value, "_synced_", False) is True


@contextmanager
def named(name: str) -> Iterator[None]:
    """Say in the message which attribute a damaged value belongs to."""
    try:
        yield
    except CorruptValueError as error:
        raise type(error)(f"attribute {name!r}: {error}") from error


def decode_scalar(kind: bytes, payload: bytes, limits: Limits) -> Any:
    """Return the value of a scalar attribute.

    Raises:
        CorruptValueError: The bytes are no value of ours.
    """
    if kind == VALUE:
        return unpack(payload, limits)
    try:
        return int(payload) if payload.lstrip(b"-").isdigit() else float(payload)
    except ValueError as error:
        if is_sealed(payload):
            raise DecryptionError("it is encrypted, and no encryption_key is set here") from None
        raise CorruptValueError("a stored number is damaged") from error


def decode(kind: bytes, elements: Sequence[bytes], limits: Limits) -> Any:
    """Return the plain container whose contents Redis answered.

    Raises:
        CorruptValueError: An element is no value of ours.
    """
    if kind == LIST:
        return [unpack(element, limits) for element in elements]
    if kind == SET:
        spelled = zip(elements[::2], elements[1::2], strict=True)
        return {decode_member(member, spelling, limits) for member, spelling in spelled}
    stored = zip(elements[::2], elements[1::2], strict=True)
    items = sorted((_item(key, value) for key, value in stored), key=lambda item: item[0])
    return {_hashable(unpack(key, limits)): unpack(value, limits) for _, key, value in items}


def decode_member(member: bytes, spelling: bytes, limits: Limits) -> Any:
    """Return an element of a set."""
    return _hashable(unpack(spelling or member, limits))


def decode_item(key: bytes, stored: bytes, limits: Limits) -> tuple[Any, Any]:
    """Return key and value of a dict's item as it lies in Redis."""
    _, spelling, value = _item(key, stored)
    return _hashable(unpack(spelling, limits)), unpack(value, limits)


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError as error:
        raise CorruptValueError("a stored key or element cannot be one") from error
    return value


def _item(key: bytes, stored: bytes) -> tuple[int, bytes, bytes]:
    """Split a dict's stored item into the turn of its key, the key's bytes and the value's."""
    found = _ITEM.match(stored)
    if found is None:
        raise CorruptValueError("an item of a stored dict is damaged")
    turn, length = found.groups()
    start = found.end()
    if length is None:
        return int(turn, 16), key, stored[start:]
    end = start + int(length)
    return int(turn, 16), stored[start:end], stored[end:]


def halves(result: bytes) -> tuple[bytes, bytes]:
    """Split what a `take` from a hash answers: length of the field, colon, the field, its value."""
    length, _, rest = result.partition(b":")
    return rest[: int(length)], rest[int(length) :]


def pieces(text: bytes) -> Iterator[bytes]:
    """Split a row of `<length>:<piece>`."""
    at = 0
    while at < len(text):
        colon = text.index(b":", at)
        end = colon + 1 + int(text[at:colon])
        yield text[colon + 1 : end]
        at = end
