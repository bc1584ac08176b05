"""Workers whose networks are cut, what two of them do to one place, and who should win."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from redis_memory import MISSING, Conflict, ConversationMemory, conflicts, flush, increment, status
from tests.faults import FaultProxy, Request
from tests.servers import Server
from tests.waiting import wait_until

TIMEOUT_S = 0.15
LIMIT_S = 10.0

# Whoever was away misjudges the server's time by half of a round trip at most, and no round trip
# lasts longer than TIMEOUT_S: so much is enough for two of them.
APART_US = int(TIMEOUT_S * 1_000_000) + 10_000
Change = Callable[[ConversationMemory, str], object]
Boxed = Callable[[Any], object]


def now_us(server: Server) -> int:
    """The server's clock."""
    seconds, micros = server.client().time()
    return int(seconds) * 1_000_000 + int(micros)


def let_time_pass(server: Server) -> None:
    """Let a server's clock move on: what comes now is newer beyond doubt."""
    begin = now_us(server)
    wait_until(lambda: now_us(server) > begin + APART_US, what="the server's clock")


class Worker:
    """A memory whose network can be cut."""

    def __init__(self, name: str, server: Server, **options: Any) -> None:
        self.told: list[Conflict] = []
        self.proxy = FaultProxy(server.url)
        self.memory = ConversationMemory(
            name,
            self.proxy.url,
            timeout_s=TIMEOUT_S,
            reconnect_max_s=0.05,
            on_conflict=self.told.append,
            **options,
        )

    def leave(self) -> None:
        """Lose sight of the server, with a change that waits."""
        self.proxy.refuse()
        self.memory.left = True
        assert status(self.memory).queued == 1

    def come_back(self) -> None:
        """Deliver everything."""
        self.proxy.heal()
        assert flush(self.memory, LIMIT_S) == 0

    def outcome(self) -> dict[tuple[str, Any], Conflict]:
        """The conflicts by name and key, after a check that all who are told of them agree."""
        found = conflicts(self.memory)
        assert self.told == found
        assert status(self.memory).conflicts == len(found)
        by_place = {(each.name, each.key): each for each in found}
        assert len(by_place) == len(found), "one place was told of twice"
        return by_place


class Team:
    """Workers on one conversation; `online` is one that never loses sight of the server."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.name = uuid.uuid4().hex
        self.server = server
        self._stack = stack
        self.online = stack.enter_context(ConversationMemory(self.name, server.url, timeout_s=5))

    def worker(self, **options: Any) -> Worker:
        """One more worker, behind a network of its own."""
        worker = Worker(self.name, self.server, **options)
        self._stack.callback(worker.proxy.close)
        self._stack.enter_context(worker.memory)
        # closing must find the network whole, whatever became of the test
        self._stack.callback(worker.proxy.heal)
        return worker

    def later(self) -> None:
        """Let the server's clock move on: what comes now is newer beyond doubt."""
        let_time_pass(self.server)

    def in_turn(
        self, mine: Callable[[], object], theirs: Callable[[], object], *, is_newer: bool
    ) -> None:
        """Make two changes one after the other; `is_newer` has mine come last."""
        for change in (theirs, mine) if is_newer else (mine, theirs):
            change()
            self.later()


def assigned(value: Any) -> Change:
    """Assign the whole attribute."""
    return lambda mem, name: mem.__setitem__(name, value)


def deleted(mem: ConversationMemory, name: str) -> None:
    """Delete the whole attribute."""
    del mem[name]


def made_again(value: Any) -> Change:
    """Delete the attribute and store another value."""

    def change(mem: ConversationMemory, name: str) -> None:
        del mem[name]
        mem[name] = value

    return change


def key_set(value: Any, key: str = "k") -> Change:
    """Set a key of a dict."""
    return lambda mem, name: mem[name].__setitem__(key, value)


def key_deleted(mem: ConversationMemory, name: str) -> None:
    """Delete the key `k` of a dict."""
    del mem[name]["k"]


def appended(value: Any) -> Change:
    """Append to a list."""
    return lambda mem, name: mem[name].append(value)


@dataclass(frozen=True)
class Case:
    """An attribute, what two do to it, and what is there when either of them wins."""

    start: Any
    mine: Change
    theirs: Change
    if_mine: Any
    if_theirs: Any


