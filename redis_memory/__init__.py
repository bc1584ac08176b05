"""redis_memory: the state of one conversation, shared by many workers through Redis."""

import importlib
from typing import TYPE_CHECKING, Any

from redis_memory.control import (
    clear,
    close,
    conflicts,
    flush,
    increment,
    push,
    setdefault,
    snapshot,
    status,
    window,
)
from redis_memory.core.conflicts import EXISTS, MISSING, Conflict
from redis_memory.core.watching import Change
from redis_memory.errors import (
    AccessDeniedError,
    ClosedError,
    ConfigurationError,
    CorruptValueError,
    DataLossWarning,
    EmbeddedServerError,
    InDoubtError,
    InvalidIdError,
    InvalidNameError,
    InvalidValueError,
    JournalError,
    NotReplicatedError,
    OfflineError,
    QueueFullError,
    RedisMemoryError,
    ServerRefusedError,
    StaleProxyError,
    UnstorableValueError,
    UnsupportedServerError,
    ValueTooLargeError,
    WaitTimeoutError,
    WrongKindError,
)
from redis_memory.face import Status
from redis_memory.memory import ConversationMemory, Memory
from redis_memory.proxies import SyncedDict, SyncedList, SyncedSet
from redis_memory.settings import Settings
from redis_memory.watching import wait_for, watch

if TYPE_CHECKING:
    from redis_memory.aio import AsyncConversationMemory, AsyncHandle, AsyncMemory

__all__ = [
    "AccessDeniedError",
    "AsyncConversationMemory",
    "AsyncHandle",
    "AsyncMemory",
    "Change",
    "ClosedError",
    "ConfigurationError",
    "Conflict",
    "ConversationMemory",
    "CorruptValueError",
    "DataLossWarning",
    "EXISTS",
    "EmbeddedServerError",
    "InDoubtError",
    "InvalidIdError",
    "InvalidNameError",
    "InvalidValueError",
    "JournalError",
    "MISSING",
    "Memory",
    "NotReplicatedError",
    "OfflineError",
    "QueueFullError",
    "RedisMemoryError",
    "ServerRefusedError",
    "Settings",
    "StaleProxyError",
    "Status",
    "SyncedDict",
    "SyncedList",
    "SyncedSet",
    "UnstorableValueError",
    "UnsupportedServerError",
    "ValueTooLargeError",
    "WaitTimeoutError",
    "WrongKindError",
    "clear",
    "close",
    "conflicts",
    "flush",
    "increment",
    "push",
    "setdefault",
    "snapshot",
    "status",
    "wait_for",
    "watch",
    "window",
]

# asyncio and what builds on it take a tenth of the time that the import takes
_AWAITED = ("AsyncConversationMemory", "AsyncHandle", "AsyncMemory", "aio")


def __getattr__(name: str) -> Any:
    if name not in _AWAITED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    aio = importlib.import_module("redis_memory.aio")
    return aio if name == "aio" else getattr(aio, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_AWAITED})
