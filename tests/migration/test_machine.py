"""Old workers, new workers and migrations in any order, against the table of who wins."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from redis_memory import ConversationMemory, close, migration, snapshot
from redis_memory.link.links import idle_writers
from tests.migration.old import OldWorkers, key_of
from tests.servers import Server

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3))


@dataclass
class Held:
    """What is known of one attribute: under the old key, and in the memory."""

    old: bytes | None = None
    modified_ns: int = 0
    brought: bytes | None = None
    # None where the memory has none, else one element
    new: tuple[Any] | None = None
    changed_ns: int = 0
    is_as_brought: bool = False


class Machine(RuleBasedStateMachine):
    """One conversation."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.server.client().flushall()
        idle_writers.clear()
        self.workers = OldWorkers(self.server)
        self.model = {name: Held() for name in ("a", "b", "c")}
        self.memory = ConversationMemory("c-1", self.server.url)
        self.reader = ConversationMemory("c-1", self.server.url)

    def teardown(self) -> None:
        """Close what was opened."""
        close(self.memory)
        close(self.reader)

    def _raw(self, name: str) -> bytes | None:
        raw: Any = self.server.client().get(key_of(name, "c-1"))
        return raw  # type: ignore[no-any-return]

    @rule(name=NAMES, value=VALUES, days=st.sampled_from([0.0, 1.0]))
    def old_worker_assigns(self, name: str, value: Any, days: float) -> None:
        """With the time of its own clock."""
        held = self.model[name]
        held.modified_ns = self.workers.assign("c-1", name, value, days_ago=days)
        held.old = self._raw(name)

    @rule(name=NAMES)
    def old_worker_appends(self, name: str) -> None:
        """Without moving the time."""
        held = self.model[name]
        if held.old is not None and isinstance(json.loads(held.old)["value"], list):
            self.workers.append("c-1", name, "more")
            held.old = self._raw(name)

    @rule(name=NAMES, value=VALUES)
    def new_worker_assigns(self, name: str, value: Any) -> None:
        """By the clock of the server."""
        held = self.model[name]
        self.memory[name] = value
        # an empty list only creates what this worker has seen to be missing
        held.new = (snapshot(self.memory)[name],)
        held.changed_ns, held.is_as_brought = time.time_ns(), False

    @rule(name=NAMES)
    def new_worker_deletes(self, name: str) -> None:
        """Whatever is there."""
        if name in self.memory:
            del self.memory[name]
            self.model[name].new = None

    @rule(
        on_existing=st.sampled_from(["newest", "newest", "skip", "replace"]),
        delete_old=st.booleans(),
        dry_run=st.booleans(),
    )
    def migrate(self, on_existing: Any, *, delete_old: bool, dry_run: bool) -> None:
        """The report tells what the table says, in a dry run too."""
        outcomes = {name: self._outcome(held, on_existing) for name, held in self.model.items()}
        report = migration.migrate(
            self.server.url, on_existing=on_existing, delete_old=delete_old, dry_run=dry_run
        )
        told = (report.brought, len(report.replaced), report.known, len(report.skipped))
        wanted = [list(outcomes.values()).count(each) for each in ("b", "r", "k", "n")]
        assert told == tuple(wanted)
        if dry_run:
            return
        for name, outcome in outcomes.items():
            held = self.model[name]
            if outcome in ("b", "r") and held.old is not None:
                held.new = (json.loads(held.old)["value"],)
                held.brought, held.is_as_brought = held.old, True
            if delete_old and outcome in ("b", "r", "k"):
                held.old = None

    @staticmethod
    def _outcome(held: Held, on_existing: str) -> str:
        if held.old is None:
            return ""
        stays = held.new is not None and held.is_as_brought
        if held.old == held.brought and (on_existing != "replace" or stays):
            return "k"
        if held.new is None:
            return "b"
        if stays or on_existing == "replace":
            return "r"
        return "r" if on_existing == "newest" and held.modified_ns > held.changed_ns else "n"

    @invariant()
    def the_memory_is_the_model(self) -> None:
        """For who asks for all, and for who has read it before."""
        wanted = {name: held.new[0] for name, held in self.model.items() if held.new is not None}
        assert snapshot(self.memory) == wanted
        assert {name: self.reader[name] for name in "abc" if name in self.reader} == wanted

    @invariant()
    def the_old_keys_are_the_model(self) -> None:
        """Nobody but old workers and a deletion that was asked for touches them."""
        for name, held in self.model.items():
            assert self._raw(name) == held.old


@pytest.mark.parametrize("examples", [40])
def test_the_table_of_who_wins_is_what_happens(server: Server, examples: int) -> None:
    """Whatever old and new workers have done, and how often a migration was run before."""
    kind = type("Here", (Machine,), {"server": server})
    run_state_machine_as_test(
        kind, settings=settings(max_examples=examples, stateful_step_count=15, deadline=None)
    )
