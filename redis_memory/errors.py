"""Every error of the library.

RedisMemoryError
├── UnstorableValueError (TypeError)        a part of a value has a type that cannot be stored
│   └── ValueTooLargeError (ValueError)     too many bytes, too many parts, or too deeply nested
├── InvalidValueError (ValueError)          a value does not fit the declaration of its attribute
├── CorruptValueError (ValueError)          Redis holds bytes under our name that we did not write
│   └── DecryptionError                     they are encrypted, and cannot be opened as they are
├── InvalidNameError (ValueError)           an attribute name that cannot be stored
├── InvalidIdError (ValueError)             a conversation id that cannot be used
├── UnknownConversationError (LookupError)  there is no conversation with that id
├── ConversationExistsError (ValueError)    there is one already
├── ArchiveError (OSError)                  an archive cannot be written or read
├── WrongKindError (TypeError)              the attribute exists and is something else
├── ConflictError (RuntimeError)            what a block relied on was changed by others
├── StaleProxyError (LookupError)           the place a proxy came from is gone or has moved
├── StaleClaimError (RuntimeError)          a write under a claim that is not held any more
├── LeaseLostError (RuntimeError)           a lock or a claim is not held any more
├── ConfigurationError (ValueError)         a setting or a url that cannot work
├── OfflineError (ConnectionError)          the server cannot be reached now
│   └── InDoubtError                        and nobody knows whether the last change was applied
├── QueueFullError (RuntimeError)           too many changes wait for the server already
├── WaitTimeoutError (TimeoutError)         what was waited for did not happen in time
├── NotReplicatedError (RuntimeError)       a change was made, and too few replicas have it
├── AccessDeniedError (PermissionError)     the server refuses this user or this password
├── ServerRefusedError (RuntimeError)       the server answered with an error
│   └── UnsupportedServerError              too old, or it forbids what the library needs
├── EmbeddedServerError (RuntimeError)      the server we start ourselves did not start
├── JournalError (OSError)                  a journal cannot be written, read or taken over
└── ClosedError (RuntimeError)              the memory was used after `close`

DataLossWarning (UserWarning)               the server forgot changes it had acknowledged
"""

from __future__ import annotations


class RedisMemoryError(Exception):
    """The root: catching it catches whatever the library raises of its own."""


class UnstorableValueError(RedisMemoryError, TypeError):
    """A part of a value has a type that cannot be stored; nothing was sent."""


class ValueTooLargeError(UnstorableValueError, ValueError):
    """A value has too many bytes, too many parts, or is nested too deeply; nothing was sent."""


class InvalidValueError(RedisMemoryError, ValueError):
    """A value does not fit what its attribute is declared to hold; nothing was sent.

    `reasons` gives the reason for each place that does not fit; values are in neither.
    """

    def __init__(self, message: str, *, reasons: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.reasons: dict[str, str] = reasons or {}


class CorruptValueError(RedisMemoryError, ValueError):
    """Redis holds bytes under one of our names that the library did not write."""


class DecryptionError(CorruptValueError):
    """A stored value cannot be opened: the key is another one, or it was changed or moved.

    Also raised where a value is not encrypted and should be, or is and no key is set.
    """


class InvalidNameError(RedisMemoryError, ValueError):
    """An attribute name cannot be stored: empty, too long, private or reserved."""


class InvalidIdError(RedisMemoryError, ValueError):
    """A conversation id is empty, too long, or neither text nor a UUID."""


class UnknownConversationError(RedisMemoryError, LookupError):
    """There is no conversation with that id under this prefix."""


class ConversationExistsError(RedisMemoryError, ValueError):
    """There is a conversation with that id already; it was left as it is."""


class ArchiveError(RedisMemoryError, OSError):
    """An archive cannot be written or read; nothing was deleted that it does not hold."""


class WrongKindError(RedisMemoryError, TypeError):
    """The attribute exists, and is not of the kind that the call needs."""


class ConflictError(RedisMemoryError, RuntimeError):
    """What a batch or transaction relied on was changed by others; nothing of it was done.

    `names` are the attributes.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(names)
        self.names: tuple[str, ...] = names

    def __str__(self) -> str:
        told = ", ".join(map(repr, self.names)) or "which attributes there are"
        return f"others have changed {told} meanwhile: nothing was done, run the block again"


class StaleProxyError(RedisMemoryError, LookupError):
    """The place that a proxy was read from is gone, or its position may mean another element."""


class StaleClaimError(RedisMemoryError, RuntimeError):
    """A claim is not held any more; what was to be written under it was not written."""


class LeaseLostError(RedisMemoryError, RuntimeError):
    """A lock or a claim is not held any more: others may have it, or have had it, meanwhile."""


class ConfigurationError(RedisMemoryError, ValueError):
    """A setting or a url cannot work; the message never holds a password."""


class OfflineError(RedisMemoryError, ConnectionError):
    """The server cannot be reached, or is not ready to serve."""


class InDoubtError(OfflineError):
    """The connection broke after a change was sent: it was applied once, or not at all."""


class QueueFullError(RedisMemoryError, RuntimeError):
    """Too many changes wait for the server already; this one was neither made nor queued."""


class WaitTimeoutError(RedisMemoryError, TimeoutError):
    """What was waited for did not happen within `timeout_s`."""


class NotReplicatedError(RedisMemoryError, RuntimeError):
    """A change was made by the server, and fewer replicas than wanted have confirmed it."""


class AccessDeniedError(RedisMemoryError, PermissionError):
    """The server refuses this user, this password, or this command for this user."""


class ServerRefusedError(RedisMemoryError, RuntimeError):
    """The server answered with an error; nothing was changed by the call."""


class UnsupportedServerError(ServerRefusedError):
    """The server is older than 6.2, or it forbids scripts."""


class EmbeddedServerError(RedisMemoryError, RuntimeError):
    """The embedded server could not be found or started."""


class JournalError(RedisMemoryError, OSError):
    """The journal cannot be written, read or taken over; what it held before is still there."""


class ClosedError(RedisMemoryError, RuntimeError):
    """The memory was closed."""


class DataLossWarning(UserWarning):
    """The server no longer knows changes that it had acknowledged.

    `forgotten` are how many of them this process had made, `repaired` how many it makes again.
    """

    def __init__(self, message: str, *, forgotten: int = 0, repaired: int = 0) -> None:
        super().__init__(message)
        self.forgotten: int = forgotten
        self.repaired: int = repaired
