"""redis_memory: the state of one conversation, shared by many workers through Redis."""

import importlib
from typing import TYPE_CHECKING, Any

from redis_memory.blocks import batch, compare_and_set, transaction
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
    ConflictError,
    CorruptValueError,
    DataLossWarning,
    EmbeddedServerError,
    InDoubtError,
    InvalidIdError,
    InvalidNameError,
    InvalidValueError,
    JournalError,
    LeaseLostError,
    NotReplicatedError,
    OfflineError,
    QueueFullError,
    RedisMemoryError,
    ServerRefusedError,
    StaleClaimError,
    StaleProxyError,
    UnstorableValueError,
    UnsupportedServerError,
    ValueTooLargeError,
    WaitTimeoutError,
    WrongKindError,
)
from redis_memory.leases import Claim, claim, lock
from redis_memory.memory import ConversationMemory, Memory
from redis_memory.proxies import SyncedDict, SyncedList, SyncedSet
from redis_memory.retrying import retry_on_conflict
from redis_memory.settings import Settings
from redis_memory.standing import Status
from redis_memory.watching import wait_for, watch

if TYPE_CHECKING:
    from redis_memory.aio import AsyncClaim, AsyncConversationMemory, AsyncHandle, AsyncMemory

__all__ = [
    "AccessDeniedError",
    "AsyncClaim",
    "AsyncConversationMemory",
    "AsyncHandle",
    "AsyncMemory",
    "Change",
    "Claim",
    "ClosedError",
    "ConfigurationError",
    "Conflict",
    "ConflictError",
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
    "LeaseLostError",
    "MISSING",
    "Memory",
    "NotReplicatedError",
    "OfflineError",
    "QueueFullError",
    "RedisMemoryError",
    "ServerRefusedError",
    "Settings",
    "StaleClaimError",
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
    "batch",
    "claim",
    "clear",
    "close",
    "compare_and_set",
    "conflicts",
    "flush",
    "increment",
    "lock",
    "push",
    "retry_on_conflict",
    "setdefault",
    "snapshot",
    "status",
    "transaction",
    "wait_for",
    "watch",
    "window",
]

# asyncio and what builds on it take a tenth of the time that the import takes
_AWAITED = ("AsyncClaim", "AsyncConversationMemory", "AsyncHandle", "AsyncMemory", "aio")


def __getattr__(name: str) -> Any:
    if name not in _AWAITED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    aio = importlib.import_module("redis_memory.aio")
    return aio if name == "aio" else getattr(aio, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_AWAITED})
