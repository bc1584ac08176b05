"""What one conversation consists of, without its values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.descriptor import CONTAINERS, KIND_NAMES, parse, split
from redis_memory.core.keys import DirectoryKeys, id_of, name_text
from redis_memory.core.records import Life, life_of, memory_key, moment, together
from redis_memory.errors import CorruptValueError, RedisMemoryError

Kind = Literal["list", "dict", "set", "number", "value", "damaged"]


@dataclass(frozen=True, slots=True)
class AttributeInfo:
    """One attribute: its kind, how many elements it has, how many bytes lie in Redis.

    `length` is None for what has no elements. `changed` is when it was changed last.
    """

    kind: Kind
    length: int | None
    bytes: int
    changed: datetime | None


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """One conversation; none of its values. The times are the server's.

    `bytes` is what the server counts for all its keys. `ttl_s` is how many seconds of its
    lifetime are left if nothing happens, None without one. `writers` counts the processes that
    have changed it in about the last week.
    """

    id: str
    created: datetime
    last_activity: datetime
    attributes: dict[str, AttributeInfo]
    bytes: int
    ttl_s: float | None
    writers: int


def inspect(keys: DirectoryKeys, tag: bytes) -> Flow[ConversationInfo | None]:
    """Look at a conversation; None when there is none. Two round trips."""
    memory = memory_key(keys, tag)
    replies = yield from together([Call(Head(b"HGETALL", memory)), Call(Head(b"PTTL", memory))])
    flat, ttl_ms = replies
    if isinstance(flat, CorruptValueError):
        return None
    for reply in replies:
        if isinstance(reply, RedisMemoryError):
            raise reply
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    life = life_of(tuple(map(fields.get, (b"_created", b"_version", b"_until"))))
    if life is None:
        return None
    names = [name for name in fields if not name.startswith(b"_")]
    containers = [name for name in names if fields[name][:1] in CONTAINERS]
    stored = [memory, memory + b"~stamps", *(memory + b":" + name for name in containers)]
    sizes = yield from together([Call(Head(b"MEMORY", b"USAGE"), key) for key in stored])
    # where this user may not ask for it, it is not known
    counted = [size if isinstance(size, int) else 0 for size in sizes]
    by_name = dict(zip(containers, counted[2:], strict=True))
    attributes = {
        _readable(name): _attribute(name, fields[name], by_name.get(name, 0))
        for name in sorted(names)
    }
    writers = sum(name.startswith(b"_w") for name in fields)
    ttl_s = ttl_ms / 1000 if ttl_ms > 0 else None
    return ConversationInfo(*_times(tag, life), attributes, sum(counted), ttl_s, writers)


def _times(tag: bytes, life: Life) -> tuple[str, datetime, datetime]:
    return id_of(tag), moment(life.created), moment(life.version)


def _readable(name: bytes) -> str:
    try:
        return name_text(name)
    except CorruptValueError:
        return repr(name)


def _attribute(name: bytes, stored: bytes, elements_bytes: int) -> AttributeInfo:
    size = len(name) + len(stored) + elements_bytes
    try:
        descriptor, _ = split(stored, _readable(name))
        parsed: Any = parse(descriptor, _readable(name))
        changed = moment(b"%x" % parsed.version)
    except (CorruptValueError, ValueError, OverflowError, OSError):
        return AttributeInfo("damaged", None, size, None)
    kind: Any = KIND_NAMES[parsed.kind]
    is_container = parsed.kind in CONTAINERS
    return AttributeInfo(kind, parsed.size if is_container else None, size, changed)
