"""The attributes of an encrypted conversation as they stand in a line of an archive."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from redis_memory.core.sealing import LINE, Keyring, Sealer
from redis_memory.errors import DecryptionError

# The form of no dict is named so.
_SEALED: Final = "$sealed"


def sealed(keyring: Keyring, tag: bytes, attributes: Any) -> dict[str, str]:
    """Seal the attributes of the conversation with that id: the line holds no value in the open."""
    text = json.dumps(attributes, allow_nan=False, separators=(",", ":")).encode("ascii")
    envelope = _sealer(keyring, tag).seal(LINE, b"", text)
    return {_SEALED: base64.b64encode(envelope).decode("ascii")}


def opened(keyring: Keyring | None, tag: bytes, attributes: Any) -> Any:
    """Open what `sealed` gave; what is not sealed stays as it is.

    Raises:
        DecryptionError: It cannot be opened.
    """
    if not isinstance(attributes, dict) or attributes.keys() != {_SEALED}:
        return attributes
    if keyring is None:
        raise DecryptionError("the line is encrypted, and no encryption_key is set here")
    envelope = base64.b64decode(attributes[_SEALED], validate=True)
    return json.loads(_sealer(keyring, tag).open(LINE, b"", envelope))


def _sealer(keyring: Keyring, tag: bytes) -> Sealer:
    # not the memory's own: a conversation may be loaded under another prefix
    return Sealer(keyring, b"archive " + tag)
