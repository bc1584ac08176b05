"""Whatever fits and is written is read again, and a typed list does what a plain one does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from redis_memory import ConversationMemory, InvalidValueError
from redis_memory.core.places import detached
from tests.strategies import same, values
from tests.typed.cases import Address, Color, Message, Node, Profile, SupportCase

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Nd", "Nl", "No"]), max_size=8)
LISTS = st.lists(TEXTS, max_size=3)
MESSAGES = st.builds(Message, role=st.sampled_from(["user", "assistant"]), text=TEXTS, tags=LISTS)
ADDRESSES = st.builds(Address, city=TEXTS, code=TEXTS, notes=LISTS)
PROFILES = st.builds(
    Profile,
    name=TEXTS.map(lambda text: "".join(each for each in text if not each.isdigit())),
    age=st.integers(0, 150),
    address=st.none() | ADDRESSES,
    tags=LISTS,
    color=st.sampled_from(Color),
    since=st.none() | st.datetimes(),
)
NODES = st.recursive(
    st.builds(Node, name=TEXTS),
    lambda inner: st.builds(Node, name=TEXTS, children=st.lists(inner, max_size=3)),
    max_leaves=8,
)
FITTING = {
    "messages": st.lists(MESSAGES, max_size=4),
    "profile": st.none() | PROFILES,
    "by_name": st.dictionaries(TEXTS, PROFILES, max_size=3),
    "colors": st.sets(st.sampled_from(Color)),
    "by_color": st.dictionaries(st.sampled_from(Color), st.integers()),
    "grid": st.dictionaries(TEXTS, st.lists(st.integers(), max_size=3), max_size=3),
    "several": st.lists(MESSAGES, max_size=3).map(tuple),
    "tree": NODES,
    "anything": values(),
}


@pytest.mark.parametrize("name", FITTING)
@given(data=st.data())
def test_what_fits_is_read_as_it_was_written(name: str, data: st.DataObject) -> None:
    """By another worker; and it is stored such that it can be read without its types."""
    url, value = f"memory://{uuid.uuid4().hex}", data.draw(FITTING[name])
    with SupportCase("c", url) as case, SupportCase("c", url) as other:
        setattr(case, name, value)
        if name == "anything":
            assert same(detached(getattr(other, name)), value)
        else:
            assert getattr(other, name) == value
        with ConversationMemory("c", url) as plain:
            assert name in plain
            getattr(plain, name)


@given(value=values())
def test_whatever_is_written_either_fits_or_changes_nothing(value: Any) -> None:
    """Any value, on any declared attribute: it is refused, or can be read."""
    with SupportCase("c", f"memory://{uuid.uuid4().hex}") as case:
        for name in FITTING:
            try:
                setattr(case, name, value)
            except InvalidValueError:
                assert name not in case
            else:
                getattr(case, name)


@given(value=values())
def test_whatever_others_stored_is_read_or_refused(value: Any) -> None:
    """Never another error, and never something that does not fit."""
    url = f"memory://{uuid.uuid4().hex}"
    with SupportCase("c", url) as case, ConversationMemory("c", url) as plain:
        for name in FITTING:
            setattr(plain, name, value)
            try:
                read = getattr(case, name)
            except InvalidValueError:
                continue
            annotation = SupportCase._redis_memory_schema
            assert annotation is not None
            TypeAdapter(annotation.declarations[name].shape.annotation).validate_python(read)


Call = Callable[[Any], object]
CALLS: st.SearchStrategy[Call] = st.one_of(
    MESSAGES.map(lambda it: lambda box: box.append(it)),
    st.lists(MESSAGES, max_size=2).map(lambda it: lambda box: box.extend(it)),
    st.tuples(st.integers(-4, 4), MESSAGES).map(lambda it: lambda box: box.insert(*it)),
    st.tuples(st.integers(-4, 4), MESSAGES).map(lambda it: lambda box: box.__setitem__(*it)),
    st.integers(-4, 4).map(lambda at: lambda box: box.pop(at)),
    MESSAGES.map(lambda it: lambda box: box.remove(it)),
    st.just(lambda box: box.reverse()),
    st.just(lambda box: box.sort(key=lambda message: message.text)),
    st.tuples(st.integers(-4, 4), TEXTS).map(
        lambda it: lambda box: setattr(box[it[0]], "text", it[1])
    ),
    st.tuples(st.integers(-4, 4), TEXTS).map(lambda it: lambda box: box[it[0]].tags.append(it[1])),
    st.integers(-4, 4).map(lambda at: lambda box: box[at].tags.pop()),
)


def outcome(box: Any, call: Call) -> object:
    """What a call returns, or the type of what it raises."""
    try:
        return call(box)
    except (IndexError, ValueError) as error:
        return type(error)


@given(calls=st.lists(CALLS, max_size=12))
def test_a_list_of_models_does_what_a_plain_one_does(calls: list[Call]) -> None:
    """Same results, same errors, and another worker sees the same."""
    url = f"memory://{uuid.uuid4().hex}"
    expected: list[Message] = []
    with SupportCase("c", url) as case, SupportCase("c", url) as other:
        held = case.messages
        for at, call in enumerate(calls):
            box = held if at % 2 else case.messages
            copied = [message.model_copy(deep=True) for message in expected]
            assert outcome(box, call) == outcome(copied, call)
            expected = copied
            assert other.messages == expected
            held = case.messages
