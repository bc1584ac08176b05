"""Bringing this process's copies up to date with what the server answers."""

from __future__ import annotations

from math import inf
from typing import Any

from redis_memory.core import contents, lifetime, replica
from redis_memory.core.attributes import Attribute, Copy
from redis_memory.core.blocks import Block, View
from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.descriptor import KIND_NAMES, LIST, NUMBER, split, wrong_kind
from redis_memory.core.replay import caught_up, noticed
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.core.values import unpack
from redis_memory.errors import CorruptValueError, OfflineError

# How many copies are compared with the server's state at once.
_MOST_FRESH = 100


def read(state: State, name: str, *, may_recall: bool = True) -> Flow[Copy | None]:
    """The newest state of an attribute, None when it is missing. One round trip.

    While the server is away the copy answers, if it `may_recall`. A block sees its own changes, and
    asks for nothing that it knows.

    Raises:
        OfflineError: The server is away, and nothing is known of the attribute.
    """
    if state.block is None or state.block.is_closing:
        return (yield from _fetched(state, name, may_recall=may_recall))
    block, attribute = state.block, state.attribute(name)
    view = block.views.get(name)
    if view is not None and view.is_local:
        return attribute.copy
    if block.is_emptied and view is None:
        return None
    copy: Copy | None
    if block.is_missing(attribute):
        copy = None
    elif block.is_away:
        copy = replica.answer(state, name, unknown(name))
    elif block.is_read(attribute) or (yield from _is_fresh(state, block, attribute)):
        copy = attribute.copy
    else:
        copy = yield from _fetched(state, name, may_recall=may_recall)
    seen = b"" if copy is None else copy.descriptor
    state.contact = max(state.contact, seen[1:14])
    block.note_read(attribute, seen)
    if view is None:
        return copy
    _see_blind(state, block, view, copy)
    return attribute.copy


def _is_fresh(state: State, block: Block, attribute: Attribute) -> Flow[bool]:
    """Is the copy up to date? All that may be needed are asked for at once, in one round trip."""
    if not block.is_strict or not _may_be_fresh(attribute):
        return False
    if block.fresh is None:
        block.fresh = set()
        others = [a for a in state.attributes.values() if a is not attribute and _may_be_fresh(a)]
        if others:  # alone it is read as ever
            asked = [attribute, *others[:_MOST_FRESH]]
            words = [(each.encoded, each.copy.descriptor) for each in asked if each.copy]
            generation = state.generation
            head = Head.script(SCRIPTS["fresh"], (state.keys.memory,))
            try:
                answer = yield Call(head, *(word for pair in words for word in pair))
            except OfflineError:
                return False
            if generation == state.generation:
                pairs = zip(asked, answer, strict=True)
                block.fresh.update(each.name for each, is_same in pairs if is_same)
    return attribute.name in block.fresh


def _may_be_fresh(attribute: Attribute) -> bool:
    copy = attribute.copy
    return copy is not None and copy.descriptor[-2:-1].isalnum() and not copy.unseen


def _see_blind(state: State, block: Block, view: View, copy: Copy | None) -> None:
    """Do to a copy what the block did without knowing what is there."""
    attribute, number = view.attribute, 0
    values: list[Any] = []
    for part in view.blind:
        own = part.arguments[2:]
        if part.script == "append":
            if copy is not None and copy.kind != LIST:
                raise wrong_kind(attribute.name, "list")
            values += [unpack(value, state.limits) for value in own]
        else:
            if copy is not None and type(copy.value) not in (int, float):
                raise wrong_kind(attribute.name, "number")
            number += contents.decode_scalar(NUMBER, own[0], state.limits)
    is_list = view.blind[0].script == "append"
    view.copy, view.base, view.blind = copy, b"" if copy is None else copy.descriptor, []
    view.is_local = True
    if not is_list:
        replica.store(state, attribute, NUMBER, number + (copy.value if copy else 0))
    elif copy is None:
        replica.store(state, attribute, LIST, values)
    else:
        block.own(attribute)
        replica.extend(state, attribute, LIST, values)


