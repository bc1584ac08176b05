"""What the server answers where values are sealed, opened for the flow that asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis_memory.core import contents
from redis_memory.core.descriptor import CONTAINERS, DICT, LIST, SET
from redis_memory.core.parts import Together
from redis_memory.core.sealed_values import Sealed
from redis_memory.core.sealed_words import kind_of_swap, runs
from redis_memory.core.sealing import Sealer
from redis_memory.errors import DecryptionError


class Asked:
    """One change as the server was asked to make it: its script, attribute, and own arguments."""

    __slots__ = ("name", "operation", "own", "script", "sealed")

    def __init__(self, sealer: Sealer, script: str, name: bytes, given: Sequence[bytes]) -> None:
        self.script: str = script
        self.name: bytes = name
        self.operation: bytes = given[1] if len(given) > 1 else b""
        self.own: Sequence[bytes] = given[2:]
        self.sealed: Sealed = Sealed(sealer, name)

    def result(self, result: bytes, status: bytes) -> bytes:
        """Open what a change hands out."""
        if not result:
            return result
        sealed = self.sealed
        if status == b"conflict" and self.script == "swap":
            return sealed.opened_element(kind_of_swap(self.own), result, self.own[0])
        if status == b"exists" and self.script == "dict":
            return sealed.opened_item(self.own[0], result)
        if status != b"ok" or self.operation != b"take":
            return result
        if self.script == "list":
            return sealed.opened_element(LIST, result)
        kind = DICT if self.script == "dict" else SET
        form, rest = sealed.opened_pair(kind, *contents.halves(result))
        return b"%d:%b%b" % (len(form), form, rest)


def changed(asked: Asked, reply: list[Any]) -> list[Any]:
    """The answer to one change."""
    status = reply[1]
    if status in (b"gap", b"undeclared", b"error"):
        return reply
    if status == b"duplicate":
        reply[3] = asked.result(reply[3], reply[2])
        return reply
    if asked.script == "together":
        return reply
    reply[2] = asked.sealed.opened_field(reply[2])
    reply[3] = asked.result(reply[3], status)
    if len(reply) > 4 and reply[4]:  # noqa: PLR2004 - what the caller's copy lacks
        reply[5] = asked.sealed.opened(reply[2][:1], reply[5])
    return reply


def read(sealed: Sealed, reply: Any) -> Any:
    """The answer to `read` and to `window`: nothing, or a field and perhaps elements."""
    if not isinstance(reply, list) or not reply[0]:
        return reply
    reply[0] = sealed.opened_field(reply[0])
    if len(reply) > 1 and isinstance(reply[-1], list):
        reply[-1] = sealed.opened(reply[0][:1], reply[-1])
    return reply


def fields(sealer: Sealer, flat: Sequence[bytes]) -> list[bytes]:
    """Fields of a memory's hash, in pairs; those that are no attributes stay as they are."""
    found: list[bytes] = []
    for name, field in zip(flat[::2], flat[1::2], strict=True):
        is_attribute = not name.startswith(b"_")
        found += (name, Sealed(sealer, name).opened_field(field) if is_attribute else field)
    return found


def held(sealer: Sealer, name: bytes, field: bytes, content: list[Any]) -> list[Any]:
    """Type and elements of a container."""
    stored_as, elements = content
    kind = field[:1]
    # of another type of key nothing is known here: whoever reads it refuses it
    if kind not in CONTAINERS or stored_as != (b"list" if kind == LIST else b"hash"):
        return content
    return [stored_as, Sealed(sealer, name).opened(kind, elements)]


def snapshot(sealer: Sealer, names: Sequence[bytes], reply: list[Any]) -> list[Any]:
    """All attributes; `names` are the containers that were asked for."""
    flat, *contents_held = reply
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    opened = [
        held(sealer, name, found.get(name, b""), content)
        for name, content in zip(names, contents_held, strict=True)
    ]
    return [fields(sealer, flat), *opened]


def batch(sealer: Sealer, given: Sequence[bytes], reply: list[Any]) -> list[Any]:
    """What became of the changes of a batch, and what is told of each."""
    if reply[0] == b"gap":
        return reply
    asked: dict[bytes, Asked] = {}
    turn = int(given[0]) - 1
    for before, own in runs(given):
        turn += int(before[1])
        script, name = before[0].decode(), before[2]
        asked[b"%d" % turn] = Asked(sealer, script, name, own)
        if script == "together":
            for which, part in enumerate(Together.unpacked(own).parts):
                one = Asked(sealer, part.script, part.name, part.arguments)
                asked[b"%d.%d" % (turn, which)] = one
    reply[2] = _told(sealer, asked, reply[2])
    reply[6] = _told(sealer, asked, reply[6])
    return reply


def _told(sealer: Sealer, asked: dict[bytes, Asked], text: bytes) -> bytes:
    told = b""
    for record in contents.pieces(text):
        parts = list(contents.pieces(record))
        one = asked.get(parts[0])
        if one is not None:
            # what cannot be opened is told as it is, or nothing behind it would ever be delivered
            with suppress(DecryptionError):
                parts = _opened(sealer, one, parts)
        told += _row([_row(parts)])
    return told


def _row(parts: Sequence[bytes]) -> bytes:
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


def _opened(sealer: Sealer, asked: Asked, parts: list[bytes]) -> list[bytes]:
    turn, status, winner, key, at, value, *elements = parts
    sealed = asked.sealed
    if not winner:
        return [turn, status, winner, key, at, asked.result(value, status), *elements]
    if key and asked.script != "clear":
        key = sealed.opened_form(DICT, key)
        value = value and sealed.opened_item(key, value)
    else:
        if key:  # contested by one attribute of all
            sealed = Sealed(sealer, key)
        elements = sealed.opened(value[:1], elements) if elements else elements
        value = sealed.opened_field(value)
    return [turn, status, winner, key, at, value, *elements]
