"""What is asked of the server and what its answers mean, without a server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from redis_memory.core import flows
from redis_memory.core.reading import read
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import Call, Flow, State
from redis_memory.core.values import pack
from redis_memory.errors import (
    CorruptValueError,
    DataLossWarning,
    InDoubtError,
    OfflineError,
    ServerRefusedError,
)

T = TypeVar("T")

NAMES = {script.sha: name for name, script in SCRIPTS.items()}
TWO = b"l0000000000002 0000000000001 0000000000001 0000000000001 2;"
THREE = b"l0000000000003 0000000000001 0000000000001 0000000000001 3;"
OTHER = b"l0000000000004 0000000000004 0000000000004 0000000000004 1;"
ONE_ITEM = b"d0000000000002 0000000000001 0000000000001 0000000000001 1;"
ONE_MEMBER = b"e0000000000002 0000000000001 0000000000001 0000000000001 1;"


@dataclass(frozen=True)
class Late:
    """A reply to a call that was sent twice, because the first answer was lost."""

    reply: list[bytes]


class Exchange:
    """Runs flows against replies that are given in order; an exception is thrown instead."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[bytes, ...]]] = []

    def run(self, flow: Flow[T], *replies: Any) -> T:
        """Run a flow to its end, which all the replies must be needed for."""
        left: Iterator[Any] = iter(replies)
        try:
            call = next(flow)
            while True:
                self.note(call)
                reply = next(left)
                if isinstance(reply, Late):
                    call.attempts, reply = 2, reply.reply
                call = flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply)
        except StopIteration as end:
            assert next(left, None) is None, "the flow ended before all replies were sent"
            result: T = end.value
            return result

    def note(self, call: Call) -> None:
        """Count a call as sent."""
        call.attempts += 1
        self.asked.append((NAMES[call.head.parts[1]], call.arguments))

    @property
    def numbers(self) -> list[tuple[str, bytes]]:
        """The script and the number of each change that was sent."""
        return [(script, arguments[0]) for script, arguments in self.asked]


@pytest.fixture
def state() -> State:
    """A conversation of which nothing is known yet."""
    return State("memory:", "c-1")


@pytest.fixture
def exchange() -> Exchange:
    """What has been asked so far: nothing."""
    return Exchange()


def ok(number: int, descriptor: bytes = b"n0000000000001;") -> list[bytes]:
    """The server's word for a scalar that was stored."""
    return [b"%d" % number, b"ok", descriptor, b""]


def held(state: State, exchange: Exchange) -> list[str]:
    """Have the list `x` read: ["a", "b"] at version 2."""
    copy = exchange.run(read(state, "x"), [TWO, b"whole", [pack("a"), pack("b")]])
    assert copy is not None
    value: list[str] = copy.value
    return value


# reading


def test_a_missing_attribute_reads_as_nothing(state: State, exchange: Exchange) -> None:
    """Where the server has nothing, a read gives None, and nothing is kept."""
    held(state, exchange)
    assert exchange.run(read(state, "x"), None) is None
    exchange.run(read(state, "x"), None)
    assert [arguments for _, arguments in exchange.asked] == [(b"",), (TWO,), (b"",)]


def test_an_unchanged_attribute_is_not_sent_again(state: State, exchange: Exchange) -> None:
    """A read names the state it knows, and "same" gives the copy that is there."""
    value = held(state, exchange)
    copy = exchange.run(read(state, "x"), b"same")
    assert copy is not None
    assert copy.value is value
    assert value == ["a", "b"]


def test_a_grown_list_sends_its_tail(state: State, exchange: Exchange) -> None:
    """New elements are put behind those that are known, and the new state is known next."""
    held(state, exchange)
    copy = exchange.run(read(state, "x"), [THREE, b"tail", [pack("c")]])
    assert copy is not None
    assert copy.value == ["a", "b", "c"]
    exchange.run(read(state, "x"), b"same")
    assert exchange.asked[-1] == ("read", (THREE,))


