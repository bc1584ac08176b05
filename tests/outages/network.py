"""How networks fail the tests of this folder, and what they see pass by."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from redis_memory.core.scripts import SCRIPTS
from tests.faults import FaultProxy, Loss, Request
from tests.servers import Server

TIMEOUT_S = 0.3
PATIENT_S = 5.0
DRAIN_S = 8.0
# for a machine that does other things as well; to wait twice is still too long
GRACE_S = 0.25
# How a memory is opened that soon gives a server up, and soon finds it again.
QUICKLY: dict[str, Any] = {
    "timeout_s": TIMEOUT_S,
    "reconnect_max_s": 0.05,
    "close_timeout_s": 1.0,
}
LOST: tuple[Loss, ...] = ("reset", "eof", "half")
RECONNECTS = "redis-memory-reconnect"

AWAY: dict[str, Callable[[FaultProxy], None]] = {
    "refused": FaultProxy.refuse,
    "a black hole": FaultProxy.stall,
    "never answered": lambda proxy: proxy.lose_replies(math.inf, how="timeout", when=is_any),
}


def is_any(_: Request) -> bool:
    """Every request, greetings as well."""
    return True


def is_batch(request: Request) -> bool:
    """Whether a request replays changes that have waited."""
    script = SCRIPTS["batch"]
    return bool(request.arguments) and request.arguments[0] in (script.sha, script.source)


def is_change(request: Request) -> bool:
    """Whether a request changes something: it names its writer."""
    return any(argument.startswith(b"_w") for argument in request.arguments)


def fail_each_batch_once(proxy: FaultProxy, how: str) -> None:
    """Let every replay from now on fail when it is sent for the first time."""
    seen: set[tuple[bytes, ...]] = set()

    def is_new(request: Request) -> bool:
        what = request.arguments[1:]
        is_known = what in seen
        seen.add(what)
        return is_batch(request) and not is_known

    if how == "unsent":
        proxy.reset_before(math.inf, when=is_new)
    elif how == "slices":
        proxy.slice_replies()
    else:
        losses: dict[str, Loss] = {"reset": "reset", "eof": "eof", "half": "half"}
        proxy.lose_replies(math.inf, how=losses.get(how, "timeout"), when=is_new)


def at_each_batch(proxy: FaultProxy, act: Callable[[], object]) -> None:
    """Do something just before each replay reaches the server."""

    def look(request: Request) -> bool:
        if is_batch(request):
            act()
        return False

    proxy.reset_before(when=look)


def forget_writers(server: Server, name: str) -> None:
    """Remove the server's knowledge of who wrote what, and leave the attributes."""
    key = f"memory:{{{name}}}"
    fields: Any = server.client().hkeys(key)
    server.client().hdel(key, *(field for field in fields if field.startswith(b"_w")))


def reconnecting_threads() -> list[threading.Thread]:
    """The threads of the library that look for a server."""
    return [thread for thread in threading.enumerate() if thread.name == RECONNECTS]
