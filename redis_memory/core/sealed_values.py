"""The values of one attribute, sealed and opened in the forms in which they lie and travel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from redis_memory.core.descriptor import DICT, LIST, NUMBER, SET, VALUE
from redis_memory.core.sealing import (
    ELEMENT,
    ITEM,
    KEY,
    KEY_FORM,
    MEMBER,
    MEMBER_FORM,
    Sealer,
)
from redis_memory.errors import DecryptionError

_SCALARS = (NUMBER, VALUE)
_FIELD = re.compile(rb"([nv])[0-9a-f]+;")
# turn and stamp, then what `lua/item.lua` puts before a value
_ITEM = re.compile(rb"([0-9a-f]{1,16}(?:,[0-9a-f~]{1,32})?)(?:;|:([0-9]{1,10}):)")


class Sealed:
    """Seals and opens what belongs to one attribute."""

    __slots__ = ("_name", "_sealer")

    def __init__(self, sealer: Sealer, name: bytes) -> None:
        self._sealer: Sealer = sealer
        self._name: bytes = name

    def scalar(self, kind: bytes, payload: bytes) -> bytes:
        """Seal the bytes of a scalar."""
        return self._sealer.seal(kind, self._name, payload)

    def opened_scalar(self, kind: bytes, payload: bytes) -> bytes:
        """Open the bytes of a scalar."""
        return self._sealer.open(kind, self._name, payload)

    def opened_field(self, field: bytes) -> bytes:
        """Open the field of an attribute: of a container it is the descriptor alone."""
        found = _FIELD.match(field)
        if found is None or found.end() == len(field):
            return field
        return found[0] + self.opened_scalar(found[1], field[found.end() :])

    def sealed_field(self, field: bytes) -> bytes:
        """Seal what `opened_field` gave."""
        found = _FIELD.match(field)
        if found is None:
            return field
        return found[0] + self.scalar(found[1], field[found.end() :])

    def element(self, kind: bytes, value: bytes, where: bytes = b"") -> bytes:
        """Seal what one element of a list holds, the item of a dict under `where`, or a scalar."""
        if kind == DICT:
            return self._sealer.seal(ITEM, self._name, value, where)
        if kind == LIST:
            return self._sealer.seal(ELEMENT, self._name, value)
        return self.scalar(kind, value)

    def opened_element(self, kind: bytes, value: bytes, where: bytes = b"") -> bytes:
        """Open what `element` gave."""
        if kind == DICT:
            return self._sealer.open(ITEM, self._name, value, where)
        if kind == LIST:
            return self._sealer.open(ELEMENT, self._name, value)
        return self.opened_scalar(kind, value)

    def form(self, kind: bytes, canonical: bytes) -> bytes:
        """Seal the canonical form of a key of a dict, or of an element of a set."""
        place = MEMBER_FORM if kind == SET else KEY_FORM
        return self._sealer.seal(place, self._name, canonical)

    def opened_form(self, kind: bytes, form: bytes) -> bytes:
        """Open what `form` gave."""
        place = MEMBER_FORM if kind == SET else KEY_FORM
        return self._sealer.open(place, self._name, form)

    def arguments(self, kind: bytes, own: Sequence[bytes]) -> Iterator[bytes]:
        """Seal elements as changes have them: of a dict in triples, of a set in pairs."""
        if kind == LIST:
            yield from (self.element(LIST, value) for value in own)
        elif kind == DICT:
            for canonical, spelling, value in zip(own[::3], own[1::3], own[2::3], strict=True):
                yield self.form(DICT, canonical)
                yield self._sealer.seal(KEY, self._name, spelling, canonical)
                yield self.element(DICT, value, canonical)
        elif kind == SET:
            for canonical, spelling in zip(own[::2], own[1::2], strict=True):
                yield self.form(SET, canonical)
                yield self._sealer.seal(MEMBER, self._name, spelling, canonical)
        else:
            yield self.scalar(kind, *own)

    def opened(self, kind: bytes, stored: Sequence[bytes]) -> list[bytes]:
        """Open elements as they lie in Redis."""
        if kind == LIST:
            return [self.opened_element(LIST, value) for value in stored]
        found: list[bytes] = []
        for form, rest in zip(stored[::2], stored[1::2], strict=True):
            found += self.opened_pair(kind, form, rest)
        return found

    def sealed(self, kind: bytes, plain: Sequence[bytes]) -> Iterator[bytes]:
        """Seal what `opened` gave."""
        if kind != DICT:
            yield from self.arguments(kind, plain)
            return
        for canonical, item in zip(plain[::2], plain[1::2], strict=True):
            head, spelling, value = _parted(item)
            spelling = self._sealer.seal(KEY, self._name, spelling, canonical)
            yield self.form(DICT, canonical)
            yield _joined(head, spelling, self.element(DICT, value, canonical))

    def opened_pair(self, kind: bytes, form: bytes, rest: bytes) -> tuple[bytes, bytes]:
        """Open a field of the hash that a dict or a set is."""
        canonical = self.opened_form(kind, form)
        if kind == SET:
            return canonical, rest and self._sealer.open(MEMBER, self._name, rest, canonical)
        return canonical, self.opened_item(canonical, rest)

    def opened_item(self, canonical: bytes, item: bytes) -> bytes:
        """Open the item of a dict under a key that is open."""
        head, spelling, value = _parted(item)
        spelling = spelling and self._sealer.open(KEY, self._name, spelling, canonical)
        return _joined(head, spelling, self.opened_element(DICT, value, canonical))


def _parted(item: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before the key of an item, the key as spelled, the value."""
    found = _ITEM.match(item)
    if found is None:
        raise DecryptionError("an item of a stored dict is damaged")
    start = found.end()
    end = start + int(found[2] or 0)
    return found[1], item[start:end], item[end:]


def _joined(head: bytes, spelling: bytes, value: bytes) -> bytes:
    if not spelling:
        return head + b";" + value
    return b"%b:%d:%b%b" % (head, len(spelling), spelling, value)
