"""Odd names stay apart, bad values change nothing, and garbage in Redis harms only itself."""

from __future__ import annotations

import io
import keyword
import pickle
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    CorruptValueError,
    DataLossWarning,
    InvalidIdError,
    InvalidNameError,
    Memory,
    UnstorableValueError,
    ValueTooLargeError,
    clear,
    increment,
    push,
    setdefault,
    snapshot,
    window,
)
from redis_memory.core.values import pack
from tests.faults import FaultProxy
from tests.servers import Server
from tests.strategies import same

ODD_IDS = [
    *("*", "?", "[a]", "[^a]", "}", "{", "{x}", "}{", "a:b", "a:b:c", ":", "%", "%2A", "%%", "\\"),
    *("a", "alice", "alice2", "Alice", " alice", "alice ", "memory:{alice}", "alice}:messages"),
    *("\n", "a\nb", "\r\n", "\x00", "a\x00b", "😀", "é", "e\u0301", "\ud800", "\udfff", "\ufeff"),
    *("..", "../x", "a/b", "a b", "$1", "KEYS", "None", "0", "x" * 512, "é" * 256),
]


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test has written under."""
    return f"{uuid.uuid4().hex}:"


# ids


def test_odd_ids_are_conversations_of_their_own(each_url: str, prefix: str) -> None:
    """Whatever an id consists of, its memory is no other's, and clearing it clears no other."""
    memories = {id_: ConversationMemory(id_, each_url, prefix=prefix) for id_ in ODD_IDS}
    for id_, memory in memories.items():
        assert memory.conversation_id == id_
        assert snapshot(memory) == {}
        memory.own = id_
        memory.messages = [id_]
        memory.messages.append("more")
    for id_ in ("*", "?", "[a]", "}", "%", "alice"):
        memory = memories.pop(id_)
        assert snapshot(memory) == {"own": id_, "messages": [id_, "more"]}
        clear(memory)
        assert snapshot(memory) == {}
    for id_, memory in memories.items():
        assert snapshot(memory) == {"own": id_, "messages": [id_, "more"]}


def test_a_uuid_is_the_same_id_as_its_text(each_url: str, prefix: str) -> None:
    """Who holds the text and who holds the object mean one conversation."""
    id_ = uuid.uuid4()
    ConversationMemory(id_, each_url, prefix=prefix).topic = "billing"
    assert ConversationMemory(str(id_), each_url, prefix=prefix).topic == "billing"


@pytest.mark.parametrize(
    "id_",
    ["", None, "x" * 513, "é" * 257, "x" * 10_240, 42, b"alice", ["alice"], True],
    ids=lambda id_: f"{type(id_).__name__} of {len(str(id_))}",
)
def test_what_cannot_be_an_id_is_refused(id_: Any) -> None:
    """An id is text of 1 to 512 bytes, or a UUID; the error is a `ValueError` too."""
    with pytest.raises(InvalidIdError):
        ConversationMemory(id_, "memory://ids")
    assert issubclass(InvalidIdError, ValueError)


@pytest.mark.parametrize("one", ["prod", "prod:", "", "p*", "{prod}", "prod\x00", "é"])
def test_a_prefix_that_begins_like_another_is_another(each_url: str, one: str) -> None:
    """Neither conversations nor the memories of whole prefixes meet."""
    base = uuid.uuid4().hex
    prefixes = [base + one, f"{base}{one}2", f"{base}{one}:", f"{base}{one}{{alice}}"]
    memories: list[Memory] = []
    for prefix in prefixes:
        memories.append(Memory(each_url, prefix=prefix))
        memories += (
            ConversationMemory(id_, each_url, prefix=prefix) for id_ in ("alice", "%", "2{alice}")
        )
    for number, memory in enumerate(memories):
        memory.own = number
        memory.items = [number]
    assert [snapshot(memory) for memory in memories] == [
        {"own": number, "items": [number]} for number in range(len(memories))
    ]
    clear(memories[0])
    assert [len(memory) for memory in memories] == [0] + [2] * (len(memories) - 1)


