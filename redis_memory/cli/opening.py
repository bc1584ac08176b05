"""What commands open: the directory, and one conversation."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import redis_memory
from redis_memory.cli.failures import UnknownAttributeError

if TYPE_CHECKING:
    from redis_memory import ConversationMemory, Conversations, RedisMemoryError


def listed(url: str | None, prefix: str | None) -> Conversations:
    """The directory, for one command."""
    return redis_memory.Conversations(url, prefix=prefix)


def opened(conversation_id: str, url: str | None, prefix: str | None) -> ConversationMemory:
    """A conversation, for one command.

    Journals are left to the workers: who looks at a conversation delivers nothing of theirs.
    """
    return redis_memory.ConversationMemory(
        conversation_id, url, prefix=prefix, journal=None, read_mode="strong"
    )


def standard_input() -> IO[bytes]:
    """What is piped in.

    Raises:
        OSError: Whoever started the command has closed it.
    """
    # it is None then, which its type does not say
    given: Any = sys.stdin
    if given is None:
        raise OSError("cannot read standard input: it is closed")
    piped: IO[bytes] = given.buffer
    return piped


def value_of(memory: ConversationMemory, name: str) -> Any:
    """The value of an attribute, without proxies.

    Raises:
        KeyError: There is none.
    """
    value = memory[name]
    for kind, plain in (
        (redis_memory.SyncedList, "aslist"),
        (redis_memory.SyncedDict, "asdict"),
        (redis_memory.SyncedSet, "asset"),
    ):
        if isinstance(value, kind):
            return getattr(value, plain)()
    return value


def unknown_attribute(
    conversation_id: str, name: str, url: str | None, prefix: str | None
) -> RedisMemoryError:
    """The error for an attribute that is not there, or whose conversation is not."""
    with listed(url, prefix) as directory:
        if directory.exists(conversation_id):
            return UnknownAttributeError(
                f"the conversation {conversation_id!r} has no attribute {name!r}"
            )
    return redis_memory.UnknownConversationError(f"there is no conversation {conversation_id!r}")
