"""The layout of the packages `redis-memory` 0.2 to 0.4 and `synced-memory`, as it lies in Redis.

Each attribute is a string of JSON, `{"value": ..., "last_modified": <nanoseconds>}`, under
`<prefix><name>`, or `<prefix><id>:<name>` for one of a conversation. Nothing is escaped.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from redis_memory.core.keys import DirectoryKeys, check_name, normal_id
from redis_memory.errors import InvalidIdError, InvalidNameError

# Of a clock that counts nanoseconds, before the packages were written: no time at all.
_EARLIEST_NS: Final = 10**18
_MEANS_SOMETHING: Final = re.compile(rb"[\\*?\[\]]")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A key that was left alone.

    `foreign` is one that the packages did not write; `damaged` one of theirs that cannot be
    brought; `kept` one whose attribute stays as it is in the target.
    """

    key: str
    kind: Literal["foreign", "damaged", "kept"]
    reason: str


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key of theirs, and what it stands for; no id is the memory of the whole prefix."""

    key: bytes
    conversation_id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class OldValue:
    """What one holds: when it was changed in microseconds, 0 for unknown; a digest of all of it."""

    value: Any
    stamp_us: int
    digest: bytes


def shown(key: bytes) -> str:
    """A key for a report."""
    return key.decode("utf-8", "backslashreplace")


def pattern(prefix: str) -> bytes:
    """What SCAN is to match: the prefix as it is, whatever characters it has."""
    return _MEANS_SOMETHING.sub(rb"\\\g<0>", prefix.encode("utf-8")) + b"*"


def is_new_layout(key: bytes, *prefixes: str) -> bool:
    """May a key that is no string be one of this library's, under one of the prefixes?"""
    for prefix in prefixes:
        own = DirectoryKeys(prefix)
        if key in (own.index, own.expiring) or key.startswith(own.prefix + b"{"):
            return True
    return False


def split(key: bytes, prefix: str, *, flat: bool) -> OldKey | Skipped:
    """What a key stands for.

    What follows the prefix is split at its last colon: names are written as attributes, so they
    have none, and ids often do. `flat`: nothing is split, there are no conversations.
    """
    try:
        rest = key.decode("utf-8")[len(prefix) :]
    except UnicodeDecodeError:
        return Skipped(shown(key), "foreign", "the key is no text")
    conversation_id, colon, name = ("", "", rest) if flat else rest.rpartition(":")
    try:
        check_name(name)
        if not colon:
            return OldKey(key, None, name)
        normal_id(conversation_id)
    except (InvalidIdError, InvalidNameError) as error:
        return Skipped(shown(key), "damaged", str(error))
    if name == "conversation_id":
        return Skipped(shown(key), "damaged", "conversation_id is read-only")
    return OldKey(key, conversation_id, name)


def parsed(key: bytes, raw: bytes) -> OldValue | Skipped:
    """What a key holds. No reason repeats a part of it."""
    try:
        content = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # a number of too many digits is one as well
        kind = "nested too deeply" if isinstance(error, RecursionError) else "no JSON"
        return Skipped(shown(key), "damaged", f"{kind}, or cut off")
    if not isinstance(content, dict) or content.keys() != {"value", "last_modified"}:
        return Skipped(shown(key), "foreign", "not of the form {value, last_modified}")
    modified = content["last_modified"]
    if isinstance(modified, bool) or not isinstance(modified, int | float):
        return Skipped(shown(key), "damaged", "last_modified is no number")
    stamp_us = int(modified) // 1000 if _EARLIEST_NS <= modified < 2**63 else 0
    digest = hashlib.blake2b(raw, digest_size=8).hexdigest().encode()
    return OldValue(content["value"], stamp_us, digest)
