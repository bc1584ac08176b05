"""Workers that append while servers change places, and the check of what is left."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from redis_memory import ConversationMemory, DataLossWarning
from tests.outages.faces import Face, OpenFace
from tests.waiting import wait_until

# Soon gives a server up, and soon finds it again.
QUICKLY: dict[str, Any] = {"timeout_s": 0.3, "reconnect_max_s": 0.1}
FLUSH_S = 20.0


class Load:
    """Threads that append numbers, each to the list of a conversation of its own, and to `shared`.

    Each uses two memories of the same face. `kept` holds what the calls said is kept.
    """

    def __init__(self, opened: OpenFace, url: str, names: Sequence[str], shared: str) -> None:
        self.names = [*names, shared]
        self.kept: dict[str, list[tuple[int, int]]] = {name: [] for name in self.names}
        self.errors: list[BaseException] = []
        self._url = url
        self._faces = [(opened(name, url), opened(shared, url)) for name in names]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number, *faces), daemon=True)
            for number, faces in enumerate(self._faces)
        ]

    def _work(self, worker: int, own: Face, shared: Face) -> None:
        turn = 0
        try:
            while not self._stop.is_set():
                for face, name in ((own, self.names[worker]), (shared, self.names[-1])):
                    face.push("log", (worker, turn))
                    self.kept[name].append((worker, turn))
                turn += 1
                # a queue that never ends tells nothing more
                self._stop.wait(0.001)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.errors.append(error)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def wait_for_more(self) -> None:
        """Wait until each worker has made some more changes."""
        before = {name: len(kept) for name, kept in self.kept.items()}
        wait_until(
            lambda: (
                self.errors
                or all(len(self.kept[name]) > count + 20 for name, count in before.items())
            ),
            20.0,
            what="more changes",
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def flush(self) -> None:
        """Wait until everything is delivered."""
        for face in (face for faces in self._faces for face in faces):
            assert face.flush(FLUSH_S) == 0

    def check(self, lost: int) -> None:
        """Nothing is there twice or from nowhere, each worker's order is kept, `lost` are lost."""
        assert not self.errors
        missing = 0
        with ExitStack() as stack:
            for name in self.names:
                memory = stack.enter_context(ConversationMemory(name, self._url, timeout_s=5.0))
                final = list(memory.log)
                doubled = [value for value, count in Counter(final).items() if count > 1]
                assert not doubled
                assert set(final) <= set(self.kept[name])
                for worker in range(len(self._faces)):
                    turns = [turn for one, turn in final if one == worker]
                    assert turns == sorted(turns)
                missing += len(set(self.kept[name]) - set(final))
        assert missing <= lost


@contextmanager
def losses() -> Iterator[list[DataLossWarning]]:
    """The reports of lost data, in whatever thread."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataLossWarning)
        told: list[DataLossWarning] = []
        try:
            yield told
        finally:
            told += [one.message for one in caught if isinstance(one.message, DataLossWarning)]


def lost_in(told: list[DataLossWarning]) -> int:
    """How many changes the reports say are lost."""
    return sum(one.forgotten - one.repaired for one in told)
