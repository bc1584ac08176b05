"""What a client of the soak meant to do and what became of it, in a file that outlives it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# kept: the call returned. refused: it raised an error that promises that nothing was done.
# in progress: the client was killed before the call came to an end.
Outcome = Literal["kept", "refused", "in progress"]


@dataclass(slots=True)
class Step:
    """One operation: its number within the client, what was to be done, where and with what."""

    number: int
    kind: str
    place: str
    value: Any
    outcome: Outcome = "in progress"


class Diary:
    """Written by the client; each line is out of its hands when the call returns."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: Any) -> None:
        """Add one line."""
        # no buffer, so that SIGKILL takes nothing along
        os.write(self._descriptor, json.dumps(words).encode() + b"\n")


@dataclass(slots=True)
class Story:
    """What the diary of one client tells.

    `troubles` are what should not have happened: unexpected errors, wrong reads, warnings, and
    changes that were reported as conflicts. `end` is how it left, None when it was killed.
    """

    client: str
    steps: list[Step] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    adopted: int = 0
    reads: int = 0
    end: dict[str, Any] | None = None

    @classmethod
    def read(cls, path: Path) -> Story:
        """What stands in a diary; a client may have been killed at any moment."""
        story = cls(path.stem)
        for words in _lines(path):
            match words:
                case ["means", int() as number, str() as kind, str() as place, value]:
                    story.steps.append(Step(number, kind, place, value))
                case ["kept" | "refused" as outcome]:
                    story.steps[-1].outcome = outcome
                case ["read"]:
                    story.reads += 1
                case ["adopted"]:
                    story.adopted += 1
                case ["trouble", str() as text]:
                    story.troubles.append(f"{story.client}: {text}")
                case ["end", dict() as end]:
                    story.end = end
                case _:
                    raise ValueError(f"{path.name} has a line of no known form: {words}")
        return story


def _lines(path: Path) -> Iterator[list[Any]]:
    for line in path.read_text().splitlines():
        yield json.loads(line)
