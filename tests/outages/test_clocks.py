"""Who was later is told by the server's clock alone, whatever the clocks of the workers say."""

from __future__ import annotations

import datetime as datetimes
import math
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redis_memory import (
    MISSING,
    ConversationMemory,
    conflicts,
    flush,
    snapshot,
    status,
)
from redis_memory.core import clock
from tests.faults import FaultProxy, Request
from tests.outages.contests import APART_US, LIMIT_S, TIMEOUT_S, let_time_pass, now_us
from tests.servers import Server
from tests.waiting import wait_until

HOUR_S = 3600.0


class Clock:
    """The machine's calendar as the library would see it, off by `ahead_s` from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        self.askers: list[str] = []
        real, real_ns, real_clock_ns = time.time, time.time_ns, time.clock_gettime_ns

        def now() -> float:
            self.askers.append(sys._getframe(1).f_globals["__name__"])
            return real() + self.ahead_s

        def now_ns() -> int:
            self.askers.append(sys._getframe(1).f_globals["__name__"])
            return real_ns() + int(self.ahead_s * 1e9)

        def clock_ns(which: int) -> int:
            if which != time.CLOCK_REALTIME:
                return real_clock_ns(which)
            self.askers.append(sys._getframe(1).f_globals["__name__"])
            return now_ns()

        monkeypatch.setattr(time, "time", now)
        monkeypatch.setattr(time, "time_ns", now_ns)
        monkeypatch.setattr(time, "clock_gettime_ns", clock_ns)


class Team:
    """One worker whose network can be cut, and one that is always online."""

    def __init__(self, server: Server, stack: ExitStack, *, timeout_s: float = TIMEOUT_S) -> None:
        self.server = server
        name = uuid.uuid4().hex
        self.online = stack.enter_context(ConversationMemory(name, server.url, timeout_s=5))
        self.proxy = FaultProxy(server.url)
        self.is_cut = False
        # not `refuse`: what heals it would forget delays and the replies that are to be lost then
        self.proxy.reset_before(math.inf, when=lambda _: self.is_cut)
        stack.callback(self.proxy.close)
        self.away = stack.enter_context(
            ConversationMemory(name, self.proxy.url, timeout_s=timeout_s, reconnect_max_s=0.05)
        )
        stack.callback(self.proxy.heal)

    def leave(self) -> None:
        self.is_cut = True
        assert not status(self.away).online

    def come_back(self) -> None:
        self.is_cut = False
        assert flush(self.away, LIMIT_S) == 0

    def later(self) -> None:
        """Let the server's clock move on: what comes now is newer beyond doubt."""
        let_time_pass(self.server)


@pytest.fixture
def team(server: Server) -> Iterator[Team]:
    """Two workers on one conversation."""
    with ExitStack() as stack:
        yield Team(server, stack)


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The calendar, to be set by the test."""
    return Clock(monkeypatch)


NAMES = ("topic", "numbers", "profile", "gone", "made")


def change_all(mem: ConversationMemory, who: str) -> None:
    """One change of each kind that can be contested."""
    mem.topic = who
    mem.numbers = [who]
    mem.profile["k"] = who
    del mem.gone
    mem.made = who


def prepare(team: Team) -> None:
    """Store what is contested later, and have the worker see it."""
    team.online.topic = "start"
    team.online.numbers = ["start"]
    team.online.profile = {"k": "start"}
    team.online.gone = "start"
    for name in ("topic", "numbers", "profile", "gone"):
        assert team.away[name]


def contest(team: Team, *, is_newer: bool, between: Callable[[], None] = lambda: None) -> None:
    """The worker that is away changes everything before the other, or after it."""
    prepare(team)
    team.leave()
    if not is_newer:
        change_all(team.away, "mine")
        between()
        team.later()
    team.online.topic = "theirs"
    team.online.numbers = ["theirs"]
    team.online.profile["k"] = "theirs"
    team.online.gone = "theirs"
    team.online.made = "theirs"
    team.later()
    if is_newer:
        between()
        change_all(team.away, "mine")
        team.later()
    team.come_back()


def check(team: Team, *, is_newer: bool) -> None:
    """The later one has won everywhere, and the other is told of, dated by the server's clock."""
    who = "mine" if is_newer else "theirs"
    expected: dict[str, Any] = {"topic": who, "numbers": [who], "profile": {"k": who}, "made": who}
    if not is_newer:
        expected["gone"] = "theirs"
    assert snapshot(team.online) == expected
    told = {each.name: each for each in conflicts(team.away)}
    assert set(told) == set(NAMES)
    assert {each.winner for each in told.values()} == {who}
    assert told["gone"].mine is MISSING
    now = datetimes.datetime.fromtimestamp(now_us(team.server) / 1e6, datetimes.UTC)
    for each in told.values():
        assert each.mine_at is not None
        assert each.theirs_at is not None
        assert (each.mine_at > each.theirs_at) is is_newer
        for at in (each.mine_at, each.theirs_at):
            assert datetimes.timedelta() <= now - at < datetimes.timedelta(seconds=30)


