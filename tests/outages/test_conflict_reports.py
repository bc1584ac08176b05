"""What is told of a conflict: to whom, once, in full, and never in a log."""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack

import pytest

from redis_memory import Conflict, ConversationMemory, conflicts, flush, push, snapshot, status
from redis_memory.core import queue
from redis_memory.memory import core_of
from tests.outages.contests import KEYS, LIMIT_S, WHOLE, Boxed, Team, is_replay, merge, prepare


def test_values_are_told_to_the_program_alone(
    team: Team, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The loser is in `conflicts`, in `on_conflict` and counted; no value is in a log or a repr."""
    caplog.set_level(logging.DEBUG)
    worker = team.worker()
    team.online.topic = "start"
    team.online.profile = {"plain key": "start"}
    team.online.numbers = ["start"]
    held = worker.memory.profile, worker.memory.numbers
    worker.leave()
    worker.memory.topic = "secret of mine"
    held[0]["plain key"] = "secret of mine"
    held[1][0] = "secret of mine"
    team.later()
    team.online.topic = "secret of theirs"
    team.online.profile["plain key"] = "secret of theirs"
    team.online.numbers.insert(0, "secret of theirs")
    worker.come_back()
    found = conflicts(worker.memory)
    assert len(found) == 3
    assert all("secret of mine" in repr(each.mine) for each in found)
    shown = [repr(found), str(found), repr(worker.told), repr(status(worker.memory))]
    text = "\n".join([*shown, repr(worker.memory), caplog.text, *capfd.readouterr()])
    assert "secret" not in text
    for name in ("topic", "profile", "numbers"):
        assert caplog.text.count(f"about '{name}'") == 1
    assert status(worker.memory).conflicts == 3


def test_a_failing_listener_stops_nothing(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    """`on_conflict` that raises is logged, and everything behind it is delivered and told."""
    proxy = team.worker()
    proxy.memory.topic = proxy.memory.other = "start"

    def tell(conflict: Conflict) -> None:
        raise ValueError("listener")

    core_of(proxy.memory).state.conflicts.tell = tell
    proxy.leave()
    proxy.memory.topic = proxy.memory.other = "mine"
    team.later()
    team.online.topic = team.online.other = "theirs"
    push(proxy.memory, "log", 1)
    proxy.come_back()
    assert [each.name for each in conflicts(proxy.memory)] == ["topic", "other"]
    assert team.online.log == [1]
    assert caplog.text.count("on_conflict raised") == 2


def test_only_the_last_thousand_are_kept_and_all_are_counted(team: Team) -> None:
    """An endless row of conflicts takes bounded memory."""
    worker = team.worker()
    worker.leave()
    names = [f"n{number}" for number in range(1005)]
    for name in names:
        worker.memory[name] = "mine"
    with ExitStack() as stack:
        other = stack.enter_context(ConversationMemory(team.name, team.server.url, timeout_s=5))
        for name in names:
            other[name] = "theirs"
    worker.come_back()
    assert [each.name for each in conflicts(worker.memory)] == names[5:]
    assert status(worker.memory).conflicts == len(worker.told) == 1005
    conflicts(worker.memory).clear()
    assert len(conflicts(worker.memory)) == 1000


@pytest.mark.parametrize("policy", ["newest", "mine", "theirs", "function"])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_lost_replies_tell_each_contest_once(
    team: Team, policy: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decided is not decided again when its answer was lost, and it is told once."""
    monkeypatch.setattr(queue, "_MOST_AT_ONCE", at_once)
    worker = team.worker(conflict=merge if policy == "function" else policy)
    cases = {**WHOLE, **{f"key_{name}": case for name, case in KEYS.items()}}
    prepare(team, worker, cases)
    cut = [True]
    worker.proxy.reset_before(math.inf, when=lambda _: bool(cut))
    worker.memory.left = True
    worker.proxy.lose_replies(4, when=is_replay)
    for name, case in cases.items():
        case.mine(worker.memory, name)
        push(worker.memory, "log", name)
        case.theirs(team.online, name)
    cut.clear()
    assert flush(worker.memory, LIMIT_S) == 0
    assert worker.proxy.lost == 4
    assert team.online.log == list(cases)
    told = worker.outcome()
    assert {name for name, _ in told} == set(cases)
    for (name, _), conflict in told.items():
        assert conflict.mine == cases[name].if_mine, name


def test_what_is_gone_or_of_another_kind_is_told(team: Team) -> None:
    """A change of a container that others deleted or replaced by another kind is never silent."""
    changes: dict[str, Boxed] = {
        "append": lambda box: box.append("mine"),
        "insert": lambda box: box.insert(0, "mine"),
        "extend": lambda box: box.extend(["mine"]),
    }
    worker = team.worker()
    names = [f"{name}_{what}" for name in changes for what in ("gone", "kind")]
    for name in names:
        team.online[name] = ["start"]
        assert worker.memory[name]
    worker.leave()
    for name in names:
        change = changes[name.partition("_")[0]]
        change(worker.memory[name])
        if name.endswith("gone"):
            del team.online[name]
        else:
            team.online[name] = {"theirs": 1}
    worker.come_back()
    stored = snapshot(team.online)
    assert {name: stored.get(name) for name in names} == {
        name: None if name.endswith("gone") else {"theirs": 1} for name in names
    }
    assert {(name, each.reason) for (name, _), each in worker.outcome().items()} == {
        (name, "gone") for name in names
    }
