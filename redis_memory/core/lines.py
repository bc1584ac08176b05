"""A conversation as a line of JSON in which every value keeps its type, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from redis_memory.core import sealed_lines, transfer
from redis_memory.core.index import Directory
from redis_memory.core.keys import id_of, normal_id, tag_of
from redis_memory.core.records import Record, moment
from redis_memory.core.sealing import Keyring
from redis_memory.core.tagged import from_json, to_json
from redis_memory.errors import CorruptValueError, InvalidIdError

FORM: Final = 1


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line, or a conversation, that could not be taken; the others were."""

    where: str
    reason: str


def line_of(directory: Directory, record: Record) -> bytes:
    """A conversation as a line.

    Raises:
        CorruptValueError: An attribute cannot be read; it is named.
    """
    life = record.life
    if life is None:
        raise CorruptValueError("it is gone")
    values = directory.values(record)
    ttl, _ = transfer.lifetime_of(record)
    content = {
        "redis_memory": FORM,
        "id": to_json(id_of(record.tag)),
        "created": moment(life.created).isoformat(),
        "last_activity": moment(life.version).isoformat(),
        "lifetime": ttl.decode("ascii") or None,
        "attributes": to_json(values),
    }
    if directory.keyring is not None:
        content["attributes"] = sealed_lines.sealed(
            directory.keyring, record.tag, content["attributes"]
        )
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A line, understood."""

    id: str
    created: bytes
    lifetime: bytes
    values: dict[str, Any]


def parsed(line: bytes, keyring: Keyring | None = None) -> Parsed:
    """Understand a line.

    Raises:
        CorruptValueError: It is none of ours, or damaged; DecryptionError, it cannot be opened.
    """
    try:
        content = json.loads(line)
        if not isinstance(content, dict) or content.get("redis_memory") != FORM:
            raise CorruptValueError("this is no line of an archive of this form")
        conversation_id = normal_id(from_json(content["id"]))
        created = transfer.version_of(datetime.fromisoformat(content["created"]))
        lifetime = (content.get("lifetime") or "").encode("ascii")
        if lifetime:
            transfer.lifetime_ms(lifetime)
        values = from_json(
            sealed_lines.opened(keyring, tag_of(conversation_id), content["attributes"])
        )
        if not isinstance(values, dict) or not values:
            raise CorruptValueError("a conversation without attributes")
    except CorruptValueError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, InvalidIdError):
            raise CorruptValueError(str(error)) from error
        raise CorruptValueError(f"damaged: {type(error).__name__}") from None
    return Parsed(conversation_id, created, lifetime, values)


def lines_of(
    directory: Directory, read: Iterable[Record]
) -> tuple[list[bytes], list[Record], list[Damaged]]:
    """Records as lines, those that have become one, and those that cannot be read."""
    lines: list[bytes] = []
    written: list[Record] = []
    damaged: list[Damaged] = []
    for record in read:
        try:
            lines.append(line_of(directory, record))
            written.append(record)
        except CorruptValueError as error:
            damaged.append(Damaged(id_of(record.tag), str(error)))
    return lines, written, damaged
