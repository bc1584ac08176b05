"""Two workers go on while their server is killed, stopped, frozen and started again.

What they do commutes, or is done by one of them alone, so that the end is known: everything is
there once, each writer's changes are in its order, and nobody has been told of a conflict.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from redis_memory import (
    ConversationMemory,
    OfflineError,
    clear,
    close,
    conflicts,
    flush,
    increment,
    push,
    snapshot,
    status,
)
from redis_memory.link import journals
from tests.history import History
from tests.servers import Server
from tests.stateful.machines import ERRORS, plain
from tests.waiting import wait_until

LIMIT_S = 10.0
# no shrinking: a step takes milliseconds, so that it would take longer than a test may
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
WORKERS = st.integers(0, 1)
NUMBERS = st.integers(0, 9)

Change = Callable[[Any, int], object]
LIST_CHANGES: dict[str, Change] = {
    "append": lambda box, n: box.append(n),
    "append a list": lambda box, n: box.append([n]),
    "append inside": lambda box, n: box[-1].append(n),
    "set inside": lambda box, n: box[-1].__setitem__(0, n),
    "extend": lambda box, n: box.extend([n, n + 1]),
    "insert": lambda box, n: box.insert(n // 2, n),
    "set": lambda box, n: box.__setitem__(n // 3, n),
    "delete": lambda box, n: box.__delitem__(n // 3),
    "remove": lambda box, n: box.remove(n),
    "slice": lambda box, n: box.__setitem__(slice(n // 4, n // 2), [n]),
    "sort": lambda box, n: box.sort(key=repr),
    "reverse": lambda box, n: box.reverse(),
    "double": lambda box, n: box.__setitem__(slice(4, None), []),
    "clear": lambda box, n: box.clear(),
}
DICT_CHANGES: dict[str, Change] = {
    "set": lambda box, n: box.__setitem__(n % 4, n),
    "set a list": lambda box, n: box.__setitem__("inner", [n]),
    "change inside": lambda box, n: box["inner"].append(n),
    "update": lambda box, n: box.update({n % 4: "u", "k": n}),
    "delete": lambda box, n: box.__delitem__(n % 4),
    "default": lambda box, n: box.setdefault(n, {}) and None,
    "clear": lambda box, n: box.clear(),
}
SET_CHANGES: dict[str, Change] = {
    "add": lambda box, n: box.add(n),
    "discard": lambda box, n: box.discard(n),
    "update": lambda box, n: box.update({n, n + 1, "s"}),
    "toggle": lambda box, n: box.symmetric_difference_update({n, "s"}),
    "keep": lambda box, n: box.intersection_update(range(n)),
    "clear": lambda box, n: box.clear(),
}
CHANGES: dict[str, dict[str, Change]] = {
    "list": LIST_CHANGES,
    "dict": DICT_CHANGES,
    "set": SET_CHANGES,
}
# drawn at once: a draw in the middle of a rule would meet the pauses that other threads draw
ALL_CHANGES = [(what, how) for what, changes in CHANGES.items() for how in changes]
OWN: dict[str, Any] = {"list": [], "dict": {}, "set": set(), "topic": "start"}
TOPICS: list[Any] = ["text", 7, None, 1.5, [1], {"a": [1]}, {1}, (1, "t"), b"", 2**70]


def _is_online(memory: ConversationMemory) -> bool:
    return status(memory).online


class OutageMachine(RuleBasedStateMachine):
    """`model` is what the memory must hold in the end, but for `log`, which `history` tells of."""

    def __init__(self) -> None:
        super().__init__()
        # acknowledged means stored: what a killed server forgets is another test's matter
        self.server = Server(appendonly="yes", appendfsync="always").start()
        self.is_frozen = False
        self.folder = Path(tempfile.mkdtemp(prefix="rm-journals-"))
        self.id = uuid.uuid4().hex
        self.observer = ConversationMemory(self.id, self.server.url, timeout_s=5)
        self.workers = [self.open(worker) for worker in range(2)]
        self.made = 0
        self.orphans = 0
        # who may not write until all is delivered, because somebody else's clear waits
        self.is_silent = [False, False]
        self.begin_anew()

    def open(self, worker: int) -> ConversationMemory:
        """The memory of a worker; each has a time limit, and so connections, of its own."""
        options: dict[str, Any] = {"timeout_s": 0.05 + worker / 100, "reconnect_max_s": 0.03}
        if worker == 1:
            options["journal"] = self.folder
        return ConversationMemory(self.id, self.server.url, **options)

    def begin_anew(self) -> None:
        """Nothing has been written."""
        self.model: dict[str, Any] = {}
        self.history = History()

    def new(self) -> int:
        """A value that is like no other."""
        self.made += 1
        return self.made

    def own(self, worker: int, what: str) -> str:
        """The name of an attribute that this worker alone changes."""
        return f"{what}_{worker}"

    @initialize()
    def store_first_values(self) -> None:
        for worker, memory in enumerate(self.workers):
            for what, value in OWN.items():
                name = self.own(worker, what)
                memory[name] = self.model[name] = plain(value)
        self.see_all()

    def see_all(self) -> None:
        """Both workers read everything: what nothing is known of cannot be read offline."""
        assert [flush(memory, LIMIT_S) for memory in self.workers] == [0, 0]
        for memory in self.workers:
            # an outage may have been met by a read, and then nothing waits
            online = partial(_is_online, memory)
            wait_until(online, LIMIT_S, what="the server to be found")
        every = [self.own(worker, what) for worker in range(2) for what in OWN]
        for memory in self.workers:
            for name in every:
                assert hasattr(memory, name) is (name in self.model)

    @property
    def is_served(self) -> bool:
        return self.server.running and not self.is_frozen

    # the server

    @precondition(lambda self: self.is_served)
    @rule(how=st.sampled_from(["kill", "stop"]))
    def take_the_server_away(self, how: str) -> None:
        getattr(self.server, how)()

    @precondition(lambda self: self.is_served)
    @rule()
    def freeze_the_server(self) -> None:
        self.server.freeze()
        self.is_frozen = True

    @precondition(lambda self: self.is_frozen)
    @rule(is_killed=st.booleans())
    def end_the_frost(self, *, is_killed: bool) -> None:
        if is_killed:
            self.server.kill()
        else:
            self.server.thaw()
        self.is_frozen = False

    @precondition(lambda self: not self.server.running)
    @rule()
    def start_the_server(self) -> None:
        self.server.start()

    @precondition(lambda self: self.is_served)
    @rule(is_killed=st.booleans())
    def restart_the_server(self, *, is_killed: bool) -> None:
        if is_killed:
            self.server.kill()
            self.server.start()
        else:
            self.server.restart()

    # what both do to the same

    @rule(worker=WORKERS, count=st.integers(1, 3))
    def push_to_the_log(self, worker: int, count: int) -> None:
        if self.is_silent[worker]:
            return
        values = [self.new() for _ in range(count)]
        push(self.workers[worker], "log", *values)
        for value in values:
            self.history.append(f"worker {worker}", value)

    @rule(worker=WORKERS, by=st.integers(-3, 5))
    def count(self, worker: int, by: int) -> None:
        if self.is_silent[worker]:
            return
        increment(self.workers[worker], "count", by)
        self.model["count"] = self.model.get("count", 0) + by

    # what each does to its own

    @rule(worker=WORKERS, kind_and_change=st.sampled_from(ALL_CHANGES), number=NUMBERS)
    def change_its_own(self, worker: int, kind_and_change: tuple[str, str], number: int) -> None:
        what, how = kind_and_change
        name = self.own(worker, what)
        if self.is_silent[worker] or name not in self.model:
            return
        change = CHANGES[what][how]
        box, before = self.workers[worker][name], plain(self.model[name])
        try:
            change(self.model[name], number)
        except (*ERRORS, AttributeError) as error:
            self.model[name] = before
            with pytest.raises(type(error)):
                change(box, number)
        else:
            change(box, number)
            self.model[name] = plain(self.model[name])
        assert plain(box) == self.model[name]

    @rule(worker=WORKERS, what=st.sampled_from(sorted(OWN)), value=st.sampled_from(TOPICS))
    def assign_its_own(self, worker: int, what: str, value: Any) -> None:
        if self.is_silent[worker]:
            return
        name = self.own(worker, what)
        value = plain(
            value
            if what == "topic"
            else type(OWN[what])(map(str, range(self.made % 3)))
            if what != "dict"
            else {"assigned": value}
        )
        self.workers[worker][name] = value
        self.model[name] = plain(value)

    @rule(worker=WORKERS, what=st.sampled_from(sorted(OWN)))
    def delete_its_own(self, worker: int, what: str) -> None:
        name = self.own(worker, what)
        if self.is_silent[worker] or name not in self.model:
            return
        del self.workers[worker][name]
        del self.model[name]

    @rule(worker=WORKERS)
    def read_its_own(self, worker: int) -> None:
        """Whether the server is there or not, a worker sees what it has done."""
        if self.is_silent[worker]:
            return
        for what in OWN:
            name = self.own(worker, what)
            if name in self.model:
                assert plain(self.workers[worker][name]) == self.model[name]
            else:
                # nothing may be known of what is not there, but it is never said to be there
                with pytest.raises((KeyError, OfflineError)):
                    _ = self.workers[worker][name]

    # processes and objects

    @rule(worker=WORKERS)
    def drop_the_object(self, worker: int) -> None:
        """A memory that nobody refers to any more, and another object of the same one.

        While the server is away the other one knows what the first knew if changes wait, else
        nothing: no worker could go on with its own attributes then.
        """
        if self.is_served:
            assert flush(self.workers[worker], LIMIT_S) == 0
        elif status(self.workers[worker]).queued == 0:
            return
        self.workers[worker] = self.observer
        self.workers[worker] = self.open(worker)
        if self.is_served:
            self.see_all()

    @rule(is_new=st.booleans(), count=st.integers(1, 3))
    def fork(self, *, is_new: bool, count: int) -> None:
        """A child pushes and is killed: what it was told is kept is there, from its journal."""
        if any(self.is_silent):
            return
        values = [self.new() for _ in range(count)]
        pid = os.fork()
        if pid == 0:
            try:
                memory = self.open(1) if is_new else self.workers[1]
                for value in values:
                    push(memory, "log", value)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        _, how = os.waitpid(pid, 0)
        assert os.WTERMSIG(how) == signal.SIGKILL
        for value in values:
            self.history.append(f"child {pid} {self.made}", value)
        self.orphans += 1

    @rule()
    def adopt(self) -> None:
        """Another object with the same folder takes over what the dead have left."""
        self.drop_the_object(1)

    @precondition(lambda self: self.is_served and self.orphans and not any(self.is_silent))
    @rule()
    def adopt_in_another_process(self) -> None:
        """A process that opens the folder delivers what the dead have left, and ends."""
        assert [flush(memory, LIMIT_S) for memory in self.workers] == [0, 0]
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                memory = self.open(1)
                wait_until(lambda: not list(self.folder.iterdir()), LIMIT_S)
                code = flush(memory, LIMIT_S)
            finally:
                os._exit(code)
        _, how = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(how) == 0
        assert not list(self.folder.iterdir())
        self.orphans = 0

    # clear

    @precondition(lambda self: self.is_served and not any(self.is_silent))
    @rule(worker=WORKERS)
    def clear_when_all_is_delivered(self, worker: int) -> None:
        self.settle()
        clear(self.workers[worker])
        self.begin_anew()
        self.see_all()

    @precondition(lambda self: self.is_served and not any(self.is_silent))
    @rule(worker=WORKERS, how=st.sampled_from(["kill", "stop"]))
    def clear_while_away(self, worker: int, how: str) -> None:
        """A clear waits; until it is delivered the other worker has nothing to say."""
        self.settle()
        # an answer newer than all that the other has done: a clear tells what it takes unseen
        push(self.workers[worker], "log", self.new())
        getattr(self.server, how)()
        clear(self.workers[worker])
        self.begin_anew()
        self.is_silent[1 - worker] = True

    # the end

    def settle(self) -> None:
        """Have everything delivered, by the workers and for the dead."""
        if self.is_frozen:
            self.end_the_frost(is_killed=False)
        if not self.server.running:
            self.server.start()
        self.adopt()
        assert [flush(memory, LIMIT_S) for memory in self.workers] == [0, 0]
        wait_until(lambda: not list(self.folder.iterdir()), LIMIT_S, what="the journals to end")

    @rule()
    def check(self) -> None:
        """All is back: everything is there, once and in order, and nothing is left to tell."""
        self.settle()
        stored = snapshot(self.observer)
        self.history.final = stored.pop("log", [])
        assert self.history.faults() == []
        assert stored == self.model
        for memory in self.workers:
            assert conflicts(memory) == []
            assert status(memory).data_loss == 0
        self.is_silent = [False, False]
        self.see_all()

    # a clear that waits may take the log away between two questions
    @precondition(lambda self: not any(self.is_silent))
    @rule(worker=WORKERS)
    def read_the_log(self, worker: int) -> None:
        """What a worker reads of the log while all is delivered is a beginning of its end."""
        memory = self.workers[worker]
        if self.is_served and flush(memory, LIMIT_S) == 0 and "log" in memory:
            self.history.read(f"worker {worker}", memory.log)

    def teardown(self) -> None:
        """Check once more, and close everything."""
        try:
            self.check()
        finally:
            if self.is_frozen:
                self.server.thaw()
            for memory in (*self.workers, self.observer):
                close(memory)
            self.server.close()
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()


def test_two_workers_go_on_through_outages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any row of changes, outages, forks, kills and clears ends with everything there once."""
    # each object looks for orphans, not only the first of each second
    monkeypatch.setattr(journals, "_PAUSE_S", 0.0)
    limits = settings(max_examples=12, stateful_step_count=30, phases=PHASES)
    run_state_machine_as_test(OutageMachine, settings=limits)


