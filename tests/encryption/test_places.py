"""What was moved, changed or written by a foreign hand in Redis is not read as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import ConversationMemory, DecryptionError, push, snapshot
from tests.encryption.conftest import Open, OpenFace
from tests.encryption.keys import NEW
from tests.servers import Server

VALUES: dict[str, Any] = {
    "text": "billing",
    "number": 7,
    "messages": ["a", ["b"]],
    "profile": {"a": 1, "b": [2]},
    "members": {"a", "b"},
}


@pytest.fixture
def client(server: Server) -> Any:
    """The foreign hand."""
    return server.client()


def _key(name: str, attribute: str = "") -> str:
    return f"memory:{{{name}}}" + (f":{attribute}" if attribute else "")


def _payload(client: Any, name: str, attribute: str) -> tuple[bytes, bytes]:
    field: Any = client.hget(_key(name), attribute)
    head, _, value = field.partition(b";")
    return head + b";", value


@pytest.mark.parametrize("attribute", VALUES)
def test_a_flipped_bit_in_redis_is_noticed(
    client: Any, open_face: OpenFace, opened: Open, name: str, attribute: str
) -> None:
    """Reading what was changed raises DecryptionError, a ValueError; other attributes stay."""
    writer = opened(name)
    for each, value in VALUES.items():
        writer[each] = value
    face = open_face(name)
    for where in _flipped(client, name, attribute):
        with pytest.raises(DecryptionError, match=attribute) as caught:
            face.read(attribute)
        assert isinstance(caught.value, ValueError), where
        other = "text" if attribute != "text" else "number"
        assert face.read(other) == VALUES[other]


def _flipped(client: Any, name: str, attribute: str) -> Any:
    """Change the first, a middle and the last byte of what is stored, one after the other."""
    if attribute in ("text", "number"):
        head, value = _payload(client, name, attribute)
        for at in (2, len(value) // 2, -1):
            client.hset(_key(name), attribute, head + _with_bit(value, at))
            yield at
        client.hset(_key(name), attribute, head + value)
    elif attribute == "messages":
        value = client.lindex(_key(name, attribute), 0)
        for at in (2, len(value) // 2, -1):
            client.lset(_key(name, attribute), 0, _with_bit(value, at))
            yield at
    else:
        stored: Any = client.hgetall(_key(name, attribute))
        field, value = next(iter(stored.items()))
        client.hdel(_key(name, attribute), field)
        client.hset(_key(name, attribute), _with_bit(field, -1), value)
        yield "field"
        client.delete(_key(name, attribute))
        client.hset(_key(name, attribute), mapping={**stored, field: _with_bit(value, -1)})
        yield "value"


def _with_bit(data: bytes, at: int) -> bytes:
    damaged = bytearray(data)
    damaged[at] ^= 1
    return bytes(damaged)


def test_a_value_of_another_attribute_is_refused(client: Any, opened: Open, name: str) -> None:
    """Two attributes whose stored values were swapped are both unreadable."""
    mem = opened(name)
    mem.one, mem.two = "first", "second"
    (head, first), (_, second) = _payload(client, name, "one"), _payload(client, name, "two")
    client.hset(_key(name), mapping={"one": head + second, "two": head + first})
    other = opened(name)
    for attribute in ("one", "two"):
        with pytest.raises(DecryptionError):
            other[attribute]
    with pytest.raises(DecryptionError):
        snapshot(other)


def test_a_value_of_another_conversation_is_refused(client: Any, opened: Open, name: str) -> None:
    """A whole conversation that was copied under another id by hand cannot be read there."""
    mem = opened(name)
    for attribute, value in VALUES.items():
        mem[attribute] = value
    for key in client.keys(_key(name) + "*"):
        client.copy(key, key.replace(name.encode(), b"thief"))
    thief = opened("thief")
    for attribute in VALUES:
        with pytest.raises(DecryptionError):
            thief[attribute]


def test_a_value_of_another_kind_is_refused(client: Any, opened: Open, name: str) -> None:
    """An element of a list is no scalar, an element of a set no key, even of the same attribute."""
    mem = opened(name)
    mem.box = ["x"]
    element: Any = client.lindex(_key(name, "box"), 0)
    mem.box = "x"
    head, scalar = _payload(client, name, "box")
    client.hset(_key(name), "box", head + element)
    with pytest.raises(DecryptionError):
        _ = opened(name).box
    mem.box = ["y"]
    client.lset(_key(name, "box"), 0, scalar)
    with pytest.raises(DecryptionError):
        _ = opened(name).box
    mem.box = 5
    _, number = _payload(client, name, "box")
    mem.box = "5"
    head, _ = _payload(client, name, "box")
    client.hset(_key(name), "box", head + number)
    with pytest.raises(DecryptionError):
        _ = opened(name).box


def test_a_value_of_another_key_is_refused(client: Any, opened: Open, name: str) -> None:
    """Two items of one dict whose values were swapped are not read."""
    mem = opened(name)
    mem.rights = {"ann": "admin", "bob": "none"}
    stored: Any = client.hgetall(_key(name, "rights"))
    (one, first), (two, second) = stored.items()
    client.hset(_key(name, "rights"), mapping={one: second, two: first})
    with pytest.raises(DecryptionError):
        _ = opened(name).rights


def test_plain_values_of_a_foreign_hand_are_refused(client: Any, opened: Open, name: str) -> None:
    """Who can write to Redis and has no key cannot plant a value."""
    mem = opened(name)
    mem.state, mem.messages = "open", ["a"]
    head, _ = _payload(client, name, "state")
    client.hset(_key(name), "state", head + b"\xa4shut")
    client.lset(_key(name, "messages"), 0, b"\xa1x")
    other = opened(name)
    for attribute in ("state", "messages"):
        with pytest.raises(DecryptionError, match="not encrypted"):
            other[attribute]


def test_a_wrong_key_reads_and_writes_nothing(open_face: OpenFace, opened: Open, name: str) -> None:
    """Every read and every change under another key raises, and nothing is changed."""
    mem = opened(name)
    mem.text, mem.messages = "billing", ["a"]
    face = open_face(name, key=NEW)
    attempts: list[Callable[[], Any]] = [
        lambda: face.read("text"),
        lambda: face.assign("text", "x"),
        lambda: face.assign("fresh", [1]),
        lambda: face.push("messages", "x"),
        lambda: face.function("compare_and_set", "text", "billing", "x"),
        lambda: face.function("setdefault", "fresh", 1),
        lambda: face.increment("count"),
        face.snapshot,
    ]
    for attempt in attempts:
        with pytest.raises(DecryptionError, match="encryption_key"):
            attempt()
    assert snapshot(mem) == {"text": "billing", "messages": ["a"]}


def test_without_a_key_nothing_is_written(opened: Open, url: str, name: str) -> None:
    """A process that was started without the key puts no open value into an encrypted memory."""
    mem = opened(name)
    mem.text = "billing"
    with ConversationMemory(name, url) as plain:
        attempts: list[Callable[[], Any]] = [
            lambda: setattr(plain, "text", "open"),
            lambda: setattr(plain, "box", [1]),
            lambda: push(plain, "messages", "open"),
        ]
        for attempt in attempts:
            with pytest.raises(DecryptionError, match="no encryption_key"):
                attempt()
    assert snapshot(mem) == {"text": "billing"}


def test_a_memory_in_the_open_is_not_written_to(opened: Open, url: str, name: str) -> None:
    """With a key, a memory whose values are in the open is neither read nor mixed with others."""
    with ConversationMemory(name, url) as plain:
        plain.text = "open"
    mem = opened(name)
    with pytest.raises(DecryptionError, match="not encrypted"):
        _ = mem.text
    with pytest.raises(DecryptionError, match="seal_plain"):
        mem.other = 1