def test_another_list_is_sent_whole(state: State, exchange: Exchange) -> None:
    """After any other change the answer replaces what was known."""
    held(state, exchange)
    copy = exchange.run(read(state, "x"), [OTHER, b"whole", [pack("z")]])
    assert copy is not None
    assert copy.value == ["z"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"n0000000000005;42", 42),
        (b"n0000000000005;-7", -7),
        (b"n0000000000005;0.5", 0.5),
        (b"v0000000000005;" + pack("text"), "text"),
        (b"v0000000000005;" + pack((1, [2])), (1, [2])),
    ],
)
def test_a_scalar_comes_with_its_field(
    state: State, exchange: Exchange, field: bytes, value: object
) -> None:
    """A scalar is read from the field alone, in its own type."""
    copy = exchange.run(read(state, "x"), [field])
    assert copy is not None
    assert copy.value == value
    assert type(copy.value) is type(value)


@pytest.mark.parametrize(
    "reply",
    [
        [b"garbage"],
        [b""],
        [b"v0000000000005;\xc1"],
        [b"v0000000000005;" + pack("text") + b"\x00"],
        [b"n0000000000005;many"],
        [b"n0000000000005;"],
        [TWO + b"x", b"whole", []],
        [TWO, b"damaged", []],
        [TWO, b"whole", [pack("a"), b"\xc1"]],
        [THREE, b"tail", [b"\x92\x01"]],
        [ONE_ITEM, b"whole", [b"sk", b"no turn"]],
        [ONE_ITEM, b"whole", [pack([1]), b"1;" + pack(1)]],
        [ONE_MEMBER, b"whole", [pack([1]), b""]],
    ],
    ids=repr,
)
def test_damage_names_the_attribute_and_is_not_kept(
    state: State, exchange: Exchange, reply: list[Any]
) -> None:
    """Whatever lies there, a read raises `CorruptValueError`, and the next one asks anew."""
    held(state, exchange)
    with pytest.raises(CorruptValueError, match="'x'"):
        exchange.run(read(state, "x"), reply)
    copy = exchange.run(read(state, "x"), [TWO, b"whole", [pack("a"), pack("b")]])
    assert exchange.asked[-1] == ("read", (b"",))
    assert copy is not None
    assert copy.value == ["a", "b"]


# numbering


def test_changes_are_numbered_in_order(state: State, exchange: Exchange) -> None:
    """Each change takes the next number, whichever attribute it is made to."""
    for number, name in enumerate("xyz", start=1):
        assert exchange.run(flows.assign(state, name, 1), ok(number))
    assert exchange.numbers == [("scalar", b"1"), ("scalar", b"2"), ("scalar", b"3")]


def test_reads_take_no_number(state: State, exchange: Exchange) -> None:
    """Between two changes with neighbouring numbers anything may be read."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    exchange.run(read(state, "x"), b"same")
    exchange.run(flows.assign(state, "x", 1), ok(2))
    assert [number for script, number in exchange.numbers if script == "scalar"] == [b"1", b"2"]


def test_a_duplicate_has_been_applied(state: State, exchange: Exchange) -> None:
    """Seen before means that only the answer was lost; what is stored now is read anew."""
    duplicate = [b"1", b"duplicate", b"ok", b""]
    assert exchange.run(flows.assign(state, "x", 1), duplicate)
    assert exchange.run(flows.assign(state, "y", 1), ok(2))
    copy = exchange.run(read(state, "x"), [b"n0000000000009;5"])
    assert exchange.asked[-1] == ("read", (b"",))
    assert copy is not None
    assert copy.value == 5


def test_a_duplicate_gives_the_first_result(state: State, exchange: Exchange) -> None:
    """The sum of an increment whose answer was lost is the one that was told the first time."""
    duplicate = [b"1", b"duplicate", b"ok", b"17"]
    assert exchange.run(flows.increment(state, "n", 5), duplicate) == 17


def test_a_gap_is_reported_and_the_change_is_made(state: State, exchange: Exchange) -> None:
    """A server that forgot this writer is told of under a new name, once, with a warning."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    writer = state.writer.id
    with pytest.warns(DataLossWarning, match="conversation 'c-1'"):
        assert exchange.run(flows.assign(state, "x", 2), [b"2", b"gap", b"0"], ok(1))
    assert exchange.numbers[1:] == [("scalar", b"2"), ("scalar", b"1")]
    assert state.writer.id != writer
    assert state.data_losses == 1
    assert exchange.run(flows.assign(state, "x", 3), ok(2))


