"""redis_memory: the state of one conversation, shared by many workers through Redis."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis_memory.aio import AsyncClaim, AsyncConversationMemory, AsyncHandle, AsyncMemory
    from redis_memory.archiving import ExportReport, LoadReport
    from redis_memory.async_conversations import AsyncConversations
    from redis_memory.blocks import batch, compare_and_set, transaction
    from redis_memory.control import (
        clear,
        close,
        conflicts,
        expire,
        flush,
        increment,
        push,
        rotate_keys,
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
        DecryptionError,
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
    from redis_memory.rotating import RotationReport
    from redis_memory.settings import Settings
    from redis_memory.standing import Status
    from redis_memory.watching import wait_for, watch

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
    "DecryptionError",
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
    "RotationReport",
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
    "rotate_keys",
    "setdefault",
    "snapshot",
    "status",
    "transaction",
    "wait_for",
    "watch",
    "window",
]

# Where each name is at home. It is imported when it is first asked for: who uses a part of the
# library, as a command does, does not wait for the rest.
_HOMES = {
    "aio": "AsyncClaim AsyncConversationMemory AsyncHandle AsyncMemory",
    "archiving": "ExportReport LoadReport",
    "async_conversations": "AsyncConversations",
    "blocks": "batch compare_and_set transaction",
    "control": (
        "clear close conflicts expire flush increment push rotate_keys setdefault snapshot status "
        "window"
    ),
    "conversations": "Conversations",
    "core.conflicts": "Conflict EXISTS MISSING",
    "core.index": "Stats",
    "core.inspection": "AttributeInfo ConversationInfo",
    "core.lines": "Damaged",
    "core.listing": "Entry Page",
    "core.reindexing": "ReindexReport",
    "core.watching": "Change",
    "errors": (
        "AccessDeniedError ArchiveError ClosedError ConfigurationError ConflictError "
        "ConversationExistsError CorruptValueError DataLossWarning DecryptionError "
        "EmbeddedServerError InDoubtError InvalidIdError InvalidNameError InvalidValueError "
        "JournalError "
        "LeaseLostError NotReplicatedError OfflineError QueueFullError RedisMemoryError "
        "ServerRefusedError StaleClaimError StaleProxyError UnknownConversationError "
        "UnstorableValueError UnsupportedServerError ValueTooLargeError WaitTimeoutError "
        "WrongKindError"
    ),
    "leases": "Claim claim lock",
    "memory": "ConversationMemory Memory",
    "proxies": "SyncedDict SyncedList SyncedSet",
    "pruning": "PruneReport",
    "retrying": "retry_on_conflict",
    "rotating": "RotationReport",
    "settings": "Settings",
    "standing": "Status",
    "watching": "wait_for watch",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
_MODULES = ("aio", "errors")


def __getattr__(name: str) -> Any:
    home = name if name in _MODULES else _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"redis_memory.{home}")
    if home == name:
        return module
    found = globals()[name] = getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
