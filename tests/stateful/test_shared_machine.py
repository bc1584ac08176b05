"""Two writers with held proxies change one container: every change lands where it was meant.

Each element has an id of its own. The model is the container as it must be by now, and, for each
writer, how many times elements had moved when its proxy was last brought up to date.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    invariant,
    multiple,
    precondition,
    rule,
)

from redis_memory import Memory, StaleProxyError, close
from tests.stateful.machines import ServerMachine, check, plain, watcher

WRITERS = st.integers(0, 1)
POSITIONS = st.integers(0, 9)
KEYS = st.sampled_from("abcd")


@dataclass
class Held:
    """A proxy inside an element, the element's id, and what had moved when it was last right."""

    proxy: Any
    id: int
    moves: int
    inner: int


class SharedMachine(ServerMachine):
    start: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        prefix = f"{uuid.uuid4()}:"
        self.memories = [Memory(self.url, prefix=prefix), watcher(self.url, prefix)]
        self.reader = Memory(self.url, prefix=prefix)
        self.made = 0
        # how often elements have moved to other indexes, and parts inside elements
        self.moves = 0
        self.inner = 0
        self.memories[0].box = self.start
        self.model = plain(self.start)
        self.boxes = [memory.box for memory in self.memories]
        self.known = [(0, 0), (0, 0)]

    def teardown(self) -> None:
        """Close all memories."""
        for memory in (*self.memories, self.reader):
            close(memory)

    def new(self) -> dict[str, Any]:
        """An element that is like no other."""
        self.made += 1
        return {"id": self.made, "notes": [f"{letter}{self.made}" for letter in "abc"]}

    def up_to_date(self, writer: int) -> None:
        """After its own change a proxy holds the state of now."""
        self.known[writer] = self.moves, self.inner
        assert plain(self.boxes[writer]) == self.model

    def is_made(self, may_be_refused: bool, change: Callable[[], object]) -> bool:  # noqa: FBT001
        """Make a change by what was seen at an index; whether it was made, and not refused."""
        try:
            change()
        except StaleProxyError:
            assert may_be_refused, "refused, though nothing had moved"
            return False
        return True

    @rule(writer=WRITERS)
    def read_again(self, writer: int) -> None:
        self.boxes[writer] = self.memories[writer].box
        self.up_to_date(writer)

    @invariant()
    def everybody_sees_it(self) -> None:
        """A third memory reads exactly what the model holds."""
        assert plain(self.reader.box) == self.model


