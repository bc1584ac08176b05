"""Blocks of changes that leave together: how one begins, is sent, and is undone."""

from __future__ import annotations

from redis_memory.core import contents, directory, replica
from redis_memory.core.blocks import Block
from redis_memory.core.calls import Flow, Head, NumberedCall
from redis_memory.core.delivery import (
    MAY_WAIT,
    NEEDS_ANSWER,
    QUEUED,
    Answer,
    numbered,
    wait,
)
from redis_memory.core.descriptor import LIST, NUMBER, wrong_kind
from redis_memory.core.keys import name_text
from redis_memory.core.parts import ANY, Together, merged
from redis_memory.core.replay import caught_up
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.core.values import unpack
from redis_memory.core.writer import Writer
from redis_memory.errors import (
    ConflictError,
    OfflineError,
    RedisMemoryError,
    ServerRefusedError,
    StaleProxyError,
)

_AWAY = "the server is away, and a transaction needs it"


def beginning(
    state: State, owner: object, *, is_strict: bool, away: Exception | None
) -> Flow[Block]:
    """Begin a block; from now on changes are held back. No round trip.

    Raises:
        RuntimeError: There is one already.
        OfflineError: The server is `away`, or changes wait for it, and the block `is_strict`.
    """
    check_no_block(state)
    if is_strict and away is not None:
        raise OfflineError(_AWAY) from away
    if state.is_waiting or state.writer.unsettled:
        yield from caught_up(state)
    if is_strict and (state.is_waiting or state.writer.unsettled):
        raise OfflineError(_AWAY)
    block = Block(owner, is_strict=is_strict, is_away=state.is_waiting)
    block.generation, block.provisional = state.generation, state.provisional
    block.was_emptied = state.is_emptied
    # states that only the block knows are newer than all that have been seen
    state.contact = max(state.contact, state.newest())
    state.block = block
    return block


def check_no_block(state: State) -> None:
    """Raise RuntimeError in a block."""
    if state.block is not None:
        raise RuntimeError(
            "this is inside a batch or transaction of the same memory already: blocks cannot be "
            "nested, and what is written here leaves with the outer one"
        )


def committing(state: State, block: Block) -> Flow[None]:
    """Send the changes of a block. One round trip, none when there are none.

    Raises:
        ConflictError: What the block relies on has changed; nothing was done.
        WrongKindError, StaleProxyError: A change does not fit what is there; nothing was done.
        OfflineError: The server is away, and the block cannot wait.
        InDoubtError: The same, and it was sent: it was done as a whole, or not at all.
        QueueFullError: Too many changes wait already; nothing was done.
    """
    block.is_closing = True
    if block.is_empty:
        return  # `undo` ends it
    together = block.together()
    answer = yield from _sent(state, block, together)
    if answer.status == QUEUED:
        _wait_here(state, block)
    elif answer.status == b"ok":
        names = zip(together.names, answer.elements, strict=False)
        _settle(state, block, {name_text(name): bytes(held) for name, held in names})
        if answer.result in (b"empty", b"anew"):
            yield from directory.emptied(state)
    else:
        raise _refusal(together, answer)


def _sent(state: State, block: Block, together: Together) -> Flow[Answer]:
    waiter = NEEDS_ANSWER if block.is_strict or block.needs_answer else MAY_WAIT
    keys = state.keys
    while True:
        names = tuple(keys.content(name) for name in together.names)
        every = (keys.memory, keys.memory, keys.stamps, *names)

        def head(writer: Writer, every: tuple[bytes, ...] = every) -> Head:
            return Head.script(SCRIPTS["together"], every, writer.id, b"")

        packed = together.packed()
        if block.is_away:  # it knows nothing of the server's that it could rely on
            call = NumberedCall(head(state.writer), state.writer.last + 1, *packed)
            return wait(state, call, OfflineError("the server is away"), waiter)
        answer = yield from numbered(state, head, *packed, waiter=waiter)
        if answer.status != b"undeclared":
            return answer
        together.names.update((name, ANY) for name in answer.elements)


def _refusal(together: Together, answer: Answer) -> RedisMemoryError:
    """What it means that the server has done nothing."""
    if answer.status == b"conflict":
        # kind and name of each check in turn
        names = [name_text(name) for name in list(contents.pieces(answer.result))[1::2] if name]
        return ConflictError(tuple(dict.fromkeys(names)))
    parts = merged(together.parts)
    if not answer.result.isdigit() or int(answer.result) >= len(parts):
        status = answer.status.decode("utf-8", "replace")
        return ServerRefusedError(f"the server refused the changes: {status}")
    part = parts[int(answer.result)]
    name = name_text(part.name)
    if answer.status == b"large":
        return ServerRefusedError(
            f"the sum of {name!r} is too large for the server to add: read the number in the block"
        )
    if part.script == "increment":
        return wrong_kind(name, "number")
    if part.operation == b"push":
        return wrong_kind(name, "list")
    return StaleProxyError(f"the attribute {name!r} that a value was read from is gone")


def _settle(state: State, block: Block, held: dict[str, bytes]) -> None:
    """The changes have been made: `held` are the descriptors where the copies here are right."""
    known: dict[bytes, bytes] = {}
    for name, view in block.views.items():
        attribute = state.attribute(name)
        copy, descriptor = attribute.copy, held.get(name, b"")
        attribute.confirmed, attribute.before = None, b""
        if not view.is_local:
            attribute.is_absent = False
            attribute.session = -1  # the feed may tell of it only after the next read
        elif copy is None:
            attribute.is_absent = True
        elif descriptor[:1] == copy.kind:
            known[copy.descriptor] = descriptor
            copy.descriptor = descriptor
        else:
            attribute.copy, attribute.is_absent = view.copy, False
            attribute.session = -1
    _end(state, block, known)
    state.provisional, state.is_emptied = block.provisional, False


def _wait_here(state: State, block: Block) -> None:
    """The changes wait: what the block did without knowing what is there is done to the copies."""
    state.block = None
    for name, view in block.views.items():
        attribute = state.attribute(name)
        for part in () if view.is_local else view.blind:
            own = part.arguments[2:]
            if part.script == "append":
                values = [unpack(value, state.limits) for value in own]
                replica.extend(state, attribute, LIST, values)
            else:
                by = contents.decode_scalar(NUMBER, own[0], state.limits)
                replica.add(state, attribute, by)


def undo(state: State, block: Block) -> None:
    """Have copies and proxies show what they showed before a block that was not sent.

    Does nothing when it was.
    """
    if state.block is not block:
        return
    for name, view in block.views.items():
        attribute = state.attribute(name)
        attribute.copy, attribute.confirmed = view.copy, view.confirmed
        attribute.before, attribute.is_absent = view.before, view.is_absent
        attribute.session = view.session
    for held in block.boxes.values():
        held.restore()
    _end(state, block, {})
    state.provisional, state.is_emptied = block.provisional, block.was_emptied
    if state.generation != block.generation:
        state.distrust()


def _end(state: State, block: Block, known: dict[bytes, bytes]) -> None:
    """The block is over: proxies know no state any more that only the block knew."""
    state.block = None
    for source in block.sources:
        if replica.is_provisional(source.known):
            copy = source.attribute.copy
            is_same = copy is not None and copy.descriptor == source.known
            source.known = source.known if is_same else known.get(source.known, b"")
