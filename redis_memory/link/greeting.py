"""What a new link asks the server before it is used: is it Redis, new enough, and willing?"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from redis_memory.errors import AccessDeniedError, UnsupportedServerError
from redis_memory.link.failures import LinkFailureError, code_and_text, from_reply

MINIMUM = (6, 2)

Greeting = Generator[tuple[bytes, ...], Any, None]


def greeting(where: str, *, must_lead: bool = False) -> Greeting:
    """Yields commands, is sent their replies (errors too), and raises what forbids the server.

    Raises:
        UnsupportedServerError: Older than 6.2, or without scripts.
        AccessDeniedError: The user must authenticate, or may not run scripts.
        LinkFailureError: It does not serve now, or it must be a primary and is none.
    """
    reply = yield (b"HELLO",)
    if isinstance(reply, Exception):
        code, text = code_and_text(reply)
        if "unknown command" in text.lower():
            raise UnsupportedServerError(f"{where} is older than 6.2: it does not know HELLO")
        if code != "NOPERM":  # who may not ask for the version may still be welcome
            raise from_reply(reply)
    else:
        fields = reply if isinstance(reply, dict) else _paired(reply)
        _check_version(where, fields)
        if must_lead:
            check_role(where, fields)
    reply = yield (b"EVALSHA", b"0" * 40, b"0")
    if not isinstance(reply, Exception):
        return
    code, text = code_and_text(reply)
    if "unknown command" in text.lower():
        raise UnsupportedServerError(f"{where} forbids scripts (EVALSHA), which every change needs")
    if code == "NOPERM":
        raise AccessDeniedError(f"{where} forbids this user scripts (it needs +evalsha and +eval)")
    if code != "NOSCRIPT":
        raise from_reply(reply)


def _paired(reply: list[Any]) -> dict[Any, Any]:
    return dict(zip(reply[::2], reply[1::2], strict=False))


def check_role(where: str, reply: Any) -> None:
    """Refuse a server that says in its answer to HELLO that it is a replica.

    Raises:
        LinkFailureError: It is one; who was a primary a moment ago may be asked in vain.
    """
    fields = _paired(reply) if isinstance(reply, list) else reply
    if isinstance(fields, dict) and fields.get(b"role", b"master") != b"master":
        raise LinkFailureError(f"{where} leads to a replica at the moment", in_doubt=False)


def _check_version(where: str, fields: dict[Any, Any]) -> None:
    version = bytes(fields.get(b"version", b"")).decode("utf-8", "replace")
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and tuple(map(int, numbers.groups())) < MINIMUM:
        raise UnsupportedServerError(f"{where} is version {version}; 6.2 or later is needed")
