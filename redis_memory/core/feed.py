"""The feed: what a message tells of a change, and who hears of it.

Each script that changes something publishes on the memory's channel, in the same step, so messages
come in the order of versions. `lua/announce.lua` says what they hold.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from redis_memory.core.keys import name_text
from redis_memory.core.state import State
from redis_memory.errors import CorruptValueError

SET: Final = b"s"
APPENDED: Final = b"a"
APPENDED_MANY: Final = b"m"
CHANGED: Final = b"c"
DELETED: Final = b"d"
CLEARED: Final = b"x"
# a lock or a claim was given up
RELEASED: Final = b"l"

# `_w` and 18 hexadecimal digits
_WRITER_BYTES: Final = 20


class News:
    """One message. `descriptor` is that of the new state, without one what is left is the version.

    `payload` holds what was set or appended, packed; b"" where only a read tells.
    """

    __slots__ = ("descriptor", "name", "payload", "version", "what", "writer")

    def __init__(self, message: bytes) -> None:
        self.writer: bytes = message[:_WRITER_BYTES]
        self.what: bytes = message[_WRITER_BYTES : _WRITER_BYTES + 1]
        length, _, rest = message[_WRITER_BYTES + 1 :].partition(b":")
        size = int(length)
        self.name: str = name_text(rest[:size])
        end = rest.index(b";", size) + 1
        self.descriptor: bytes = rest[size:end]
        self.payload: bytes = rest[end:]
        is_gone = self.what in (DELETED, CLEARED)
        self.version: bytes = rest[size : end - 1] if is_gone else rest[size + 1 : size + 14]

    @classmethod
    def of(cls, what: bytes, name: str, field: bytes) -> News:
        """What a message by an unknown writer would have said, from the field that is stored."""
        news = cls.__new__(cls)
        news.writer, news.what, news.name, news.payload = b"", what, name, b""
        news.descriptor = field
        news.version = field.removesuffix(b";") if what == DELETED else field[1:14]
        return news


class Listener(Protocol):
    """Who is told, in the feed's thread, of what happens to a memory. Must return at once."""

    def hear(self, news: News) -> Any:
        """Something was changed."""
        raise NotImplementedError

    def wake(self) -> Any:
        """The feed was lost, or listens again: anything may have happened in between."""
        raise NotImplementedError


def hear(state: State, message: bytes) -> None:
    """Take in a message for a memory."""
    try:
        news = News(message)
    except (ValueError, CorruptValueError):
        return  # of a new writer, which sees whether it may publish; or of a foreign hand
    if news.what == CLEARED:
        for attribute in list(state.attributes.values()):
            attribute.newest = max(attribute.newest, news.version)
    else:
        known = state.attributes.get(news.name)
        if known is not None and known.newest < news.version:
            known.newest = news.version
    for listener in list(state.listeners):
        listener.hear(news)


def follow(state: State, session: int) -> None:
    """From now on every change of the memory is heard of; with session 0, none is any more."""
    if state.session != session:
        state.session = session
        for listener in list(state.listeners):
            listener.wake()
