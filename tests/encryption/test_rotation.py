"""A memory goes over to another key as one step, and nobody who uses it notices."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from redis_memory import (
    ConfigurationError,
    ConversationMemory,
    DecryptionError,
    Memory,
    increment,
    push,
    rotate_keys,
    snapshot,
    status,
)
from redis_memory.core.sealing import Keyring
from redis_memory.link.links import idle_writers
from redis_memory.memory import core_of
from tests.encryption.conftest import Open, OpenFace
from tests.encryption.keys import BOTH, MARKER, NEW, NEW_BYTES, OLD, OLD_BYTES, dumped
from tests.faults import FaultProxy, named
from tests.servers import Server
from tests.waiting import wait_until

OLD_FIRST = [OLD, NEW]
VALUES: dict[str, Any] = {
    "text": MARKER,
    "number": 7,
    "messages": [MARKER, {"a": [1]}],
    "empty": [],
    "profile": {"a": {"b": MARKER}, 1.0: 2, None: [3]},
    "members": {MARKER, 1.0, (1, 2)},
}


def is_under(server: Server, secret: bytes) -> bool:
    """Does a value of the server lie under this key?"""
    return Keyring([secret]).first in dumped(server)


def test_every_value_goes_over(
    server: Server, open_face: OpenFace, opened: Open, name: str
) -> None:
    """Afterwards the new key alone opens everything, the old one nothing."""
    mem = opened(name)
    for attribute, value in VALUES.items():
        mem[attribute] = value
    face = open_face(name, key=BOTH)
    assert face.snapshot() == VALUES
    assert face.function("rotate_keys") is True
    assert face.function("rotate_keys") is False
    assert not is_under(server, OLD_BYTES)
    other = opened(name, key=NEW)
    assert snapshot(other) == VALUES
    assert [type(key) for key in other.profile] == [str, float, type(None)]
    other.profile["a"]["b"] = "now"
    other.messages.remove(MARKER)
    other.members.discard(1)
    assert face.read("profile")["a"] == {"b": "now"}
    with pytest.raises(DecryptionError, match="encryption_key"):
        snapshot(mem)
    with pytest.raises(DecryptionError, match="encryption_key"):
        push(mem, "messages", "x")


def test_what_others_hold_stays_right(opened: Open, name: str) -> None:
    """Proxies, nested ones too, and copies from before go on without being stale."""
    mem, other = opened(name, key=OLD_FIRST), opened(name, key=BOTH)
    mem.messages, mem.profile = ["a", {"deep": [1]}], {"a": [1]}
    held, deep, inner = mem.messages, mem.messages[1]["deep"], mem.profile["a"]
    assert rotate_keys(other)
    held.append("b")
    deep.append(2)
    inner.insert(0, 0)
    held[0] = "z"
    assert snapshot(other) == {"messages": ["z", {"deep": [1, 2]}, "b"], "profile": {"a": [0, 1]}}
    assert status(mem).conflicts == 0


def test_a_new_memory_is_under_the_first_key(server: Server, opened: Open, name: str) -> None:
    """And one of before stays under its own until it is rotated, whoever writes."""
    old = opened(name)
    old.text = "a"
    both = opened(name, key=BOTH)
    both.other = "b"
    assert snapshot(old) == {"text": "a", "other": "b"}
    assert not is_under(server, NEW_BYTES)
    opened(name + "-2", key=BOTH).text = "c"
    assert is_under(server, NEW_BYTES)


def test_a_memory_that_was_cleared_begins_under_the_first_key(
    server: Server, opened: Open, name: str
) -> None:
    """The name of a key that nobody has any more keeps no conversation from beginning anew."""
    old = opened(name)
    old.text = "a"
    del old.text
    new = opened(name, key=NEW)
    new.text = "b"
    assert new.text == "b"


def _change_all(own: ConversationMemory, number: int, turn: int) -> None:
    own.messages.append((number, turn))
    own.messages.append("x")
    own.messages.remove("x")
    own.profile[f"{number}-{turn}"] = turn
    own.profile["same"] = number
    own.members.add((number, turn))
    own.members.add("same")
    own.shared["log"].append((number, turn))
    increment(own, "count")
    if turn % 2:
        own.members.discard((number, turn))
        del own.profile[f"{number}-{turn}"]


def test_writers_go_on_while_keys_change(opened: Open, name: str) -> None:
    """Of all that several workers do during many rotations nothing is lost, doubled or refused."""
    mem = opened(name, timeout_s=5)
    mem.messages, mem.profile, mem.members, mem.count = [], {}, set(), 0
    mem.shared = {"log": []}
    turns, errors, is_over = [0, 0, 0], list[BaseException](), threading.Event()

    def work(number: int) -> None:
        try:
            own = opened(name, key=BOTH if number % 2 else OLD_FIRST, timeout_s=5)
            while not is_over.is_set():
                _change_all(own, number, turns[number])
                turns[number] += 1
        except BaseException as error:  # noqa: BLE001 - told in the thread of the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(turns))]
    for thread in threads:
        thread.start()
    rotators = [opened(name, key=keys, timeout_s=5) for keys in (BOTH, OLD_FIRST)]
    done = []
    for turn in range(8):
        before = list(turns)
        wait_until(partial(operator.ne, before, turns), what="changes")
        done.append(rotate_keys(rotators[turn % 2]))
    is_over.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert done == [True] * 8
    _check_all(mem, turns)


def _check_all(mem: ConversationMemory, turns: list[int]) -> None:
    each = [[(number, turn) for turn in range(count)] for number, count in enumerate(turns)]
    everything = {one for row in each for one in row}
    even = {one for one in everything if not one[1] % 2}
    messages = list(mem.messages)
    assert len(messages) == len(everything)
    for number, row in enumerate(each):
        assert [one for one in messages if one[0] == number] == row
    assert set(mem.profile) == {f"{n}-{t}" for n, t in even} | {"same"}
    assert mem.members == even | {"same"}
    assert sorted(mem.shared["log"]) == sorted(everything)
    assert mem.count == len(everything)


def test_a_rotation_that_died_holds_nobody_off_for_long(
    server: Server, opened: Open, name: str
) -> None:
    """The second that changes are held off for ends by itself."""
    mem = opened(name, timeout_s=5)
    mem.text = "a"
    client: Any = server.client()
    key = f"memory:{{{name}}}"
    seconds, micros = client.time()
    held_until = seconds * 1_000_000 + micros + 300_000
    client.hset(key, "_sealed", client.hget(key, "_sealed") + b"!%013x" % held_until)
    assert mem.text == "a"
    mem.text = "b"
    seconds, micros = client.time()
    assert seconds * 1_000_000 + micros >= held_until
    assert b"!" not in client.hget(key, "_sealed")
    assert rotate_keys(opened(name, key=BOTH))
    assert opened(name, key=NEW).text == "b"


def test_the_last_results_of_writers_are_forgotten_after_an_hour(
    server: Server, opened: Open, name: str
) -> None:
    """What a writer took last is kept for its next question, and not for ever under the old key."""
    mem = opened(name, key=OLD_FIRST)
    mem.text, mem.d = "a", {"k": MARKER}
    mem.d.pop("k")
    both = opened(name, key=BOTH)
    client: Any = server.client()
    key, writer = f"memory:{{{name}}}", core_of(mem).state.writer.id
    assert rotate_keys(both)
    assert is_under(server, OLD_BYTES)
    number, made, rest = client.hget(key, writer).split(b" ", 2)
    an_hour = 3_600_000_000
    client.hset(key, writer, b"%b %013x %b" % (number, int(made, 16) - an_hour, rest))
    assert rotate_keys(mem)
    assert rotate_keys(both)
    assert not is_under(server, OLD_BYTES)


def test_what_waited_is_delivered_under_the_new_key(
    server: Server, proxy: FaultProxy, open_face: OpenFace, opened: Open, name: str
) -> None:
    """Changes that were made while Redis was away, before a rotation, arrive after it."""
    mem = opened(name, key=BOTH)
    opened(name).box = [1]
    face = open_face(name, proxy.url, key=OLD_FIRST)
    face.assign("d", {"a": [1]})
    face.read("box")
    proxy.refuse()
    face.call("box", "append", 2)
    face.call("d", "append", 2, at=("a",))
    face.call("d", "__setitem__", "b", 1)
    face.assign("fresh", {1})
    assert rotate_keys(mem)
    proxy.heal()
    assert face.flush() == 0
    assert snapshot(mem) == {"box": [1, 2], "d": {"a": [1, 2], "b": 1}, "fresh": {1}}
    assert not face.conflicts()
    assert not is_under(server, OLD_BYTES)


def test_a_change_in_doubt_is_made_once(proxy: FaultProxy, opened: Open, name: str) -> None:
    """An answer that is lost around a rotation leaves the change made once."""
    mem, other = opened(name, proxy.url, key=OLD_FIRST, timeout_s=5), opened(name, key=BOTH)
    mem.box = [1]
    assert rotate_keys(other)
    proxy.lose_replies(1, when=named("EVALSHA"))
    push(mem, "box", 2)
    assert other.box == [1, 2]


def test_values_in_the_open_are_encrypted_when_asked(
    server: Server, url: str, open_face: OpenFace, opened: Open, name: str
) -> None:
    """`seal_plain` encrypts a memory that was written without a key; nothing else does."""
    with ConversationMemory(name, url) as plain:
        for attribute, value in VALUES.items():
            plain[attribute] = value
    face = open_face(name)
    with pytest.raises(DecryptionError, match="seal_plain"):
        face.function("rotate_keys")
    assert MARKER.encode() in dumped(server)
    assert face.function("rotate_keys", seal_plain=True) is True
    assert face.snapshot() == VALUES
    assert MARKER.encode() not in dumped(server)
    face.call("members", "add", 1)
    face.call("profile", "__setitem__", 1, 3)
    assert opened(name).members == VALUES["members"]
    assert opened(name).profile == {**VALUES["profile"], 1.0: 3}


def test_a_directory_rotates_all(
    server: Server, url: str, opened: Open, open_directory: Callable[..., Any]
) -> None:
    """Every conversation goes over; one that cannot be opened is named, and the others are done."""
    for number in range(25):
        opened(f"c-{number}").text = MARKER
    with Memory(url, encryption_key=OLD) as whole:
        whole.text = "not a conversation"
    with ConversationMemory("open", url) as plain:
        plain.text = "open"
    seen: list[int] = []
    directory = open_directory(url, encryption_key=BOTH)
    report = directory.rotate_keys(progress=seen.append)
    assert report.rotated == 25
    assert [(one.where, "seal_plain" in one.reason) for one in report.damaged] == [("open", True)]
    assert seen
    assert seen == sorted(seen)
    assert all(opened(f"c-{number}", key=NEW).text == MARKER for number in range(25))
    report = directory.rotate_keys(seal_plain=True)
    assert (report.rotated, report.damaged) == (1, ())
    assert opened("open", key=NEW).text == "open"
    with Memory(url, encryption_key=BOTH) as whole:
        assert rotate_keys(whole)
    assert not is_under(server, OLD_BYTES)


def test_a_directory_rotates_who_is_active_all_the_time(
    server: Server, url: str, opened: Open, open_directory: Callable[..., Any]
) -> None:
    """A conversation that moves ahead of each round goes over, too."""
    for number in range(100):
        opened(f"c-{number}", key=NEW).text = MARKER
    opened("busy").turn = 0

    def go_on(_: int) -> None:
        idle_writers.clear()
        with ConversationMemory("busy", url, encryption_key=OLD_FIRST) as memory:
            memory.turn = 1

    report = open_directory(url, encryption_key=BOTH).rotate_keys(progress=go_on)
    assert (report.rotated, report.damaged) == (1, ())
    assert not is_under(server, OLD_BYTES)


def test_what_the_index_lacks_is_found_before(
    server: Server, url: str, opened: Open, open_directory: Callable[..., Any], name: str
) -> None:
    """`reindex`, as the manual says, or a conversation would stay under a key that is given up."""
    opened(name).text = MARKER
    server.client().delete("memory:~conversations")
    directory = open_directory(url, encryption_key=BOTH)
    assert directory.rotate_keys().rotated == 0
    directory.reindex()
    assert directory.rotate_keys().rotated == 1
    assert not is_under(server, OLD_BYTES)


def test_without_a_key_there_is_nothing_to_rotate(
    url: str, name: str, open_directory: Callable[..., Any]
) -> None:
    """Both ways to rotate say that the setting is missing."""
    with ConversationMemory(name, url) as plain, pytest.raises(ConfigurationError):
        rotate_keys(plain)
    with pytest.raises(ConfigurationError):
        open_directory(url).rotate_keys()


def test_a_damaged_value_stops_the_rotation(server: Server, opened: Open, name: str) -> None:
    """What cannot be opened is not lost: nothing of that memory is changed."""
    mem = opened(name)
    mem.text, mem.other = "a", "b"
    client: Any = server.client()
    key = f"memory:{{{name}}}"
    field = client.hget(key, "other")
    client.hset(key, "other", field[:-1] + bytes([field[-1] ^ 1]))
    before = dumped(server)
    with pytest.raises(DecryptionError, match="other"):
        rotate_keys(opened(name, key=BOTH))
    assert dumped(server) == before


def test_a_lifetime_survives_a_rotation(server: Server, opened: Open, name: str) -> None:
    """All keys of a memory still end together."""
    mem = opened(name, ttl_s=1000)
    for attribute, value in VALUES.items():
        mem[attribute] = value
    client: Any = server.client()
    before = {key: client.pexpiretime(key) for key in client.keys(f"memory:{{{name}}}*")}
    assert rotate_keys(opened(name, key=BOTH, ttl_s=1000))
    after = {key: client.pexpiretime(key) for key in client.keys(f"memory:{{{name}}}*")}
    assert after == before
    wait_until(lambda: min(after.values()) > 0, what="an end of every key")
