"""Relying on a lease, writing under it, and giving it up: what both faces share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Protocol

from redis_memory.core.blocks import Block
from redis_memory.core.calls import Flow
from redis_memory.core.leases import Lease
from redis_memory.core.parts import Check
from redis_memory.errors import (
    ConflictError,
    LeaseLostError,
    RedisMemoryError,
    StaleClaimError,
)
from redis_memory.face import Core


class Lost(Protocol):
    """An event, of threads or of tasks."""

    def set(self) -> None: ...  # noqa: D102 - the class says it


@contextmanager
def telling(lost: Lost) -> Iterator[None]:
    """Around a request that relies on a lease: when that is found to be lost, `lost` is set."""
    try:
        yield
    except (LeaseLostError, StaleClaimError):
        lost.set()
        raise


def behind(error: BaseException | None) -> AbstractContextManager[None]:
    """Around giving up at the end of a block: what the block has raised tells more."""
    return nullcontext() if error is None else suppress(RedisMemoryError)


@contextmanager
def under(lease: Lease, core: Core, names: set[str]) -> Iterator[None]:
    """Around a block that assigns these attributes under a lease: what its errors mean.

    Raises:
        StaleClaimError: The lease is lost; nothing was written.
    """
    try:
        lease.check()
    except LeaseLostError as error:
        raise StaleClaimError(str(error)) from error
    missing = set(core.seen.missing)
    # an empty container is written too, whatever others have created
    core.seen.missing.difference_update(names)
    try:
        yield
    except BaseException as error:  # also a signal: what the block has changed here is undone
        core.forget_block(missing)
        if isinstance(error, ConflictError) and lease.name in error.names:
            lease.is_lost = not lease.is_given_up
            raise StaleClaimError(str(lease.lost())) from error
        raise


def writing(core: Core, block: Block, lease: Lease, attributes: dict[str, Any]) -> Flow[None]:
    """Assign attributes in a block that the server refuses once the lease is lost."""
    name = lease.field.removeprefix(b"_l")
    block.checks[b"lease", name] = Check(b"lease", name, lease.word)
    for attribute, value in attributes.items():
        yield from core.assigning(attribute, value)
