"""No value is in the open: not in Redis, not on the way, not on the feed, not on the disk."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    DecryptionError,
    OfflineError,
    batch,
    increment,
    transaction,
)
from redis_memory.memory import core_of
from tests.encryption.conftest import Open, OpenFace
from tests.encryption.keys import MARKER, OLD, dumped
from tests.faults import FaultProxy
from tests.outages.faces import Blocking, Face
from tests.servers import Server
from tests.waiting import wait_until

# What every form of the marker has in common, base64 of it included.
SPELLED = [MARKER.encode(), base64.b64encode(MARKER.encode())[:12]]
VALUES: dict[str, Any] = {
    "text": MARKER,
    "number": 77_310_077_310,
    "nested": {"a": [{"b": MARKER}], MARKER: 1, (MARKER, 1): 2, None: 3},
    "messages": [MARKER, {"role": MARKER}, (MARKER,)],
    "members": {MARKER, (MARKER, 2), 3},
    "frozen": (frozenset({MARKER}), MARKER.encode()),
    "long": [MARKER * 3000],
}


def is_open(seen: bytes) -> bool:
    """Can a value be read in it?"""
    return any(spelled in seen for spelled in SPELLED) or b"77310077310" in seen


@contextmanager
def monitored(server: Server) -> Iterator[list[bytes]]:
    """Everything that the server is told meanwhile, by scripts too, and publishes."""
    seen: list[bytes] = []
    client: Any = server.client()
    feed = client.pubsub()
    feed.psubscribe("*")
    with client.monitor() as monitor:
        yield seen
        client.echo("the-end")
        for told in monitor.listen():
            seen.append(str(told["command"]).encode())
            if "the-end" in str(told["command"]):
                break
    while (message := feed.get_message(timeout=0.2)) is not None:
        seen.append(repr(message).encode())
    feed.close()


def _everything(face: Face) -> None:
    for name, value in VALUES.items():
        face.assign(name, value)
    face.call("messages", "append", MARKER)
    face.call("messages", "extend", [MARKER, {"x": MARKER}])
    face.call("messages", "insert", 1, MARKER)
    face.call("messages", "__setitem__", 0, {"first": MARKER})
    face.call("messages", "remove", MARKER)
    face.call("messages", "pop")
    face.call("messages", "pop", 0)
    face.call("messages", "reverse")
    face.push("messages", MARKER, MARKER)
    face.call("nested", "__setitem__", MARKER + "2", [MARKER])
    face.call("nested", "update", {MARKER: MARKER})
    face.call("nested", "setdefault", MARKER + "3", MARKER)
    face.call("nested", "setdefault", MARKER, MARKER)
    face.call("nested", "append", MARKER, at=("a",))
    face.call("nested", "pop", MARKER)
    face.call("nested", "popitem")
    face.call("members", "add", MARKER + "2")
    face.call("members", "symmetric_difference_update", {MARKER, "x"})
    face.call("members", "difference_update", {MARKER + "2"})
    face.call("members", "update", {MARKER})
    face.call("members", "intersection_update", {MARKER, "x"})
    face.call("members", "pop")
    face.function("compare_and_set", "text", MARKER, MARKER + "2")
    face.function("compare_and_set", "text", MARKER, MARKER)
    face.function("setdefault", "fresh", MARKER)
    face.increment("number")
    face.increment("number", 0.5)


def test_redis_is_told_no_value(server: Server, open_face: OpenFace, name: str) -> None:
    """Neither what lies in Redis, nor a command or a message on the way there, shows a value."""
    face = open_face(name)
    with monitored(server) as seen:
        _everything(face)
        told = face.snapshot()
        if isinstance(face, Blocking):
            _blocks(face.memory)
    assert is_open(repr(told).encode())
    assert len(seen) > 50
    assert not is_open(b"\n".join(seen))
    assert not is_open(dumped(server))


def _blocks(mem: ConversationMemory) -> None:
    with batch(mem):
        mem.text = MARKER + "b"
        mem.messages.append(MARKER)
        mem.nested["a"].append(MARKER)
        increment(mem, "number", 3)
    with transaction(mem):
        mem.text = mem.text + MARKER
        mem.members.add(MARKER + "t")
        del mem.nested[None]


def test_the_test_would_see_it(server: Server, name: str) -> None:
    """The same without a key shows the values, in Redis and on the way."""
    with monitored(server) as seen, ConversationMemory(name, server.url) as mem:
        mem.text = MARKER
        mem.nested = {MARKER: 1}
    assert is_open(b"\n".join(seen))
    assert is_open(dumped(server))


def test_what_waits_is_not_in_the_open(
    server: Server,
    proxy: FaultProxy,
    open_face: OpenFace,
    opened: Open,
    folder: Path,
    name: str,
) -> None:
    """A journal holds no value, and neither does what is told of it when Redis is back."""
    mem = opened(name)
    mem.messages = [{"deep": [MARKER]}]
    mem.profile = {"a": MARKER}
    face = open_face(name, proxy.url, journal=folder)
    face.read("messages")
    face.read("profile")
    proxy.refuse()
    face.assign("topic", MARKER)
    face.assign("profile", {"b": MARKER})
    face.call("messages", "append", {MARKER: 1})
    face.call("messages", "append", MARKER, at=(0, "deep"))
    face.push("messages", MARKER)
    # somebody else is faster, so that there is a conflict to tell of
    mem.profile["a"] = MARKER + "-other"
    mem.topic = MARKER + "-other"
    (file,) = folder.iterdir()
    assert file.stat().st_size > 500
    assert not is_open(file.read_bytes())
    with monitored(server) as seen:
        proxy.heal()
        assert face.flush() == 0
    assert not is_open(b"\n".join(seen))
    assert not is_open(dumped(server))
    assert opened(name).messages == [{"deep": [MARKER, MARKER]}, {MARKER: 1}, MARKER]
    conflicts = [(one.name, one.mine, one.theirs) for one in face.conflicts()]
    assert ("topic", MARKER, MARKER + "-other") in conflicts


def test_an_increment_does_not_wait(proxy: FaultProxy, open_face: OpenFace, name: str) -> None:
    """What only the server could add later is refused while it is away, in a block too."""
    face = open_face(name, proxy.url)
    face.assign("count", 1)
    proxy.refuse()
    with pytest.raises(OfflineError):
        face.increment("count")
    with pytest.raises(OfflineError):
        face.increment("unknown")
    proxy.heal()
    wait_until(lambda: face.status().online, what="Redis to be back")
    assert face.increment("count") == 2


def test_a_batch_with_an_increment_does_not_wait(
    proxy: FaultProxy, opened: Open, name: str
) -> None:
    """A block that adds to an encrypted number needs the server, and queues nothing."""
    mem = opened(name, proxy.url)
    mem.count = 1
    proxy.refuse()
    with pytest.raises(OfflineError), batch(mem):
        mem.topic = MARKER
        increment(mem, "count")
    assert not core_of(mem).state.queue.operations


def test_an_export_is_not_in_the_open(
    opened: Open, open_directory: Callable[..., Any], url: str, tmp_path: Path, name: str
) -> None:
    """A line names the conversation and its times; attributes and values are encrypted."""
    mem = opened(name)
    for attribute, value in VALUES.items():
        mem[attribute] = value
    directory = open_directory(url, encryption_key=OLD)
    file = tmp_path / "archive.jsonl"
    assert directory.export(file).conversations == 1
    assert not is_open(file.read_bytes())
    line = json.loads(file.read_text())
    assert line["id"] == name
    assert set(line["attributes"]) == {"$sealed"}
    assert "messages" not in file.read_text()

    mem.extra = 1
    assert directory.load(file, "replace").replaced == 1
    assert {n: mem[n] for n in mem} == VALUES
    assert open_directory(url).load(file, "replace").damaged
    # under another prefix too
    other = open_directory(url, prefix="other:", encryption_key=OLD)
    assert other.load(file).created == 1
    line["id"] = "somebody-else"
    file.write_text(json.dumps(line))
    assert other.load(file).damaged, "a line of another conversation"


def test_a_dry_reader_without_a_key_is_told(
    opened: Open, url: str, name: str, open_directory: Callable[..., Any]
) -> None:
    """Who has no key is told so, and not that nothing is there."""
    mem = opened(name)
    mem.text, mem.count, mem.d, mem.s, mem.m = "x", 1, {"a": 1}, {1}, [1]
    with ConversationMemory(name, url) as plain:
        for attribute in ("text", "count", "d", "s", "m"):
            with pytest.raises(DecryptionError, match="encryption_key"):
                plain[attribute]
    with pytest.raises(DecryptionError, match="encryption_key"):
        open_directory(url).list(where="text == 'x'")
    assert open_directory(url, encryption_key=OLD).list(where="text == 'x'").ids == (name,)
