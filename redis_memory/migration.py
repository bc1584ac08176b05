"""Migration from the public packages `redis-memory` 0.2 to 0.4 and `synced-memory`."""

from __future__ import annotations

from typing import Any

from redis_memory.core import bringing
from redis_memory.core.bringing import AtSource, OnExisting, Plan, Progress
from redis_memory.core.calls import Call, Flow
from redis_memory.core.index import Directory
from redis_memory.core.lifetime import checked
from redis_memory.core.migrating import MigrationReport
from redis_memory.core.old_layout import Skipped
from redis_memory.core.transfer import new_run
from redis_memory.core.values import Limits
from redis_memory.errors import ConfigurationError
from redis_memory.link import seeds
from redis_memory.link.desk import Desk
from redis_memory.link.steps import driven
from redis_memory.settings import Settings, resolve

__all__ = ["MigrationReport", "OnExisting", "Progress", "Skipped", "migrate"]

# What the packages put before each key unless their constructor was given another prefix. They do
# not read REDIS_PREFIX, so it says nothing about where their keys lie.
OLD_PREFIX = "memory:"
# Nobody waits for an answer as a request does, and questions are long.
_PATIENCE_S = 5.0


def migrate(  # noqa: PLR0913 - keyword-only, and each is a decision of its own
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
    """Bring what the old packages have stored into memories of this library.

    A run may be interrupted anywhere and repeated: nothing is doubled or lost. What old workers
    write meanwhile is brought by the next run. Old keys stay unless `delete_old` is given.

    Args:
        source: The url of the server with the old keys; without one, as for `Memory`, but never
            the embedded server.
        target: The url of the server that gets the memories; without one, the source.
        prefix: What the old keys begin with, exactly as it was given to the old package.
        target_prefix: What the new keys begin with; without one, the same.
        flat: There are no conversations: what follows the prefix is a name, colons and all.
            Otherwise it is an id and a name, parted by the last colon, or a name alone.
        dry_run: Change nothing, and report what would be done.
        delete_old: Delete each old key whose value was brought, by this run or an earlier one, if
            it still holds that value; the server compares in the step that deletes.
        on_existing: Which one stays where an attribute is there already that no earlier run has
            brought, or that was changed since: `newest` compares its time with `last_modified`,
            `skip` leaves it, `replace` has the old one win. One that nobody has changed since
            it was brought follows the old key in all three.
        progress: Called with the number of keys done, and that of all keys.
        options: Fields of `Settings`, for both servers: `ttl_s` is the lifetime of memories that
            begin by this, `timeout_s` is 5 where nobody has set it.

    Raises:
        TypeError: An option is unknown.
        ConfigurationError: A value or a url cannot work, there is no source, or it is one node
            of a cluster.
        ValueError: `on_existing` is another word.
        OfflineError: A server cannot be reached, now or any more; the run can be repeated.
        AccessDeniedError, ServerRefusedError: A server refuses; the run can be repeated.

    Cost: SCAN goes through all keys of the source; then eight round trips for each 100 keys. The
    names of all keys are in memory, values at most 8 MiB at a time or one.
    """
    here, there = servers(source, target, prefix, target_prefix, options)
    plan = plan_of(here, there, on_existing, flat=flat, dry_run=dry_run, delete_old=delete_old)
    old, new = Desk(here, None), Desk(there, None)

    def do(step: Call | AtSource) -> Any:
        return old.run(one(step.call)) if isinstance(step, AtSource) else new.run(one(step))

    try:
        return driven(bringing.migrate(plan, progress), do)
    finally:
        old.close()
        new.close()


def servers(
    source: str | None,
    target: str | None,
    prefix: str,
    target_prefix: str | None,
    options: dict[str, Any],
) -> tuple[Settings, Settings]:
    """The settings for the server with the old layout, and for that with the new one."""
    here = resolve(source, prefix, None, options)
    if "timeout_s" not in here.model_fields_set:
        options = {**options, "timeout_s": _PATIENCE_S}
        here = resolve(source, prefix, None, options)
    if here.address is None:
        raise ConfigurationError(
            "no url was given: name the server that has the old keys, or set REDIS_MEMORY_URL, "
            "REDIS_URL or REDIS_HOST"
        )
    new_prefix = prefix if target_prefix is None else target_prefix
    there = resolve(here.address if target is None else target, new_prefix, None, options)
    if there.encryption_key is not None:
        raise ConfigurationError(
            "what is brought is not encrypted: run without encryption_key, and then "
            "Conversations.rotate_keys(seal_plain=True) with it"
        )
    return here, there


def plan_of(
    here: Settings,
    there: Settings,
    on_existing: OnExisting,
    *,
    flat: bool,
    dry_run: bool,
    delete_old: bool,
) -> Plan:
    """What is to be done.

    Raises:
        ValueError: `on_existing` is another word.
    """
    if on_existing not in ("newest", "skip", "replace"):
        raise ValueError("on_existing is 'newest', 'skip' or 'replace'")
    limits = Limits(there.max_value_bytes, there.max_depth, there.max_nodes)
    ttl_ms = checked(there.ttl_s)
    return Plan(
        prefix=here.prefix,
        target=Directory(there.prefix, limits),
        lifetime=b"s%d" % ttl_ms if ttl_ms else b"",
        on_existing=on_existing,
        run=new_run(),
        flat=flat,
        dry_run=dry_run,
        delete_old=delete_old,
        is_of_cluster=seeds.kind_of(here.address) == seeds.CLUSTER,
    )


def one(call: Call) -> Flow[Any]:
    """A flow of one call."""
    return (yield call)
