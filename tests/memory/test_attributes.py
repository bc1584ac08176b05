"""Attributes are read, written and deleted as those of any object, and every worker sees them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from redis_memory import (
    ClosedError,
    ConversationMemory,
    InvalidNameError,
    Memory,
    UnstorableValueError,
    clear,
    flush,
    snapshot,
)
from tests.faults import FaultProxy
from tests.strategies import same, values

# names that a class would take, names that are no identifiers, and names with a meaning in Redis
NAMES = [
    *("items", "update", "keys", "lock", "state", "pop", "copy", "clear", "settings"),
    *(
        "class",
        "a b",
        "1",
        "größe",
        "😀",
        "\ud800",
        "line\nbreak",
        "nul\x00",
        "*",
        "a:b",
        "}",
        "{x}",
    ),
    *("x_", "n" * 512),
]


def test_what_one_worker_writes_another_reads(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """A write has been applied when the statement returns, whoever reads it."""
    mem.topic = "billing"
    assert other.topic == "billing"
    other.topic = "refunds"
    assert mem.topic == "refunds"


def test_a_missing_attribute_raises_attribute_error(mem: ConversationMemory) -> None:
    """So `hasattr` is false, and `getattr` gives its default."""
    with pytest.raises(AttributeError, match="'topic'") as caught:
        mem.topic  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("topic", mem)
    assert not hasattr(mem, "topic")
    assert getattr(mem, "topic", "none yet") == "none yet"


def test_a_deleted_attribute_is_gone_for_everybody(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """Deleting is deleting, for containers and scalars alike."""
    mem.topic, mem.messages = "billing", [1, 2]
    del mem.topic, other.messages
    assert not hasattr(other, "topic")
    assert not hasattr(mem, "messages")
    with pytest.raises(AttributeError, match="'topic'"):
        del mem.topic


def test_none_is_a_value(mem: ConversationMemory, other: ConversationMemory) -> None:
    """An attribute that holds None is there."""
    mem.topic = None
    assert hasattr(other, "topic")
    assert other.topic is None
    assert "topic" in other


@pytest.mark.parametrize("name", NAMES)
def test_every_name_belongs_to_the_user(
    mem: ConversationMemory, other: ConversationMemory, name: str
) -> None:
    """A name is an attribute and an item, whatever it spells."""
    mem[name] = [name]
    assert getattr(other, name) == other[name] == [name]
    assert list(other) == [name]
    setattr(other, name, "changed")
    assert mem[name] == getattr(mem, name) == "changed"
    assert name in mem
    del mem[name]
    assert not hasattr(other, name)


def test_a_missing_item_raises_key_error(mem: ConversationMemory) -> None:
    """By item, a missing attribute is a missing key, whatever is asked of it."""
    with pytest.raises(KeyError, match="topic"):
        mem["topic"]
    with pytest.raises(KeyError, match="topic"):
        del mem["topic"]
    assert "topic" not in mem


@pytest.mark.parametrize("name", ["", "_hidden", "n" * 513, 5, None])
def test_a_name_that_cannot_be_stored_is_missing_and_cannot_be_written(
    mem: ConversationMemory, name: Any
) -> None:
    """Reading and deleting meet a missing key; only writing says what is wrong with the name."""
    with pytest.raises(KeyError):
        mem[name]
    with pytest.raises(KeyError):
        del mem[name]
    assert name not in mem
    with pytest.raises(InvalidNameError):
        mem[name] = 1
    assert len(mem) == 0


def test_names_are_iterated_in_order(mem: ConversationMemory, other: ConversationMemory) -> None:
    """`iter` gives the stored names sorted, and `len` counts them."""
    for name in ("b", "a", "c d"):
        mem[name] = {name}
    assert list(other) == sorted(other) == ["a", "b", "c d"]
    assert len(other) == 3


def test_a_memory_is_true_even_when_it_is_empty(mem: ConversationMemory) -> None:
    """`if memory:` asks whether there is one."""
    assert len(mem) == 0
    assert mem


def test_dir_shows_the_stored_names_and_nothing_else(mem: ConversationMemory) -> None:
    """Completion in a shell offers what is stored, and `conversation_id`."""
    mem.topic, mem["a b"] = "billing", 1
    assert {name for name in dir(mem) if name[0] != "_"} == {"topic", "a b", "conversation_id"}


def test_dir_of_a_whole_prefix_has_no_conversation_id(each_url: str) -> None:
    """Without a conversation, that name is the user's too."""
    with Memory(each_url, prefix=f"{uuid.uuid4()}:") as memory:
        assert not [name for name in dir(memory) if name[0] != "_"]
        memory.conversation_id = "mine"
        assert memory["conversation_id"] == "mine"
        assert [name for name in dir(memory) if name[0] != "_"] == ["conversation_id"]