# attribute names


ODD_NAMES = [
    *("append", "items", "update", "state", "lock", "a b", " ", "a:b", "*", "}", "{x}", "a.b"),
    *("\n", "\x00", "😀", "\ud800", "0", "1x", "x" * 512, "é" * 256, "messages:x", *keyword.kwlist),
]


def test_odd_names_are_attributes(each_url: str, prefix: str) -> None:
    """Each name up to 512 bytes that has no underscore in front is an attribute of its own."""
    memory = ConversationMemory("c-1", each_url, prefix=prefix)
    for name in ODD_NAMES:
        assert name not in memory
        memory[name] = name
        assert getattr(memory, name) == name
    for name in ODD_NAMES:
        setattr(memory, name, [name])
        memory[name].append("more")
    assert snapshot(memory) == {name: [name, "more"] for name in ODD_NAMES}
    assert list(memory) == sorted(ODD_NAMES)
    for name in ODD_NAMES:
        del memory[name]
    assert snapshot(memory) == {}


BAD_NAMES = ["", "_x", "__class__", "__dict__", "_version", "_created", "x" * 513, "x" * 10_240]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: f"{name[:9]} of {len(name)}")
def test_what_cannot_be_a_name_is_refused(proxy: FaultProxy, name: str) -> None:
    """Nothing is stored under it, nothing is found under it, and nothing is sent."""
    with ConversationMemory("c-1", proxy.url, timeout_s=5) as memory:
        calls: list[Callable[[], object]] = [
            lambda: memory.__setitem__(name, 1),
            lambda: push(memory, name, 1),
            lambda: increment(memory, name),
            lambda: setdefault(memory, name, 1),
            lambda: window(memory, name),
        ]
        for call in calls:
            with pytest.raises(InvalidNameError):
                call()
        with pytest.raises(KeyError):
            _ = memory[name]
        assert name not in memory
        assert proxy.requests == 0


def test_private_names_stay_in_python(proxy: FaultProxy) -> None:
    """A name with an underscore in front is an ordinary attribute of the object, never sent."""
    with ConversationMemory("c-1", proxy.url, timeout_s=5) as memory:
        memory._note = [1]
        memory._note.append(2)
        assert memory._note == [1, 2]
        assert memory.__class__ is ConversationMemory
        del memory._note
        assert not hasattr(memory, "_note")
        assert proxy.requests == 0


def test_no_attribute_reaches_the_bookkeeping(server: Server, prefix: str) -> None:
    """What the library keeps beside the attributes is neither listed, read, nor cleared away."""
    memory = ConversationMemory("c-1", server.url, prefix=prefix)
    memory.x = 1
    fields: Any = server.client().hkeys(f"{prefix}{{c-1}}")
    kept = {field for field in fields if field[:1] == b"_"}
    assert len(kept) >= 3
    for field in kept:
        assert field.decode() not in memory
    assert list(memory) == ["x"]
    assert snapshot(memory) == {"x": 1}
    assert {name for name in dir(memory) if not name.startswith("_")} == {"x", "conversation_id"}


def test_the_conversation_id_is_read_only(each_url: str, prefix: str) -> None:
    """It is neither assigned nor deleted, by either way, and no attribute is stored under it."""
    memory = ConversationMemory("c-1", each_url, prefix=prefix)
    with pytest.raises(AttributeError):
        memory.conversation_id = "c-2"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del memory.conversation_id
    with pytest.raises(InvalidNameError):
        memory["conversation_id"] = "c-2"
    with pytest.raises(KeyError):
        del memory["conversation_id"]
    assert memory.conversation_id == "c-1"
    assert snapshot(memory) == {}


# values


def self_referencing_list() -> list[Any]:
    """A list that contains itself."""
    box: list[Any] = [1]
    box.append(box)
    return box


def self_referencing_dict() -> dict[str, Any]:
    """A dict that contains itself, some levels down."""
    box: dict[str, Any] = {}
    box["inner"] = [({"box": box},)]
    return box