def test_a_missing_key_is_missing_for_the_first_call_too(own_server: Server) -> None:
    """What is not there cannot be deleted, whether this is what finds the server away or not."""
    with ConversationMemory(uuid.uuid4().hex, own_server.url, timeout_s=0.3) as memory:
        memory.box, memory.tags = {}, {1}
        box, tags = memory.box, memory.tags
        own_server.stop()
        for _ in range(2):
            with pytest.raises(KeyError):
                del box["missing"]
        own_server.start()
        assert flush(memory, LIMIT_S) == 0
        own_server.stop()
        for _ in range(2):
            with pytest.raises(KeyError):
                tags.remove(2)
        own_server.start()


def test_a_dropped_object_leaves_its_queue_to_the_next_one(own_server: Server) -> None:
    """Without the help of the garbage collector: the next object shows what waits."""
    name = uuid.uuid4().hex
    memory = ConversationMemory(name, own_server.url, timeout_s=0.3)
    memory.topic = "start"
    own_server.stop()
    gc.disable()
    try:
        memory.topic = "waits"
        del memory
        memory = ConversationMemory(name, own_server.url, timeout_s=0.3)
        shown = getattr(memory, "topic", None) if status(memory).queued else None
    finally:
        gc.enable()
        own_server.start()
        gc.collect()
        # whoever has the queue: it is delivered
        stored = partial(own_server.client().hget, f"memory:{{{name}}}", "topic")
        wait_until(lambda: b"waits" in (stored() or b""), what="the queue to be delivered")
        flush(memory, LIMIT_S)
        close(memory)
    assert shown == "waits"
