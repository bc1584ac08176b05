"""Journals of encrypted memories: numbers and names as ever, and the change itself sealed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack  # type: ignore[import-untyped]

from redis_memory.core.queue import Store
from redis_memory.core.sealing import RECORD, Sealer
from redis_memory.errors import DecryptionError

# A sealed record: number, script, name, and the record.
_PARTS = 4
_SEALED_AT = 3


class SealedStore:
    """A journal whose records are sealed before they are written."""

    size_bytes: int

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store: Store = store
        self._sealer: Sealer = sealer
        self.size_bytes = store.size_bytes

    def append(self, record: bytes) -> None:
        """As of the journal."""
        self._store.append(sealed(self._sealer, record))
        self.size_bytes = self._store.size_bytes

    def rewrite(self, records: Iterable[bytes]) -> None:
        """As of the journal."""
        self._store.rewrite(sealed(self._sealer, record) for record in records)
        self.size_bytes = self._store.size_bytes

    def remove(self) -> None:
        """As of the journal."""
        self._store.remove()

    def close(self) -> None:
        """As of the journal."""
        self._store.close()

    def sync(self) -> None:
        """As of the journal."""
        self._store.sync()


def sealed(sealer: Sealer, record: bytes) -> bytes:
    """A record as it is written; a mark holds no value and stays as it is."""
    parts: Any = msgpack.unpackb(record, use_list=False)
    if not isinstance(parts[0], int):
        return record
    turn, script, name, *_ = parts
    packed: bytes = msgpack.packb([turn, script, name, sealer.seal(RECORD, name, record)]) or b""
    return packed


def opened(sealer: Sealer | None, record: bytes) -> bytes:
    """The record that was sealed.

    Raises:
        DecryptionError: It cannot be opened; or it is encrypted and the memory is not, or the
            other way round.
    """
    parts: Any = msgpack.unpackb(record, use_list=False)
    if not isinstance(parts[0], int):
        return record
    if (len(parts) == _PARTS) is not (sealer is not None):
        raise DecryptionError("only one of the journal and the memory is encrypted")
    if sealer is None:
        return record
    return sealer.open(RECORD, parts[2], parts[_SEALED_AT])
