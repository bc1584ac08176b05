"""Whole conversations on their way: stored at once, copied, renamed, deleted."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from redis_memory.core import contents, flows
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.delivery import NEEDS_ANSWER
from redis_memory.core.index import Candidate, Directory
from redis_memory.core.keys import Keys, check_name, id_of, tag_of
from redis_memory.core.lifetime import LONGEST_S, NEVER
from redis_memory.core.records import Life, Record, lives, records
from redis_memory.core.schemas import SCHEMAS
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.sealed_words import restored_words
from redis_memory.core.state import State
from redis_memory.errors import (
    ConversationExistsError,
    CorruptValueError,
    OfflineError,
    UnknownConversationError,
)

OnExisting = Literal["skip", "replace", "error"]

# How often a conversation that others change meanwhile is renamed again.
_ATTEMPTS = 100
# With a lifetime of a century, its end is still a time.
_FIRST_YEAR, _FAR_YEAR = 1970, 2150


class Whole:
    """The attributes of a conversation, packed: nothing is sent before all of them are."""

    def __init__(
        self, directory: Directory, values: Mapping[str, Any], created: bytes = b""
    ) -> None:
        """Pack them.

        Raises:
            InvalidNameError: No attribute can have such a name.
            UnstorableValueError: A part of a value cannot be stored.
        """
        self.created: bytes = created
        self.lifetime: tuple[bytes, bytes] = (b"", b"")
        self.names: list[bytes] = []
        self.arguments: list[bytes] = []
        for name, value in values.items():
            encoded = check_name(name)
            kind, arguments, _ = contents.encode(value, directory.limits, name)
            self.names.append(encoded)
            self.arguments += (encoded, kind, b"%d" % len(arguments), *arguments)

    def mark(self, record: Record) -> None:
        """Have it count as brought to the schemas of the conversation that it was read from."""
        for field, marks in record.fields.items():
            if field.startswith(SCHEMAS):
                self.arguments += (field, b"m", b"1", marks)


Stored = Literal["created", "replaced", "exists"]


def new_run() -> bytes:
    """The name of a run: it may replace what it has stored itself, and nobody has changed since."""
    return os.urandom(8).hex().encode()


def store(
    directory: Directory,
    conversation_id: str,
    whole: Whole,
    *,
    replaces: bool = False,
    token: bytes = b"",
) -> Flow[Stored]:
    """Store a conversation as one step; `exists` when there is one that is not to be replaced.

    Two round trips; one more when it replaces containers. `token` is the name of a run, a colon
    and a number.
    """
    keys = Keys(directory.prefix, conversation_id)
    ttl_ms = lifetime_ms(whole.lifetime[0]) if whole.lifetime[0] else 0
    entering = Head.script(SCRIPTS["enter"], _index(directory))
    entered = yield Call(entering, keys.tag, b"%d" % ttl_ms)
    token = token or new_run() + b":1"
    stored = yield from _restored(directory, keys, whole, replaces=replaces, token=token)
    if stored == "exists":
        # it was not active, as its entry says now; who enters it since then has a newer score
        (life,) = yield from lives(directory.keys, [keys.tag])
        yield from directory.tidy([Candidate(keys.tag, int(entered), life)])
    return stored


def _restored(
    directory: Directory, keys: Keys, whole: Whole, *, replaces: bool, token: bytes
) -> Flow[Stored]:
    """The same without an entry. One round trip, and another one when it replaces containers."""
    declared = dict.fromkeys(whole.names)
    sealer, arguments = directory.sealer(keys.tag), whole.arguments
    if sealer is not None:
        arguments = list(restored_words(sealer, arguments))
    how = b"replace" if replaces else b"create"
    while True:
        every = (keys.memory, keys.stamps, *map(keys.content, declared))
        head = Head.script(SCRIPTS["restore"], every)
        status, *names = yield Call(head, token, how, whole.created, *whole.lifetime, *arguments)
        if status == b"exists":
            return "exists"
        if status == b"ok":
            return "replaced" if names == [b"replaced"] else "created"
        declared.update(dict.fromkeys(names))


def _index(directory: Directory) -> tuple[bytes, bytes]:
    return directory.keys.index, directory.keys.expiring


def delete(directory: Directory, conversation_id: str) -> Flow[bool]:
    """Delete a conversation; whether there was one. What others have queued does not revive it.

    Four round trips.
    """
    if (yield from directory.life(conversation_id)) is None:
        return False
    state = State(directory.prefix, conversation_id, directory.limits)
    yield from flows.clear(state, NEEDS_ANSWER)
    return True


def read(
    directory: Directory, conversation_id: str, before: Record | None = None
) -> Flow[tuple[Record, Life]]:
    """A conversation as it lies in Redis; one round trip where it has the containers of `before`.

    Raises:
        UnknownConversationError: There is none.
    """
    known = () if before is None else (before,)
    (record,) = yield from records(directory.keys, [tag_of(conversation_id)], known=known)
    life = record.life
    if life is None:
        raise UnknownConversationError(f"there is no conversation {conversation_id!r}")
    return record, life


def copy(directory: Directory, source: str, target: str, *, replaces: bool = False) -> Flow[None]:
    """Copy a conversation as it is now.

    Raises:
        UnknownConversationError: There is no such conversation.
        ConversationExistsError: There is one under the new id.
        CorruptValueError: An attribute cannot be read; nothing is stored.
    """
    record, _ = yield from read(directory, source)
    yield from _copied(directory, record, target, b"", replaces=replaces)
    yield from directory.life(target)


def _copied(
    directory: Directory,
    record: Record,
    target: str,
    created: bytes,
    *,
    replaces: bool,
    token: bytes = b"",
) -> Flow[None]:
    if record.tag == tag_of(target):
        raise ValueError("a conversation cannot take its own place")
    whole = _whole(directory, record, created)
    stored = yield from store(directory, target, whole, replaces=replaces, token=token)
    if stored == "exists":
        raise ConversationExistsError(f"there is a conversation {target!r} already")


def _whole(directory: Directory, record: Record, created: bytes) -> Whole:
    whole = Whole(directory, directory.values(record), created)
    whole.lifetime = lifetime_of(record)
    whole.mark(record)
    return whole


def lifetime_of(record: Record) -> tuple[bytes, bytes]:
    """The lifetime of a conversation, and its end; both empty without one.

    That none is to be given to it, whatever the settings of a worker say, is a lifetime too.
    """
    get = record.fields.get
    ttl, ends = get(b"_ttl", b""), get(b"_until", b"")
    return (ttl, ends) if ends or ttl == NEVER else (b"", b"")


def rename(directory: Directory, source: str, target: str, *, replaces: bool = False) -> Flow[None]:
    """Give a conversation another id. What others change meanwhile comes with it.

    Raises:
        UnknownConversationError, ConversationExistsError, CorruptValueError: As `copy`. Also where
            others change both meanwhile; both are there then.
        OfflineError: Others change it all the time; both are there then.
    """
    record, life = yield from read(directory, source)
    run, keys = new_run(), Keys(directory.prefix, target)
    yield from _copied(
        directory, record, target, life.created, replaces=replaces, token=run + b":0"
    )
    for attempt in range(1, _ATTEMPTS + 1):
        if (yield from remove(directory, record, life)) != b"active":
            yield from directory.life(target)
            return
        # as few round trips as can be: in each of them it may be changed again
        record, life = yield from read(directory, source, record)
        whole = _whole(directory, record, life.created)
        token = b"%b:%d" % (run, attempt)
        if (yield from _restored(directory, keys, whole, replaces=False, token=token)) == "exists":
            raise ConversationExistsError(
                f"others change {source!r} and {target!r} meanwhile: both are there"
            )
    raise OfflineError(f"others change {source!r} all the time: it was copied, and is still there")


def remove(directory: Directory, record: Record, life: Life) -> Flow[bytes]:
    """Delete a conversation if it still is as it was read: `ok`, `active` or `gone`."""
    call = removal(directory, record.tag, record.containers, life.version, b"fence")
    reply = yield call
    outcome: bytes = reply[0]
    if outcome == b"active":
        return outcome
    yield from directory.life(id_of(record.tag))
    return b"ok" if outcome == b"gone" and call.attempts > 1 else outcome


def removal(
    directory: Directory, tag: bytes, containers: list[bytes], version: bytes, how: bytes
) -> Call:
    """The call that deletes a memory if it has not been changed since that version."""
    memory = b"%b{%b}" % (directory.keys.prefix, tag)
    stored = (memory, memory + b"~stamps", *(memory + b":" + name for name in containers))
    return Call(Head.script(SCRIPTS["prune"], stored), version, how)


def version_of(moment: datetime) -> bytes:
    """A moment as versions have it.

    Raises:
        CorruptValueError: No server has had such a time.
    """
    if not _FIRST_YEAR < moment.year < _FAR_YEAR:
        raise CorruptValueError("a time that no server has had")
    return b"%013x" % int(moment.timestamp() * 1_000_000)


def lifetime_ms(stored: bytes) -> int:
    """The milliseconds of a stored lifetime; 0 for one that was taken away.

    Raises:
        CorruptValueError: It is none.
    """
    found = re.fullmatch(rb"[se](\d{1,13})", stored)
    if found is None or int(found[1]) > LONGEST_S * 1000:
        raise CorruptValueError("a stored lifetime is damaged")
    return int(found[1])


def lifetime_from(stored: bytes) -> tuple[bytes, bytes]:
    """A lifetime that begins when it is stored; empty without one."""
    is_one = stored == NEVER or (stored and lifetime_ms(stored))
    return (stored if is_one else b""), b""
