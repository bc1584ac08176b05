"""redis_memory: the state of one conversation, shared by many workers through Redis."""

from redis_memory.aio import AsyncConversationMemory, AsyncHandle, AsyncMemory
from redis_memory.control import (
    clear,
    close,
    increment,
    push,
    setdefault,
    snapshot,
    status,
    window,
)
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
    OfflineError,
    RedisMemoryError,
    ServerRefusedError,
    StaleProxyError,
    UnstorableValueError,
    UnsupportedServerError,
    ValueTooLargeError,
    WrongKindError,
)
from redis_memory.face import Status
from redis_memory.memory import ConversationMemory, Memory
from redis_memory.proxies import SyncedDict, SyncedList, SyncedSet
from redis_memory.settings import Settings

__all__ = [
    "AccessDeniedError",
    "AsyncConversationMemory",
    "AsyncHandle",
    "AsyncMemory",
    "ClosedError",
    "ConfigurationError",
    "ConversationMemory",
    "CorruptValueError",
    "DataLossWarning",
    "EmbeddedServerError",
    "InDoubtError",
    "InvalidIdError",
    "InvalidNameError",
    "Memory",
    "OfflineError",
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
    "WrongKindError",
    "clear",
    "close",
    "increment",
    "push",
    "setdefault",
    "snapshot",
    "status",
    "window",
]
