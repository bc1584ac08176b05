"""What reading costs: an attribute that has not changed, and a list that has grown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it says nothing of its types
from figures import Figure
from rounds import Case, interleave
from setting import CALLS, Setting, message, messages, packed

from redis_memory import ConversationMemory, push

LENGTHS = (10, 1_000, 10_000, 100_000)
LONG = 10_000


def unchanged(setting: Setting) -> Iterator[Figure]:
    """Read again what nobody has changed."""
    scalars = setting.memory("scalars")
    scalars.topic = "billing"
    cases = {"hget": _hget(setting), "scalar": Case(lambda _: scalars.topic)}
    for length in setting.sizes(*LENGTHS):
        cases[f"list of {length:,}"] = _dropped(_filled(setting, length))
    timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    for case in cases:
        if case != "hget":
            yield Figure.of(f"read an unchanged {case} / hget", timings, case, "hget", 1.2)


def kept(setting: Setting) -> Iterator[Figure]:
    """Read again while the proxy of the last reading is still held: another one must be filled."""
    (length,) = setting.sizes(LONG)
    memory = _filled(setting, length)
    latest: Any = None

    def read(_: int) -> None:
        nonlocal latest
        latest = memory.messages

    cases = {"hget": _hget(setting), "kept": Case(read)}
    timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    assert len(latest) == length
    yield Figure.of(f"messages = mem.messages, {length:,} long / hget", timings, "kept", "hget")


def grown(setting: Setting) -> Iterator[Figure]:
    """Read a long list to which somebody else has appended one message since."""
    (length,) = setting.sizes(LONG)
    writer = _filled(setting, length)
    reader, client = setting.memory(writer.conversation_id), setting.client
    read = 0

    def everything(_: int) -> None:
        elements: Any = client.lrange("plain:grown", 0, -1)
        assert len([msgpack.unpackb(element) for element in elements]) == length

    def follow(_: int) -> None:
        nonlocal read
        read = len(reader.messages)

    client.rpush("plain:grown", *packed(messages(length)))
    cases = {
        "everything": Case(everything),
        "follow": Case(follow, before_call=lambda: push(writer, "messages", message(length))),
    }
    timings = interleave(cases, rounds=setting.rounds, calls=3)
    assert read == len(writer.messages) > length
    name = f"read {length:,} messages after one remote append / lrange and unpack"
    yield Figure.of(name, timings, "follow", "everything", 0.02)


def _hget(setting: Setting) -> Case:
    setting.client.hset("plain", "topic", b"billing")
    return Case(lambda _: setting.client.hget("plain", "topic"))


def _filled(setting: Setting, length: int) -> ConversationMemory:
    memory = setting.memory(f"read-{length}")
    memory.messages = messages(length)
    return memory


def _dropped(memory: ConversationMemory) -> Case:
    return Case(lambda _: memory.messages)
