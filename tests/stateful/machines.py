"""What the state machines share: a stored container and a plain one, treated alike."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from redis_memory import Memory, UnstorableValueError, close
from tests.strategies import same, values

# what a call on a plain container may raise, whatever is given to it
ERRORS = (TypeError, ValueError, LookupError, ArithmeticError)

# values that meet again, so that looking one up finds something; 1, 1.0 and True are equal
FAMILIAR = st.sampled_from(
    [0, 1, 1.0, True, False, 2**70, None, "", "a", "b", b"a", (1, "a"), (1.0, "a"), "\ud800"]
)
NESTED = st.recursive(
    FAMILIAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.tuples(inner, st.lists(inner, max_size=2)),
        st.sets(FAMILIAR, max_size=3),
    ),
    max_leaves=5,
)
VALUES = st.one_of(FAMILIAR, NESTED, NESTED, values(max_leaves=4))

# what a step inside an element may do there, by the type of what it finds
INSIDE: dict[type, list[Callable[[Any], Any]]] = {
    list: [
        lambda box: box.append(["new"]),
        lambda box: box.extend([1, {}]),
        lambda box: box.insert(1, {"k": []}),
        lambda box: box.pop(),
        lambda box: box.reverse(),
        lambda box: box.__setitem__(slice(1, None), [{"a": 1}, 2]),
        lambda box: box.__delitem__(-1),
        lambda box: box.sort(key=repr),
        lambda box: box.remove(1),
        lambda box: box.clear(),
    ],
    dict: [
        lambda box: box.__setitem__("a", [0]),
        lambda box: box.update(b={}, c=1),
        lambda box: box.setdefault("a", {"new": []}),
        lambda box: box.pop("b"),
        lambda box: box.popitem(),
        lambda box: box.__ior__({"z": ()}),
        lambda box: box.clear(),
    ],
    set: [
        lambda box: box.add("new"),
        lambda box: box.discard(1),
        lambda box: box.remove("a"),
        lambda box: box.__ixor__({1, "b"}),
        lambda box: box.clear(),
    ],
}


def plain(value: Any) -> Any:
    """A copy in plain types that shares nothing, not even one part with another part."""
    match value:
        case list():
            return [plain(item) for item in list.__iter__(value)]
        case dict():
            return {key: plain(item) for key, item in dict.items(value)}
        case set():
            return set(set.__iter__(value))
        case tuple():
            return tuple(plain(item) for item in value)
    return value


def watcher(url: str, prefix: str) -> Memory:
    """A memory that shares nothing with others in this process: no copy, writer or connection."""
    if url.startswith("memory:"):
        return Memory(url, prefix=prefix, timeout_s=0.6)  # another limit, other connections
    return Memory(client=redis.Redis.from_url(url), prefix=prefix)


class ServerMachine(RuleBasedStateMachine):
    """A machine that works on the server at `url`."""

    url: str


def check(machine: type[ServerMachine], url: str, *, examples: int, steps: int) -> None:
    """Run a machine on a server: so many times, with at most so many steps."""
    # what `explain` adds takes minutes, more than a test may
    phases = set(Phase) - {Phase.explain}
    limits = settings(max_examples=examples, stateful_step_count=steps, phases=phases)
    run_state_machine_as_test(type(machine.__name__, (machine,), {"url": url}), settings=limits)


def ways_inside(value: Any) -> Iterator[tuple[Any, ...]]:
    """The paths to all containers inside a container."""
    if isinstance(value, (set, frozenset)) or not isinstance(value, (list, dict, tuple)):
        return
    for step, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (list, dict, set)):
            yield (step,)
        for further in ways_inside(item):
            yield (step, *further)


class ContainerMachine(ServerMachine):
    """Makes each call on a plain container and on a stored one, and compares what comes of it.

    `box` is a proxy that is held for some steps, and `reader` another memory, as in another
    process.
    """

    start: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        prefix = f"{uuid.uuid4()}:"
        self.memory = Memory(self.url, prefix=prefix)
        self.reader = watcher(self.url, prefix)
        self.model = plain(self.start)
        self.memory.box = self.start
        self.box = self.memory.box

    def teardown(self) -> None:
        """Close both memories."""
        close(self.memory)
        close(self.reader)

    def agree(self, stored: Any, expected: Any) -> bool:
        """Whether a stored value is what the plain type gives; of the same type at every depth."""
        return same(plain(stored), plain(expected))

    def alike(self, call: Callable[[Any], Any]) -> None:
        """Both give the same result, or the same type of error; a call that raises does nothing."""
        before = plain(self.model)
        try:
            expected = call(self.model)
        except ERRORS as error:
            self.model = before  # list.sort and list.extend leave a part of their work behind
            with pytest.raises(type(error)):
                call(self.box)
        else:
            expected = plain(expected)
            assert self.agree(call(self.box), expected)
            self.model = plain(self.model)

    def refused(self, call: Callable[[Any], Any]) -> None:
        """What no memory can hold is refused, and changes nothing."""
        with pytest.raises(UnstorableValueError):
            call(self.box)

    @rule()
    def read_again(self) -> None:
        """Go on with another proxy."""
        self.box = self.memory.box

    @rule()
    def assign_a_copy(self) -> None:
        """The whole attribute replaced by its like; the held proxy goes on."""
        self.memory.box = plain(self.model)
        self.box = self.memory.box

    @rule(data=st.data())
    def change_inside(self, data: st.DataObject) -> None:
        """A change of any container inside is the same change on both sides."""
        ways = list(ways_inside(self.model))
        if not ways:
            return
        way = data.draw(st.sampled_from(ways), label="way")
        found = self.model
        for step in way:
            found = found[step]
        change = data.draw(st.sampled_from(INSIDE[type(found)]), label="change")

        def call(box: Any) -> Any:
            for step in way:
                box = box[step]
            return change(box)

        self.alike(call)

    @invariant()
    def a_held_proxy_follows(self) -> None:
        """The proxy holds what the plain container holds."""
        assert self.agree(self.box, self.model)

    @invariant()
    def everybody_sees_it(self) -> None:
        """So do this memory and another one, when they read the attribute."""
        assert self.agree(self.memory.box, self.model)
        assert self.agree(self.reader.box, self.model)
