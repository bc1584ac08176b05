"""What a mutator of a proxy does: the change on the server, then the same on the copies here."""

from __future__ import annotations

from typing import Any

from redis_memory.core import dict_changes, list_changes, set_changes
from redis_memory.core.arguments import prepared
from redis_memory.core.changes import Builder, Change
from redis_memory.core.delivery import deliver
from redis_memory.core.sources import Source
from redis_memory.core.state import Flow
from redis_memory.errors import StaleProxyError

BUILDERS: dict[type, dict[str, Builder]] = {
    list: list_changes.BUILDERS,
    dict: dict_changes.BUILDERS,
    set: set_changes.BUILDERS,
}


def mutate(
    source: Source,
    box: Any,
    base: type,
    method: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Flow[Any]:
    """Run a mutator of `box`, the proxy of a whole attribute, and return what it returns.

    One round trip; another one for a change worked out here (a slice, sort, reverse) each time
    that somebody else changed the list meanwhile, and when an answer was lost.

    Raises:
        StaleProxyError: The attribute is gone, of another kind, or its indexes have moved.
    """
    state, attribute = source.state, source.attribute
    build = BUILDERS[base][method]
    arguments, options = prepared(base, box, method, arguments, options)
    while True:
        change = build(box, state.inside, *arguments, **options)
        if change is None:
            return None
        answer = yield from deliver(
            state, attribute, change.script, source.known, change.operation, *change.arguments
        )
        if answer.status != b"conflict":
            break
        seen = source.version
        if answer.descriptor is None:
            yield from source.start_again(box)
        else:
            source.follow(box, answer)
        if change.positional and source.moves.overtook((0,), (0,), seen):
            raise stale(attribute.name)
    if answer.status not in (b"ok", b"exists"):
        return _refusal(attribute.name, base, answer.status, change)
    if answer.descriptor is None:
        yield from source.start_again(box)
    else:
        source.follow(box, answer, change if answer.status == b"ok" else None)
    return change.answer(answer.result) if change.answer else None


def _refusal(name: str, base: type, status: bytes, change: Change) -> Any:
    if status == b"absent" and change.default:
        return change.default[0]
    if status == b"absent" and change.absent is not None:
        raise change.absent
    if status == b"stale":
        raise stale(name)
    raise StaleProxyError(f"the {base.__name__} {name!r} that this value was read from is gone")


def stale(name: str) -> StaleProxyError:
    """The error for an index that may mean another element by now."""
    return StaleProxyError(
        f"others have moved elements of {name!r} since it was read; read it again to change it"
    )
