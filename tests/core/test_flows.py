"""What is asked of the server and what its answers mean, without a server."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from redis_memory.core import counting, flows, pushing
from redis_memory.core.calls import Call, Flow
from redis_memory.core.reading import read
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import Bounds, State
from redis_memory.core.values import pack
from redis_memory.errors import (
    AccessDeniedError,
    CorruptValueError,
    DataLossWarning,
    InDoubtError,
    OfflineError,
    QueueFullError,
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
        return self._go_on(flow, lambda: next(flow), *replies)

    def finish(self, flow: Flow[T], reply: Any, *replies: Any) -> T:
        """The same with a flow that waits for a reply already."""
        return self._go_on(flow, lambda: flow.send(reply), *replies)

    def _go_on(self, flow: Flow[T], step: Callable[[], Call], *replies: Any) -> T:
        left: Iterator[Any] = iter(replies)
        try:
            call = step()
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
        command, *rest = call.head.parts
        name = NAMES[rest[0]] if command == b"EVALSHA" else command.decode()
        self.asked.append((name, call.arguments))

    @property
    def numbers(self) -> list[tuple[str, bytes]]:
        """The script and the number of each change that was sent; of a replay, the first one."""
        return [(script, arguments[0]) for script, arguments in self.asked if script != "TIME"]


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


# the server's clock
NOW = [b"1700000000", b"0"]
# a memory that knows nothing any more, and one that has only forgotten the writer
EMPTIED = [b"2", b"gap", b"0", b"", b""]
UNKNOWN_WRITER = [b"2", b"gap", b"0", b"0000000000009", b"0000000000001"]


def replayed(last: int) -> list[bytes]:
    """The server's word for a replay up to the number `last`, none of which met a conflict."""
    return [b"ok", b"%d" % last, b"", b"0000000000009", b"", b"", b""]


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
    assert exchange.run(read(state, "x"), [b"", b"0000000000003"]) is None
    exchange.run(read(state, "x"), [b"", b"0000000000003"])
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
    assert exchange.run(counting.increment(state, "n", 5), duplicate) == 17


@pytest.mark.parametrize("reply", [EMPTIED, UNKNOWN_WRITER], ids=["emptied", "unknown"])
def test_a_gap_is_reported_and_the_change_is_made(exchange: Exchange, reply: list[bytes]) -> None:
    """Where nothing is made again it goes on under a new name, once, with a warning."""
    state = State("memory:", "c-1", bounds=Bounds(repair_operations=0))
    exchange.run(flows.assign(state, "x", 1), ok(1))
    writer = state.writer.id
    with pytest.warns(DataLossWarning, match="conversation 'c-1'"):
        assert exchange.run(flows.assign(state, "x", 2), reply, ok(1))
    assert exchange.numbers[1:] == [("scalar", b"2"), ("scalar", b"1")]
    assert state.writer.id != writer
    assert state.data_losses == 1
    assert exchange.run(flows.assign(state, "x", 3), ok(2))


def test_what_an_emptied_server_has_lost_is_made_again(state: State, exchange: Exchange) -> None:
    """Under its old number and name, and before the change that has found it out."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    writer = state.writer.id
    with pytest.warns(DataLossWarning, match="1 are made again"):
        assert exchange.run(flows.assign(state, "y", 2), EMPTIED, NOW, replayed(1), ok(2))
    assert exchange.numbers[1:] == [("scalar", b"2"), ("batch", b"1"), ("scalar", b"2")]
    assert state.writer.id == writer
    assert state.data_losses == 1
    assert exchange.run(flows.assign(state, "y", 3), ok(3))


def test_nothing_is_made_again_for_an_unknown_writer(state: State, exchange: Exchange) -> None:
    """A memory that is no older than this process has seen it still holds what it made."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    with pytest.warns(DataLossWarning, match="only the writer's entry is missing"):
        assert exchange.run(flows.assign(state, "y", 2), UNKNOWN_WRITER, ok(1))
    assert exchange.numbers[1:] == [("scalar", b"2"), ("scalar", b"1")]


