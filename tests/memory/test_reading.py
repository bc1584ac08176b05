"""What a read costs: a question when nothing has changed, and of a longer list only the tail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from redis_memory import ConversationMemory, snapshot
from tests.faults import FaultProxy
from tests.servers import Server

# a question or an answer without any element fits into this
FEW_BYTES = 400
LENGTH = 2_000
MESSAGE = {"role": "user", "content": "x" * 50}


@dataclass
class Meter:
    """Counts what passes a proxy."""

    proxy: FaultProxy
    _before: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin to count."""
        self._before = (self.proxy.requests, self.proxy.seen, self.proxy.delivered)

    def read(self) -> tuple[int, int, int]:
        """Requests, bytes sent and bytes received since `reset`."""
        after = (self.proxy.requests, self.proxy.seen, self.proxy.delivered)
        requests, sent, received = (
            now - then for now, then in zip(after, self._before, strict=True)
        )
        return requests, sent, received


@pytest.fixture
def meter(proxy: FaultProxy) -> Meter:
    """Counts what the memory `far` sends and receives."""
    return Meter(proxy)


@pytest.fixture
def far(proxy: FaultProxy, conversation_id: str) -> Iterator[ConversationMemory]:
    """A memory whose traffic is counted."""
    with ConversationMemory(conversation_id, proxy.url) as memory:
        yield memory


@pytest.fixture
def near(server: Server, conversation_id: str) -> Iterator[ConversationMemory]:
    """The same memory as another worker opens it, past the proxy."""
    with ConversationMemory(conversation_id, server.url) as memory:
        yield memory


@pytest.mark.parametrize(
    "value",
    [
        [MESSAGE] * LENGTH,
        {str(number): MESSAGE for number in range(LENGTH)},
        set(range(LENGTH)),
        tuple(range(LENGTH)),
        "x" * 100_000,
        5,
    ],
    ids=["list", "dict", "set", "tuple", "text", "number"],
)
def test_an_unchanged_attribute_is_not_sent_again(
    far: ConversationMemory, near: ConversationMemory, meter: Meter, value: Any
) -> None:
    """Reading what this worker has read before takes one request of a few bytes, however large."""
    near.box = value
    assert far.box == value
    for _ in range(3):
        meter.reset()
        assert far.box == value
        requests, sent, received = meter.read()
        assert requests == 1
        assert sent < FEW_BYTES
        assert received < FEW_BYTES


def test_what_a_worker_has_written_is_not_sent_back_to_it(
    far: ConversationMemory, meter: Meter
) -> None:
    """After an assignment, and after changes through a proxy, the copy here is up to date."""
    far.box = [MESSAGE] * LENGTH
    held = far.box
    held.append(MESSAGE)
    held[0] = "changed"
    held[1]["role"] = "system"
    held.insert(5, "inserted")
    del held[7]
    meter.reset()
    assert far.box == held
    _, _, received = meter.read()
    assert received < FEW_BYTES


def test_of_a_list_that_grew_only_the_tail_is_sent(
    far: ConversationMemory, near: ConversationMemory, meter: Meter
) -> None:
    """A reader who knows 2,000 messages receives the 2,001st alone."""
    near.messages = [MESSAGE] * LENGTH
    assert len(far.messages) == LENGTH
    for number in range(3):
        near.messages.append({"number": number})
        meter.reset()
        assert far.messages[-1] == {"number": number}
        requests, sent, received = meter.read()
        assert (requests, len(far.messages)) == (1, LENGTH + number + 1)
        assert sent < FEW_BYTES
        assert received < FEW_BYTES


def test_a_held_list_that_appends_receives_only_what_it_lacks(
    far: ConversationMemory, near: ConversationMemory, meter: Meter
) -> None:
    """An append answers with what others have appended meanwhile, and no more."""
    near.messages = [MESSAGE] * LENGTH
    held = far.messages
    near.messages.append("theirs")
    meter.reset()
    held.append("mine")
    _, sent, received = meter.read()
    assert held[-2:] == ["theirs", "mine"]
    assert sent < 2 * FEW_BYTES
    assert received < FEW_BYTES


