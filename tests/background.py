"""An event loop in a thread of its own, for the servers and proxies of the tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

THREAD_NAME = "tests-background"
LIMIT_S = 10.0


class Background:
    """Runs coroutines in one daemon thread; `close` leaves no task, no thread and no loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, from any other thread, and return its result.

        Raises:
            TimeoutError: It took more than 10 s.
        """
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)

    @property
    def closed(self) -> bool:
        """Whether the thread has ended."""
        return self.loop.is_closed()

    def close(self) -> None:
        """Cancel what still runs, wait for its end, and end the thread."""
        self.run(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
