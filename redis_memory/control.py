"""What can be done with a memory beyond its attributes: functions, so that all names are free."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from redis_memory.core import flows, rekeying
from redis_memory.core.conflicts import Conflict
from redis_memory.errors import AccessDeniedError, OfflineError
from redis_memory.face import missing
from redis_memory.memory import Memory, core_of
from redis_memory.standing import Status

Number = int | float


def snapshot(memory: Memory) -> dict[str, Any]:
    """All attributes by name, in plain values, at one moment.

    Raises:
        CorruptValueError: An attribute holds bytes that the library did not write; it is named.

    Cost: one round trip, and one more when there are containers that this memory has not read
    before. O(size of everything).
    """
    core = core_of(memory)
    return core.run(core.collecting())


def push(memory: Memory, name: str, *values: Any) -> int | None:
    """Append to a list attribute without reading it first.

    Args:
        memory: Where the attribute lives; it is created when missing.
        name: The attribute's name.
        values: In order; all of them become visible at once.

    Returns:
        The length of the list after the last value; None while the server is away, and the
        values wait: the length is not known then.

    Raises:
        UnstorableValueError: A part of a value has a type that cannot be stored.
        WrongKindError: The attribute exists and is no list.

    Cost: one round trip, O(len(values)), whatever the length of the list.
    """
    core = core_of(memory)
    return core.run(core.pushing(name, values))


def window(
    memory: Memory, name: str, start: int | None = None, stop: int | None = None
) -> list[Any]:
    """A part of a list attribute as plain values, with the meaning of `list[start:stop]`.

    Raises:
        AttributeError: There is no such attribute.
        WrongKindError: It is no list.

    Cost: one round trip, O(number of values returned) near either end of the list.
    """
    core = core_of(memory)
    values = core.run(core.windowing(name, start, stop))
    if values is None:
        raise missing(core, name, memory)
    return values


def increment(memory: Memory, name: str, by: Number = 1) -> Number | None:
    """Add to a number attribute, atomically; a missing one counts as 0.

    Returns:
        The sum, a float when either part is one; None while the server is away, and the number
        waits to be added: the sum is not known then.

    Raises:
        TypeError: `by` is neither int nor float.
        WrongKindError: The attribute exists and is no number.

    Cost: one round trip; integers from 10**15 on, inf and nan take two, and more while others
    change them.
    """
    core = core_of(memory)
    return core.run(core.incrementing(name, by))


def setdefault(memory: Memory, name: str, value: Any) -> Any:
    """Store a value if the attribute is missing, and return what is stored then.

    Of many workers exactly one creates it, and all get the same.

    Raises:
        UnstorableValueError: A part of the value cannot be stored.

    Cost: one round trip for the one who creates it, two for the others.
    """
    core = core_of(memory)
    return core.run(core.defaulting(name, value))


def clear(memory: Memory) -> None:
    """Delete every attribute.

    Cost: four round trips, and one more when there are containers that this memory has not read
    before.
    """
    core = core_of(memory)
    core.run(core.clearing())


def expire(memory: Memory, ttl_s: float | None) -> None:
    """Give the whole memory a lifetime that begins again with each change; None takes it away.

    All its keys end together. It counts from the last change by any process, to a tenth of
    `ttl_s` and at most a second less. It holds until the memory is cleared or has ended, and comes
    before the setting `ttl_s`, with None too. A memory without attributes may be given one.

    Args:
        memory: The memory of a conversation, or of a prefix.
        ttl_s: Seconds, from 0.001 up to a century.

    Raises:
        OfflineError: The server is away; nothing waits.
        ValueError: The lifetime is out of range.

    Cost: three round trips, and one more when there are containers that this memory has not read
    before.
    """
    core = core_of(memory)
    core.run(flows.expire(core.state, ttl_s))


def rotate_keys(memory: Memory, *, seal_plain: bool = False) -> bool:
    """Encrypt all values of a memory under the first key of `encryption_key`.

    Others may read and write meanwhile, if they have both keys; no change is lost.

    Args:
        memory: The memory of a conversation, or of a prefix.
        seal_plain: Also encrypt a memory whose values are not encrypted.

    Returns:
        Whether they were under another key, or not encrypted.

    Raises:
        ConfigurationError: The memory was opened without `encryption_key`.
        DecryptionError: A value cannot be opened, or is not encrypted; nothing was changed.
        OfflineError: The server is away, or others change the memory all the time; nothing was
            changed.

    Cost: four round trips and O(size of everything), at the server in one step; three round trips
    more each time that others change the memory meanwhile.
    """
    core = core_of(memory)
    return core.run(rekeying.rotate(core.state, seal_plain=seal_plain))


def status(memory: Memory) -> Status:
    """How a memory stands. Never raises for a server that is away. Cost: one round trip."""
    core = core_of(memory)
    round_trip_s = reason = None
    try:
        before = perf_counter()
        core.run(flows.ping())
        round_trip_s = perf_counter() - before
    except (OfflineError, AccessDeniedError) as error:
        reason = str(error)
    return Status.of(core, core.driver.link, round_trip_s, reason)


def flush(memory: Memory, timeout_s: float) -> int:
    """Wait until the server has every change of this memory, at most `timeout_s` seconds.

    Returns:
        How many changes still wait: 0 when all is well.

    Cost: nothing while nothing waits.
    """
    return core_of(memory).driver.flush(timeout_s)


def conflicts(memory: Memory) -> list[Conflict]:
    """The last 1,000 conflicts of a memory, oldest first; `status` counts all. No round trip."""
    return list(core_of(memory).state.conflicts.kept)


def close(memory: Memory) -> None:
    """Close a memory; its connections too, when no other memory uses them.

    Waits for the changes that the server does not have yet, at most `close_timeout_s` seconds.
    What is left then stays in the journal; without one it is lost, and a DataLossWarning says so.
    Later use raises ClosedError.
    """
    core_of(memory).close()
