"""How the Redis keys of a memory are built from prefix, id and attribute.

`<prefix>{<id>}` is the memory's hash, `<prefix>{<id>}:<attribute>` holds the elements of one
container. The part in braces is the hash tag, so all keys of one memory lie in one cluster slot.
`<prefix>~conversations` is the index of the directory, in a slot of its own.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote
from uuid import UUID

from redis_memory.errors import (
    ConfigurationError,
    CorruptValueError,
    InvalidIdError,
    InvalidNameError,
)

MAX_ID_BYTES: Final = 512
MAX_NAME_BYTES: Final = 512
MAX_PREFIX_BYTES: Final = 512

# `%` stands alone in no quoted id, so the memory of a whole prefix cannot meet a conversation
NO_ID: Final = b"%"


def _quoted(text: str, safe: str) -> str:
    return quote(text, safe=safe, errors="surrogatepass")


def normal_id(conversation_id: str | UUID) -> str:
    """Return a conversation id as text.

    Raises:
        InvalidIdError: It is empty, over 512 bytes in UTF-8, or neither text nor a UUID.
    """
    if isinstance(conversation_id, UUID):
        return str(conversation_id)
    if not isinstance(conversation_id, str):
        kind = type(conversation_id).__name__
        raise InvalidIdError(f"a conversation id is a str or a UUID, not {kind}")
    size = len(conversation_id.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_ID_BYTES:
        raise InvalidIdError(f"a conversation id has 1 to {MAX_ID_BYTES} bytes, this one {size}")
    return conversation_id


def check_name(name: object) -> bytes:
    """Return an attribute name as the bytes stored in Redis.

    Raises:
        InvalidNameError: It is no text, empty, over 512 bytes in UTF-8, or begins with `_`.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"an attribute name is a str, not {type(name).__name__}")
    encoded = name.encode("utf-8", "surrogatepass")
    if not 0 < len(encoded) <= MAX_NAME_BYTES:
        raise InvalidNameError(
            f"an attribute name has 1 to {MAX_NAME_BYTES} bytes, this one {len(encoded)}"
        )
    if name.startswith("_"):
        raise InvalidNameError(f"{name[:40]!r}: names that begin with an underscore are not stored")
    return encoded


def name_text(encoded: bytes) -> str:
    """Return a stored attribute name as text.

    Raises:
        CorruptValueError: It is no name that the library stored.
    """
    try:
        return encoded.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptValueError("the memory holds a field that is no attribute of ours") from error


def tag_of(conversation_id: str) -> bytes:
    """A conversation id as it stands in keys, and in the directory."""
    return _quoted(conversation_id, safe=":@").encode()


def id_of(tag: bytes) -> str:
    """The conversation id that stands so in keys.

    Raises:
        CorruptValueError: No id does.
    """
    try:
        text = tag.decode("ascii")
        conversation_id = unquote(text, errors="surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptValueError("a key or an entry of the directory is not ours") from error
    if not conversation_id or tag_of(conversation_id) != tag:
        raise CorruptValueError("a key or an entry of the directory is not ours")
    return conversation_id


def quoted_prefix(prefix: str) -> str:
    """A prefix as it stands in keys; no character of it has a meaning in patterns.

    Raises:
        ConfigurationError: It is too long.
    """
    if len(prefix.encode("utf-8", "surrogatepass")) > MAX_PREFIX_BYTES:
        raise ConfigurationError(f"a prefix has at most {MAX_PREFIX_BYTES} bytes")
    return _quoted(prefix, safe=":/@")


class DirectoryKeys:
    """The keys of the directory of one prefix, both in one cluster slot.

    `index` is a sorted set of conversations by last activity, `expiring` one of those that have a
    lifetime by its end. No memory has such keys: there is no brace in the first, and no memory's
    key ends as the second does.
    """

    __slots__ = ("expiring", "index", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix: bytes = quoted_prefix(prefix).encode()
        self.index: bytes = self.prefix + b"~conversations"
        self.expiring: bytes = b"%b~expiring{%b}%%" % (self.prefix, self.index)


class Keys:
    """The keys of one memory.

    Characters with a meaning in Redis keys or patterns are percent-encoded in prefix and id, so
    no id reaches the keys of another, and no pattern matches more than it says.
    """

    __slots__ = ("feed", "memory", "prefix", "stamps", "tag")

    def __init__(self, prefix: str, conversation_id: str | None) -> None:
        self.prefix: str = quoted_prefix(prefix)
        self.tag: bytes = NO_ID if conversation_id is None else tag_of(conversation_id)
        self.memory: bytes = b"%b{%b}" % (self.prefix.encode(), self.tag)
        # when what was deleted, for changes that arrive late
        self.stamps: bytes = self.memory + b"~stamps"
        # the channel on which changes are told
        self.feed: bytes = self.memory + b"~feed"

    def content(self, name: bytes) -> bytes:
        """The key that holds the elements of a container attribute."""
        return self.memory + b":" + name
