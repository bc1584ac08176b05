"""What a single call costs, beside the redis-py call that does the same to a plain key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from figures import Figure
from rounds import Case, interleave
from setting import CALLS, Setting

from redis_memory import increment, snapshot


def assigning(setting: Setting) -> Iterator[Figure]:
    """Assign a scalar."""
    memory, client = setting.memory("assigned"), setting.client
    cases = {
        "hset": Case(lambda _: client.hset("plain", "topic", b"billing")),
        "assign": Case(lambda _: setattr(memory, "topic", "billing")),
    }
    timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    yield Figure.of("assign a scalar / hset", timings, "assign", "hset", 1.0)


def containers(setting: Setting) -> Iterator[Figure]:
    """Change dicts and sets by held proxies."""
    memory, client = setting.memory("containers"), setting.client
    held: Any = None

    def hold(value: Any) -> None:
        nonlocal held
        memory.box = value
        held = memory.box

    def nest() -> None:
        nonlocal held
        hold({"prefs": {"tone": "", "language": "en"}})
        held = held["prefs"]

    cases = {
        "hset": Case(
            lambda turn: client.hset("plain:box", f"key-{turn}", b"value"),
            lambda: client.delete("plain:box"),
        ),
        "dict": Case(lambda turn: held.__setitem__(f"key-{turn}", "value"), lambda: hold({})),
        "nested": Case(lambda turn: held.__setitem__("tone", f"tone-{turn}"), nest),
        "sadd": Case(
            lambda turn: client.sadd("plain:tags", f"tag-{turn}"),
            lambda: client.delete("plain:tags"),
        ),
        "set": Case(lambda turn: held.add(f"tag-{turn}"), lambda: hold(set())),
    }
    timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    assert len(memory.box) == client.scard("plain:tags") > CALLS
    yield Figure.of("set a key of a held dict / hset", timings, "dict", "hset")
    yield Figure.of("set a key of a held dict inside a dict / hset", timings, "nested", "hset")
    yield Figure.of("add to a held set / sadd", timings, "set", "sadd")


def functions(setting: Setting) -> Iterator[Figure]:
    """Count, and read everything at once."""
    memory, client = setting.memory("functions"), setting.client
    for number in range(20):
        memory[f"attribute_{number}"] = number
        client.hset("plain:many", f"attribute_{number}", number)
    cases = {
        "hgetall": Case(lambda _: client.hgetall("plain:many")),
        "snapshot": Case(lambda _: snapshot(memory)),
        "hincrby": Case(lambda _: client.hincrby("plain:many", "attribute_0")),
        "increment": Case(lambda _: increment(memory, "attribute_0")),
    }
    timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    assert str(memory.attribute_0).encode() == client.hget("plain:many", "attribute_0")
    yield Figure.of("increment / hincrby", timings, "increment", "hincrby")
    yield Figure.of("snapshot of 20 scalars / hgetall of them", timings, "snapshot", "hgetall")
