"""The migration, awaited: for programs that have an event loop already."""

from __future__ import annotations

from typing import Any

from redis_memory.core import bringing
from redis_memory.core.bringing import AtSource, OnExisting, Progress
from redis_memory.core.calls import Call
from redis_memory.core.migrating import MigrationReport
from redis_memory.link.async_desk import AsyncDesk
from redis_memory.link.steps import async_driven
from redis_memory.migration import OLD_PREFIX, one, plan_of, servers

__all__ = ["migrate"]


async def migrate(  # noqa: PLR0913 - as its twin
    source: str | None = None,
    target: str | None = None,
    *,
    prefix: str = OLD_PREFIX,
    target_prefix: str | None = None,
    flat: bool = False,
    dry_run: bool = True,
    delete_old: bool = False,
    on_existing: OnExisting = "newest",
    progress: Progress | None = None,
    **options: Any,
) -> MigrationReport:
    """As `redis_memory.migration.migrate`; `progress` is called in the loop."""
    here, there = servers(source, target, prefix, target_prefix, options)
    plan = plan_of(here, there, on_existing, flat=flat, dry_run=dry_run, delete_old=delete_old)
    old, new = AsyncDesk(here, None), AsyncDesk(there, None)

    async def do(step: Call | AtSource) -> Any:
        if isinstance(step, AtSource):
            return await old.run(one(step.call))
        return await new.run(one(step))

    try:
        return await async_driven(bringing.migrate(plan, progress), do)
    finally:
        await old.close()
        await new.close()
