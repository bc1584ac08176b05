"""redis_memory: the state of one conversation, shared by many workers through Redis."""

import importlib
from typing import TYPE_CHECKING, Any

from redis_memory.archiving import ExportReport, LoadReport
from redis_memory.blocks import batch, compare_and_set, transaction
from redis_memory.control import (
    clear,
    close,
    conflicts,
    expire,
    flush,
    increment,
    push,
    setdefault,
    snapshot,
    status,
    window,
)
from redis_memory.conversations import Conversations
from redis_memory.core.conflicts import EXISTS, MISSING, Conflict
from redis_memory.core.index import Stats
from redis_memory.core.inspection import AttributeInfo, ConversationInfo
from redis_memory.core.lines import Damaged
from redis_memory.core.listing import Entry, Page
from redis_memory.core.reindexing import ReindexReport
from redis_memory.core.watching import Change
from redis_memory.errors import (
    AccessDeniedError,
    ArchiveError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    ConversationExistsError,
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
    UnknownConversationError,
    UnstorableValueError,
    UnsupportedServerError,
    ValueTooLargeError,
    WaitTimeoutError,
    WrongKindError,
)
from redis_memory.leases import Claim, claim, lock
from redis_memory.memory import ConversationMemory, Memory
from redis_memory.proxies import SyncedDict, SyncedList, SyncedSet
from redis_memory.pruning import PruneReport
from redis_memory.retrying import retry_on_conflict
from redis_memory.settings import Settings
from redis_memory.standing import Status
from redis_memory.watching import wait_for, watch

if TYPE_CHECKING:
    from redis_memory.aio import AsyncClaim, AsyncConversationMemory, AsyncHandle, AsyncMemory
    from redis_memory.async_conversations import AsyncConversations

__all__ = [
    "AccessDeniedError",
    "ArchiveError",
    "AsyncClaim",
    "AsyncConversationMemory",
    "AsyncConversations",
    "AsyncHandle",
    "AsyncMemory",
    "AttributeInfo",
    "Change",
    "Claim",
    "ClosedError",
    "ConfigurationError",
    "Conflict",
    "ConflictError",
    "ConversationExistsError",
    "ConversationInfo",
    "ConversationMemory",
    "Conversations",
    "CorruptValueError",
    "Damaged",
    "DataLossWarning",
    "EXISTS",
    "EmbeddedServerError",
    "Entry",
    "ExportReport",
    "InDoubtError",
    "InvalidIdError",
    "InvalidNameError",
    "InvalidValueError",
    "JournalError",
    "LeaseLostError",
    "LoadReport",
    "MISSING",
    "Memory",
    "NotReplicatedError",
    "OfflineError",
    "Page",
    "PruneReport",
    "QueueFullError",
    "RedisMemoryError",
    "ReindexReport",
    "ServerRefusedError",
    "Settings",
    "StaleClaimError",
    "StaleProxyError",
    "Stats",
    "Status",
    "SyncedDict",
    "SyncedList",
    "SyncedSet",
    "UnknownConversationError",
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
    "expire",
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
_AWAITED = (
    *("AsyncClaim", "AsyncConversationMemory", "AsyncConversations", "AsyncHandle", "AsyncMemory"),
    "aio",
)


def __getattr__(name: str) -> Any:
    if name not in _AWAITED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "aio" if name != "AsyncConversations" else "async_conversations"
    found = importlib.import_module(f"redis_memory.{module}")
    return found if name == "aio" else getattr(found, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_AWAITED})
