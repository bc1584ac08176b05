"""SCAN of one server, step by step; anew where another server may answer by now."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from redis_memory.core.calls import Call

# What sends a call; in an event loop it gives what is to be awaited.
Send = Callable[[Call], Any]


def is_scan(call: Call) -> bool:
    """Is it a step of a SCAN?"""
    return call.head.parts[0] == b"SCAN"


def scanning(link: Any, call: Call) -> Generator[tuple[Send, Call], Any, list[Any]]:
    """One step of a SCAN. The cursor says which of the link's connections have given it.

    It begins anew after a reconnection: to a server that was restarted, or has taken over, the
    cursor means another place, and keys would be passed over. So a key may be told twice.
    Yields what sends, and what is to be sent.
    """
    cursor, *others = call.arguments
    given, _, position = cursor.rpartition(b":")
    while True:
        reconnects = b"%d" % link.reconnects
        if given != reconnects:
            given, position = reconnects, b"0"
        after, keys = yield link.execute, Call(call.head, position, *others)
        # the call itself may have met the other server
        if b"%d" % link.reconnects == given:
            break
    return [after if after in (b"0", 0) else b"%b:%b" % (given, after), keys]
