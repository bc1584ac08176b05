"""Which exit code an error of the library means, and how text about it is kept free of secrets."""

from __future__ import annotations

import re
from typing import Final

from redis_memory.errors import (
    ConfigurationError,
    EmbeddedServerError,
    InvalidIdError,
    InvalidNameError,
    OfflineError,
    RedisMemoryError,
    UnknownConversationError,
    UnstorableValueError,
)

FAILED: Final = 1
MISUSED: Final = 2
UNREACHABLE: Final = 3
UNKNOWN: Final = 4

# Who is let in to a server stands between `://` and the last `@`, or in the query.
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)\S*@", re.IGNORECASE)
_QUERY = re.compile(r"\b(password=)[^&\s]*", re.IGNORECASE)


class UnknownAttributeError(RedisMemoryError, LookupError):
    """The conversation has no such attribute."""


# What commands may raise that is nobody's mistake but the caller's, or the world's. ValueErrors
# are those of arguments; of what the library itself does wrong a trace is shown.
FAILURES: Final = (RedisMemoryError, OSError, ValueError)

_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (UnknownConversationError, UNKNOWN),
    (UnknownAttributeError, UNKNOWN),
    (OfflineError, UNREACHABLE),
    (EmbeddedServerError, UNREACHABLE),
    (ConfigurationError, MISUSED),
    (InvalidIdError, MISUSED),
    (InvalidNameError, MISUSED),
    (UnstorableValueError, MISUSED),
    (RedisMemoryError, FAILED),
    (OSError, FAILED),
    (ValueError, MISUSED),
)


def code_of(error: Exception) -> int:
    """The exit code that an error means."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def without_secrets(text: str) -> str:
    """The text, with stars in the place of each user, password and token of a url."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", text))