def test_names_with_an_underscore_are_never_stored(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """They are ordinary Python attributes of one object."""
    mem._note = "here only"
    assert mem._note == "here only"
    assert not hasattr(other, "_note")
    assert len(other) == 0
    del mem._note
    with pytest.raises(AttributeError):
        mem._note  # noqa: B018
    with pytest.raises(AttributeError):
        del mem._note


def test_the_conversation_id_is_read_only(mem: ConversationMemory, conversation_id: str) -> None:
    """It can be neither changed nor deleted, by attribute or by item."""
    with pytest.raises(AttributeError, match="conversation_id"):
        mem.conversation_id = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="conversation_id"):
        del mem.conversation_id
    with pytest.raises(InvalidNameError, match="conversation_id"):
        mem["conversation_id"] = "other"
    with pytest.raises(KeyError):
        del mem["conversation_id"]
    assert mem.conversation_id == conversation_id
    assert "conversation_id" not in mem


def test_a_uuid_is_the_same_conversation_as_its_text(each_url: str) -> None:
    """Whoever has the id as a UUID and whoever has it as a str share one memory."""
    conversation_id = uuid.uuid4()
    with (
        ConversationMemory(conversation_id, each_url) as one,
        ConversationMemory(str(conversation_id), each_url) as two,
    ):
        one.topic = "billing"
        assert two.topic == "billing"
        assert one.conversation_id == two.conversation_id == str(conversation_id)


def test_conversations_and_prefixes_are_apart(each_url: str) -> None:
    """Neither another conversation nor another prefix sees an attribute, or loses one."""
    prefix, ids = f"{uuid.uuid4()}:", ("alice", "bob")
    opened = [
        *(ConversationMemory(each, each_url, prefix=prefix) for each in ids),
        *(ConversationMemory(each, each_url, prefix=f"{prefix}x") for each in ids),
        Memory(each_url, prefix=prefix),
    ]
    for number, memory in enumerate(opened):
        memory.number, memory.box = number, [number]
    clear(opened[0])
    assert [snapshot(memory) for memory in opened] == [
        {},
        *({"number": number, "box": [number]} for number in range(1, len(opened))),
    ]
    for memory in opened:
        memory.__exit__()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values())
def test_a_value_comes_back_equal_and_of_the_same_type(
    mem: ConversationMemory, other: ConversationMemory, value: Any
) -> None:
    """Through the server too: equal in, equal out, same type, at every depth."""
    mem.value = value
    assert same(snapshot(other)["value"], value)
    assert same(snapshot(mem)["value"], value)


def test_assigning_copies(mem: ConversationMemory) -> None:
    """The caller's own list is never changed and never becomes live."""
    mine: dict[str, Any] = {"tags": ["a"]}
    mem.profile = mine
    mem.profile["tags"].append("b")
    assert mine == {"tags": ["a"]}
    mine["tags"].append("c")
    mine["more"] = 1
    assert mem.profile == {"tags": ["a", "b"]}


def test_a_proxy_is_assigned_by_value(mem: ConversationMemory) -> None:
    """An attribute made of another one has a life of its own."""
    mem.messages = [{"role": "user"}]
    mem.archive = mem.messages
    mem.first = mem.messages[0]
    mem.messages[0]["role"] = "system"
    assert mem.archive == [{"role": "user"}]
    assert mem.first == {"role": "user"}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (object(), "box"),
        ({"a": [1, object()]}, r"box\['a'\]\[1\]"),
        ([{"a": (1, {"b": len})}], r"box\[0\]\['a'\]\[1\]\['b'\]"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_by_its_place(
    proxy: FaultProxy, conversation_id: str, value: Any, place: str
) -> None:
    """The message names the offending part, nothing is sent, and what was there stays."""
    with ConversationMemory(conversation_id, proxy.url) as memory:
        memory.box = "before"
        sent = proxy.requests
        with pytest.raises(UnstorableValueError, match=place):
            memory.box = value
        assert proxy.requests == sent
        assert memory.box == "before"


def test_leaving_a_with_block_closes_the_memory(each_url: str, conversation_id: str) -> None:
    """Whoever uses it afterwards, or a proxy from it, meets ClosedError."""
    with ConversationMemory(conversation_id, each_url) as memory:
        memory.messages = [1]
        held = memory.messages
    uses: list[Callable[[], object]] = [
        lambda: memory.messages,
        lambda: setattr(memory, "messages", []),
        lambda: held.append(2),
        lambda: hasattr(memory, "messages"),
        lambda: len(memory),
    ]
    for use in uses:
        with pytest.raises(ClosedError):
            use()
    assert held == [1]


def test_repr_says_what_it_is_and_how_it_stands(each_url: str) -> None:
    """Class, conversation, server and state; never a value."""
    memory = ConversationMemory("c-42", each_url, prefix=f"{uuid.uuid4()}:")
    server = each_url if each_url.startswith("memory") else "unix://"
    assert repr(memory).startswith("<ConversationMemory: conversation 'c-42' at " + server)
    assert "not yet connected" in repr(memory)
    memory.topic = "secret value"
    assert "online" in repr(memory)
    assert "secret" not in repr(memory)
    with memory:
        pass
    assert "closed" in repr(memory)


def test_repr_says_when_the_server_is_away(proxy: FaultProxy, conversation_id: str) -> None:
    """After a call that could not be made, the memory shows as offline; then as online again."""
    with ConversationMemory(conversation_id, proxy.url, timeout_s=0.3) as memory:
        proxy.refuse()
        memory.topic = "billing"
        assert "offline, 1 queued" in repr(memory)
        proxy.heal()
        assert flush(memory, 5) == 0
        memory.topic = "billing"
        assert "online" in repr(memory)
