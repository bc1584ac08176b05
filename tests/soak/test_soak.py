"""Whatever is killed and whatever the network does, everything that was promised is there once."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.soak.diary import Step, Story
from tests.soak.run import Plan, soak
from tests.soak.verdict import judge

SHORT_S = 20.0
LONG_S = 60.0


def check(seconds: float, seed: int) -> None:
    """Run a soak, and print what came of it; the seed comes first, whatever happens then."""
    print(f"\nsoak: SEED={seed}", flush=True)  # noqa: T201 - to be seen by who runs it
    report = soak(Plan(seconds, seed))
    print(report)  # noqa: T201
    assert report.verdict.is_good, str(report)
    assert report.kills["clients"] > seconds / 4
    assert report.kills["server"]
    assert report.faults.total() > seconds
    assert report.verdict.adopted


def test_twenty_seconds_of_random_faults() -> None:
    """Clients and server are killed, the network fails: nothing is lost, doubled or disordered."""
    check(SHORT_S, int(os.environ.get("SOAK_SEED") or random.randrange(10**6)))


@pytest.mark.soak
def test_minutes_of_random_faults() -> None:
    """The same for SOAK_SECONDS, from the seed in SOAK_SEED where that is set."""
    seconds = float(os.environ.get("SOAK_SECONDS") or LONG_S)
    check(seconds, int(os.environ.get("SOAK_SEED") or random.randrange(10**6)))


# the verdict itself: each fault that it is to find is made up once

LOG = [("a", 1), ("b", 1), ("a", 3)]
STORED: dict[str, Any] = {
    "log": [list(entry) for entry in LOG],
    "count": 2,
    "own_a": 7,
    "tally_a": 5,
    "table": {"a/0": 9},
    "members": {("a", 0)},
    "tree": {"a": [12, 13]},
}


def stories() -> list[Story]:
    """Two diaries that fit what is stored."""
    steps = [
        Step(1, "append", "log", None, "kept"),
        Step(2, "append", "log", None, "refused"),
        Step(3, "append", "log", None, "kept"),
        Step(4, "add", "count", 1, "kept"),
        Step(5, "add", "tally", 2, "kept"),
        Step(6, "add", "tally", 3, "kept"),
        Step(7, "set", "own", 7, "kept"),
        Step(8, "set", "a/1", 8, "kept"),
        Step(9, "set", "a/0", 9, "kept"),
        Step(10, "set", "a/1", None, "kept"),
        Step(11, "set", "member 0", True, "kept"),
        Step(12, "set", "steps", [12], "kept"),
        Step(13, "grow", "steps", 13, "kept"),
        Step(14, "set", "own", 14, "in progress"),
    ]
    other = [Step(1, "append", "log", None, "kept"), Step(2, "add", "count", 1, "in progress")]
    return [Story("a", steps), Story("b", other)]


def test_a_history_without_faults_is_good() -> None:
    """Nothing is found where nothing is wrong; what was in progress may have happened or not."""
    verdict = judge(stories(), STORED, LOG)
    assert verdict.is_good, str(verdict)
    assert (verdict.kept, verdict.refused, verdict.in_progress) == (13, 1, 2)
    assert judge(stories(), {**STORED, "count": 1, "own_a": 14}, LOG).is_good


FAULTS: dict[str, tuple[dict[str, Any], list[tuple[str, int]], Callable[[Any], object]]] = {
    "lost": ({}, LOG[:2], lambda verdict: verdict.losses == 1),
    "doubled": ({}, [*LOG, ("b", 1)], lambda verdict: verdict.duplicates == 1),
    "disordered": ({}, LOG[::-1], lambda verdict: verdict.disorders == 1),
    "refused": ({}, [LOG[0], ("a", 2), *LOG[1:]], lambda verdict: verdict.wrong),
    "unknown": ({}, [*LOG, ("c", 1)], lambda verdict: verdict.wrong),
    "counted too little": ({"count": 0}, LOG, lambda verdict: verdict.losses == 1),
    "counted too much": ({"count": 3}, LOG, lambda verdict: verdict.duplicates == 1),
    "own": ({"own_a": 6}, LOG, lambda verdict: verdict.wrong),
    "tally": ({"tally_a": 8}, LOG, lambda verdict: verdict.wrong),
    "key": ({"table": {"a/0": 8}}, LOG, lambda verdict: verdict.wrong),
    "deleted key": ({"table": {"a/0": 9, "a/1": 8}}, LOG, lambda verdict: verdict.wrong),
    "element": ({"members": set()}, LOG, lambda verdict: verdict.wrong),
    "nested twice": ({"tree": {"a": [12, 13, 13]}}, LOG, lambda verdict: verdict.wrong),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_verdict_finds_each_fault(fault: str) -> None:
    """A soak that loses, doubles or disorders something ends badly."""
    changed, log, shows = FAULTS[fault]
    verdict = judge(stories(), {**STORED, **changed}, log)
    assert not verdict.is_good
    assert shows(verdict), str(verdict)