BOTH = pytest.mark.parametrize("is_newer", [True, False], ids=["newer", "older"])
AHEAD = pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S], ids=["fast", "slow"])


@BOTH
@AHEAD
def test_a_wrong_calendar_decides_nothing(
    team: Team, calendar: Clock, ahead_s: float, *, is_newer: bool
) -> None:
    """An hour fast or slow all the time: the later change wins, and the report is dated right."""
    calendar.ahead_s = ahead_s
    contest(team, is_newer=is_newer)
    check(team, is_newer=is_newer)


@BOTH
@AHEAD
def test_a_calendar_that_is_set_while_away_decides_nothing(
    team: Team, calendar: Clock, ahead_s: float, *, is_newer: bool
) -> None:
    """Somebody sets the clock by an hour between the changes and their delivery."""

    def step() -> None:
        calendar.ahead_s = ahead_s

    contest(team, is_newer=is_newer, between=step)
    check(team, is_newer=is_newer)


@BOTH
def test_another_zero_of_the_local_clock_decides_nothing(
    team: Team, monkeypatch: pytest.MonkeyPatch, *, is_newer: bool
) -> None:
    """The local clock counts from anywhere: from the machine's start, or from before 1970."""
    real = time.clock_gettime_ns
    zero_ns = -(10**18) if is_newer else 10**18
    monkeypatch.setattr(time, "clock_gettime_ns", lambda which: real(which) + zero_ns)
    contest(team, is_newer=is_newer)
    check(team, is_newer=is_newer)


def test_the_local_clock_cannot_be_set(calendar: Clock) -> None:
    """Setting the calendar does not move it, and it runs as fast as time does."""
    before_us, before_s = clock.now_us(), time.monotonic()
    calendar.ahead_s = HOUR_S
    wait_until(lambda: time.monotonic() > before_s + 0.02, what="time to pass")
    passed_us = clock.now_us() - before_us
    assert 20_000 <= passed_us < 10_000_000


def test_nothing_asks_the_calendar(team: Team, calendar: Clock) -> None:
    """Neither a change, a queue, a replay nor a read looks at a clock that can be set."""
    prepare(team)
    team.leave()
    calendar.askers.clear()
    change_all(team.away, "mine")
    team.come_back()
    assert snapshot(team.away)["topic"] == "mine"
    assert time.time() > 0
    assert __name__ in calendar.askers, "who asks was not noticed, so nothing was proved"
    # the log's own records are dated by it
    assert not [name for name in calendar.askers if name.startswith("redis_memory")]


@BOTH
@pytest.mark.parametrize("is_request", [True, False], ids=["request", "reply"])
def test_a_slow_network_decides_nothing(
    server: Server, *, is_request: bool, is_newer: bool
) -> None:
    """However long a way takes, the error of a date is at most half of the way there and back."""
    slow_s = 1.25 * APART_US / 1e6  # all of it would be too much, and half of it is not
    with ExitStack() as stack:
        team = Team(server, stack, timeout_s=4 * slow_s)
        team.proxy.delay(slow_s if is_request else 0, 0 if is_request else slow_s)
        contest(team, is_newer=is_newer)
        check(team, is_newer=is_newer)


def is_replay(request: Request) -> bool:
    """Whether a request delivers what waited."""
    return request.name == b"EVALSHA" and any(part[:2] == b"_w" for part in request.arguments)


@BOTH
def test_a_change_that_is_sent_twice_keeps_its_date(team: Team, *, is_newer: bool) -> None:
    """Lost replies of the replay do not make a change newer than it is, or a contest of its own."""
    prepare(team)
    team.leave()
    if not is_newer:
        team.away.topic = "mine"
        team.later()
    team.online.topic = "theirs"
    team.later()
    if is_newer:
        team.away.topic = "mine"
        team.later()
    team.proxy.lose_replies(3, when=is_replay)
    team.come_back()
    assert team.proxy.lost == 3
    assert team.online.topic == ("mine" if is_newer else "theirs")
    told = conflicts(team.away)
    assert [(each.mine, each.theirs) for each in told] == [("mine", "theirs")]


def test_a_long_row_of_outages_keeps_every_order(team: Team) -> None:
    """25 outages, the worker's change before or after the other's in turn: the later one stays."""
    team.online.topic = "start"
    assert team.away.topic == "start"
    for turn in range(25):
        team.leave()
        if turn % 2:
            team.away.topic = f"mine {turn}"
            team.later()
        team.online.topic = f"theirs {turn}"
        if not turn % 2:
            team.later()
            team.away.topic = f"mine {turn}"
        team.come_back()
        assert team.online.topic == (f"theirs {turn}" if turn % 2 else f"mine {turn}")
    assert status(team.away).conflicts == 25
