"""While the server is away, changes wait: all that can, in order, seen by whoever made them."""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from redis_memory import ConversationMemory, OfflineError, QueueFullError, flush, status
from redis_memory.core.mutation import BUILDERS
from tests.faults import FaultProxy
from tests.outages.changes import NAMES, START, TAKING, WAITING, Step, inside, steps
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.faces import Face, Path
from tests.outages.network import DRAIN_S, PATIENT_S
from tests.servers import Server
from tests.strategies import same
from tests.waiting import wait_until

# Where a container may lie in an attribute: what is stored around it, and the way to it.
DEPTHS: dict[str, tuple[Callable[[Any], Any], Path]] = {
    "the attribute": (lambda value: value, ()),
    "in a dict": (lambda value: {"x": 0, "k": value}, ("k",)),
    "in a list": (lambda value: [0, value], (1,)),
    "in a tuple": (lambda value: (value, 0), (0,)),
    "far inside": (lambda value: {"a": [{"b": [value]}]}, ("a", 0, "b", 0)),
}


def calls_of(base: type, table: dict[type, dict[str, list[tuple[Any, ...]]]]) -> list[Step]:
    """Every call of a table, each on an attribute of its own."""
    pairs = [(verb, arguments) for verb, each in table[base].items() for arguments in each]
    return [
        Step(verb, f"{verb.strip('_')}{number}", arguments)
        for number, (verb, arguments) in enumerate(pairs)
    ]


@pytest.mark.parametrize("base", BUILDERS)
def test_no_mutator_is_forgotten(base: type) -> None:
    """Each mutator that the library has is tried here: it waits, or it says why it cannot."""
    assert BUILDERS[base].keys() == WAITING[base].keys() | TAKING[base].keys()
    assert not WAITING[base].keys() & TAKING[base].keys()


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("base", START)
def test_every_mutator_waits_and_is_made_later(
    open_face: OpenFace,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    base: type,
    depth: str,
) -> None:
    """Result and effect are at once, and for everybody later, those of a plain container."""
    wrap, path = DEPTHS[depth]
    face = open_face(name, proxy.url)
    calls = [call for call in calls_of(base, WAITING) if call.verb not in face.lacks]
    models = {}
    for call in calls:
        models[call.name] = wrap(copy.deepcopy(START[base]))
        face.assign(call.name, models[call.name])
    proxy.refuse()
    for call in calls:
        box = inside(models[call.name], path)
        expected = getattr(box, call.verb)(*copy.deepcopy(call.arguments))
        result = face.call(call.name, call.verb, *copy.deepcopy(call.arguments), at=path)
        if call.verb == "setdefault":
            assert same(result, expected), call
        assert same(face.read(call.name), models[call.name]), call
    assert face.status().queued > len(WAITING[base])
    proxy.heal()
    assert face.flush() == 0
    assert face.conflicts() == []
    for call in calls:
        assert same(copy.deepcopy(other[call.name]), models[call.name]), call
        assert same(face.read(call.name), models[call.name]), call


@pytest.mark.parametrize("base", START)
def test_a_held_proxy_shows_what_waits(
    open_memory: OpenMemory, proxy: FaultProxy, other: ConversationMemory, name: str, base: type
) -> None:
    """Proxies that were read before, whole or nested, change with the server away and after it."""
    memory = open_memory(name, proxy.url)
    calls = calls_of(base, WAITING)
    models = {}
    for call in calls:
        models[call.name] = {"k": [copy.deepcopy(START[base])]}
        memory[call.name] = models[call.name]
    held = {call.name: memory[call.name] for call in calls}
    nested = {name: box["k"][0] for name, box in held.items()}
    for away in (True, False):
        proxy.refuse() if away else proxy.heal()
        for call in calls:
            expected = models[call.name]["k"][0]
            try:
                getattr(expected, call.verb)(*copy.deepcopy(call.arguments))
            except (LookupError, ValueError):
                continue  # what it removes has been removed
            getattr(nested[call.name], call.verb)(*copy.deepcopy(call.arguments))
            assert nested[call.name] == expected, call
            assert held[call.name] == memory[call.name] == models[call.name], call
    assert flush(memory, DRAIN_S) == 0
    for call in calls:
        assert other[call.name] == models[call.name], call


