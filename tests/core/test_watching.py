"""What a watcher tells, without a server: in order, none twice, nothing lost in between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import MISSING
from redis_memory.core.feed import News
from redis_memory.core.state import State
from redis_memory.core.values import pack
from redis_memory.core.watching import Change, Watcher
from redis_memory.errors import CorruptValueError, OfflineError, RedisMemoryError
from tests.core.messages import log, message, scalar, version

KINDS = st.sampled_from([b"s", b"a", b"m", b"c", b"d", b"x", b"l"])


class Stage:
    """A watcher, and a server that answers its questions from a plain dict."""

    def __init__(self, *names: str) -> None:
        self.state = State("test:", "c-1")
        self.state.session = 1
        self.rings = 0
        self.watcher = Watcher(names, self._ring)
        self.hash: dict[bytes, bytes] = {}
        self.elements: list[bytes] = []
        self.is_away = False
        # how long the memory stays, as PTTL says it
        self.left_ms = -1
        self.asked: list[bytes] = []

    def _ring(self) -> None:
        self.rings += 1

    def hear(self, *messages: bytes) -> None:
        """The feed tells something."""
        for each in messages:
            self.watcher.hear(News(each))

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow of the watcher."""
        try:
            call = next(flow)
            while True:
                if self.is_away:
                    call = flow.throw(OfflineError("away"))
                else:
                    call = flow.send(self._reply(call))
        except StopIteration as end:
            return end.value

    def _reply(self, call: Any) -> Any:
        word, arguments = call.head.parts[0], call.arguments
        self.asked.append(word)
        call.answers = [self.left_ms] * len(call.companions)
        if word == b"HMGET":
            return [self.hash.get(name) for name in arguments]
        if word == b"HGETALL":
            return [part for pair in self.hash.items() for part in pair]
        if word == b"HGET":
            return self.hash.get(arguments[0])
        field = self.hash.get(b"log")
        if field is None:
            return [b"", self.hash.get(b"_version", b"")]
        return [field, b"whole", list(self.elements)]

    def begin(self) -> None:
        """The watch begins."""
        self.run(self.watcher.beginning(self.state))

    def told(self) -> list[tuple[str, str, Any, int]]:
        """What is told until nothing is left."""
        changes: list[tuple[str, str, Any, int]] = []
        while (change := self.run(self.watcher.telling(self.state))) is not None:
            assert isinstance(change, Change)
            changes.append((change.name, change.kind, change.value, change.version))
        return changes


def test_news_with_values_cost_nothing() -> None:
    """A scalar or what was appended is told from the message, in order, without a question."""
    stage = Stage()
    stage.begin()
    stage.asked.clear()
    stage.hear(
        message(b"s", b"topic", scalar(5), pack("a")),
        message(b"a", b"log", log(6, 1), pack([1])),
        message(b"m", b"log", log(7, 3), b"1:\x021:\x03"),
        message(b"d", b"topic", version(8) + b";"),
        message(b"l", b"_lock", b"l" + version(9) + b";"),
    )
    assert stage.told() == [
        ("topic", "set", "a", 5),
        ("log", "append", [[1]], 6),
        ("log", "append", [2, 3], 7),
        ("topic", "delete", MISSING, 8),
    ]
    assert stage.asked == []
    assert stage.rings == 4


def test_a_memory_that_has_ended_is_told_by_nobody() -> None:
    """At the end of its time, known or told since, the memory is looked for; not before."""
    stage = Stage()
    stage.hash = {b"_version": version(4), b"_created": version(4), b"topic": scalar(4)}
    stage.left_ms = 3_600_000
    stage.begin()
    stage.asked.clear()
    assert stage.told() == []
    assert stage.asked == []
    stage.left_ms = 0
    stage.hear(message(b"e", b"", version(0) + b";"))
    assert stage.rings == 1
    assert stage.told() == []
    stage.hash.clear()
    stage.left_ms = -2
    assert stage.told() == [("topic", "delete", MISSING, 5)]
    stage.asked.clear()
    assert stage.told() == []
    assert stage.asked == []


def test_only_what_is_watched_rings() -> None:
    """Changes of other attributes wake nobody; `clear` does."""
    stage = Stage("log")
    stage.begin()
    stage.hear(message(b"s", b"topic", scalar(5), pack("a")))
    assert stage.rings == 0
    stage.hear(message(b"x", b"", version(6) + b";"))
    assert stage.rings == 1
    assert stage.told() == []


def test_what_happened_before_is_not_told() -> None:
    """News that are heard late, of changes before the watch began, are dropped."""
    stage = Stage()
    stage.hash = {b"_version": version(5), b"topic": scalar(5)}
    stage.hear(
        message(b"s", b"topic", scalar(4), pack(1)), message(b"s", b"topic", scalar(5), pack(2))
    )
    stage.begin()
    stage.hear(message(b"s", b"topic", scalar(6), pack(3)))
    assert stage.told() == [("topic", "set", 3, 6)]