WHOLE = {
    "assign_assign": Case("start", assigned("mine"), assigned("theirs"), "mine", "theirs"),
    "assign_delete": Case("start", assigned("mine"), deleted, "mine", MISSING),
    "delete_assign": Case("start", deleted, assigned("theirs"), MISSING, "theirs"),
    "create_create": Case(MISSING, assigned("mine"), assigned("theirs"), "mine", "theirs"),
    "created_and_deleted": Case("start", assigned("mine"), made_again("t"), "mine", "t"),
    "to_list_to_dict": Case("start", assigned([1]), assigned({"a": 1}), [1], {"a": 1}),
    "to_set_to_scalar": Case([1], assigned({1, 2}), assigned(None), {1, 2}, None),
    "list_append": Case(["s"], assigned(["m"]), appended("t"), ["m"], ["s", "t"]),
    "delete_append": Case(["s"], deleted, appended("t"), MISSING, ["s", "t"]),
    "dict_key": Case({"k": 1}, assigned({"m": 2}), key_set(3), {"m": 2}, {"k": 3}),
    "delete_key": Case({"k": 1, "z": 0}, deleted, key_deleted, MISSING, {"z": 0}),
    "set_add": Case({1}, assigned({5}), lambda mem, name: mem[name].add(2), {5}, {1, 2}),
    "number": Case(1, assigned(10), lambda mem, name: increment(mem, name, 5), 10, 6),
    "inside": Case([[1]], assigned([]), lambda mem, name: mem[name][0].append(2), [], [[1, 2]]),
    "tuple": Case((1,), assigned((2, "m")), assigned(((),)), (2, "m"), ((),)),
}

DICT = {"k": "start", "z": 0}
KEYS = {
    "set_set": Case(DICT, key_set("mine"), key_set("theirs"), "mine", "theirs"),
    "set_delete": Case(DICT, key_set("mine"), key_deleted, "mine", MISSING),
    "delete_set": Case(DICT, key_deleted, key_set("theirs"), MISSING, "theirs"),
    "new_new": Case({}, key_set("mine"), key_set("theirs"), "mine", "theirs"),
    "set_whole": Case(DICT, key_set("mine"), assigned({"k": "theirs"}), "mine", "theirs"),
    "set_whole_without": Case(DICT, key_set("mine"), assigned({"y": 1}), "mine", MISSING),
    "delete_whole": Case(DICT, key_deleted, assigned({"k": "theirs"}), MISSING, "theirs"),
    "set_emptied": Case(DICT, key_set("mine"), lambda m, name: m[name].clear(), "mine", MISSING),
    "set_made_again": Case(DICT, key_set("mine"), made_again({"k": "t"}), "mine", "t"),
    "set_deleted_and_set": Case(
        DICT,
        key_set("mine"),
        lambda mem, name: (mem[name].pop("k"), mem[name].update(k="theirs")),
        "mine",
        "theirs",
    ),
    "container_in_key": Case(DICT, key_set(["mine"]), key_set({"t": 1}), ["mine"], {"t": 1}),
}

BOOLEANS = pytest.mark.parametrize("is_newer", [True, False], ids=["newer", "older"])
POLICIES = pytest.mark.parametrize("policy", ["newest", "mine", "theirs"])


def prepare(team: Team, worker: Worker, cases: dict[str, Case]) -> None:
    """Store what the cases begin with, and have the worker see it."""
    for name, case in cases.items():
        if case.start is not MISSING:
            team.online[name] = case.start
        assert getattr(worker.memory, name, MISSING) == case.start


def contest(team: Team, worker: Worker, cases: dict[str, Case], *, is_newer: bool) -> None:
    """Have both sides make their changes, the worker while it is away, and bring it back."""
    prepare(team, worker, cases)
    worker.leave()
    sides = [
        (team.online, [case.theirs for case in cases.values()]),
        (worker.memory, [case.mine for case in cases.values()]),
    ]
    for memory, changes in sides if is_newer else reversed(sides):
        for name, change in zip(cases, changes, strict=True):
            change(memory, name)
        team.later()
    worker.come_back()


def is_mine(policy: str, *, is_newer: bool) -> bool:
    """Whether the change of the worker that was away wins."""
    return is_newer if policy == "newest" else policy == "mine"


def check_told(conflict: Conflict, mine: Any, *, wins: bool, is_newer: bool) -> None:
    """A contest is told with the value of this worker, with the winner, and with both times."""
    assert conflict.mine == mine, conflict.name
    assert (conflict.winner, conflict.reason) == ("mine" if wins else "theirs", "newer")
    check_times(conflict, is_newer=is_newer)


def check_times(conflict: Conflict, *, is_newer: bool) -> None:
    """Both times are told, and they tell who was later."""
    assert conflict.mine_at is not None
    assert conflict.theirs_at is not None
    assert (conflict.mine_at > conflict.theirs_at) is is_newer


def fail(conflict: Conflict) -> Any:
    """Be a function with a fault in it."""
    raise LookupError(conflict.name)


def comparable(value: Any) -> Any:
    """MISSING is no value: in the stored list of `merge` a marker stands for it."""
    return "(missing)" if value is MISSING else value


def merge(conflict: Conflict) -> Any:
    """Decide for both."""
    return ["merged", comparable(conflict.mine), comparable(conflict.theirs)]


def is_replay(request: Request) -> bool:
    """Whether a request delivers what waited."""
    return request.name == b"EVALSHA" and any(part[:2] == b"_w" for part in request.arguments)
