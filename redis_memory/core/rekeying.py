"""Putting the values of a memory under another key, beside those who use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from redis_memory.core import sealed_replies
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.descriptor import CONTAINERS, DICT
from redis_memory.core.flows import present
from redis_memory.core.keys import DirectoryKeys
from redis_memory.core.records import Record, memory_key, record_of
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.sealed_values import Sealed
from redis_memory.core.sealing import Keyring, Sealer, id_of
from redis_memory.core.state import State
from redis_memory.errors import ConfigurationError, DecryptionError, OfflineError

Rekeyed = Literal["rotated", "already", "gone"]

# How often a memory that others change meanwhile is read again.
_ATTEMPTS: Final = 20


def rekey(
    keys: DirectoryKeys, tag: bytes, keyring: Keyring, *, seal_plain: bool = False
) -> Flow[Rekeyed]:
    """Have all values of a memory lie under the first key.

    No version moves, so copies and proxies of other processes stay as they are. Who writes under
    the old key meanwhile is told so by the server, and goes on under the new one. Where others
    were faster they are held off until it is done, at most for a second.

    Raises:
        DecryptionError: A value cannot be opened, or is not encrypted and not to be sealed; nothing
            was changed.
        OfflineError: Others change it all the time; nothing was changed.

    Cost: one round trip where there is nothing to do, else four, and three more each time that
    others change the memory meanwhile. O(size of everything), as one step of the server.
    """
    memory = memory_key(keys, tag)
    for _ in range(_ATTEMPTS):
        named, created = yield Call(Head(b"HMGET", memory), b"_sealed", b"_created")
        if created is None:
            return "gone"
        if named is None and not seal_plain:
            raise DecryptionError("the memory is not encrypted: seal_plain=True encrypts it")
        under = _under(named)
        if named is not None and id_of(under) == keyring.first:
            return "already"
        record = yield from record_of(keys, tag)
        if record.life is None or _under(record.fields.get(b"_sealed")) != under:
            continue
        stamps = memory + b"~stamps"
        notes = yield Call(Head(b"HKEYS", stamps))
        old = Sealer(keyring, memory, takes_plain=named is None)
        new = Sealer(keyring, memory)
        arguments = [record.fields[b"_version"], under, keyring.first.hex().encode()]
        renamed = list(_notes(old, new, notes))
        arguments += (b"%d" % (len(renamed) // 2), *renamed, *_attributes(old, new, record))
        every = (memory, stamps, *(memory + b":" + name for name in record.containers))
        if (yield Call(Head.script(SCRIPTS["reseal"], every), *arguments)) == b"ok":
            return "rotated"
    raise OfflineError("others change the memory all the time: it is still under the old key")


def _under(named: bytes | None) -> bytes:
    """The key in what a memory says of it."""
    return (named or b"").partition(b"!")[0]


def _notes(old: Sealer, new: Sealer, fields: list[bytes]) -> Iterator[bytes]:
    """The fields of the notes of deleted keys, each with the one that it becomes."""
    for field in fields:
        name, zero, form = field.partition(b"\0")
        if zero:
            canonical = Sealed(old, name).opened_form(DICT, form)
            yield from (field, name + zero + Sealed(new, name).form(DICT, canonical))


def _attributes(old: Sealer, new: Sealer, record: Record) -> Iterator[bytes]:
    for name in record.names:
        field = record.fields[name]
        kind, sealed = field[:1], Sealed(new, name)
        plain = Sealed(old, name).opened_field(field)
        elements: list[bytes] = []
        if kind in CONTAINERS:
            _, held = sealed_replies.held(old, name, field, record.contents[name])
            elements = list(sealed.sealed(kind, held))
        yield from (name, sealed.sealed_field(plain), b"%d" % len(elements), *elements)


def rotate(state: State, *, seal_plain: bool) -> Flow[bool]:
    """Put the values of a memory under the first key; whether they were under another one.

    What waits is delivered first. Errors and cost as of `rekey`.

    Raises:
        ConfigurationError: There is no key.
    """
    sealer = state.sealer
    if sealer is None:
        raise ConfigurationError("the memory has no encryption_key, so there is nothing to rotate")
    yield from present(state)
    done = yield from rekey(state.directory, state.keys.tag, sealer.keyring, seal_plain=seal_plain)
    sealer.use(sealer.keyring.first)
    return done == "rotated"