def test_a_gap_after_a_lost_answer_is_in_doubt(state: State, exchange: Exchange) -> None:
    """When the change had been sent before, nobody knows: it is not made a second time."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    with pytest.warns(DataLossWarning), pytest.raises(InDoubtError):
        exchange.run(flows.assign(state, "x", 2), Late(UNKNOWN_WRITER))
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
    """What is in doubt and cannot wait leaves a number: it is taken before the next one is."""
    with pytest.raises(InDoubtError):
        exchange.run(flows.setdefault(state, "x", 1), InDoubtError("cut"))
    settled = [b"1", status, b"ok", b""]
    assert exchange.run(flows.assign(state, "y", 2), settled, ok(2))
    assert exchange.run(flows.assign(state, "y", 3), ok(3))
    assert exchange.numbers == [
        *(("assign", b"1"), ("skip", b"1"), ("scalar", b"2"), ("scalar", b"3")),
    ]


def test_an_interrupted_change_leaves_its_number_open(state: State, exchange: Exchange) -> None:
    """Ctrl-C between question and answer: the next change settles the number first."""
    flow = flows.assign(state, "x", 1)
    exchange.note(next(flow))
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert exchange.run(flows.assign(state, "y", 2), [b"1", b"skipped", b"", b""], ok(2))
    assert exchange.numbers == [("scalar", b"1"), ("skip", b"1"), ("scalar", b"2")]


def test_handlers_that_interrupt_each_other_lose_nothing(state: State, exchange: Exchange) -> None:
    """Several changes were overtaken before they were sent: each is made under a new number."""
    outer, inner = flows.assign(state, "a", 1), flows.assign(state, "b", 1)
    exchange.note(next(outer))
    exchange.note(next(inner))  # settles the number of `outer` first
    exchange.note(inner.send([b"1", b"skipped", b"", b""]))
    assert exchange.run(flows.assign(state, "c", 1), [b"2", b"skipped", b"", b""], ok(3))
    assert exchange.finish(inner, [b"2", b"duplicate", b"old", b""], ok(4))
    assert exchange.finish(outer, [b"1", b"duplicate", b"old", b""], ok(5))


def test_settling_may_fail_as_well(state: State, exchange: Exchange) -> None:
    """While the server stays away the number stays open, and is used up first in the replay."""
    for error in (InDoubtError("cut"), OfflineError("away"), OfflineError("away")):
        with pytest.raises(OfflineError):
            exchange.run(flows.setdefault(state, "x", 1), error)
    assert exchange.run(flows.assign(state, "x", 1), NOW, replayed(1), ok(2))
    asked = [("assign", b"1"), ("skip", b"1"), ("batch", b"1"), ("scalar", b"2")]
    assert exchange.numbers == asked
    (_, arguments) = exchange.asked[-2]
    assert b"skip" in arguments


def test_a_gap_is_found_while_settling(state: State, exchange: Exchange) -> None:
    """A server that came back empty is noticed before anything is written to it."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    with pytest.raises(InDoubtError):
        exchange.run(flows.setdefault(state, "y", 2), InDoubtError("cut"))
    with pytest.warns(DataLossWarning):
        assert exchange.run(flows.assign(state, "x", 3), UNKNOWN_WRITER, ok(1))
    assert exchange.numbers[2:] == [("skip", b"2"), ("scalar", b"1")]


def test_an_open_number_is_used_up_behind_what_is_made_again(
    state: State, exchange: Exchange
) -> None:
    """A straggler never takes the number of another change, which would pass for applied."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    with pytest.raises(InDoubtError):
        exchange.run(flows.setdefault(state, "y", 2), InDoubtError("cut"))
    with pytest.warns(DataLossWarning):
        assert exchange.run(
            flows.assign(state, "x", 3),
            *(EMPTIED, NOW, replayed(2), ok(3)),
        )
    numbers = [("skip", b"2"), ("batch", b"1"), ("scalar", b"3")]
    assert [number for number in exchange.numbers[2:] if number[0] != "time"] == numbers
    assert b"skip" in exchange.asked[-2][1]


def test_a_refused_change_uses_up_its_number(state: State, exchange: Exchange) -> None:
    """An error inside a script is the change's answer: it is neither repeated nor in the way."""
    with pytest.raises(ServerRefusedError, match="out of luck"):
        exchange.run(flows.assign(state, "x", 1), [b"1", b"error", b"", b"ERR out of luck"])
    assert exchange.run(flows.assign(state, "x", 1), ok(2))
    with pytest.raises(CorruptValueError):
        wrong_type = b"WRONGTYPE Operation against a key"
        exchange.run(pushing.push(state, "x", 1), [b"3", b"error", b"", wrong_type])
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
    first = flows.setdefault(state, "x", 1)
    before = next(first)
    with pytest.raises(InDoubtError):
        first.throw(InDoubtError("cut"))
    state.renew_writer()
    second = flows.setdefault(state, "x", 1)
    after = next(second)
    assert after.arguments[0] == b"1"
    assert NAMES[before.head.parts[1]] == NAMES[after.head.parts[1]] == "assign"
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
        assert exchange.run(flows.assign(state, "x", 2), UNKNOWN_WRITER, ok(1))
    assert state.data_losses == 0


def test_a_result_that_a_clear_has_wiped_is_in_doubt(state: State, exchange: Exchange) -> None:
    """The change was made, and what it would have answered is gone."""
    with pytest.raises(InDoubtError, match="cleared"):
        exchange.run(pushing.push(state, "x", 1), [b"1", b"duplicate", b"cleared", b""])
    assert exchange.run(flows.assign(state, "x", 1), ok(2))


