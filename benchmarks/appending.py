"""What an append costs: beside redis-py's own, and as the list grows."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from figures import Figure
from lists import ADDED, ChatList
from rounds import Case, interleave
from setting import CALLS, Setting, message, messages

LENGTHS = (10, 100, 1_000, 10_000, 100_000)
SHORT, MIDDLE, LONG = 10, 1_000, 10_000

# What one way to append costs at each length, in seconds.
Curve = dict[int, float]


def everyday(setting: Setting) -> Iterator[Figure]:
    """The ways to append a chat message, to a list of usual length."""
    chat = ChatList(setting, 100)
    timings = interleave(
        {
            "rpush": chat.rpush(),
            "held": chat.held_proxy(),
            "push": chat.push(),
            "attribute": chat.attribute(),
        },
        rounds=setting.rounds,
        calls=CALLS,
    )
    chat.check()
    yield Figure.of("append by a held proxy / rpush", timings, "held", "rpush", 1.0)
    yield Figure.of("append by push / rpush", timings, "push", "rpush", 1.0)
    yield Figure.of("mem.messages.append(m) / rpush", timings, "attribute", "rpush", 1.6)


def long_and_short(setting: Setting) -> Iterator[Figure]:
    """An append to a long list beside one to a short list."""
    short, long = (ChatList(setting, length) for length in setting.sizes(SHORT, LONG))
    cases = {"long": long.held_proxy(), "short": short.held_proxy()}
    timings = interleave(cases, rounds=setting.rounds, calls=CALLS)
    lengths = f"at length {long.length:,} / at length {short.length:,}"
    yield Figure.of(f"append {lengths}", timings, "long", "short", 1.1)
    long_bytes, short_bytes = (_bytes_sent(setting, chat) for chat in (long, short))
    detail = f"{long_bytes:.1f} bytes / {short_bytes:.1f} bytes"
    ratio = long_bytes / short_bytes
    yield Figure(f"bytes sent for an append {lengths}", ratio, 1.1, detail=detail)


def _bytes_sent(setting: Setting, chat: ChatList) -> float:
    """Bytes that the server reads for one append by a held proxy."""
    case = chat.held_proxy()
    case.prepare()
    begun = setting.bytes_read()
    asking = setting.bytes_read() - begun
    for turn in range(len(ADDED)):
        case.call(turn)
    return (setting.bytes_read() - begun - 2 * asking) / len(ADDED)


def rewriting(setting: Setting) -> Iterator[Figure]:
    """An append beside the usual way without the library: read all, extend, write all."""
    (length,) = setting.sizes(MIDDLE)
    cases = {
        "held proxy": ChatList(setting, length).held_proxy(),
        "JSON": _rewritten(setting, length, json),
        "pickle": _rewritten(setting, length, pickle),
    }
    timings = interleave(cases, rounds=setting.rounds, calls=10)
    for form in ("JSON", "pickle"):
        name = f"append at length {length:,} / read and write the whole list as {form}"
        yield Figure.of(name, timings, "held proxy", form)


def _rewritten(setting: Setting, length: int, form: ModuleType) -> Case:
    client, key = setting.client, f"plain:{form.__name__}"
    whole = form.dumps(messages(length))

    def append(turn: int) -> None:
        stored: Any = client.get(key)
        values = form.loads(stored)
        values.append(message(turn))
        client.set(key, form.dumps(values))

    return Case(append, lambda: client.set(key, whole))


def curves(setting: Setting) -> Iterator[tuple[str, Curve]]:
    """What the plot shows: the ways to append, by name; in fewer rounds."""
    drawn: dict[str, Curve] = {}
    rounds = max(1, setting.rounds // 3)
    for length in setting.sizes(*LENGTHS):
        chat = ChatList(setting, length)
        ways = {
            "mem.messages.append(m)": chat.attribute(),
            "held proxy": chat.held_proxy(),
            "redis-py rpush": chat.rpush(),
        }
        timings = [interleave(ways, rounds=rounds, calls=CALLS)]
        if length <= LONG:  # beyond, rewriting takes half a second for each append
            rewritten = {"whole list as JSON": _rewritten(setting, length, json)}
            timings.append(interleave(rewritten, rounds=rounds, calls=5))
        for timed in timings:
            for way in timed.cases:
                drawn.setdefault(way, {})[length] = timed.median(way)
    yield from drawn.items()
