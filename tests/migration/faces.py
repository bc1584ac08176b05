"""The migration in either face, called in one way; and one that is run step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis_memory import async_migration, migration
from redis_memory.core import bringing
from redis_memory.core.bringing import AtSource
from redis_memory.core.calls import Call
from redis_memory.link.desk import Desk
from redis_memory.link.steps import driven
from redis_memory.migration import MigrationReport
from tests.background import Background

Migrate = Callable[..., MigrationReport]


def awaited(*arguments: Any, **options: Any) -> MigrationReport:
    """The async face, in an event loop of its own."""
    background = Background()
    try:
        return background.run(async_migration.migrate(*arguments, **options))
    finally:
        background.close()


def step_by_step(
    source: str,
    target: str,
    before: Callable[[int, Call | AtSource], object],
    after: Callable[[int, Call | AtSource], object] = lambda number, step: None,
    **options: Any,
) -> MigrationReport:
    """Migrate for real, and call `before` and `after` around each question to a server."""
    here, there = migration.servers(source, target, "memory:", None, {})
    chosen = {"flat": False, "delete_old": False, **options}
    plan = migration.plan_of(here, there, "newest", dry_run=False, **chosen)
    old, new = Desk(here, None), Desk(there, None)
    number = 0

    def do(step: Call | AtSource) -> Any:
        nonlocal number
        number += 1
        before(number, step)
        at_source = isinstance(step, AtSource)
        call = step.call if isinstance(step, AtSource) else step
        reply = (old if at_source else new).run(migration.one(call))
        after(number, step)
        return reply

    try:
        return driven(bringing.migrate(plan, None), do)
    finally:
        old.close()
        new.close()
