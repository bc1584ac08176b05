"""How far a long command has come: on a terminal, and nowhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class Progress:
    """A bar on standard error while that is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - a terminal waits for it
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
            from rich.progress import Progress as Bar  # noqa: PLC0415

            columns = BarColumn(), TextColumn("{task.description}", markup=False)
            self._bar = Bar(
                *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
            )
            self._bar.start()
            # how many there will be nobody knows before the end
            self._task = self._bar.add_task("", total=None)
        return self

    def at(self, text: str, count: int) -> None:
        """It has come so far."""
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=count)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