def test_a_gap_after_a_lost_answer_is_in_doubt(state: State, exchange: Exchange) -> None:
    """When the change had been sent before, nobody knows: it is not made a second time."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    with pytest.warns(DataLossWarning), pytest.raises(InDoubtError):
        exchange.run(flows.assign(state, "x", 2), Late([b"2", b"gap", b"0"]))
    assert state.data_losses == 1
    assert exchange.run(flows.assign(state, "x", 3), ok(1))
    assert exchange.numbers == [("scalar", b"1"), ("scalar", b"2"), ("scalar", b"1")]


def test_an_answer_to_somebody_else_is_refused(state: State, exchange: Exchange) -> None:
    """A reply that carries another number is nobody's result, and the number stays open."""
    with pytest.raises(ServerRefusedError, match="does not belong"):
        exchange.run(flows.assign(state, "x", 1), ok(7))
    assert exchange.run(flows.assign(state, "x", 2), [b"1", b"skipped", b"", b""], ok(2))
    assert exchange.numbers == [("scalar", b"1"), ("skip", b"1"), ("scalar", b"2")]


@pytest.mark.parametrize("status", [b"skipped", b"duplicate"])
def test_an_open_number_is_used_up_first(state: State, exchange: Exchange, status: bytes) -> None:
    """After an outage the old number is skipped or found used, before the next one is taken."""
    with pytest.raises(InDoubtError):
        exchange.run(flows.assign(state, "x", 1), InDoubtError("cut"))
    settled = [b"1", status, b"ok", b""]
    assert exchange.run(flows.assign(state, "y", 2), settled, ok(2))
    assert exchange.run(flows.assign(state, "y", 3), ok(3))
    assert exchange.numbers == [
        *(("scalar", b"1"), ("skip", b"1"), ("scalar", b"2"), ("scalar", b"3")),
    ]


def test_an_interrupted_change_leaves_its_number_open(state: State, exchange: Exchange) -> None:
    """Ctrl-C between question and answer: the next change settles the number first."""
    flow = flows.assign(state, "x", 1)
    exchange.note(next(flow))
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert exchange.run(flows.assign(state, "y", 2), [b"1", b"skipped", b"", b""], ok(2))
    assert exchange.numbers == [("scalar", b"1"), ("skip", b"1"), ("scalar", b"2")]


def test_settling_may_fail_as_well(state: State, exchange: Exchange) -> None:
    """While the server stays away the number stays open, and no other is taken."""
    for error in (InDoubtError("cut"), OfflineError("away"), OfflineError("away")):
        with pytest.raises(OfflineError):
            exchange.run(flows.assign(state, "x", 1), error)
    assert exchange.run(flows.assign(state, "x", 1), [b"1", b"skipped", b"", b""], ok(2))
    asked = [("scalar", b"1"), ("skip", b"1"), ("skip", b"1"), ("skip", b"1"), ("scalar", b"2")]
    assert exchange.numbers == asked