@pytest.mark.parametrize(
    ("use", "requests"),
    [
        (lambda memory: memory.n, 1),
        (lambda memory: setattr(memory, "n", 2), 1),
        (lambda memory: setattr(memory, "messages", ["new"]), 1),
        (lambda memory: hasattr(memory, "n"), 1),
        (lambda memory: "n" in memory, 1),
        (lambda memory: getattr(memory, "absent", None), 1),
        (lambda memory: memory["messages"], 1),
        (lambda memory: next(iter(memory)), 1),
        (len, 1),
        (snapshot, 1),
        (lambda memory: delattr(memory, "n"), 1),
        (lambda memory: memory.messages.append(1), 2),
    ],
    ids=[
        *("read", "write", "write a list", "hasattr", "in", "getattr", "item", "iter", "len"),
        *("snapshot", "delete", "read and append"),
    ],
)
def test_each_expression_has_its_number_of_round_trips(
    far: ConversationMemory, meter: Meter, use: Callable[[Any], object], requests: int
) -> None:
    """One for a read or a write; two for an attribute that is read and then changed."""
    for _ in range(2):  # the first time a script is sent in full
        far.n, far.messages = 1, [MESSAGE]
        assert far.messages == [MESSAGE]
        meter.reset()
        use(far)
    assert meter.read()[0] == requests


CHANGES: dict[str, Callable[[Any], object]] = {
    "set": lambda box: box.__setitem__(0, "new"),
    "insert": lambda box: box.insert(1, "new"),
    "pop": lambda box: box.pop(),
    "pop and append": lambda box: (box.pop(), box.append("new")),
    "sort": lambda box: box.sort(key=repr, reverse=True),
    "inside": lambda box: box[2].append("new"),
    "clear": lambda box: box.clear(),
    "clear and fill": lambda box: (box.clear(), box.extend(["a", "b", "c", "d", "e"])),
    "append": lambda box: box.append("new"),
}


@pytest.mark.parametrize("second", CHANGES)
@pytest.mark.parametrize("first", CHANGES)
def test_no_change_of_a_list_is_taken_for_another(
    mem: ConversationMemory, other: ConversationMemory, first: str, second: str
) -> None:
    """A reader sees the list of now, whether it may be told the tail or must be told all."""
    model = ["a", "b", ["c"], "d"]
    mem.box = model
    held = mem.box
    seen = other.box
    for change in (first, second):
        if change == "inside" and (len(model) < 3 or not isinstance(model[2], list)):
            continue
        if change.startswith(("set", "pop")) and not model:
            continue
        CHANGES[change](model)
        CHANGES[change](held)
        held = mem.box
    assert other.box == mem.box == model
    assert seen == ["a", "b", ["c"], "d"]


def test_an_attribute_that_became_something_else_is_read_whole(
    mem: ConversationMemory, other: ConversationMemory
) -> None:
    """A copy of a list is no copy of the longer list, the dict or the number that replaced it."""
    values: list[Any] = [
        *([1, 2], [3, 4, 5], {"a": 1}, [3, 4, 5, 6], {1, 2}, 5, 5.0, [], "text", None),
        *({}, [1, 2], (1,), True, 1, set(), frozenset(), b"", ""),
    ]
    for value in values:
        mem.box = value
        assert type(snapshot(other)["box"]) is type(value)
        assert other.box == mem.box == value
        if value == [1, 2]:
            del mem.box
            assert not hasattr(other, "box")


def test_a_memory_that_began_anew_is_read_whole(
    server: Server, far: ConversationMemory, conversation_id: str
) -> None:
    """Versions begin at one again when the server was emptied; no reader takes old for new."""
    with ConversationMemory(conversation_id, server.url) as before:
        before.box = ["old", "old"]
    assert far.box == ["old", "old"]
    server.client().flushall()
    with ConversationMemory(conversation_id, server.tcp_url) as after:
        after.box = ["new", "new"]
        assert far.box == ["new", "new"]


def test_a_reader_sees_every_list_as_it_was_at_one_moment(
    each_url: str, conversation_id: str
) -> None:
    """While another worker changes it at random, no read mixes two states or goes back in time."""
    rounds = 150
    with (
        ConversationMemory(conversation_id, each_url) as writer,
        ConversationMemory(conversation_id, each_url) as reader,
        ThreadPoolExecutor(1) as pool,
    ):
        writer.log, writer.same = [], []

        def write() -> None:
            log = writer.log
            for number in range(rounds):
                log.append(number)
                writer.same = [number] * (number % 5 + 1)
                if number % 10 == 9:
                    del log[: number % 7]

        writing = pool.submit(write)
        last = oldest = -1
        while not writing.done():
            log = reader.log.aslist()
            assert log == list(range(log[0], log[-1] + 1)) if log else last == -1
            if log:
                assert log[-1] >= last
                assert log[0] >= oldest
                oldest, last = log[0], log[-1]
            same = reader.same
            assert len(set(same)) <= 1
            assert not same or len(same) == same[0] % 5 + 1
        writing.result()
        assert reader.log == writer.log
        assert reader.log[-1] == rounds - 1