# a server that is away


AWAY = OfflineError("away")


def value_of(state: State, exchange: Exchange, name: str) -> Any:
    """What an attribute reads as while the server is away and changes wait; None when missing."""
    copy = exchange.run(read(state, name), AWAY)
    return copy and copy.value


def test_what_waits_is_what_is_read(state: State, exchange: Exchange) -> None:
    """Each change is answered at once, and seen by this process, before any server has it."""
    held(state, exchange)
    assert exchange.run(pushing.push(state, "x", "c"), AWAY) is None
    assert exchange.run(pushing.push(state, "x", "d", "e"), AWAY) is None
    assert exchange.run(flows.assign(state, "topic", "billing"), AWAY)
    assert value_of(state, exchange, "x") == ["a", "b", "c", "d", "e"]
    assert value_of(state, exchange, "topic") == "billing"
    assert exchange.run(flows.delete(state, "topic"), AWAY)
    assert value_of(state, exchange, "topic") is None
    assert [operation.turn for operation in state.queue.operations] == [1, 2, 3, 4]


def test_what_waits_is_sent_together_and_before_anything_else(
    state: State, exchange: Exchange
) -> None:
    """One call for all of it, in order, and then the change that found the server back."""
    exchange.run(pushing.push(state, "x", "a"), AWAY)
    for name in ("y", "z"):
        exchange.run(flows.assign(state, name, 1), AWAY)
    assert exchange.run(flows.assign(state, "last", 1), NOW, replayed(3), ok(4))
    scripts = [script for script, _ in exchange.asked]
    assert scripts == ["append", "TIME", "TIME", "TIME", "batch", "scalar"]
    _, arguments = exchange.asked[-2]
    assert arguments[:2] == (b"1", b"3")
    assert [part for part in arguments if part in (b"x", b"y", b"z")] == [b"x", b"y", b"z"]
    assert exchange.numbers[-1] == ("scalar", b"4")
    assert not state.is_waiting
    assert not state.queue.operations


def test_a_change_in_doubt_is_sent_again_under_its_number(state: State, exchange: Exchange) -> None:
    """Sent and not answered: it waits as it is, and the server knows by its number what it did."""
    assert exchange.run(pushing.push(state, "x", "a"), InDoubtError("cut")) is None
    assert (
        exchange.run(pushing.push(state, "x", "b"), NOW, replayed(1), [b"2", b"ok", TWO, b"2"]) == 2
    )
    assert exchange.numbers == [("append", b"1"), ("batch", b"1"), ("append", b"2")]


def test_a_replay_whose_answer_was_lost_is_the_same_again(state: State, exchange: Exchange) -> None:
    """The same changes under the same stamps, whatever has come to wait behind them since."""
    for name in "xy":
        exchange.run(flows.assign(state, name, 1), AWAY)
    exchange.run(flows.assign(state, "z", 1), NOW, InDoubtError("cut"))
    _, first = exchange.asked[-1]
    exchange.run(flows.assign(state, "last", 1), replayed(2), replayed(3), ok(4))
    (_, again), (_, behind) = exchange.asked[-3:-1]
    assert first == again
    assert again[:2] == (b"1", b"2")
    assert behind[:2] == (b"3", b"3")


def test_no_change_overtakes_what_waits(state: State, exchange: Exchange) -> None:
    """Whether it is answered for or refused, the change that finds the server away is behind."""
    exchange.run(flows.assign(state, "x", 1), AWAY)
    with pytest.raises(OfflineError):
        exchange.run(flows.setdefault(state, "new", 1), AWAY)
    exchange.run(flows.assign(state, "x", 2), AWAY)
    names = [(operation.turn, operation.name) for operation in state.queue.operations]
    assert names == [(1, b"x"), (2, b"x")]


def test_what_nothing_is_known_of_tells_the_outage(state: State, exchange: Exchange) -> None:
    """Missing is only what was seen to be missing, or what was deleted since."""
    state.forget("absent")
    for _ in range(2):
        with pytest.raises(OfflineError):
            exchange.run(read(state, "unknown"), AWAY)
        with pytest.raises(OfflineError):
            exchange.run(flows.exists(state, "unknown"), AWAY)
        with pytest.raises(OfflineError):
            exchange.run(pushing.window(state, "unknown", 0, 1), AWAY)
        assert exchange.run(read(state, "absent"), AWAY) is None
        assert not exchange.run(flows.exists(state, "absent"), AWAY)
        assert exchange.run(pushing.window(state, "absent", 0, 1), AWAY) is None
        # the second round is one in which something waits
        exchange.run(flows.assign(state, "x", 1), AWAY)