def test_a_gap_is_found_while_settling(state: State, exchange: Exchange) -> None:
    """A server that came back empty is noticed before anything is written to it."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    with pytest.raises(InDoubtError):
        exchange.run(flows.assign(state, "x", 2), InDoubtError("cut"))
    with pytest.warns(DataLossWarning):
        assert exchange.run(flows.assign(state, "x", 3), [b"2", b"gap", b"0"], ok(1))
    assert exchange.numbers[2:] == [("skip", b"2"), ("scalar", b"1")]


def test_a_refused_change_uses_up_its_number(state: State, exchange: Exchange) -> None:
    """An error inside a script is the change's answer: it is neither repeated nor in the way."""
    with pytest.raises(ServerRefusedError, match="out of luck"):
        exchange.run(flows.assign(state, "x", 1), [b"1", b"error", b"", b"ERR out of luck"])
    assert exchange.run(flows.assign(state, "x", 1), ok(2))
    with pytest.raises(CorruptValueError):
        wrong_type = b"WRONGTYPE Operation against a key"
        exchange.run(flows.push(state, "x", 1), [b"3", b"error", b"", wrong_type])
    assert exchange.numbers == [("scalar", b"1"), ("scalar", b"2"), ("append", b"3")]


# a change in the middle of another one, as a signal handler makes it


@pytest.mark.parametrize("earlier", [0, 3])
def test_a_handler_may_change_the_memory_before_the_outer_change_arrives(
    state: State, exchange: Exchange, earlier: int
) -> None:
    """The handler uses up the outer number; the outer change is then made under another one."""
    for number in range(1, earlier + 1):
        exchange.run(flows.assign(state, "x", 0), ok(number))
    one, two, three = (b"%d" % (earlier + step) for step in (1, 2, 3))
    outer = flows.assign(state, "x", 1)
    exchange.note(next(outer))
    exchange.run(flows.assign(state, "y", 2), [one, b"skipped", b"", b""], ok(earlier + 2))
    exchange.note(outer.send([one, b"duplicate", b"old", b""]))
    with pytest.raises(StopIteration) as end:
        outer.send(ok(earlier + 3))
    assert end.value.value is True
    assert exchange.numbers[earlier:] == [
        *(("scalar", one), ("skip", one), ("scalar", two), ("scalar", three)),
    ]


def test_a_handler_may_change_the_memory_after_the_outer_change_arrived(
    state: State, exchange: Exchange
) -> None:
    """The outer answer still counts, and the numbers go on without a gap."""
    outer = flows.assign(state, "x", 1)
    exchange.note(next(outer))
    exchange.run(flows.assign(state, "y", 2), [b"1", b"duplicate", b"ok", b""], ok(2))
    with pytest.raises(StopIteration) as end:
        outer.send(ok(1))
    assert end.value.value is True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert exchange.run(flows.assign(state, "z", 3), ok(3))
    assert exchange.numbers[-1] == ("scalar", b"3")


# a memory begun anew by another writer


def test_another_writer_has_another_name_and_begins_at_one(
    state: State, exchange: Exchange
) -> None:
    """After `renew_writer` nothing is left of the old one, neither its name nor its number."""
    first = flows.assign(state, "x", 1)
    before = next(first)
    with pytest.raises(InDoubtError):
        first.throw(InDoubtError("cut"))
    state.renew_writer()
    second = flows.assign(state, "x", 1)
    after = next(second)
    assert after.arguments[0] == b"1"
    assert NAMES[after.head.parts[1]] == "scalar"
    assert before.head.parts != after.head.parts
    assert state.writer.id in after.head.parts
    second.close()


def test_a_writer_that_was_idle_for_days_begins_anew_in_silence(
    state: State, exchange: Exchange
) -> None:
    """The server drops writers after 7 days; what it forgot then was no data."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    state.writer.answered_at_s -= 7 * 86400
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert exchange.run(flows.assign(state, "x", 2), [b"2", b"gap", b"0"], ok(1))
    assert state.data_losses == 0


def test_a_result_that_a_clear_has_wiped_is_in_doubt(state: State, exchange: Exchange) -> None:
    """The change was made, and what it would have answered is gone."""
    with pytest.raises(InDoubtError, match="cleared"):
        exchange.run(flows.push(state, "x", 1), [b"1", b"duplicate", b"cleared", b""])
    assert exchange.run(flows.assign(state, "x", 1), ok(2))
