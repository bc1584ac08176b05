"""One client of the soak: works on the shared conversation until it is told to stop, or killed."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis_memory import InDoubtError, OfflineError
from tests.soak.diary import Diary
from tests.soak.hands import AsyncHands, Hands

FLUSH_LIMIT_S = 30.0
# between two operations: while the server is away they take no time, and the queue has an end
PACE_S = 0.0008
PLACES = 4
MOST_STEPS = 20
LOOK_BACK = 300


@dataclass(frozen=True, slots=True)
class Job:
    """What a client needs to know; all its random choices come from the seed."""

    client: str
    url: str
    conversation_id: str
    journal: Path
    diary: Path
    seed: str
    is_async: bool


def work(job: Job) -> None:
    """Change the conversation in every way that can wait, and note each step; a process's body."""
    Client(job).run()


class Client:
    """Knows what it has done, so that it also sees whether what it reads is right."""

    def __init__(self, job: Job) -> None:
        self.must_stop: bool = False
        self._listen()
        # from here on it may be told to stop
        self.diary = Diary(job.diary)
        self.name: str = job.client
        self.random = random.Random(job.seed)
        self.number: int = 0
        self.appended: list[int] = []
        self.own: int | None = None
        self.table: dict[str, int] = {}
        self.steps: list[int] | None = None
        hands = AsyncHands if job.is_async else Hands
        self.hands: Hands | AsyncHands = hands(
            job.conversation_id,
            job.url,
            journal=job.journal,
            timeout_s=0.25,
            reconnect_max_s=0.2,
            on_conflict=lambda conflict: self.trouble(f"conflict {conflict!r}"),
        )

    def _listen(self) -> None:
        """Take down what would be lost otherwise: warnings, errors in the log, the wish to stop."""
        log = logging.getLogger("redis_memory")
        log.propagate = False
        log.addHandler(Listener(self))
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: self.trouble(f"warning {message}")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.must_stop = True

    def trouble(self, text: str) -> None:
        """Note what should not happen."""
        self.diary.write("trouble", text)

    def run(self) -> None:
        """Work, then deliver what waits, and leave."""
        parent = os.getppid()
        actions = [getattr(self, name) for name, weight in WEIGHTS.items() for _ in range(weight)]
        while not self.must_stop and os.getppid() == parent:
            self.number += 1
            self.random.choice(actions)()
            # a pace, not a wait: without it the faults would meet only one long burst of changes
            time.sleep(self.random.random() * PACE_S)
        left, stands = self.hands.leave(FLUSH_LIMIT_S)
        self.diary.write("end", {"left": left, "data_loss": stands.data_loss})

    def change(self, kind: str, place: str, value: Any, call: Callable[[], object]) -> bool:
        """Make one change; whether it counts as made."""
        self.diary.write("means", self.number, kind, place, value)
        if self._succeeds(call):
            self.diary.write("kept")
            return True
        self.diary.write("refused")
        return False

    def _succeeds(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except InDoubtError as error:
            self.trouble(f"in doubt, though it may wait: {error}")
        except OfflineError:
            return False
        except Exception:  # noqa: BLE001 - whatever it is, the verdict is to tell of it
            self.trouble(traceback.format_exc())
        else:
            return True
        return False

    def append(self) -> None:
        """Append something unique to the list of all."""
        entry = [self.name, self.number]
        if self.change("append", "log", None, lambda: self.hands.push("log", entry)):
            self.appended.append(self.number)

    def append_to_proxy(self) -> None:
        """Read the list, and append."""
        entry = [self.name, self.number]
        if self.change("append", "log", None, lambda: self.hands.append("log", entry)):
            self.appended.append(self.number)

    def count(self) -> None:
        """Add to the counter of all."""
        self.change("add", "count", 1, lambda: self.hands.increment("count", 1))

    def tally(self) -> None:
        """Add to a counter of one's own."""
        name, by = f"tally_{self.name}", self.random.randint(1, 9)
        self.change("add", "tally", by, lambda: self.hands.increment(name, by))

    def assign(self) -> None:
        """Assign an attribute that nobody else assigns."""
        number, name = self.number, f"own_{self.name}"
        if self.change("set", "own", number, lambda: self.hands.assign(name, number)):
            self.own = number

    def put(self) -> None:
        """Set a key of the dict of all."""
        key, number = f"{self.name}/{self.random.randrange(PLACES)}", self.number
        if self.change("set", key, number, lambda: self.hands.put("table", key, number)):
            self.table[key] = number

    def take_out(self) -> None:
        """Delete a key of the dict of all."""
        if self.table:
            key = self.random.choice(sorted(self.table))
            if self.change("set", key, None, lambda: self.hands.take_out("table", key)):
                del self.table[key]

    def join(self) -> None:
        """Add an element of one's own to the set of all, or take it out."""
        place, is_in = self.random.randrange(PLACES), self.random.random() < 0.6
        element = (self.name, place)

        do = self.hands.join if is_in else self.hands.part
        self.change("set", f"member {place}", is_in, lambda: do("members", element))

    def nest(self) -> None:
        """Append to a list inside the dict of all; begin a new one now and then."""
        number, name = self.number, self.name
        if self.steps is None or len(self.steps) >= MOST_STEPS:
            start = [number]
            if self.change("set", "steps", start, lambda: self.hands.put("tree", name, start)):
                self.steps = start
        elif self.change("grow", "steps", number, lambda: self.hands.grow("tree", name, number)):
            self.steps.append(number)

    def look(self) -> None:
        """Read: whatever is read holds all that this client has done."""
        self._succeeds(
            self.random.choice([self._look_at_own, self._look_at_log, self._look_at_all])
        )
        self.diary.write("read")

    def _look_at_own(self) -> None:
        if self.own is not None:
            found = self.hands.read(f"own_{self.name}")
            if found != self.own:
                self.trouble(f"read {found} where {self.own} was assigned")

    def _look_at_log(self) -> None:
        self._check_own(self.hands.last("log", LOOK_BACK))

    def _look_at_all(self) -> None:
        self._check_own(self.hands.read("log"))

    def _check_own(self, entries: list[Any]) -> None:
        found = [number for name, number in entries if name == self.name]
        if found != (self.appended[-len(found) :] if found else []):
            self.trouble(f"read its own appends as {found[-10:]}, not {self.appended[-10:]}")


WEIGHTS = {
    "append": 30,
    "append_to_proxy": 3,
    "count": 15,
    "tally": 10,
    "assign": 12,
    "put": 8,
    "take_out": 2,
    "join": 6,
    "nest": 8,
    "look": 6,
}


class Listener(logging.Handler):
    """Passes on from the log what the verdict needs."""

    def __init__(self, client: Client) -> None:
        super().__init__(logging.WARNING)
        self._client = client

    def emit(self, record: logging.LogRecord) -> None:
        """Count the journals that were adopted; an error is trouble."""
        if "taken over from a process" in str(record.msg):
            self._client.diary.write("adopted")
        elif record.levelno >= logging.ERROR or "damaged" in str(record.msg):
            self._client.trouble(f"log: {record.getMessage()}")
