"""Compares what the clients of the soak were told with what the server holds in the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.soak.diary import Step, Story

Place = tuple[str, str]
MOST_SHOWN = 20


@dataclass(slots=True)
class Verdict:
    """What was found; `is_good` when nothing was lost, doubled, out of order or wrong.

    `counters` are the sums of the counter of all that the diaries allow, from and to, and the one
    that is stored.
    """

    operations: int = 0
    kept: int = 0
    refused: int = 0
    in_progress: int = 0
    reads: int = 0
    adopted: int = 0
    losses: int = 0
    duplicates: int = 0
    disorders: int = 0
    wrong: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    counters: tuple[int, int, int] = (0, 0, 0)

    @property
    def is_good(self) -> bool:
        """Whether nothing at all went wrong."""
        found = self.losses or self.duplicates or self.disorders or self.wrong or self.troubles
        return not found and bool(self.kept)

    def __str__(self) -> str:
        least, most, count = self.counters
        lines = [
            f"operations        {self.operations}: {self.kept} kept, {self.refused} refused",
            f"in progress       {self.in_progress}, when their clients were killed",
            f"reads             {self.reads}",
            f"journals adopted  {self.adopted}",
            f"duplicates        {self.duplicates}",
            f"losses            {self.losses}",
            f"order violations  {self.disorders}",
            f"wrong values      {len(self.wrong)}",
            f"counter           {count}, expected {least}" + (f" to {most}" * (most > least)),
            f"troubles          {len(self.troubles)}",
        ]
        for found in (self.wrong, self.troubles):
            lines += [f"    {text}" for text in found[:MOST_SHOWN]]
        return "\n".join(lines)


def judge(
    stories: Sequence[Story], stored: dict[str, Any], log: Iterable[tuple[str, int]]
) -> Verdict:
    """Compare the diaries with the attributes that are stored, and with the list's entries."""
    verdict = Verdict()
    entries: defaultdict[str, list[int]] = defaultdict(list)
    for client, number in log:
        entries[client].append(number)
    for story in stories:
        _count(verdict, story)
        _judge_appends(verdict, story, entries.pop(story.client, []))
        _judge_places(verdict, story, stored)
    verdict.wrong += [f"entries of {client}, which is unknown" for client in entries]
    _judge_counter(verdict, stories, stored)
    return verdict


def _count(verdict: Verdict, story: Story) -> None:
    outcomes = Counter(step.outcome for step in story.steps)
    verdict.operations += len(story.steps)
    verdict.kept += outcomes["kept"]
    verdict.refused += outcomes["refused"]
    verdict.in_progress += outcomes["in progress"]
    verdict.reads += story.reads
    verdict.adopted += story.adopted
    verdict.troubles += story.troubles
    if story.end is not None and (story.end["left"] or story.end["data_loss"]):
        verdict.troubles.append(f"{story.client} left as {story.end}")


def _judge_appends(verdict: Verdict, story: Story, found: list[int]) -> None:
    steps = {step.number: step for step in story.steps if step.kind == "append"}
    for number, times in Counter(found).items():
        verdict.duplicates += times - 1
        if number not in steps or steps[number].outcome == "refused":
            verdict.wrong.append(f"{story.client} appended {number}, which was refused")
    kept = {number for number, step in steps.items() if step.outcome == "kept"}
    lost = sorted(kept - set(found))
    if lost:
        verdict.losses += len(lost)
        verdict.troubles.append(f"{story.client} lost its appends {lost[:10]}")
    once = list(dict.fromkeys(found))
    verdict.disorders += sum(later < earlier for earlier, later in pairwise(once))


def _judge_places(verdict: Verdict, story: Story, stored: dict[str, Any]) -> None:
    """Compare what one client alone has changed; of a change in progress both outcomes will do."""
    possible: defaultdict[str, set[Any]] = defaultdict(lambda: {None})
    for step in story.steps:
        if step.place not in ("log", "count") and step.outcome != "refused":
            before = possible[step.place]
            after = {_changed(value, step) for value in before}
            possible[step.place] = after if step.outcome == "kept" else before | after
    for place, values in possible.items():
        found = _found(story.client, place, stored)
        if found not in values:
            expected = " or ".join(sorted(map(repr, values)))
            verdict.wrong.append(f"{story.client}: {place} is {found!r}, expected {expected}")


def _changed(value: Any, step: Step) -> Any:
    if step.kind == "add":
        return (value or 0) + step.value
    if step.kind == "grow":
        return (*(value or ()), step.value)
    if isinstance(step.value, list):
        return tuple(step.value)
    return step.value or None  # an element that is not in a set, and a key that is not in a dict


def _found(client: str, place: str, stored: dict[str, Any]) -> Any:
    if place == "own":
        return stored.get(f"own_{client}")
    if place == "tally":
        return stored.get(f"tally_{client}")
    if place == "steps":
        steps = stored["tree"].get(client)
        return None if steps is None else tuple(steps)
    if place.startswith("member "):
        return (client, int(place.removeprefix("member "))) in stored["members"] or None
    return stored["table"].get(place)


def _judge_counter(verdict: Verdict, stories: Iterable[Story], stored: dict[str, Any]) -> None:
    outcomes = Counter(
        step.outcome for story in stories for step in story.steps if step.place == "count"
    )
    least = outcomes["kept"]
    most = least + outcomes["in progress"]
    count = stored.get("count", 0)
    verdict.counters = (least, most, count)
    verdict.losses += max(least - count, 0)
    verdict.duplicates += max(count - most, 0)