def test_an_increment_is_added_to_what_is_known(state: State, exchange: Exchange) -> None:
    """The sum is nobody's to tell; here it is what this process knows of."""
    exchange.run(flows.assign(state, "known", 5), ok(1))
    for name in ("known", "unknown"):
        assert exchange.run(counting.increment(state, name, 2), AWAY) is None
    assert value_of(state, exchange, "known") == 7
    with pytest.raises(OfflineError):
        value_of(state, exchange, "unknown")


def test_what_is_added_to_nothing_is_seen(state: State, exchange: Exchange) -> None:
    """Of an attribute that was seen to be missing this process has all there is."""
    for name in ("number", "list"):
        state.forget(name)
    exchange.run(counting.increment(state, "number", 2), AWAY)
    exchange.run(pushing.push(state, "list", "a"), AWAY)
    assert value_of(state, exchange, "number") == 2
    assert value_of(state, exchange, "list") == ["a"]


def test_a_full_queue_refuses_and_changes_nothing(exchange: Exchange) -> None:
    """Neither the copy nor the numbers: what waits is delivered, and the next one follows it."""
    state = State("memory:", "c-1", bounds=Bounds(queue_operations=1))
    exchange.run(flows.assign(state, "x", 1), AWAY)
    for change in (flows.assign(state, "x", 2), counting.increment(state, "x", 1)):
        with pytest.raises(QueueFullError):
            exchange.run(change, AWAY)
    assert value_of(state, exchange, "x") == 1
    assert exchange.run(flows.assign(state, "x", 3), NOW, replayed(1), ok(2))
    assert exchange.numbers[-2:] == [("batch", b"1"), ("scalar", b"2")]


def test_a_replay_that_is_refused_goes_on_waiting(
    state: State, exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    """A full server is told of in the log, and what waits keeps its place."""
    exchange.run(flows.assign(state, "x", 1), AWAY)
    assert exchange.run(flows.assign(state, "x", 2), NOW, ServerRefusedError("OOM"))
    assert "OOM" in caplog.text
    assert [operation.turn for operation in state.queue.operations] == [1, 2]
    assert exchange.run(flows.assign(state, "x", 3), replayed(1), replayed(2), ok(3))


def test_a_replay_by_an_unwelcome_user_says_so(state: State, exchange: Exchange) -> None:
    """A password that is no longer valid is for the caller to hear; what waits is kept."""
    exchange.run(flows.assign(state, "x", 1), AWAY)
    with pytest.raises(AccessDeniedError):
        exchange.run(flows.assign(state, "x", 2), AccessDeniedError("NOAUTH"))
    assert [operation.turn for operation in state.queue.operations] == [1]
    assert exchange.run(flows.assign(state, "x", 3), NOW, replayed(1), ok(2))


def test_an_emptied_server_is_found_by_a_replay(state: State, exchange: Exchange) -> None:
    """What it had acknowledged comes first, then what has waited."""
    exchange.run(flows.assign(state, "x", 1), ok(1))
    exchange.run(flows.assign(state, "y", 2), AWAY)
    gap = [b"gap", b"0", b"", b"", b""]
    with pytest.warns(DataLossWarning, match="1 are made again"):
        assert exchange.run(flows.assign(state, "z", 3), NOW, gap, replayed(2), ok(3))
    _, arguments = exchange.asked[-2]
    assert arguments[:2] == (b"1", b"2")
    assert state.data_losses == 1


def test_after_a_replay_everything_is_read_again(state: State, exchange: Exchange) -> None:
    """What the server made of it is the truth, not what this process had expected."""
    held(state, exchange)
    exchange.run(pushing.push(state, "x", "c"), AWAY)
    copy = exchange.run(
        read(state, "x"), NOW, replayed(1), [THREE, b"whole", [pack("a"), pack("b"), pack("c")]]
    )
    assert exchange.asked[-1] == ("read", (b"",))
    assert copy is not None
    assert copy.value == ["a", "b", "c"]


def test_a_memory_found_older_is_repaired_by_a_read(state: State, exchange: Exchange) -> None:
    """An attribute that is older than it was: the read asks what else is, and makes it again."""
    exchange.run(flows.assign(state, "x", 1), ok(1, b"n0000000000005;"))
    entry_version_created = [None, None, None]
    with pytest.warns(DataLossWarning, match="1 are made again"):
        copy = exchange.run(
            read(state, "x"),
            *([b"", b""], entry_version_created, NOW, replayed(1), [b"n0000000000009;1"]),
        )
    assert [script for script, _ in exchange.asked][1:] == [
        "read",
        "HMGET",
        "TIME",
        "batch",
        "read",
    ]
    assert copy is not None
    assert copy.value == 1
