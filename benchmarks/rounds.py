"""Interleaved rounds: every case is timed once in each, so that a busy moment meets them all."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns

WARM_CALLS = 10


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Case:
    """Something to be timed.

    Args:
        call: What is timed; it is given its number, which begins at 0 in each round.
        prepare: Run before each round, untimed: it makes all rounds alike.
        before_call: Run before each call, untimed.
    """

    call: Callable[[int], object]
    prepare: Callable[[], object] = _nothing
    before_call: Callable[[], object] = _nothing


@dataclass(frozen=True, slots=True)
class Ratio:
    """How two cases compare: the median over the rounds, and the middle half of them."""

    median: float
    low: float
    high: float


class Timings:
    """What a call took, in seconds, by case: one number for each round, that of its median call."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self._seconds = seconds

    @property
    def cases(self) -> list[str]:
        """What was timed."""
        return list(self._seconds)

    def median(self, case: str) -> float:
        """The median round of a case, in seconds."""
        return statistics.median(self._seconds[case])

    def ratio(self, case: str, to: str) -> Ratio:
        """A case over another one, each round by itself: what slows a round down slows both."""
        pairs = zip(self._seconds[case], self._seconds[to], strict=True)
        ratios = [one / other for one, other in pairs]
        if len(ratios) == 1:
            return Ratio(*ratios * 3)
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return Ratio(median, low, high)


def interleave(cases: Mapping[str, Case], *, rounds: int, calls: int) -> Timings:
    """Time all cases in turn, round after round; as `timeit` does, without garbage collection."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, case in cases.items():
                seconds[name].append(_median_call(case, calls))
    finally:
        gc.enable()
    return Timings(seconds)


def _median_call(case: Case, calls: int) -> float:
    case.prepare()
    call, before_call, clock = case.call, case.before_call, perf_counter_ns
    spent = []
    for turn in range(WARM_CALLS + calls):
        before_call()
        begun = clock()
        call(turn)
        spent.append(clock() - begun)
    # a mean would count the time that other programs had the core
    return statistics.median(spent[WARM_CALLS:]) / 1e9
