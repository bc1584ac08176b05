"""The keys of the settings: from text to bytes, and found again where a pickle is opened."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Any, Final

from redis_memory.errors import ConfigurationError

KEY_BYTES: Final = 32
_HEX_DIGITS: Final = 2 * KEY_BYTES
VARIABLE: Final = "REDIS_MEMORY_ENCRYPTION_KEY"

_known: dict[str, str] = {}


def secret_text(given: Any) -> str:
    """A key that is given as text, or hidden in a SecretStr.

    Raises:
        ValueError: It is neither.
    """
    hidden = getattr(given, "get_secret_value", None)
    text = given if hidden is None else hidden()
    if not isinstance(text, str):
        raise ValueError("a key is text: base64 or hex of 32 bytes")  # noqa: TRY004 - for pydantic
    return text


def encryption_keys(text: str) -> tuple[bytes, ...]:
    """The keys in a text, the first one first.

    Raises:
        ValueError: One of them is no key; the message does not show it.
    """
    parts = [part.strip() for part in text.split(",")]
    keys = tuple(_key(part, at) for at, part in enumerate(parts, 1))
    if len(set(keys)) < len(keys):
        raise ValueError("the same key is given twice")
    return keys


def _key(text: str, at: int) -> bytes:
    try:
        if len(text) == _HEX_DIGITS:
            key = bytes.fromhex(text)
        else:
            standard = text.replace("-", "+").replace("_", "/").rstrip("=")
            key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        # from None, and outside: the cause would show the text
        raise ValueError(f"key {at} is not 32 bytes as base64 or hex")
    return key


def fingerprint(text: str) -> str:
    """What stands for the keys in a pickle."""
    digest = hashlib.sha256(b"redis_memory pickle " + b"".join(encryption_keys(text)))
    return digest.hexdigest()[:16]


def remember(text: str) -> str:
    """Note keys that this process uses; their fingerprint."""
    found = fingerprint(text)
    _known[found] = text
    return found


def recalled(mark: str) -> str:
    """The keys with that fingerprint, or those of the environment.

    Raises:
        ConfigurationError: This process knows none: values must not be written as they are.
    """
    text = _known.get(mark) or os.environ.get(VARIABLE)
    if text is None:
        raise ConfigurationError(
            f"the memory was encrypted where it was pickled: set {VARIABLE} here too"
        )
    return text
