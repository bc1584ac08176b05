"""Writing under a claim: what both faces share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis_memory.core.blocks import Block
from redis_memory.core.calls import Flow
from redis_memory.core.leases import Lease
from redis_memory.core.parts import Check
from redis_memory.errors import ConflictError, LeaseLostError, StaleClaimError
from redis_memory.face import Core


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
