"""Checks what several writers and readers of one list saw, when each value was appended once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(slots=True)
class History:
    """What happened to one list that was only appended to, each value by one append.

    `appended` holds for each writer the values that it was told are kept, in its order; `doubtful`
    those of which it was told that nobody knows, which may be there or not, and once at most.
    `reads` holds for each reader what it read, in its order; `final` is the list in the end.
    """

    final: list[Hashable] = field(default_factory=list)
    appended: dict[str, list[Hashable]] = field(default_factory=dict)
    doubtful: set[Hashable] = field(default_factory=set)
    reads: dict[str, list[list[Hashable]]] = field(default_factory=dict)

    def append(self, writer: str, value: Hashable) -> None:
        """Note that a writer was told that its value is kept."""
        self.appended.setdefault(writer, []).append(value)

    def read(self, reader: str, values: Iterable[Hashable]) -> None:
        """Note what a reader was shown."""
        self.reads.setdefault(reader, []).append(list(values))

    def faults(self) -> list[str]:
        """Everything that is wrong, in words; empty when nothing is.

        Nothing kept is lost, nothing is there twice or from nowhere, each writer's values are in
        its order, each read is a beginning of the final list, and no reader goes back.

        Raises:
            ValueError: A value was appended twice, so that nothing can be told of it.

        Cost: O(sizes of all reads).
        """
        self._check_unique()
        return [
            *self._lost(),
            *self._doubled(),
            *self._from_nowhere(),
            *self._out_of_order(),
            *self._no_beginning(),
            *self._going_back(),
        ]

    def _check_unique(self) -> None:
        counts = Counter(value for values in self.appended.values() for value in values)
        counts.update(self.doubtful)
        repeated = [value for value, count in counts.items() if count > 1]
        if repeated:
            raise ValueError(f"appended more than once: {_some(repeated)}")

    def _lost(self) -> Iterable[str]:
        there = set(self.final)
        for writer, values in self.appended.items():
            lost = [value for value in values if value not in there]
            if lost:
                yield f"lost of {writer}: {_some(lost)}"

    def _doubled(self) -> Iterable[str]:
        doubled = [value for value, count in Counter(self.final).items() if count > 1]
        if doubled:
            yield f"there more than once: {_some(doubled)}"

    def _from_nowhere(self) -> Iterable[str]:
        known = {value for values in self.appended.values() for value in values} | self.doubtful
        foreign = [value for value in self.final if value not in known]
        if foreign:
            yield f"appended by nobody: {_some(foreign)}"

    def _out_of_order(self) -> Iterable[str]:
        # the first place of each: a value that is there twice is told of once, as doubled
        places = {value: at for at, value in reversed(list(enumerate(self.final)))}
        for writer, values in self.appended.items():
            there = [value for value in values if value in places]
            for before, after in pairwise(there):
                if places[before] > places[after]:
                    yield f"out of order, of {writer}: {after!r} before {before!r}"

    def _no_beginning(self) -> Iterable[str]:
        for reader, reads in self.reads.items():
            for number, seen in enumerate(reads):
                if seen != self.final[: len(seen)]:
                    at = _first_difference(seen, self.final)
                    yield f"read {number} of {reader} is no beginning of the list, from {at} on"

    def _going_back(self) -> Iterable[str]:
        for reader, reads in self.reads.items():
            for number, (before, after) in enumerate(pairwise(reads), 1):
                if len(after) < len(before):
                    yield (
                        f"read {number} of {reader} shows {len(after)} values "
                        f"after one that showed {len(before)}"
                    )


def _first_difference(seen: Sequence[Hashable], final: Sequence[Hashable]) -> int:
    pairs = zip(seen, final, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(final))


def _some(values: Sequence[Hashable]) -> str:
    shown = ", ".join(map(repr, values[:5]))
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"
