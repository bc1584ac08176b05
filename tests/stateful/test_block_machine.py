"""Whatever is done in blocks, plain values show what is there: with aborts, and another writer."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from redis_memory import (
    ConflictError,
    Memory,
    StaleProxyError,
    WrongKindError,
    batch,
    clear,
    close,
    increment,
    push,
    snapshot,
    transaction,
)
from tests.stateful.machines import ContainerMachine, ServerMachine, check, plain, watcher
from tests.stateful.test_dict_machine import DictMachine
from tests.stateful.test_list_machine import ListMachine
from tests.stateful.test_set_machine import SetMachine
from tests.strategies import same

Opener = Callable[[Memory], AbstractContextManager[Memory]]
OPENERS = st.sampled_from([batch, transaction])


class BlockContainerMachine(ContainerMachine):
    """Mutators of one container, inside and outside of blocks that end well or badly."""

    def __init__(self) -> None:
        super().__init__()
        self.block: AbstractContextManager[Memory] | None = None
        self.before: Any = None
        self.held: Any = None

    def teardown(self) -> None:
        """Leave an open block, as an exception does."""
        if self.block is not None:
            self.block.__exit__(KeyError, KeyError(), None)
        super().teardown()

    @precondition(lambda self: self.block is None)
    @rule(opener=OPENERS)
    def begin(self, opener: Opener) -> None:
        """From now on nobody else sees what is done."""
        self.before, self.held = plain(self.model), self.box
        self.block = opener(self.memory)
        self.block.__enter__()

    @precondition(lambda self: self.block is not None)
    @rule()
    def commit(self) -> None:
        """From now on everybody does."""
        assert self.block is not None
        self.block.__exit__(None, None, None)
        self.block = None

    @precondition(lambda self: self.block is not None)
    @rule()
    def abort(self) -> None:
        """Nobody ever will, and the proxy that was held before shows what it did then."""
        assert self.block is not None
        self.block.__exit__(KeyError, KeyError(), None)
        self.block, self.model, self.box = None, self.before, self.held

    @invariant()
    def everybody_sees_it(self) -> None:
        """This memory sees what is done in a block, another one does not."""
        assert self.agree(self.memory.box, self.model)
        seen = self.model if self.block is None else self.before
        assert self.agree(self.reader.box, seen)


class BlockListMachine(BlockContainerMachine, ListMachine):
    pass


class BlockDictMachine(BlockContainerMachine, DictMachine):
    pass


class BlockSetMachine(BlockContainerMachine, SetMachine):
    pass


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from([[], [1, 2, 3], {}, {"k": [1], 2: {"x": 1}}, {1, "s"}, 5, 1.5, "text"])

Step = Callable[[Any, str], Any]
# what is applied to whatever is there
PUSHES: list[Step] = [
    lambda mem, name: push(mem, name, "pushed", [1]),
    lambda mem, name: increment(mem, name, 2),
]
OWNING: list[Step] = [
    lambda mem, name: mem.__setitem__(name, [1]),
    lambda mem, name: mem.__setitem__(name, {"k": []}),
    lambda mem, name: mem.__setitem__(name, 7),
    lambda mem, name: mem.__delitem__(name),
]
FITTING: list[Step] = [
    lambda mem, name: mem[name].append(1),
    lambda mem, name: mem[name].extend([3, 4]),
    lambda mem, name: mem[name].insert(1, "in"),
    lambda mem, name: mem[name].update({"new": 1}),
    lambda mem, name: mem[name].add("new"),
]
# what means something only in the state that was seen
DEPENDENT: list[Step] = [
    lambda mem, name: mem[name].pop(),
    lambda mem, name: mem[name].popitem(),
    lambda mem, name: mem[name].__setitem__(0, "set"),
    lambda mem, name: mem[name].reverse(),
    lambda mem, name: mem[name]["k"].append(2),
    lambda mem, name: mem[name].remove(1),
]
STEPS = [*PUSHES, *OWNING, *FITTING, *DEPENDENT]
ERRORS = (TypeError, ValueError, LookupError, AttributeError)


def done(step: Step, model: dict[str, Any], name: str) -> None:
    """Do a step to plain values."""
    if step is PUSHES[0]:
        model.setdefault(name, [])
        if type(model[name]) is not list:
            raise TypeError
        model[name] += ["pushed", [1]]
    elif step is PUSHES[1]:
        if type(model.setdefault(name, 0)) not in (int, float):
            raise TypeError
        model[name] += 2
    else:
        step(model, name)


class BlockMachine(ServerMachine):
    """Attributes as a whole and inside, by one memory in blocks, and by another one at any time."""

    def __init__(self) -> None:
        super().__init__()
        prefix = f"{uuid.uuid4()}:"
        self.memory = Memory(self.url, prefix=prefix)
        self.other = watcher(self.url, prefix)
        self.block: AbstractContextManager[Memory] | None = None
        self.is_strict = False
        # what the server holds, and what the block sees
        self.model: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}
        # what the block did; what it relies on, has assigned, has changed, has read
        self.steps: list[tuple[Step, str]] = []
        self.relied: set[str] = set()
        self.owned: set[str] = set()
        self.fixed: set[str] = set()
        self.meddled: set[str] = set()
        # pushed to without having been read; of those, what another writer has changed since
        self.blind: set[str] = set()
        self.unsure: set[str] = set()
        # a mutator may have failed here: whether the block relies on that is not followed
        self.vague: set[str] = set()
        # what a transaction was shown among all others, and has not read by itself
        self.collected: set[str] = set()

    @initialize(values=st.lists(VALUES, max_size=3))
    def begin_with(self, values: list[Any]) -> None:
        """Some attributes are there."""
        for name, value in zip("abc", values, strict=False):
            self.memory[name] = value
            self.model[name] = plain(value)

    def teardown(self) -> None:
        """Leave an open block, as an exception does."""
        if self.block is not None:
            self.block.__exit__(KeyError, KeyError(), None)
        close(self.memory)
        close(self.other)

    @precondition(lambda self: self.block is None)
    @rule(opener=OPENERS)
    def begin(self, opener: Opener) -> None:
        """From now on nobody else sees what is done."""
        self.block, self.is_strict = opener(self.memory), opener is transaction
        self.block.__enter__()
        self.seen = plain(self.model)
        self.steps.clear()
        for names in (self.relied, self.owned, self.fixed, self.meddled, self.blind, self.unsure):
            names.clear()
        self.collected.clear()
        self.vague.clear()

    @rule(name=NAMES, step=st.sampled_from(STEPS))
    def change(self, name: str, step: Step) -> None:
        """The same change, or the same type of error, on both sides."""
        if self.block is not None and name in self.unsure:
            return
        model = self.model if self.block is None else self.seen
        trial = plain(model)
        if step is OWNING[3] and name not in self.fixed:
            self.vague.add(name)
        elif step not in PUSHES and step not in OWNING:
            self.note_read(name)
        try:
            done(step, trial, name)
        except ERRORS as error:
            # a proxy has the mutators of its own type only
            if step in PUSHES and self.block is not None:
                return  # what is pushed without looking may be refused in the end only
            with pytest.raises((type(error), *ERRORS)):
                step(self.memory, name)
            self.vague |= {name} - self.owned
            return
        step(self.memory, name)
        model.clear()
        model.update(trial)
        if self.block is None:
            return
        self.steps.append((step, name))
        if step in DEPENDENT and name not in self.owned:
            self.relied.add(name)
        if step in OWNING:
            self.owned.add(name)
        if step in PUSHES and name not in self.fixed:
            self.blind.add(name)
        else:
            self.fixed.add(name)

    def note_read(self, name: str) -> None:
        """The block looks at an attribute."""
        if self.block is None:
            return
        if self.is_strict and name not in self.fixed:
            self.relied.add(name)
        if self.is_strict or name in self.blind:
            self.fixed.add(name)
        self.blind.discard(name)
        self.collected.discard(name)

    @rule(name=NAMES)
    def read(self, name: str) -> None:
        """The block sees what it has done, on top of what is there."""
        if self.block is not None and name in self.unsure:
            return
        model = self.model if self.block is None else self.seen
        self.note_read(name)
        assert same(plain(getattr(self.memory, name, "missing")), model.get(name, "missing"))

    @rule()
    def read_all(self) -> None:
        """So does `snapshot`, and the list of the names."""
        if self.block is not None and self.meddled | self.unsure | self.blind:
            return
        self.collected.update({*self.seen} - self.fixed if self.is_strict else ())
        for name in {*"abc"} - self.collected:
            self.note_read(name)
        self.relied |= self.collected
        self.fixed |= self.collected
        model = self.model if self.block is None else self.seen
        assert same(snapshot(self.memory), dict(sorted(model.items())))
        assert list(self.memory) == sorted(model)

    @rule()
    def clear(self) -> None:
        """Everything is deleted."""
        clear(self.memory)
        model = self.model if self.block is None else self.seen
        model.clear()
        if self.block is not None:
            for name in "abc":
                self.steps.append((lambda model, name: model.pop(name, None), name))
            self.owned.update("abc")
            self.fixed.update("abc")

    @precondition(lambda self: self.block is not None)
    @rule(name=NAMES, value=VALUES)
    def meddle(self, name: str, value: Any) -> None:
        """Another writer assigns an attribute meanwhile."""
        self.other[name] = value
        self.model[name] = plain(value)
        if name in self.fixed | self.relied | self.vague:
            self.meddled.add(name)
        # to read what it was shown already, and is another one by now, is a conflict at once
        # and with the first read, a transaction may have found all that was known to be up to date
        is_old = self.is_strict and bool(self.fixed) and name not in self.fixed
        if name in self.blind | self.collected or is_old:
            self.unsure.add(name)
        if name not in self.fixed:
            self.seen[name] = plain(value)

    @precondition(lambda self: self.block is not None)
    @rule()
    def abort(self) -> None:
        """Nobody will ever see it."""
        block, self.block = self.block, None
        assert block is not None
        block.__exit__(KeyError, KeyError(), None)

    @precondition(lambda self: self.block is not None)
    @rule()
    def commit(self) -> None:
        """All of it is done to what is there, or nothing, and then for a reason."""
        assert self.block is not None
        block, self.block = self.block, None
        trial = plain(self.model)
        try:
            for step, name in self.steps:
                done(step, trial, name)
            fits = True
        except ERRORS:
            fits = False
        certain, possible = self.relied & self.meddled, self.vague & self.meddled
        try:
            block.__exit__(None, None, None)
        except ConflictError as error:
            found = set(error.names)
            assert found
            assert certain <= found <= certain | possible
        except (WrongKindError, StaleProxyError):
            assert not fits
            assert not certain
        else:
            assert fits
            assert not certain
            self.model = trial

    @invariant()
    def others_see_what_is_there(self) -> None:
        """Nobody else sees anything of an open block."""
        assert same(snapshot(self.other), dict(sorted(self.model.items())))
        if self.block is None:
            assert same(snapshot(self.memory), dict(sorted(self.model.items())))


def test_a_list_in_blocks_does_what_a_plain_one_does(each_url: str) -> None:
    """Same results and errors in a block as outside, and nothing is left of one that raised."""
    check(BlockListMachine, each_url, examples=20, steps=25)


def test_a_dict_in_blocks_does_what_a_plain_one_does(each_url: str) -> None:
    """Same results and errors in a block as outside, and nothing is left of one that raised."""
    check(BlockDictMachine, each_url, examples=20, steps=25)


def test_a_set_in_blocks_does_what_a_plain_one_does(each_url: str) -> None:
    """Same results and errors in a block as outside, and nothing is left of one that raised."""
    check(BlockSetMachine, each_url, examples=20, steps=25)


def test_blocks_of_several_attributes_and_another_writer(each_url: str) -> None:
    """Everybody sees all of a block or nothing of it, and what it relies on has not changed."""
    check(BlockMachine, each_url, examples=40, steps=25)