def test_changes_of_whole_attributes_wait(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Assignments, deletions, pushes, increments and `clear` wait, and read as if made."""
    face = open_face(name, proxy.url)
    face.assign("gone", 1)
    face.assign("count", 40)
    face.assign("log", ["a"])
    proxy.refuse()
    face.function("clear")
    assert not face.has("gone")
    assert not face.has("never seen")
    face.assign("topic", "billing")
    assert face.push("log", "b", "c") is None
    assert face.increment("count") is None
    assert face.increment("count", 0.5) is None
    face.assign("late", {"a": [1]})
    face.delete("topic")
    face.call("late", "append", 2, at=("a",))
    expected = {"count": 1.5, "late": {"a": [1, 2]}, "log": ["b", "c"]}
    assert {name: face.read(name) for name in sorted(expected)} == expected
    assert not face.has("topic")
    assert face.function("window", "log", 1) == ["c"]
    standing = face.status()
    assert (standing.online, standing.queued) == (False, 8)
    assert standing.queued_bytes > 0
    proxy.heal()
    assert face.flush() == 0
    assert face.snapshot() == expected
    assert {name: copy.deepcopy(other[name]) for name in other} == expected
    assert (face.status().queued, face.status().queued_bytes) == (0, 0)


def test_a_key_of_any_type_waits(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Keys keep their types and their order through the queue."""
    keys = ["a", 1, 1.5, None, b"b", ("t", (1, b"x")), False, 10**30]
    face = open_face(name, proxy.url)
    face.assign("box", {})
    proxy.refuse()
    for number, key in enumerate(keys):
        face.call("box", "__setitem__", key, number)
    face.call("box", "__delitem__", None)
    proxy.heal()
    assert face.flush() == 0
    expected = {key: number for number, key in enumerate(keys) if key is not None}
    assert same(copy.deepcopy(other.box), expected)


def known_value(face: Face, name: str) -> Any:
    """The value of an attribute, None when it is missing."""
    try:
        return face.read(name)
    except (AttributeError, KeyError):
        return None


@pytest.mark.parametrize("seed", range(6))
def test_a_long_outage_ends_as_plain_containers_would(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str, seed: int
) -> None:
    """Any sequence of changes reads at once as it does for everybody afterwards."""
    face = open_face(name, proxy.url)
    choices = Random(seed)
    model: dict[str, Any] = {}
    for step in steps(choices, 15, model, face=face):
        step.make(face)
    for known in NAMES:  # a name that was never read is not known while the server is away
        assert known_value(face, known) == model.get(known)
    proxy.refuse()
    for round_ in range(3):
        for step in steps(choices, 40, model, face=face):
            step.make(face)
        for known in NAMES:
            assert face.has(known) == (known in model), round_
            if known in model:
                assert same(face.read(known), model[known]), known
    proxy.heal()
    assert face.flush() == 0
    assert face.conflicts() == []
    assert face.snapshot() == model
    for known, value in model.items():
        assert same(copy.deepcopy(other[known]), value), known


# what cannot wait


@pytest.mark.parametrize("base", START)
def test_what_hands_something_out_is_refused(
    open_face: OpenFace, proxy: FaultProxy, name: str, base: type
) -> None:
    """`pop` and its like raise `OfflineError`, queue nothing and change nothing, at any depth."""
    face = open_face(name, proxy.url)
    calls = calls_of(base, TAKING)
    for call in calls:
        face.assign(call.name, START[base])
        face.assign(f"in_{call.name}", {"k": START[base]})
    proxy.refuse()
    for call in calls:
        for attribute, path in ((call.name, ()), (f"in_{call.name}", ("k",))):
            with pytest.raises(OfflineError):
                face.call(attribute, call.verb, *call.arguments, at=path)
            assert inside(face.read(attribute), path) == START[base]
    assert face.status().queued == 0
    face.assign("first", 1)  # nor while something waits
    for call in calls:
        with pytest.raises(OfflineError):
            face.call(call.name, call.verb, *call.arguments)
    assert face.status().queued == 1
    proxy.heal()
    assert face.flush() == 0
    for call in calls:
        assert face.read(call.name) == START[base]


def test_what_only_the_server_knows_is_not_invented(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """All names, their number and a snapshot are `OfflineError`, and so is a sum too large."""
    face = open_face(name, proxy.url)
    face.assign("count", 1)
    other.unseen = 1
    proxy.refuse()
    with pytest.raises(OfflineError):
        face.snapshot()
    with pytest.raises(OfflineError):
        face.increment("count", 10**15)
    with pytest.raises(OfflineError):
        face.function("setdefault", "unseen", 2)
    with pytest.raises(OfflineError):
        face.function("window", "unseen")
    assert face.status().queued == 0


def test_an_unknown_attribute_is_no_missing_one(
    open_memory: OpenMemory, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """`hasattr` raises `OfflineError` rather than answer a false no."""
    memory = open_memory(name, proxy.url)
    memory.known = 1
    assert not hasattr(memory, "absent")
    other.unseen = [1]
    proxy.refuse()
    for ask in (
        lambda: hasattr(memory, "unseen"),
        lambda: getattr(memory, "unseen", None),
        lambda: memory["unseen"],
        lambda: "unseen" in memory,
        lambda: list(memory),
        lambda: len(memory),
        lambda: dir(memory),
    ):
        with pytest.raises(OfflineError):
            ask()
    assert hasattr(memory, "known")
    assert not hasattr(memory, "absent")
    assert "absent" not in memory


def test_what_was_asked_for_is_known_to_be_missing(
    open_face: OpenFace, proxy: FaultProxy, name: str
) -> None:
    """A name that `in` has found missing is missing while away too, as if it had been read."""
    face = open_face(name, proxy.url)
    face.assign("topic", "billing")
    assert not face.has("messages")
    proxy.refuse()
    assert not face.has("messages")
    with pytest.raises((AttributeError, KeyError)):
        face.read("messages")


def test_what_waits_for_an_unseen_attribute_is_made(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """A push or an increment needs no copy; reading it back is still not possible."""
    other.log = ["theirs"]
    other.count = 40
    face = open_face(name, proxy.url)
    proxy.refuse()
    face.push("log", "mine")
    face.increment("count", 2)
    for unread in ("log", "count"):
        with pytest.raises(OfflineError):
            face.read(unread)
    proxy.heal()
    assert face.flush() == 0
    assert other.log == ["theirs", "mine"]
    assert other.count == 42


# the idiom that everybody writes


def test_the_idiom_does_not_wipe_what_others_began(
    open_memory: OpenMemory, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """`if not hasattr: mem.messages = []` creates while away only what nobody created meanwhile."""
    memory = open_memory(name, proxy.url)
    assert not hasattr(memory, "messages")
    proxy.refuse()
    if not hasattr(memory, "messages"):
        memory.messages = []
    memory.messages.append("mine")
    assert memory.messages == ["mine"]
    other.messages = ["theirs"]
    proxy.heal()
    assert flush(memory, DRAIN_S) == 0
    assert other.messages == memory.messages == ["theirs", "mine"]


def test_the_idiom_is_refused_where_nothing_is_known(
    open_memory: OpenMemory, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """A worker that has not looked before cannot wipe a history that it never saw."""
    other.messages = ["history"]
    memory = open_memory(name, proxy.url)
    proxy.refuse()
    with pytest.raises(OfflineError):
        if not hasattr(memory, "messages"):
            memory.messages = []
    assert status(memory).queued == 0
    assert other.messages == ["history"]


def test_the_idiom_of_many_workers_loses_no_message(
    open_memory: OpenMemory, proxies: Callable[[], FaultProxy], server: Server, name: str
) -> None:
    """Eight workers, each behind a network that is away for a while, keep all their messages."""
    networks = [proxies() for _ in range(8)]
    workers = [open_memory(name, network.url) for network in networks]
    for worker in workers:
        assert not hasattr(worker, "messages")

    def work(number: int) -> None:
        if number % 2:
            networks[number].refuse()
        if not hasattr(workers[number], "messages"):
            workers[number].messages = []
        for count in range(50):
            workers[number].messages.append((number, count))
        networks[number].heal()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [flush(worker, DRAIN_S) for worker in workers] == [0] * 8
    messages = workers[0].messages
    assert len(messages) == 400
    for number in range(8):
        assert [count for by, count in messages if by == number] == list(range(50))


# bounds


@pytest.mark.parametrize(
    ("bound", "value", "fits"),
    [({"queue_operations": 10}, "x", 10), ({"queue_bytes": 10_000}, "x" * 1000, 9)],
    ids=["operations", "bytes"],
)
def test_a_full_queue_refuses_the_new_one(
    open_face: OpenFace,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    bound: dict[str, int],
    value: str,
    fits: int,
) -> None:
    """`QueueFullError` for the change that does not fit; none that waits is dropped."""
    face = open_face(name, proxy.url, **bound)
    face.assign("log", [])
    proxy.refuse()
    for number in range(fits):
        face.call("log", "append", f"{number}{value}")
    before = face.read("log")
    for change in (
        lambda: face.call("log", "append", value),
        lambda: face.push("log", value),
        lambda: face.assign("topic", value),
    ):
        with pytest.raises(QueueFullError):
            change()
    assert face.status().queued == fits
    assert face.read("log") == before
    proxy.heal()
    assert face.flush() == 0
    face.call("log", "append", "after")
    assert other.log == [*(f"{number}{value}" for number in range(fits)), "after"]
    assert "topic" not in other


# memory objects that come and go


def test_what_a_dropped_memory_left_is_delivered(
    open_memory: OpenMemory, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """A memory object that is collected with a full queue loses nothing."""
    keeper = open_memory(f"{name}-2", proxy.url)
    keeper.topic = "keeps the connections"
    memory = ConversationMemory(name, proxy.url, timeout_s=0.3, reconnect_max_s=0.05)
    memory.log = []
    proxy.refuse()
    for number in range(20):
        memory.log.append(number)
    del memory
    gc.collect()
    proxy.heal()
    wait_until(lambda: "log" in other and len(other.log) == 20, PATIENT_S, what="all changes")
    assert other.log == list(range(20))


def test_a_new_object_of_a_memory_sees_what_waits(
    open_memory: OpenMemory, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """A worker that opens a memory for each request finds what the last one left waiting."""
    memory = ConversationMemory(name, proxy.url, timeout_s=0.3, reconnect_max_s=0.05)
    memory.log = []
    proxy.refuse()
    memory.log.append(0)
    for number in range(1, 10):
        del memory
        gc.collect()
        memory = ConversationMemory(name, proxy.url, timeout_s=0.3, reconnect_max_s=0.05)
        assert memory.log == list(range(number))
        memory.log.append(number)
    assert status(memory).queued == 10
    proxy.heal()
    assert flush(memory, DRAIN_S) == 0
    with memory:
        assert memory.log == other.log == list(range(10))


def test_flush_of_no_time_waits_for_nothing(
    open_face: OpenFace, name: str, proxy: FaultProxy
) -> None:
    """Also where the time is nan: how many changes are left is answered at once."""
    face = open_face(name, proxy.url)
    proxy.refuse()
    face.assign("topic", 1)
    assert face.flush(0) == face.flush(-1) == face.flush(float("nan")) == 1
    proxy.heal()
    assert face.flush() == 0
