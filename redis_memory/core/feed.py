"""The feed: what a message tells of a change, and who hears of it.

Each script that changes something publishes on the memory's channel, in the same step, so messages
come in the order of versions. `lua/announce.lua` says what they hold.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

from redis_memory.core.contents import pieces
from redis_memory.core.descriptor import LIST
from redis_memory.core.keys import name_text
from redis_memory.core.sealed_values import Sealed
from redis_memory.core.sealing import Sealer
from redis_memory.core.state import State
from redis_memory.errors import CorruptValueError, DecryptionError

SET: Final = b"s"
APPENDED: Final = b"a"
APPENDED_MANY: Final = b"m"
CHANGED: Final = b"c"
DELETED: Final = b"d"
CLEARED: Final = b"x"
# a lock or a claim was given up
RELEASED: Final = b"l"
# the memory has another lifetime
LIFETIME: Final = b"e"

# who, what, and the length of the name; `_l` is a lease
_BEGINNING: Final = re.compile(rb"(_[wl][0-9a-f]{18})([samcdxle])(\d{1,4}):")
_DESCRIPTOR: Final = re.compile(rb"[a-z]([0-9a-f]{13})[^;]*;")
_VERSION: Final = re.compile(rb"([0-9a-f]{13})[0-9a-f]*;")


class News:
    """One message. `descriptor` is that of the new state, without one what is left is the version.

    `payload` holds what was set or appended, packed; b"" where only a read tells.
    """

    __slots__ = ("descriptor", "name", "payload", "version", "what", "writer")

    def __init__(self, message: bytes) -> None:
        begins = _BEGINNING.match(message)
        if begins is None:
            raise ValueError("no message of ours")
        self.writer: bytes = begins[1]
        self.what: bytes = begins[2]
        at, to = begins.end(), begins.end() + int(begins[3])
        form = _VERSION if self.what in (DELETED, CLEARED, LIFETIME) else _DESCRIPTOR
        state = form.match(message, to)
        if state is None:
            raise ValueError("no message of ours")
        self.name: str = name_text(message[at:to])
        if (not self.name) is not (self.what in (CLEARED, LIFETIME)):
            raise ValueError("no message of ours")
        self.descriptor: bytes = state[0]
        self.version: bytes = state[1]
        self.payload: bytes = message[state.end() :]

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
    elif news.what != LIFETIME:
        known = state.attributes.get(news.name)
        if known is not None and known.newest < news.version:
            known.newest = news.version
    if state.sealer is not None and state.listeners and news.payload:
        _open(state.sealer, news)
    for listener in list(state.listeners):
        listener.hear(news)


def _open(sealer: Sealer, news: News) -> None:
    """Open what was set or appended; what cannot be opened is left to who reads it."""
    sealed = Sealed(sealer, news.name.encode("utf-8", "surrogatepass"))
    try:
        if news.what == SET:
            news.payload = sealed.opened_scalar(news.descriptor[:1], news.payload)
        elif news.what == APPENDED:
            news.payload = sealed.opened_element(LIST, news.payload)
        elif news.what == APPENDED_MANY:
            values = sealed.opened(LIST, list(pieces(news.payload)))
            news.payload = b"".join(b"%d:%b" % (len(value), value) for value in values)
    except (DecryptionError, ValueError):
        news.what, news.payload = CHANGED, b""


def follow(state: State, session: int) -> None:
    """From now on every change of the memory is heard of; none any more where `session` is 0."""
    if state.session != session:
        # what an earlier session told may have been lost by the server since: everything is read
        # again, and what is stored now counts
        for attribute in list(state.attributes.values()) if session else ():
            attribute.newest = b""
        state.session = session
        for listener in list(state.listeners):
            listener.wake()