def nested(levels: int) -> Any:
    """An empty list in as many lists as make up the levels."""
    box: Any = []
    for _ in range(levels - 1):
        box = [box]
    return box


class Unknown:
    """A class of the user's that nothing is known of."""


BAD_VALUES: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "a list in itself": (self_referencing_list, ValueTooLargeError),
    "a dict in itself": (self_referencing_dict, ValueTooLargeError),
    "too deep": (lambda: nested(65), ValueTooLargeError),
    "one byte too much": (lambda: "x" * (1024 - 2), ValueTooLargeError),
    "a lambda": (lambda: lambda: None, UnstorableValueError),
    "an open file": (io.BytesIO, UnstorableValueError),
    "a class": (lambda: Unknown, UnstorableValueError),
    "an object": (Unknown, UnstorableValueError),
    "a generator": (lambda: iter([1]), UnstorableValueError),
    "a bytearray": (lambda: bytearray(b"x"), UnstorableValueError),
    "deep inside": (lambda: {"a": [1, (2, {"b": object()})]}, UnstorableValueError),
    "a bad key": (lambda: {"a": {Unknown: 1}}, UnstorableValueError),
}
DOORS: dict[str, Callable[[Memory, Any], object]] = {
    "assign": lambda memory, bad: setattr(memory, "box", bad),
    "assign by name": lambda memory, bad: memory.__setitem__("new", bad),
    "push": lambda memory, bad: push(memory, "items", 1, bad),
    "setdefault": lambda memory, bad: setdefault(memory, "new", bad),
    "list append": lambda memory, bad: memory.items.append(bad),
    "list extend": lambda memory, bad: memory.items.extend([1, bad]),
    "list insert": lambda memory, bad: memory.items.insert(0, bad),
    "list set": lambda memory, bad: memory.items.__setitem__(0, bad),
    "list set a slice": lambda memory, bad: memory.items.__setitem__(slice(0, 1), [bad]),
    "list add": lambda memory, bad: memory.items.__iadd__([1, bad]),
    "dict set": lambda memory, bad: memory.box.__setitem__("a", bad),
    "dict update": lambda memory, bad: memory.box.update(a=1, b=bad),
    "dict or": lambda memory, bad: memory.box.__ior__({"a": bad}),
    "dict setdefault": lambda memory, bad: memory.box.setdefault("new", bad),
    "nested append": lambda memory, bad: memory.box["inner"].append(bad),
    "nested set": lambda memory, bad: memory.items[1].__setitem__("key", bad),
    "nested setdefault": lambda memory, bad: memory.items[1].setdefault("new", bad),
}


@pytest.fixture
def filled(proxy: FaultProxy, prefix: str) -> Iterator[ConversationMemory]:
    """A memory with small limits that holds a list, a dict and a set."""
    with ConversationMemory(
        "c-1", proxy.url, prefix=prefix, timeout_s=5, max_value_bytes=1024
    ) as memory:
        memory.items = ["a", {"key": "old"}]
        memory.box = {"a": 0, "inner": ["x"]}
        memory.members = {1, 2}
        yield memory


@pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))
def test_a_bad_value_changes_nothing(
    filled: ConversationMemory, proxy: FaultProxy, door: Callable[[Memory, Any], object]
) -> None:
    """Through whichever door it comes: it is refused, no change is sent, and none is seen."""
    held = filled.items, filled.box, filled.members
    before = snapshot(filled)
    changes = proxy.requests_seen(lambda request: b"_w" in b" ".join(request.arguments))
    for make, error in BAD_VALUES.values():
        with pytest.raises(error) as refused:
            door(filled, make())
        assert isinstance(refused.value, TypeError)
    assert changes == proxy.requests_seen(lambda request: b"_w" in b" ".join(request.arguments))
    assert (*held,) == (before["items"], before["box"], before["members"])
    assert snapshot(filled) == before


