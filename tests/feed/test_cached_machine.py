"""Two memories of one conversation, one cached: once the feed has told, both show one state."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from redis_memory import Memory, clear, close, increment, push, setdefault
from redis_memory.memory import core_of
from tests.stateful.machines import NESTED, ServerMachine, check, plain, watcher
from tests.strategies import same
from tests.waiting import wait_until

NAMES = st.sampled_from(["a", "b", "c"])
WRITERS = st.sampled_from(["cached", "strong"])
ABSENT = "nothing is there"

# what may be done to what is there, by its type
INSIDE: dict[type, list[Callable[[Any], object]]] = {
    list: [
        lambda box: box.append([1]),
        lambda box: box.extend([{"k": []}, 2]),
        lambda box: box.insert(0, "first"),
        lambda box: box.reverse(),
        lambda box: box.clear(),
        lambda box: box.__imul__(2) if len(box) < 20 else None,
        lambda box: box.pop() if box else None,
        lambda box: box.__setitem__(slice(0, 1), ["x", "y"]),
        lambda box: box[0].append("deep") if box and isinstance(box[0], list) else None,
    ],
    dict: [
        lambda box: box.update(a=1, z=[0]),
        lambda box: box.setdefault("z", []).append("deep") if box.get("z") != 1 else None,
        lambda box: box.pop("a", None),
        lambda box: box.clear(),
    ],
    set: [
        lambda box: box.add("new"),
        lambda box: box.discard("new"),
        lambda box: box.__ior__({1, 2}),
        lambda box: box.clear(),
    ],
}


class CachedMachine(ServerMachine):
    """Both change the same attributes; the model is what the server must hold by now."""

    def __init__(self) -> None:
        super().__init__()
        prefix = f"{uuid.uuid4()}:"
        self.cached = Memory(self.url, prefix=prefix, read_mode="cached", timeout_s=5)
        self.memories = {"cached": self.cached, "strong": watcher(self.url, prefix)}
        self.model: dict[str, Any] = {}
        # of each attribute, the newest version that the cached memory has shown
        self.shown: dict[str, bytes] = {}

    def teardown(self) -> None:
        """In the end both agree."""
        try:
            self.agree()
        finally:
            for memory in self.memories.values():
                close(memory)

    def read(self, name: str) -> Any:
        """What the cached memory shows now: never an older version than before."""
        value = plain(getattr(self.cached, name, ABSENT))
        attribute = core_of(self.cached).state.attribute(name)
        copy = attribute.copy
        version = attribute.seen if copy is None else copy.descriptor[1:14]
        assert version >= self.shown.get(name, b"")
        self.shown[name] = version
        return value

    def expected(self, name: str) -> Any:
        """What must be there."""
        return plain(self.model.get(name, ABSENT))

    def agree(self) -> None:
        """Wait until the feed has told everything: then each read gives the state of now."""
        for name in ("a", "b", "c"):
            wait_until(lambda: same(self.read(name), self.expected(name)))  # noqa: B023 - called here

    def written(self, writer: str, name: str, *, is_gone: bool = False) -> None:
        """Behind its own write a memory shows the newest state, what others did included."""
        if writer == "cached":
            if is_gone:  # it needs no version to know that
                self.shown.pop(name, None)
            assert same(self.read(name), self.expected(name))

    @rule(writer=WRITERS, name=NAMES, value=NESTED)
    def assign(self, writer: str, name: str, value: Any) -> None:
        # or an empty container only creates what was last seen to be missing
        getattr(self.memories[writer], name, None)
        self.agree()
        self.memories[writer][name] = value
        self.model[name] = plain(value)
        self.written(writer, name)

    @rule(writer=WRITERS, name=NAMES)
    def delete(self, writer: str, name: str) -> None:
        if name in self.model:
            del self.memories[writer][name]
            del self.model[name]
            self.written(writer, name, is_gone=True)

    @rule(writer=WRITERS, name=NAMES, count=st.integers(1, 3))
    def push(self, writer: str, name: str, count: int) -> None:
        if isinstance(self.model.get(name, []), list):
            push(self.memories[writer], name, *range(count))
            self.model[name] = [*self.model.get(name, []), *range(count)]
            self.written(writer, name)

    @rule(writer=WRITERS, name=NAMES, by=st.sampled_from([1, -3, 0.5, 10**17]))
    def increment(self, writer: str, name: str, by: float) -> None:
        current = self.model.get(name, 0)
        if type(current) in (int, float) and abs(current) < 2**60:
            self.model[name] = increment(self.memories[writer], name, by)
            assert self.model[name] == current + by
            self.written(writer, name)

    @rule(writer=WRITERS, name=NAMES, value=NESTED)
    def setdefault(self, writer: str, name: str, value: Any) -> None:
        setdefault(self.memories[writer], name, value)
        self.model.setdefault(name, plain(value))
        self.written(writer, name)

    @rule(writer=WRITERS, name=NAMES, which=st.integers(0, 9))
    def mutate(self, writer: str, name: str, which: int) -> None:
        """A method of what is there, by the state of now: an old index is refused."""
        changes = INSIDE.get(type(self.model.get(name)))
        if changes is None:
            return
        self.agree()
        change = changes[which % len(changes)]
        try:
            change(self.model[name])
        except (TypeError, AttributeError):
            return  # it does not fit what lies inside
        change(self.memories[writer][name])
        self.written(writer, name)

    @rule(writer=WRITERS)
    def clear(self, writer: str) -> None:
        clear(self.memories[writer])
        self.model.clear()
        for name in ("a", "b", "c"):
            self.written(writer, name, is_gone=True)

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        """At any time, whatever was told by then."""
        self.read(name)

    @rule()
    def catch_up(self) -> None:
        self.agree()


def test_a_cached_memory_shows_what_a_plain_model_says(each_url: str) -> None:
    """Whoever changes what: own writes at once, others' when they are told, and never backwards."""
    check(CachedMachine, each_url, examples=20, steps=25)
