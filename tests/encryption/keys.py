"""The keys of the tests, what must be seen nowhere, and where to look for it."""

from __future__ import annotations

import base64
from typing import Any, Final

from redis_memory.core.sealing import Keyring, Sealer
from tests.servers import Server

OLD_BYTES: Final = bytes(range(32))
NEW_BYTES: Final = bytes(range(32, 64))
OLD: Final = OLD_BYTES.hex()
NEW: Final = base64.b64encode(NEW_BYTES).decode()
# New memories are put under the new key, and those of before are read.
BOTH: Final = [NEW, OLD]

MARKER: Final = "Ottilie-7731"


def sealer(label: bytes = b"memory:{c}", *secrets: bytes) -> Sealer:
    """What seals the values of a memory."""
    return Sealer(Keyring(secrets or (OLD_BYTES,)), label)


def dumped(server: Server) -> bytes:
    """Everything that the server holds, keys and values."""
    client = server.client()
    found: list[Any] = []
    for key in client.keys("*"):
        kind = client.type(key)
        found.append(key)
        if kind == b"hash":
            found += [part for pair in client.hgetall(key).items() for part in pair]
        elif kind == b"list":
            found += client.lrange(key, 0, -1)
        elif kind == b"zset":
            found += client.zrange(key, 0, -1)
        else:
            raise AssertionError(f"nobody looks into a {kind!r}")
    return b"\0".join(found)