class SharedListMachine(SharedMachine):
    elements = Bundle[Held]("elements")
    start: ClassVar[Any] = []

    def at(self, number: int) -> int:
        """Where the element with this id lies now; it must be somewhere."""
        return [each["id"] for each in self.model].index(number)

    def has_moved(self, writer: int) -> bool:
        """Whether an index may mean another element than the writer's proxy shows."""
        return self.moves > self.known[writer][0]

    def seen(self, writer: int, position: int) -> tuple[int, dict[str, Any]]:
        """An index as the writer's proxy has it, and the element that lies there for it."""
        box = list.copy(self.boxes[writer])
        index = position % len(box)
        return index, plain(box[index])

    @rule(writer=WRITERS, count=st.integers(1, 3))
    def append(self, writer: int, count: int) -> None:
        new = [self.new() for _ in range(count)]
        if count == 1:
            self.boxes[writer].append(new[0])
        else:
            self.boxes[writer].extend(new)
        self.model += plain(new)
        self.up_to_date(writer)

    @rule(writer=WRITERS, position=st.integers(-4, 9))
    def insert(self, writer: int, position: int) -> None:
        new = self.new()
        self.boxes[writer].insert(position, new)
        self.model.insert(position, plain(new))
        self.moves += 1
        self.up_to_date(writer)

    @rule(writer=WRITERS, end=st.sampled_from([0, -1]))
    def take_from_an_end(self, writer: int, end: int) -> None:
        if not self.model:
            with pytest.raises(IndexError):
                self.boxes[writer].pop(end)
            return
        assert self.boxes[writer].pop(end) == self.model.pop(end)
        self.moves += 1
        self.up_to_date(writer)

    @precondition(lambda self: all(self.boxes))
    @rule(writer=WRITERS, position=POSITIONS)
    def set(self, writer: int, position: int) -> None:
        index, element = self.seen(writer, position)
        new = {**self.new(), "id": element["id"]}
        box = self.boxes[writer]
        if self.is_made(self.has_moved(writer), lambda: box.__setitem__(index - len(box), new)):
            self.model[self.at(element["id"])] = plain(new)
            self.inner += 1
            self.up_to_date(writer)

    @precondition(lambda self: all(self.boxes))
    @rule(writer=WRITERS, position=POSITIONS, by_pop=st.booleans())
    def delete(self, writer: int, position: int, by_pop: bool) -> None:  # noqa: FBT001
        index, element = self.seen(writer, position)
        box = self.boxes[writer]
        if by_pop and index > 0:

            def change() -> None:
                assert box.pop(index)["id"] == element["id"]

        else:

            def change() -> None:
                del box[index]

        if self.is_made(self.has_moved(writer), change):
            del self.model[self.at(element["id"])]
            self.moves += 1
            self.up_to_date(writer)

    @precondition(lambda self: all(self.boxes))
    @rule(writer=WRITERS, position=POSITIONS, count=st.integers(0, 2))
    def replace_a_slice(self, writer: int, position: int, count: int) -> None:
        index, _ = self.seen(writer, position)
        box = self.boxes[writer]
        gone = plain(list.copy(box)[index : index + 2])
        new = [self.new() for _ in range(count)]
        if self.is_made(
            self.has_moved(writer), lambda: box.__setitem__(slice(index, index + 2), iter(new))
        ):
            first = self.at(gone[0]["id"])
            assert [each["id"] for each in self.model[first : first + len(gone)]] == [
                each["id"] for each in gone
            ]
            self.model[first : first + len(gone)] = plain(new)
            self.moves += 1
            self.up_to_date(writer)

    @precondition(lambda self: all(self.boxes))
    @rule(writer=WRITERS, position=POSITIONS)
    def remove_by_value(self, writer: int, position: int) -> None:
        _, element = self.seen(writer, position)
        if element not in self.model:
            with pytest.raises(ValueError, match="not in list"):
                self.boxes[writer].remove(element)
            return
        self.boxes[writer].remove(element)
        self.model.remove(element)
        self.moves += 1
        self.up_to_date(writer)

    @rule(writer=WRITERS, reverse=st.booleans())
    def sort(self, writer: int, reverse: bool) -> None:  # noqa: FBT001
        for box in (self.boxes[writer], self.model):
            box.sort(key=lambda each: each["id"], reverse=reverse)
        self.moves += 1
        self.up_to_date(writer)

    @rule(writer=WRITERS, count=st.integers(0, 2))
    def assign_anew(self, writer: int, count: int) -> None:
        new = [self.new() for _ in range(count)]
        self.memories[writer].box = new
        self.model = plain(new)
        self.moves += 1

    @precondition(lambda self: all(self.boxes))
    @rule(target=elements, writer=WRITERS, position=POSITIONS)
    def take_out(self, writer: int, position: int) -> Any:
        index, element = self.seen(writer, position)
        proxy = self.boxes[writer][index]
        known = self.known[writer]
        return multiple(*(Held(each, element["id"], *known) for each in (proxy, proxy["notes"])))

    def inside(self, held: Held, change: Callable[[Any], Any], *, by_index: bool = False) -> bool:
        """Make a change through a held proxy; it must land in the element with the same id."""
        moved = self.moves > held.moves or (by_index and self.inner > held.inner)
        results = []
        if not self.is_made(moved, lambda: results.append(change(held.proxy))):
            return False
        element = self.model[self.at(held.id)]
        place = element["notes"] if isinstance(held.proxy, list) else element
        results.append(change(place))
        assert results[0] == results[1]
        held.moves, held.inner = self.moves, self.inner
        assert plain(held.proxy) == place
        return True

    @rule(held=elements)
    def change_inside(self, held: Held) -> None:
        self.made += 1
        made = f"d{self.made}"
        if isinstance(held.proxy, list):
            self.inside(held, lambda notes: notes.append(made))
        else:
            self.inside(held, lambda element: element.__setitem__("mark", made))

    @rule(held=elements)
    def take_a_note(self, held: Held) -> None:
        if not isinstance(held.proxy, list) or not held.proxy:
            return
        if any(each["id"] == held.id and not each["notes"] for each in self.model):
            with pytest.raises((IndexError, StaleProxyError)):
                held.proxy.pop(0)
        elif self.inside(held, lambda notes: notes.pop(0)):
            self.inner += 1
            held.inner = self.inner

    @rule(held=elements, position=POSITIONS)
    def edit_a_note(self, held: Held, position: int) -> None:
        if isinstance(held.proxy, list) and held.proxy:
            index = position % len(held.proxy)
            name, *_ = held.proxy[index].split(", ")
            self.made += 1
            edited = f"{name}, {self.made}"

            def edit(notes: list[str]) -> None:
                names = [note.split(", ")[0] for note in notes]
                notes[index if notes is held.proxy else names.index(name)] = edited

            self.inside(held, edit, by_index=True)