@pytest.mark.parametrize("call", ["add", "update", "symmetric_difference_update"])
def test_a_bad_element_changes_nothing(
    filled: ConversationMemory, proxy: FaultProxy, call: str
) -> None:
    """What no set can hold is a `TypeError`; what no stored set can hold is refused as well."""
    members = filled.members
    before = proxy.requests
    for bad in (object(), (1, Unknown), "x" * 1022, lambda: None):
        with pytest.raises(UnstorableValueError):
            getattr(members, call)(bad if call == "add" else [3, bad])
    with pytest.raises(TypeError):
        members.add([])
    assert proxy.requests == before
    assert members == filled.members == {1, 2}


def test_an_assignment_of_a_bad_value_sends_nothing(proxy: FaultProxy, prefix: str) -> None:
    """Not even a connection is made for it, and the message names the path, never the value."""
    with ConversationMemory("c-1", proxy.url, prefix=prefix, timeout_s=5) as memory:
        with pytest.raises(UnstorableValueError, match=r"function at .*\['secret'\]\[1\]") as error:
            memory.profile = {"secret": ["hidden", lambda: None]}
        assert "hidden" not in str(error.value)
        assert proxy.requests == 0
        assert proxy.connections == 0


def test_a_value_at_the_limits_is_stored(filled: ConversationMemory) -> None:
    """Exactly as many bytes and levels as are allowed, as a scalar and as an element."""
    largest, deepest = "x" * (1024 - 3), nested(64)
    filled.largest = largest
    filled.items.append(largest)
    filled.deepest = deepest
    filled.items[0] = deepest[0]
    assert filled.largest == filled.items[-1] == largest
    assert filled.deepest == deepest
    assert filled.items[0] == deepest[0]
    with pytest.raises(ValueTooLargeError):
        filled.items[0] = deepest
    with pytest.raises(ValueTooLargeError):
        filled.items[1]["key"] = "x" * 1017
    assert filled.items[1] == {"key": "old"}


def test_values_at_the_edges_come_back(each_url: str, prefix: str) -> None:
    """Large ints, nan, infinities and lone surrogates are values like any other."""
    edges = [2**64, -(2**64), 2**63, 10**5000, float("nan"), float("inf"), -0.0, "\ud800", b"\x00"]
    memory = ConversationMemory("c-1", each_url, prefix=prefix)
    other = ConversationMemory("c-1", each_url, prefix=prefix)
    for value in edges:
        memory.x = value
        memory.box = {"a": [value]}
        assert same(other.x, value)
        assert same(other.box.asdict(), {"a": [value]})


def test_what_is_iterated_may_fail(filled: ConversationMemory, proxy: FaultProxy) -> None:
    """An iterator that raises half way leaves everything as it was."""

    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    items, box, members = filled.items, filled.box, filled.members
    before = proxy.requests
    calls: list[Callable[[], object]] = [
        lambda: items.extend(broken()),
        lambda: items.__setitem__(slice(0, 1), broken()),
        lambda: members.update(broken()),
        lambda: box.update((number, number) for number in broken()),
    ]
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            call()
    assert proxy.requests == before
    assert items == filled.items == ["a", {"key": "old"}]
    assert members == filled.members == {1, 2}
    assert box == filled.box == {"a": 0, "inner": ["x"]}


def test_an_increment_by_no_number_is_refused(filled: ConversationMemory) -> None:
    """What is neither int nor float is no step."""
    for by in ("1", None, True, [1], 1j):
        with pytest.raises(TypeError):
            increment(filled, "count", by)  # type: ignore[arg-type]
    assert "count" not in filled


# garbage in Redis


LIST = b"l0000000000002 0000000000001 0000000000001 0000000000001 2;"
DICT = b"d0000000000002 0000000000002 0000000000002 0000000000002 2;"
SET = b"e0000000000002 0000000000002 0000000000002 0000000000002 2;"
SCALAR = b"v0000000000002;"
NUMBER = b"n0000000000002;"
MEBI = 1024 * 1024

