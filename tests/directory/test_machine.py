"""Whatever is done to conversations, in whatever order: the directory tells what there is."""

from __future__ import annotations

import io
import uuid
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from redis_memory import (
    ConversationExistsError,
    ConversationMemory,
    Conversations,
    UnknownConversationError,
    clear,
    close,
    snapshot,
)
from tests.servers import Server

IDS = st.sampled_from(["a", "b", "*", "{x}"])
NAMES = st.sampled_from(["topic", "messages", "box"])
VALUES = st.sampled_from(["text", 1, ["a", "b"], {"k": [1]}, {1, 2}, []])


class DirectoryMachine(RuleBasedStateMachine):
    """A directory does what a dict of dicts does."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"{uuid.uuid4().hex}:"
        self.directory = Conversations(self.url, prefix=self.prefix)
        self.memories: dict[str, ConversationMemory] = {}
        self.model: dict[str, dict[str, Any]] = {}

    def memory(self, name: str) -> ConversationMemory:
        """One that stays open, so that its writer meets what others do."""
        if name not in self.memories:
            self.memories[name] = ConversationMemory(name, self.url, prefix=self.prefix)
        return self.memories[name]

    @rule(name=IDS, attribute=NAMES, value=VALUES)
    def assign(self, name: str, attribute: str, value: Any) -> None:
        memory = self.memory(name)
        hasattr(memory, "never")
        if value == [] and attribute not in self.model.get(name, {}):
            assert not hasattr(memory, attribute)
        memory[attribute] = value
        self.model.setdefault(name, {})[attribute] = value

    @rule(name=IDS, attribute=NAMES)
    def remove(self, name: str, attribute: str) -> None:
        try:
            del self.memory(name)[attribute]
        except KeyError:
            assert attribute not in self.model.get(name, {})
            return
        del self.model[name][attribute]
        if not self.model[name]:
            del self.model[name]

    @rule(name=IDS)
    def empty(self, name: str) -> None:
        clear(self.memory(name))
        self.model.pop(name, None)

    @rule(name=IDS)
    def delete(self, name: str) -> None:
        assert self.directory.delete(name) is (self.model.pop(name, None) is not None)

    @rule(source=IDS, new=IDS, replace=st.booleans(), moves=st.booleans())
    def move(self, source: str, new: str, replace: bool, moves: bool) -> None:  # noqa: FBT001
        if source == new:
            return
        call = self.directory.rename if moves else self.directory.copy
        try:
            call(source, new, replace=replace)
        except UnknownConversationError:
            assert source not in self.model
            return
        except ConversationExistsError:
            assert new in self.model
            assert not replace
            return
        self.model[new] = dict(self.model[source])
        if moves:
            del self.model[source]

    @rule(keep=st.sets(IDS))
    def prune(self, keep: set[str]) -> None:
        report = self.directory.prune(0, keep=keep)
        assert set(report.ids) == self.model.keys() - keep
        self.model = {name: held for name, held in self.model.items() if name in keep}

    @rule(replace=st.booleans(), lost=IDS)
    def restore(self, replace: bool, lost: str) -> None:  # noqa: FBT001
        file = io.BytesIO()
        before = {name: dict(held) for name, held in self.model.items()}
        self.directory.export(file)
        self.delete(lost)
        file.seek(0)
        report = self.directory.load(file, "replace" if replace else "skip")
        assert report.damaged == ()
        assert report.created == (lost in before)
        self.model = before

    @invariant()
    def it_tells_what_there_is(self) -> None:
        assert self.directory.count() == len(self.model)
        assert set(self.directory.list().ids) == self.model.keys()
        for name, held in self.model.items():
            fresh = ConversationMemory(name, self.url, prefix=self.prefix)
            assert snapshot(fresh) == held
            assert snapshot(self.memory(name)) == held
            assert self.directory.info(name).attributes.keys() == held.keys()

    def teardown(self) -> None:
        self.directory.close()
        for memory in self.memories.values():
            close(memory)


def test_the_directory_does_what_a_dict_of_dicts_does(server: Server) -> None:
    """Also for those who have the conversations open all the time."""

    class Here(DirectoryMachine):
        url = server.url

    run_state_machine_as_test(
        Here, settings=settings(max_examples=30, stateful_step_count=25, deadline=None)
    )
