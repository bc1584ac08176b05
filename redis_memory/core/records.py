"""Whole memories as they lie in Redis: what one holds, read many at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from redis_memory.core import contents, sealed_replies
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.descriptor import CONTAINERS, LIST, damaged, split, stored_elements
from redis_memory.core.keys import DirectoryKeys, name_text
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.sealing import Sealer
from redis_memory.core.values import Limits
from redis_memory.errors import CorruptValueError, OfflineError, RedisMemoryError

# How many calls go in one packet: what the server does between two looks at its other clients.
PACKET: Final = 100
# Later than whatever a server calls a time; a lifetime may be a century.
LATEST_US: Final = 9_000_000_000_000_000


def together(calls: Sequence[Call], most: int = PACKET) -> Flow[list[Any]]:
    """Send calls that do not depend on each other, `most` in a packet; their replies in order.

    A refusal is a reply: an exception that is not raised. `attempts` of each is how often it may
    have been sent.

    Raises:
        OfflineError: The server is away, or one of them was not served.
    """
    replies: list[Any] = []
    for at in range(0, len(calls), most):
        packet = Call(Head(b"TIME"))
        packet.companions = calls[at : at + most]
        yield packet
        for answer in packet.answers:
            if isinstance(answer, OfflineError):
                raise answer
        for one in packet.companions:
            one.attempts = max(one.attempts, packet.attempts)
        replies += packet.answers
    return replies


def moment(version: bytes) -> datetime:
    """When the change was made that gave this version."""
    return datetime.fromtimestamp(int(version, 16) / 1_000_000, UTC)


def memory_key(keys: DirectoryKeys, tag: bytes) -> bytes:
    """The hash of a memory."""
    return b"%b{%b}" % (keys.prefix, tag)


@dataclass(frozen=True, slots=True)
class Life:
    """When a memory was begun and last changed, as versions; and when it ends, in milliseconds."""

    created: bytes
    version: bytes
    ends_ms: bytes

    @property
    def activity(self) -> bytes:
        """The last activity, as a score of the index."""
        return b"%d" % int(self.version, 16)

    @property
    def ends(self) -> bytes:
        """The end of its lifetime, as a score; b"" without one."""
        return self.ends_ms + b"000" if self.ends_ms else b""


def lives(keys: DirectoryKeys, tags: Sequence[bytes]) -> Flow[list[Life | None]]:
    """What the memories themselves say; None of one that is empty, gone, or none of ours.

    One round trip for each 100.
    """
    fields = (b"_created", b"_version", b"_until")
    asked = [Call(Head(b"HMGET", memory_key(keys, tag)), *fields) for tag in tags]
    replies = yield from together(asked)
    return [life_of(reply) for reply in replies]


def life_of(reply: Any) -> Life | None:
    """What `_created`, `_version` and `_until` say."""
    if isinstance(reply, RedisMemoryError):
        if isinstance(reply, CorruptValueError):
            return None
        raise reply
    created, version, ends = reply
    try:
        times_us = int(created or b"", 16), int(version or b"", 16), int(ends or b"0") * 1000
    except ValueError:
        return None
    # by a foreign hand: no time that could be told
    if min(times_us) < 0 or max(times_us) > LATEST_US:
        return None
    return Life(created, version, ends or b"")


@dataclass(frozen=True, slots=True)
class Record:
    """One memory at one moment.

    `fields` are those of its hash but for the writers, `contents` the type and the elements of
    the containers that were asked for, by name.
    """

    tag: bytes
    fields: dict[bytes, bytes]
    contents: dict[bytes, list[Any]]

    @property
    def life(self) -> Life | None:
        """When it was begun, last changed, and will end; None when it is empty or gone."""
        get = self.fields.get
        return life_of((get(b"_created"), get(b"_version"), get(b"_until")))

    @property
    def names(self) -> Iterator[bytes]:
        """The names of its attributes."""
        return (name for name in self.fields if not name.startswith(b"_"))

    @property
    def containers(self) -> list[bytes]:
        """The names of those that have elements."""
        return [name for name in self.names if self.fields[name][:1] in CONTAINERS]

    def values(self, limits: Limits, names: Collection[str] | None = None) -> dict[str, Any]:
        """The attributes, or those of them that are named, in plain values.

        Raises:
            CorruptValueError: One holds bytes that the library did not write; it is named.
        """
        known = {name_text(name): name for name in self.names}
        wanted = sorted(known) if names is None else sorted(known.keys() & names)
        return {
            name: plain(limits, name, self.fields[known[name]], self.contents.get(known[name]))
            for name in wanted
        }


def opened(sealer: Sealer, record: Record) -> Record:
    """The same with its values opened.

    Raises:
        DecryptionError: One cannot be.
    """
    flat = [part for pair in record.fields.items() for part in pair]
    plain_fields = sealed_replies.fields(sealer, flat)
    held = {
        name: sealed_replies.held(sealer, name, record.fields.get(name, b""), content)
        for name, content in record.contents.items()
    }
    by_name = dict(zip(plain_fields[::2], plain_fields[1::2], strict=True))
    return Record(record.tag, by_name, held)


def records(
    keys: DirectoryKeys,
    tags: Iterable[bytes],
    names: Collection[str] | None = None,
    *,
    known: Iterable[Record] = (),
) -> Flow[list[Record]]:
    """Read memories, with the elements of all containers, or of those that are named.

    Two round trips for each 100: which containers there are is asked first, but of those that are
    `known` from an earlier time.
    """
    read = {tag: Record(tag, {}, {}) for tag in tags}
    read.update({record.tag: record for record in known})
    wanted = None if names is None else {name.encode("utf-8", "surrogatepass") for name in names}
    open_tags = list(read)
    while open_tags:
        asked = [_asked(keys, read[tag], wanted) for tag in open_tags]
        replies = yield from together([call for call, _ in asked])
        for tag, (_, named), reply in zip(open_tags, asked, replies, strict=True):
            if isinstance(reply, CorruptValueError):
                read[tag] = Record(tag, {}, {})
                continue
            if isinstance(reply, RedisMemoryError):
                raise reply
            fields, *held = reply
            by_name = dict(zip(fields[::2], fields[1::2], strict=True))
            read[tag] = Record(tag, by_name, dict(zip(named, held, strict=True)))
        open_tags = [tag for tag in open_tags if _lacking(read[tag], wanted)]
    return list(read.values())


def record_of(keys: DirectoryKeys, tag: bytes) -> Flow[Record]:
    """Read one memory whole. Two round trips, one where it holds no containers."""
    record = Record(tag, {}, {})
    while True:
        call, named = _asked(keys, record, None)
        fields, *held = yield call
        by_name = dict(zip(fields[::2], fields[1::2], strict=True))
        record = Record(tag, by_name, dict(zip(named, held, strict=True)))
        if not _lacking(record, None):
            return record


def _lacking(record: Record, wanted: set[bytes] | None) -> bool:
    return any(
        name not in record.contents
        for name in record.containers
        if wanted is None or name in wanted
    )


def _asked(
    keys: DirectoryKeys, record: Record, wanted: set[bytes] | None
) -> tuple[Call, list[bytes]]:
    named = [name for name in record.containers if wanted is None or name in wanted]
    memory = memory_key(keys, record.tag)
    declared = (memory, *(memory + b":" + name for name in named))
    return Call(Head.script(SCRIPTS["record"], declared)), named


def plain(limits: Limits, name: str, field: bytes, content: list[Any] | None) -> Any:
    """The value of an attribute of which field and, for a container, type and elements are given.

    Raises:
        CorruptValueError: The library did not write them.
    """
    descriptor, payload = split(field, name)
    kind = descriptor[:1]
    if kind not in CONTAINERS or content is None:
        with contents.named(name):
            return contents.decode_scalar(kind, payload, limits)
    stored_as, elements = content
    is_whole = len(elements) == stored_elements(descriptor, name)
    # an empty container has no key
    if not is_whole or (elements and stored_as != (b"list" if kind == LIST else b"hash")):
        raise damaged(kind, name)
    with contents.named(name):
        return contents.decode(kind, elements, limits)