FIELDS: dict[str, bytes] = {
    "nothing": b"",
    "text": b"garbage",
    "a pickle": pickle.dumps({"a": 1}),
    "json": b'{"a": 1}',
    "a bare value": pack({"a": 1}),
    "an unknown kind": b"z0000000000002;",
    "half a descriptor": LIST[:9],
    "a negative version": b"v-0000000000002;" + pack(1),
    "no value": SCALAR,
    "a broken value": SCALAR + b"\xc1",
    "a truncated value": SCALAR + pack("truncated")[:-1],
    "bytes left over": SCALAR + pack("whole") + b"\x00",
    "a pickle as value": SCALAR + pickle.dumps([1]),
    "an unknown extension": SCALAR + b"\xc7\x01\x63x",
    "a deep bomb": SCALAR + b"\x91" * MEBI,
    "a wide bomb": SCALAR + b"\xdd\xff\xff\xff\xff" + b"\x90" * MEBI,
    "a long bomb": SCALAR + b"\xdb\xff\xff\xff\xff",
    "no number": NUMBER,
    "a wrong number": NUMBER + b"0x10",
    "a word as number": NUMBER + b"many",
    "bytes behind a container": LIST + b"x",
}


def corrupt(memory: ConversationMemory, name: str = "x") -> None:
    """Check that everything that reads the attribute names it, and that nothing else is harmed."""
    for read in (lambda: getattr(memory, name), lambda: memory[name], lambda: snapshot(memory)):
        with pytest.raises(CorruptValueError, match=repr(name)):
            read()
    assert name in memory
    assert list(memory) == sorted(["bystander", "notes", name])
    assert memory.bystander == "well"
    memory.bystander = "very well"
    memory.notes.append("more")
    increment(memory, "count")
    del memory.count
    memory.bystander = "well"
    memory.notes = ["note"]


@pytest.fixture
def key(prefix: str) -> str:
    """The key of the memory's hash."""
    return f"{prefix}{{c-1}}"


@pytest.fixture
def memory(server: Server, prefix: str) -> Iterator[ConversationMemory]:
    """A memory with two healthy attributes."""
    with ConversationMemory("c-1", server.url, prefix=prefix, timeout_s=5) as memory:
        memory.bystander = "well"
        memory.notes = ["note"]
        yield memory


NEW_VALUES: list[Any] = ["new", 1, ["new"], {"new": 1}, {"new"}]


def mended(memory: ConversationMemory, damage: Callable[[], object]) -> None:
    """Check that a damaged attribute can be overwritten with anything, and deleted."""
    for value in NEW_VALUES:
        memory.x = value
        assert memory.x == value
        damage()
    del memory.x
    assert not hasattr(memory, "x")
    memory.x = []
    push(memory, "x", 1)
    assert memory.x == [1]


@pytest.mark.parametrize(
    ("value", "head"),
    [([1, 2], LIST), ({"a": 1, "b": 2}, DICT), ({1, 2}, SET), ("text", SCALAR), (42, NUMBER)],
    ids=["list", "dict", "set", "scalar", "number"],
)
def test_the_garbage_is_well_aimed(
    memory: ConversationMemory, server: Server, key: str, value: Any, head: bytes
) -> None:
    """But for what is wrong with it, the garbage below looks as what the library writes."""
    memory.x = value
    field: Any = server.client().hget(key, "x")
    stored, end, _ = field.partition(b";")
    version = rb"(?<=.)[0-9a-f]{13}"  # the first letter is a kind
    assert re.sub(version, b"*", stored + end) == re.sub(version, b"*", head)


@pytest.mark.parametrize("field", FIELDS.values(), ids=list(FIELDS))
def test_a_damaged_field_harms_only_itself(
    memory: ConversationMemory, server: Server, key: str, field: bytes
) -> None:
    """Garbage in place of an attribute is named, refused, and can be overwritten and deleted."""

    def damage() -> None:
        server.client().hset(key, "x", field)

    damage()
    corrupt(memory)
    mended(memory, damage)


def replace_content(server: Server, content: str, *elements: bytes | tuple[bytes, bytes]) -> None:
    """Put other elements into the place of those of a container."""
    client = server.client()
    client.delete(content)
    for element in elements:
        if isinstance(element, tuple):
            client.hset(content, *element)
        else:
            client.rpush(content, element)


