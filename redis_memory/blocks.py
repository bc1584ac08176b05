"""Several changes as one: batch and transaction, and what belongs to them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from redis_memory.core.blocks import Block
from redis_memory.memory import Memory, core_of

M = TypeVar("M", bound=Memory)


class _Together(AbstractContextManager[M]):
    """A block of changes of one memory that leave together at its end."""

    __slots__ = ("_block", "_is_strict", "_memory", "_missing", "_owner")

    _block: Block

    def __init__(self, memory: M, *, is_strict: bool) -> None:
        self._memory: M = memory
        self._is_strict: bool = is_strict
        self._missing: set[str] = set()
        # not this object: a block must not keep alive what ends it
        self._owner = object()

    def __enter__(self) -> M:
        core = core_of(self._memory)
        missing, outer = set(core.seen.missing), core.state.block
        try:
            self._block = core.driver.begin_block(self._owner, is_strict=self._is_strict)
            self._missing = missing
            return self._memory
        except BaseException:  # also a signal: a block that nobody entered is never left
            # the same object may have been entered around this
            if core.state.block is not outer:
                core.driver.drop_block(self._owner)
            raise

    def __del__(self) -> None:
        # a signal handler may raise before the first line of `__exit__`
        core_of(self._memory).driver.drop_block(self._owner)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        core = core_of(self._memory)
        is_done = False
        try:
            core.driver.end_block(self._block, is_good=kind is None)
            is_done = kind is None
        finally:
            if not is_done:
                core.forget_block(self._missing)


def batch(memory: M) -> AbstractContextManager[M]:
    """Changes that leave together at the end of the `with` block, all or nothing.

    Nobody else sees any of them before; the block itself sees them. Nothing is sent if it raises:
    copies and proxies then show what they showed before. Appending, assigning, deleting, pushing,
    incrementing and setting keys are applied to whatever is there by then. What means something
    only in the state that was seen (an index, a slice, `pop`, `sort`, `remove`, an element inside
    another) needs that state still to be the newest.

    While Redis is away the block waits as one change, and is made as one; its changes meet those of
    others one by one, as other changes that waited do. `increment` and `push` return None inside.
    Other threads that use the same memory wait for the end of the block.

    Raises:
        RuntimeError: This is inside another block of the same memory.
        ConflictError: At the end: others have changed what the block relies on. Nothing was done.
        WrongKindError, StaleProxyError: At the end: an attribute is of another kind by now. Nothing
            was done.
        OfflineError: At the end: the server is away, and `pop` or `compare_and_set` in the block
            cannot wait.

    Cost: one round trip at the end, none for an empty block, and one for each attribute that is
    read without the block having assigned it.
    """
    core_of(memory)  # which sees whether it is one
    return _Together(memory, is_strict=False)


def transaction(memory: M) -> AbstractContextManager[M]:
    """As `batch`, and nothing is done if anything that was read in the block has changed since.

    Also what was read to be missing. It needs the server.

    Raises:
        ConflictError: At the end: `names` have been changed by others. Nothing was done; run the
            block again, best by `retry_on_conflict`.
        OfflineError: The server is away, at the beginning or at the end.
        InDoubtError: The connection broke at the end: all was done, or nothing.

    Cost: one round trip at the end, one for each attribute that is read. Of those that this process
    has read before, and nobody has changed since, all are read in one.
    """
    core_of(memory)
    return _Together(memory, is_strict=True)


def compare_and_set(memory: Memory, name: str, expected: Any, new: Any) -> bool:
    """Store `new` if the attribute equals `expected`, as Python compares; whether it did.

    Args:
        memory: Where the attribute lives.
        name: The attribute's name.
        expected: A value; `MISSING` where there must be none.
        new: The value to store; `MISSING` deletes the attribute.

    Raises:
        UnstorableValueError: A part of a value cannot be stored.
        OfflineError: The server is away; nothing is queued.

    Cost: one round trip for a scalar, and for a container that this memory has read before; else
    two, and more only while others change it.
    """
    core = core_of(memory)
    return core.run(core.comparing(name, expected, new))