def test_what_must_be_read_is_told_in_its_place() -> None:
    """A value that is read later has the version of its change, and no value is told twice."""
    stage = Stage()
    stage.begin()
    stage.hash = {b"_version": version(8), b"log": log(7, 2)}
    stage.elements = [pack(1), pack(2)]
    stage.hear(
        message(b"c", b"log", log(5, 1)),
        message(b"s", b"topic", scalar(6), pack("a")),
        message(b"a", b"log", log(7, 2), pack(2)),
        message(b"a", b"log", log(8, 3), pack(3)),
    )
    assert stage.told() == [
        ("log", "change", [1, 2], 5),
        ("topic", "set", "a", 6),
        ("log", "append", [3], 8),
    ]


def test_a_gap_is_filled_from_what_is_stored() -> None:
    """After a loss of the feed each attribute that differs is told once, by version."""
    stage = Stage()
    stage.hash = {
        b"_version": version(3),
        b"log": log(2, 1),
        b"gone": scalar(3),
        b"same": scalar(1),
    }
    stage.begin()
    stage.hear(message(b"d", b"topic", version(4) + b";"))
    stage.hash = {b"_version": version(9), b"log": log(7, 2), b"same": scalar(1), b"\xff": b"x"}
    stage.elements = [pack(1), pack(2)]
    stage.watcher.wake()
    assert stage.told() == [
        ("topic", "delete", MISSING, 4),
        ("log", "change", [1, 2], 7),
        ("gone", "delete", MISSING, 9),
    ]
    stage.hear(
        message(b"a", b"log", log(7, 2), pack(2)), message(b"a", b"log", log(10, 3), pack(3))
    )
    assert stage.told() == [("log", "append", [3], 10)]


def test_a_clear_deletes_what_was_told() -> None:
    """In its place, name by name; what came before it is told before."""
    stage = Stage()
    stage.hash = {b"_version": version(3), b"log": log(2, 1), b"_created": version(1)}
    stage.begin()
    stage.hash = {b"_version": version(9), b"topic": scalar(9), b"_created": version(9)}
    stage.hear(
        message(b"s", b"topic", scalar(4), pack("a")),
        message(b"x", b"", version(5) + b";"),
        message(b"s", b"topic", scalar(9), pack("b")),
    )
    assert stage.told() == [
        ("topic", "set", "a", 4),
        ("log", "delete", MISSING, 5),
        ("topic", "delete", MISSING, 5),
        ("topic", "set", "b", 9),
    ]


def test_a_clear_that_left_newer_things_alone_is_a_gap() -> None:
    """One that had waited may spare what is newer: what is stored tells."""
    stage = Stage()
    stage.hash = {
        b"_version": version(3),
        b"a": scalar(2),
        b"b": scalar(3),
        b"_created": version(1),
    }
    stage.begin()
    stage.hash = {b"_version": version(5), b"b": scalar(3), b"_created": version(1)}
    stage.hear(message(b"x", b"", version(5) + b";"))
    assert stage.told() == [("a", "delete", MISSING, 5)]


def test_an_outage_in_between_loses_nothing() -> None:
    """What needs the server stays first in line until the server is back."""
    stage = Stage()
    stage.begin()
    stage.hash = {b"_version": version(6), b"log": log(5, 1)}
    stage.elements = [pack(1)]
    stage.hear(message(b"c", b"log", log(5, 1)), message(b"s", b"topic", scalar(6), pack("a")))
    for is_away in (True, True, False):
        stage.is_away = is_away
        if is_away:
            with pytest.raises(OfflineError):
                stage.told()
    assert stage.told() == [("log", "change", [1], 5), ("topic", "set", "a", 6)]
    stage.is_away = True
    stage.watcher.wake()
    with pytest.raises(OfflineError):
        stage.told()
    stage.is_away = False
    stage.hash[b"topic"] = scalar(7)
    flow = stage.watcher.telling(stage.state)
    next(flow)
    flow.close()  # as a cancelled task does
    assert stage.asked[-1] == b"EVALSHA"


def test_a_damaged_value_is_told_once() -> None:
    """CorruptValueError is raised for it, and the next call goes on behind it."""
    stage = Stage()
    stage.begin()
    stage.hear(
        message(b"s", b"topic", scalar(5), b"\xc1"),
        message(b"m", b"log", log(6, 3), b"nonsense"),
        message(b"s", b"topic", scalar(7), pack("a")),
    )
    for _ in range(2):
        with pytest.raises(CorruptValueError):
            stage.told()
    assert stage.told() == [("topic", "set", "a", 7)]


@given(
    st.lists(
        st.tuples(KINDS, st.sampled_from([b"topic", b"log"]), st.binary(max_size=20)), max_size=20
    )
)
def test_no_payload_stops_a_watcher(rows: list[tuple[bytes, bytes, bytes]]) -> None:
    """Whatever messages hold, each call tells something, or raises an error of the library once."""
    stage = Stage()
    stage.begin()
    for number, (what, name, payload) in enumerate(rows, 5):
        state = version(number) + b";" if what in b"dx" else scalar(number)
        stage.hear(message(what, b"" if what == b"x" else name, state, payload))
    for _ in range(3 * len(rows) + 1):
        try:
            if stage.run(stage.watcher.telling(stage.state)) is None:
                break
        except RedisMemoryError:
            continue
    else:
        raise AssertionError("it never ends")