Damage = Callable[[Server, str], object]
CONTENTS: dict[str, tuple[bytes, Damage]] = {
    "a list evicted": (LIST, replace_content),
    "a list too short": (LIST, lambda server, at: replace_content(server, at, pack(1))),
    "a list too long": (LIST, lambda server, at: replace_content(server, at, *[pack(1)] * 3)),
    "a list with garbage": (LIST, lambda server, at: replace_content(server, at, pack(1), b"\xc1")),
    "a list with a bomb": (
        LIST,
        lambda server, at: replace_content(server, at, pack(1), b"\x91" * MEBI),
    ),
    "a list of pickles": (
        LIST,
        lambda server, at: replace_content(server, at, pickle.dumps(1), pickle.dumps(2)),
    ),
    "a text for a list": (LIST, lambda server, at: server.client().set(at, "text")),
    "a hash for a list": (LIST, lambda server, at: replace_content(server, at, (b"a", b"b"))),
    "a dict evicted": (DICT, replace_content),
    "a dict too short": (DICT, lambda server, at: replace_content(server, at, (b"sa", b"1;\x01"))),
    "a dict with garbage": (
        DICT,
        lambda server, at: replace_content(server, at, (pack("a"), b"1;\x01"), (b"b", b"garbage")),
    ),
    "a dict with a bad key": (
        DICT,
        lambda server, at: replace_content(
            server, at, (pack("a"), b"1;\x01"), (pack([1]), b"2;\x01")
        ),
    ),
    "a list for a dict": (DICT, lambda server, at: replace_content(server, at, b"a", b"b")),
    "a set evicted": (SET, replace_content),
    "a set with garbage": (
        SET,
        lambda server, at: replace_content(server, at, (pack(1), b""), (b"\xc1", b"")),
    ),
    "a set with a list": (
        SET,
        lambda server, at: replace_content(server, at, (pack(1), b""), (b"x", pack([1]))),
    ),
    "a real set for a set": (SET, lambda server, at: server.client().sadd(at, "a", "b")),
}


@pytest.mark.parametrize(("field", "spoil"), CONTENTS.values(), ids=list(CONTENTS))
def test_damaged_elements_harm_only_their_attribute(
    memory: ConversationMemory, server: Server, key: str, field: bytes, spoil: Damage
) -> None:
    """Elements that are missing, foreign or of another type are found out, never passed off."""

    def damage() -> None:
        server.client().hset(key, "x", field)
        server.client().delete(f"{key}:x")
        spoil(server, f"{key}:x")

    damage()
    corrupt(memory)
    mended(memory, damage)


@pytest.mark.parametrize("spoil", ["evicted", "another type"])
def test_a_window_of_a_damaged_list_is_refused(
    memory: ConversationMemory, server: Server, key: str, spoil: str
) -> None:
    """A part of a list that is not there is no empty part."""
    memory.x = ["a", "b"]
    server.client().delete(f"{key}:x")
    if spoil == "another type":
        server.client().set(f"{key}:x", "text")
    for bounds in ((None, None), (0, 1), (-1, None)):
        with pytest.raises(CorruptValueError, match="'x'"):
            window(memory, "x", *bounds)


@pytest.mark.parametrize(
    "change",
    [
        lambda box: box.append("c"),
        lambda box: box.insert(0, "c"),
        lambda box: box.pop(),
        lambda box: box.__setitem__(0, "c"),
    ],
    ids=["append", "insert", "pop", "set"],
)
def test_a_held_list_of_another_type_is_refused(
    memory: ConversationMemory, server: Server, key: str, change: Callable[[Any], object]
) -> None:
    """A change of elements that are no list any more is refused, and nothing is shown as done."""
    memory.x = ["b", "a"]
    held = memory.x
    server.client().delete(f"{key}:x")
    server.client().set(f"{key}:x", "text")
    with pytest.raises(CorruptValueError):
        change(held)
    assert held == ["b", "a"]
    assert server.client().get(f"{key}:x") == b"text"
    memory.x = ["new"]
    assert memory.x == ["new"]