@dataclass
class Item:
    """A proxy inside the value of a key, and the proxy of the dict that it was taken out of."""

    proxy: Any
    key: str
    box: Any


class SharedDictMachine(SharedMachine):
    elements = Bundle[Item]("elements")
    start: ClassVar[Any] = {}

    @rule(writer=WRITERS, key=KEYS)
    def set(self, writer: int, key: str) -> None:
        new = self.new()
        self.boxes[writer][key] = new
        self.model[key] = plain(new)
        self.up_to_date(writer)

    @rule(writer=WRITERS, first=KEYS, second=KEYS)
    def update(self, writer: int, first: str, second: str) -> None:
        new = {first: self.new(), second: self.new()}
        self.boxes[writer].update(new)
        self.model.update(plain(new))
        self.up_to_date(writer)

    @rule(writer=WRITERS, key=KEYS)
    def setdefault(self, writer: int, key: str) -> None:
        new = self.new()
        assert self.boxes[writer].setdefault(key, new) == self.model.setdefault(key, plain(new))
        self.up_to_date(writer)

    @rule(writer=WRITERS, key=KEYS)
    def pop(self, writer: int, key: str) -> None:
        found = self.boxes[writer].pop(key, None)
        assert found == self.model.pop(key, None)
        if found is not None:
            self.up_to_date(writer)

    @rule(writer=WRITERS, key=KEYS)
    def delete(self, writer: int, key: str) -> None:
        if key not in self.model:
            with pytest.raises(KeyError):
                del self.boxes[writer][key]
            return
        del self.boxes[writer][key]
        del self.model[key]
        self.up_to_date(writer)

    @rule(writer=WRITERS)
    def popitem(self, writer: int) -> None:
        if not self.model:
            with pytest.raises(KeyError):
                self.boxes[writer].popitem()
            return
        assert self.boxes[writer].popitem() == self.model.popitem()
        self.up_to_date(writer)

    @precondition(lambda self: all(self.boxes))
    @rule(target=elements, writer=WRITERS, position=POSITIONS)
    def take_out(self, writer: int, position: int) -> Any:
        box = self.boxes[writer]
        key = list(box)[position % len(box)]
        return multiple(*(Item(each, key, box) for each in (box[key], box[key]["notes"])))

    @rule(held=elements)
    def change_inside(self, held: Item) -> None:
        self.made += 1
        made = self.made

        def change(inner: Any) -> Any:
            if isinstance(inner, list):
                inner.append(made)
            else:
                inner["mark"] = made
            return inner

        # gone for the others, or for the proxy that it was taken out of
        if held.key not in self.model or held.key not in held.box:
            with pytest.raises(StaleProxyError):
                change(held.proxy)
            return
        element = self.model[held.key]
        model = change(element["notes"] if isinstance(held.proxy, list) else element)
        assert plain(change(held.proxy)) == model


def test_two_writers_share_a_list(each_url: str) -> None:
    """Appends of both are kept in order, and no index ever lands on another element."""
    check(SharedListMachine, each_url, examples=40, steps=30)


def test_two_writers_share_a_dict(each_url: str) -> None:
    """Every key and every change inside is kept, and a place is gone only with its key."""
    check(SharedDictMachine, each_url, examples=30, steps=30)
