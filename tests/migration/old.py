"""What the old packages write, written by a hand of our own."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.servers import Server

DAY_NS = 86_400 * 10**9


def key_of(name: str, conversation_id: str | None = None, prefix: str = "memory:") -> str:
    """Where they keep an attribute."""
    return f"{prefix}{name}" if conversation_id is None else f"{prefix}{conversation_id}:{name}"


class OldWorkers:
    """Workers with the old packages, at one server."""

    def __init__(self, server: Server, prefix: str = "memory:") -> None:
        self.client = server.client()
        self.prefix = prefix

    def assign(
        self,
        conversation_id: str | None,
        name: str,
        value: Any,
        *,
        days_ago: float = 0.0,
        at_ns: int | None = None,
    ) -> int:
        """Assign an attribute; its `last_modified`."""
        modified = time.time_ns() - int(days_ago * DAY_NS) if at_ns is None else at_ns
        payload = json.dumps({"value": value, "last_modified": modified})
        self.client.set(key_of(name, conversation_id, self.prefix), payload)
        return modified

    def append(self, conversation_id: str, name: str, value: Any) -> None:
        """Append to a list as 0.3 and 0.4 do: `last_modified` stays what it was."""
        key = key_of(name, conversation_id, self.prefix)
        raw: Any = self.client.get(key)
        payload = json.loads(raw)
        payload["value"].append(value)
        self.client.set(key, json.dumps(payload))

    def keys(self) -> set[bytes]:
        """The old keys that are there."""
        found: Any = self.client.keys("*")
        return {key for key in found if self.client.type(key) == b"string"}


def everything(server: Server) -> dict[bytes, Any]:
    """All that the server holds, byte by byte."""
    client = server.client()
    keys: Any = client.keys("*")
    return {key: client.dump(key) for key in keys}