def _fetched(state: State, name: str, *, may_recall: bool) -> Flow[Copy | None]:
    while True:
        if state.is_waiting and not (yield from caught_up(state)):
            if not may_recall:
                raise unknown(name)
            return replica.answer(state, name, unknown(name))
        attribute = state.attribute(name)
        asked = question(attribute)
        copy, known, generation = attribute.copy, asked.arguments[0], state.generation
        session = state.session
        begun_s = lifetime.ask_too(state, asked)
        try:
            reply = yield asked
        except OfflineError as error:
            if not may_recall:
                raise
            return replica.answer(state, name, error)
        ends_s = lifetime.end_s(state, asked, begun_s) if begun_s else inf
        if generation != state.generation or not is_still(attribute, copy, known):
            continue  # the answer speaks of a copy that is another one by now
        attribute.confirm(session, ends_s)
        if reply == b"same":
            return copy
        copy = understood(state, attribute, reply)
        # in a block, whoever reads after it will see to that
        if state.suspicion is None or state.block is not None:
            return copy
        yield from noticed(state)


def unknown(name: str) -> OfflineError:
    """The error for an attribute that only the server could tell of."""
    return OfflineError(f"the server is away, and nothing is known of the attribute {name!r}")


def is_still(attribute: Attribute, copy: Copy | None, known: bytes) -> bool:
    """Is the copy the one that was asked with? A signal handler may have read or changed it."""
    return attribute.copy is copy and (copy is None or copy.descriptor is known)


def question(attribute: Attribute) -> Call:
    """The call that asks for an attribute, or whether this process's copy is still up to date."""
    copy = attribute.copy
    if copy is None:
        return Call(attribute.reader, b"")
    asked = copy.question
    if asked is None:
        asked = copy.question = Call(attribute.reader, copy.descriptor)
    elif asked.arguments[0] is not copy.descriptor:
        asked.arguments = (copy.descriptor,)
        asked.packed = b""
    return asked


def understood(state: State, attribute: Attribute, reply: list[Any]) -> Copy | None:
    """Take over what an answer other than "same" says, and return the new copy.

    `state.suspicion` is the attribute afterwards, if it is older than this process has seen it.

    Raises:
        CorruptValueError: What is stored is no value of ours; no copy is left then.
    """
    copy = attribute.copy
    attribute.copy = None
    before = (copy.descriptor if copy and copy.descriptor else attribute.before)[1:14]
    attribute.before = b""
    if before and _is_older(reply, before):
        state.suspicion = attribute.name
    if _is_missing(reply):
        attribute.seen = reply[1]
        state.contact = max(state.contact, reply[1])
        return None
    attribute.copy = _copy(state, attribute, copy, reply)
    return attribute.copy


def _is_missing(reply: list[Any]) -> bool:
    # an empty field of a foreign hand comes alone
    return len(reply) > 1 and not reply[0]


def _is_older(reply: list[Any], before: bytes) -> bool:
    """Is the attribute, or a memory in which it is missing, older than the version `before`?"""
    if _is_missing(reply):
        return bytes(reply[1]) < before
    version = bytes(reply[0][1:14])
    # the field of a foreign hand is judged elsewhere
    return len(version) == len(before) and version < before


def _copy(state: State, attribute: Attribute, copy: Copy | None, reply: list[Any]) -> Copy:
    name = attribute.name
    descriptor, payload = split(reply[0], name)
    kind = descriptor[:1]
    if len(reply) == 1:
        with contents.named(name):
            return Copy(kind, descriptor, contents.decode_scalar(kind, payload, state.limits))
    if reply[1] == b"damaged":
        raise CorruptValueError(
            f"elements of the {KIND_NAMES[kind]} attribute {name!r} are missing or foreign"
        )
    with contents.named(name):
        if reply[1] == b"tail" and copy is not None:
            copy.value.extend(contents.decode(kind, reply[2], state.limits))
            return Copy(kind, descriptor, copy.value)
        return Copy(kind, descriptor, contents.decode(kind, reply[2], state.limits))