@pytest.mark.parametrize(("kept", "log"), [(0, ["new"]), (1000, ["old", "new"])])
def test_elements_left_behind_are_not_taken_in(
    server: Server, prefix: str, key: str, kept: int, log: list[str]
) -> None:
    """Where the memory was evicted and elements stayed, a new attribute begins without them.

    Nor do they double what is made again.
    """
    with ConversationMemory(
        "c-1", server.url, prefix=prefix, timeout_s=5, repair_operations=kept
    ) as memory:
        old = {"log": ["old"], "list": ["old"], "dict": {"old": 1}, "set": {1}}
        for name, value in old.items():
            memory[name] = value
        server.client().delete(key)
        with pytest.warns(DataLossWarning):
            push(memory, "log", "new")
        memory.list = ["new"]
        memory.dict = {"new": 1}
        memory.set = {2}
        new = {"log": log, "list": ["new"], "dict": {"new": 1}, "set": {2}}
        assert {name: memory[name] for name in new} == new
        assert snapshot(memory) == new


@pytest.mark.parametrize("entry", [b"", b"garbage", b"-1", b"0", b"\xff" * 100])
def test_a_damaged_writer_is_begun_anew(
    memory: ConversationMemory, server: Server, key: str, entry: bytes
) -> None:
    """A writer that the server does not know any more is reported; its change is made, once."""
    fields: Any = server.client().hkeys(key)
    for field in fields:
        if field.startswith(b"_w"):
            server.client().hset(key, field, entry)
    with pytest.warns(DataLossWarning):
        memory.notes.append("more")
    assert memory.notes == ["note", "more"]
    memory.notes.append("and more")
    assert ConversationMemory("c-1", server.url, prefix=key[:-5]).notes == memory.notes


@pytest.mark.parametrize("version", [b"", b"garbage", b"-1", b"\xff"])
def test_a_damaged_version_does_not_stop_the_memory(
    memory: ConversationMemory, server: Server, key: str, version: bytes
) -> None:
    """The counter of changes can be lost without an attribute being lost."""
    server.client().hset(key, "_version", version)
    memory.bystander = "better"
    memory.notes.append("more")
    other = ConversationMemory("c-1", server.url, prefix=key[:-5])
    assert snapshot(other) == {"bystander": "better", "notes": ["note", "more"]}
    other.notes.append("and more")
    assert memory.notes == ["note", "more", "and more"]


@pytest.mark.parametrize("kind", ["string", "list", "set", "zset"])
def test_another_type_of_key_in_place_of_a_memory(
    memory: ConversationMemory, server: Server, key: str, prefix: str, kind: str
) -> None:
    """Every call says what lies there, nothing is overwritten, and other memories are unharmed."""
    client = server.client()
    client.delete(key)
    plant: dict[str, Callable[[], object]] = {
        "string": lambda: client.set(key, "text"),
        "list": lambda: client.rpush(key, "text"),
        "set": lambda: client.sadd(key, "text"),
        "zset": lambda: client.zadd(key, {"text": 1}),
    }
    plant[kind]()
    calls: list[Callable[[], object]] = [
        lambda: memory.notes,
        lambda: hasattr(memory, "x"),
        lambda: "x" in memory,
        lambda: list(memory),
        lambda: snapshot(memory),
        lambda: setattr(memory, "x", 1),
        lambda: delattr(memory, "x"),
        lambda: push(memory, "x", 1),
        lambda: clear(memory),
    ]
    for call in calls:
        with pytest.raises(CorruptValueError, match="another type of key"):
            call()
    assert client.type(key) == kind.encode()
    other = ConversationMemory("c-2", server.url, prefix=prefix)
    other.x = 1
    assert other.x == 1
    client.delete(key)
    with pytest.warns(DataLossWarning):
        memory.x = 1
    # what was lost with the hash is made again
    assert snapshot(memory) == {"bystander": "well", "notes": ["note"], "x": 1}
