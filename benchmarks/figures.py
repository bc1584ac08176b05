"""A measured figure beside the wanted one, and all of them as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from rounds import Timings

HEADINGS = ("figure", "measured", "middle half", "wanted", "", "medians")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Args:
        name: What is measured, and behind a slash what it is compared with.
        measured: The ratio, or a number of `unit`s.
        wanted: What it must not exceed; None where it is only told.
        unit: Nothing for a ratio.
        between: The bounds of the middle half of all rounds, where there were rounds.
        detail: The two sides of the ratio.
    """

    name: str
    measured: float
    wanted: float | None = None
    unit: str = ""
    between: tuple[float, float] | None = None
    detail: str = ""
    is_met: bool | None = field(init=False)

    def __post_init__(self) -> None:
        is_met = None if self.wanted is None else self.measured <= self.wanted
        object.__setattr__(self, "is_met", is_met)

    @classmethod
    def of(
        cls, name: str, timings: Timings, case: str, to: str, wanted: float | None = None
    ) -> Self:
        """The ratio of two timed cases."""
        ratio = timings.ratio(case, to)
        detail = " / ".join(_duration(timings.median(side)) for side in (case, to))
        return cls(name, ratio.median, wanted, between=(ratio.low, ratio.high), detail=detail)

    @property
    def columns(self) -> tuple[str, ...]:
        """The figure as texts, one below each of the headings."""
        unit = f" {self.unit}" if self.unit else ""
        return (
            self.name,
            _number(self.measured) + unit,
            " to ".join(map(_number, self.between or ())),
            "" if self.wanted is None else f"<= {self.wanted:g}{unit}",
            {None: "", True: "yes", False: "no"}[self.is_met],
            self.detail,
        )


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def _number(number: float) -> str:
    return f"{number:.4f}" if number < 0.1 else f"{number:.2f}"


def table(figures: Sequence[Figure]) -> str:
    """The figures, one a line."""
    lines = [HEADINGS, *(figure.columns for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def summary(figures: Sequence[Figure]) -> str:
    """How many of the demands were met."""
    demands = [figure.is_met for figure in figures if figure.is_met is not None]
    return f"{sum(demands)} of {len(demands)} are as wanted."
