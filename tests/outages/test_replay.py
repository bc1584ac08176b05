"""When the server is back, what waited is made: in order, once, before everything newer."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from redis_memory import ConversationMemory, DataLossWarning, flush, increment, push, status
from redis_memory.core.scripts import SCRIPTS
from redis_memory.link.driver import Driver
from tests.faults import FaultProxy, Request
from tests.outages.changes import steps
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.faces import Face
from tests.outages.network import (
    DRAIN_S,
    LOST,
    PATIENT_S,
    at_each_batch,
    fail_each_batch_once,
    forget_writers,
    is_batch,
)
from tests.servers import Server
from tests.strategies import same
from tests.waiting import wait_until

FAILURES = (*LOST, "unsent", "slices", "timeout")


def queue_numbers(face: Face, count: int, *, name: str = "log") -> None:
    """Append 0, 1, 2 ... to a list that this memory has read."""
    for number in range(count):
        face.call(name, "append", number)


def away_with_a_log(face: Face, proxy: FaultProxy) -> Face:
    """Store an empty list, and lose sight of the server."""
    face.assign("log", [])
    proxy.refuse()
    return face


def heal_keeping_faults(proxy: FaultProxy) -> None:
    """Let a refusing proxy serve again, and keep the faults that it was told of."""
    kept, slicing = list(proxy._traffic.faults), proxy._traffic.slicing
    proxy.heal()
    proxy._traffic.faults.extend(kept)
    proxy._traffic.slicing = slicing


def deliver_over(proxy: FaultProxy, face: Face) -> None:
    """Deliver all that waits over a network with the faults that its proxy was told of."""
    heal_keeping_faults(proxy)
    assert face.flush() == 0


def come_back(face: Face, network: FaultProxy) -> None:
    """Deliver all that waits, without a conflict."""
    network.heal()
    assert face.flush() == 0
    assert face.conflicts() == []


# lost answers


@pytest.mark.parametrize("how", FAILURES)
def test_a_replay_whose_answers_get_lost_is_made_once(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str, how: str
) -> None:
    """Appends, increments, keys and nested changes are there once, whatever happens to replies."""
    face = open_face(name, proxy.url)
    face.assign("log", [])
    face.assign("box", {"in": []})
    proxy.refuse()
    for number in range(300):
        face.call("log", "append", number)
        face.increment("count")
        face.call("box", "append", number, at=("in",))
        face.push("unseen", number)
    fail_each_batch_once(proxy, how)
    deliver_over(proxy, face)
    proxy.heal()
    assert other.log == other.unseen == other.box["in"] == list(range(300))
    assert other.count == 300
    assert face.conflicts() == []
    assert proxy.lost + proxy.unsent >= 2 or how == "slices"
    assert face.status().data_loss == 0


@pytest.mark.parametrize(("seed", "how"), list(enumerate(FAILURES)))
def test_any_replay_whose_answers_get_lost_ends_as_plain_containers_would(
    open_face: OpenFace,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    seed: int,
    how: str,
) -> None:
    """A random sequence of every kind of change, delivered over a network that loses replies."""
    face = open_face(name, proxy.url)
    choices = Random(100 + seed)
    model: dict[str, Any] = {}
    for step in steps(choices, 15, model, face=face):
        step.make(face)
    for known in list(model):
        face.read(known)
    proxy.refuse()
    face.function("clear")  # from here on all is known: what is not there was cleared
    model.clear()
    for step in steps(choices, 80, model, face=face):
        step.make(face)
    fail_each_batch_once(proxy, how)
    deliver_over(proxy, face)
    proxy.heal()
    assert face.conflicts() == []
    assert face.snapshot() == model
    for known, value in model.items():
        assert same(copy.deepcopy(other[known]), value), known


def test_a_replay_that_never_got_through_waits_on(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """As long as every answer is lost, the changes count as waiting; then each was made once."""
    face = away_with_a_log(open_face(name, proxy.url), proxy)
    queue_numbers(face, 10)
    proxy.heal()
    proxy.lose_replies(20, when=is_batch)
    queue_numbers(face, 10, name="log")
    assert face.flush() == 0
    assert proxy.lost == 20
    assert other.log == [*range(10), *range(10)]


# order


def test_new_changes_stay_behind_those_that_waited(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Appends 1 to 100 while away and 101 to 200 as soon as it is back: 1 to 200, in order."""
    face = away_with_a_log(open_face(name, proxy.url), proxy)
    for number in range(100):
        face.call("log", "append", number)
    proxy.heal()
    for number in range(100, 200):
        face.call("log", "append", number)
    assert face.flush() == 0
    assert other.log == face.read("log") == list(range(200))


@pytest.mark.parametrize("how", ["well", "reset", "unsent"])
def test_many_changes_keep_their_order_over_many_batches(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str, how: str
) -> None:
    """2,500 changes, more than one script call takes, arrive in order and once."""
    face = away_with_a_log(open_face(name, proxy.url), proxy)
    for number in range(1250):
        face.push("log", number)
        face.assign("last", number)
    if how != "well":
        fail_each_batch_once(proxy, how)
    deliver_over(proxy, face)
    assert other.log == list(range(1250))
    assert other.last == 1249
    assert proxy.requests_seen(is_batch) >= 3
    assert face.conflicts() == []


SIZES = (10, 400_000, 400_000, 400_000, 1_048_576, 1, 3_000_000, 5, 700_000, 700_000)


@pytest.mark.parametrize("how", ["well", "reset", "half"])
def test_large_changes_are_delivered_in_order(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str, how: str
) -> None:
    """Where a batch ends by its bytes, or holds one change larger than it may be, all is kept."""
    face = away_with_a_log(open_face(name, proxy.url, timeout_s=1.0), proxy)
    values = [chr(97 + number) * size for number, size in enumerate(SIZES)]
    for value in values:
        face.push("log", value)
    if how != "well":
        fail_each_batch_once(proxy, how)
    deliver_over(proxy, face)
    assert other.log == values
    assert proxy.requests_seen(is_batch) >= 5


def test_one_change_of_10_000_values_is_one_change(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """More values than a script can hand on at once arrive as they were given."""
    face = away_with_a_log(open_face(name, proxy.url, timeout_s=1.0), proxy)
    face.call("log", "extend", range(10_000))
    face.push("log", *range(10_000))
    face.assign("whole", list(range(10_000)))
    face.assign("set", set(range(10_000)))
    face.assign("dict", dict.fromkeys(range(10_000)))
    assert face.status().queued == 5
    proxy.heal()
    assert face.flush() == 0
    assert other.log == [*range(10_000), *range(10_000)]
    assert other.whole == list(range(10_000))
    assert other.set == set(range(10_000))
    assert list(other.dict) == list(range(10_000))


def test_each_of_several_writers_keeps_its_order(
    open_memory: OpenMemory, proxies: Callable[[], FaultProxy], server: Server, name: str
) -> None:
    """Two clients that lose their networks in turns: each one's values ascend, all are there."""
    count = 600
    networks = [proxies(), proxies()]
    workers = [open_memory(name, network.url) for network in networks]
    workers[0].log = []

    def work(number: int) -> None:
        for value in range(count):
            if value % 100 == 10 + 40 * number:
                networks[number].refuse()
            elif value % 100 == 60 + 39 * number:
                networks[number].heal()
            push(workers[number], "log", (number, value))
        networks[number].heal()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [flush(worker, DRAIN_S) for worker in workers] == [0, 0]
    log = workers[0].log
    assert len(log) == 2 * count
    for number in range(2):
        assert [value for by, value in log if by == number] == list(range(count))


# servers that are not as they were


def test_forgotten_scripts_are_loaded_again_in_a_replay(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, server: Server, name: str
) -> None:
    """SCRIPT FLUSH before each batch is not noticed, lost replies or not."""
    face = away_with_a_log(open_face(name, proxy.url), proxy)
    for number in range(1500):
        face.push("log", number)
    at_each_batch(proxy, server.client().script_flush)
    proxy.lose_replies(2, when=lambda request: is_batch(request) and request.name == b"EVAL")
    deliver_over(proxy, face)
    assert proxy.lost == 2
    assert other.log == list(range(1500))
    assert face.status().data_loss == 0


def test_a_replay_that_meets_a_full_server_waits_in_order(
    open_face: OpenFace, own_server: Server, name: str
) -> None:
    """Out of memory in the middle of a drain: nothing is passed over, all arrives in the end."""
    with (
        FaultProxy(own_server.url) as proxy,
        ConversationMemory(name, own_server.url, timeout_s=PATIENT_S) as other,
    ):
        face = away_with_a_log(open_face(name, proxy.url, timeout_s=1.0), proxy)
        for number in range(2500):
            face.push("log", number)
        own_server.client().script_load(SCRIPTS["batch"].source)
        seen: list[int] = []

        def fill() -> None:
            seen.append(1)
            if len(seen) == 2:
                own_server.client().config_set("maxmemory", 1)

        at_each_batch(proxy, fill)
        heal_keeping_faults(proxy)
        wait_until(lambda: len(seen) > 3, DRAIN_S, what="several refused attempts")
        face.push("log", 2500)  # still behind the others
        waiting = face.status()
        assert 1 < waiting.queued < 2501
        assert other.log == list(range(2501 - waiting.queued))
        own_server.client().config_set("maxmemory", 0)
        assert face.flush() == 0
        face.push("log", 2501)
        assert other.log == list(range(2502))
        assert face.conflicts() == []


def test_one_bad_change_does_not_hold_up_those_behind_it(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, server: Server, name: str
) -> None:
    """A foreign key in the way refuses one change, which is reported; the others are made once."""
    face = open_face(name, proxy.url)
    face.assign("log", ["a"])
    face.assign("good", [])
    proxy.refuse()
    face.push("good", 1)
    face.push("log", "b")
    face.push("good", 2)
    client: Any = server.client()
    client.delete(f"memory:{{{name}}}:log")
    client.set(f"memory:{{{name}}}:log", "foreign")
    proxy.lose_replies(3, when=is_batch)
    deliver_over(proxy, face)
    assert other.good == [1, 2]
    assert [(met.name, met.reason, met.mine) for met in face.conflicts()] == [
        ("log", "refused", ["b"])
    ]
    assert "WRONGTYPE" in face.conflicts()[0].detail


def test_a_change_in_doubt_is_made_once(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Sent, applied and not answered: it waits under its number, and is not made a second time."""
    face = open_face(name, proxy.url)
    face.assign("log", [])
    face.push("log", "answered")  # the server knows the script now
    proxy.lose_replies(math.inf)
    face.push("log", "in doubt")
    face.increment("count", 5)
    assert other.log == ["answered", "in doubt"]
    assert face.status().queued == 2
    proxy.heal()
    assert face.flush() == 0
    assert other.log == ["answered", "in doubt"]
    assert other.count == 5


def test_kills_in_the_middle_of_replays_lose_and_double_nothing(name: str) -> None:
    """Four writers that queue while a server that syncs is killed ten times: all there, once."""
    count = 400
    with Server(appendonly="yes", appendfsync="always") as server:
        ready = threading.Barrier(5)
        written = [0] * 4

        def write(writer: int) -> None:
            with ConversationMemory(
                name, server.url, timeout_s=0.05, reconnect_max_s=0.05, close_timeout_s=DRAIN_S
            ) as memory:
                ready.wait()
                for number in range(count):
                    push(memory, "log", (writer, number))
                    increment(memory, "count")
                    written[writer] += 1
                    if number % 40 == writer:
                        wait_until(lambda: kills[0] * 40 >= number - 40, 60, what="a kill")  # noqa: B023
                assert flush(memory, DRAIN_S) == 0

        kills = [0]
        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        ready.wait()
        for kill in range(10):
            wait_until(lambda: sum(written) >= kill * 100, 60, what="more writes")  # noqa: B023
            server.kill()
            kills[0] += 1
            server.start()
        for thread in threads:
            thread.join()
        with ConversationMemory(name, server.url, timeout_s=PATIENT_S) as memory:
            for writer in range(4):
                assert [n for w, n in memory.log if w == writer] == list(range(count))
            assert memory.count == len(memory.log) == 4 * count


def test_a_forgotten_writer_whose_batch_was_on_its_way_doubles_nothing(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, server: Server, name: str
) -> None:
    """Its entry is gone and the data is not: what was sent is reported to be in doubt."""
    face = away_with_a_log(open_face(name, proxy.url), proxy)
    for number in range(3):
        face.push("log", number)
    server.client().script_load(SCRIPTS["batch"].source)
    lost: list[Request] = []

    def lose(request: Request) -> bool:
        if is_batch(request) and not lost:
            lost.append(request)
            return True
        return False

    def forget() -> None:
        if lost and "log" in other and len(other.log) == 3:
            forget_writers(server, name)

    at_each_batch(proxy, forget)
    proxy.lose_replies(1, when=lose)
    heal_keeping_faults(proxy)
    with pytest.warns(DataLossWarning):
        face.flush()
    assert face.status().queued == 0
    assert other.log == [0, 1, 2]
    assert [met.reason for met in face.conflicts()] == ["in doubt"] * 3
    face.push("log", 3)
    assert other.log == [0, 1, 2, 3]


def test_waiting_changes_are_delivered_soon(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Within a second of the server's return, with no call of anybody's, the queue is empty."""
    face = away_with_a_log(open_face(name, proxy.url, reconnect_max_s=0.75), proxy)
    queue_numbers(face, 500)
    proxy.heal()
    wait_until(lambda: len(other.log) == 500, 1.75, what="the replay")
    assert other.log == list(range(500))
    assert is_clear_soon(face)


def is_clear_soon(face: Face) -> bool:
    """Wait until the memory says that it is online, with nothing waiting."""

    def is_clear() -> bool:
        standing = face.status()
        return standing.online and not standing.queued

    return wait_until(is_clear, what="an online memory")


def test_two_memories_of_one_link_are_both_delivered(
    open_memory: OpenMemory, proxy: FaultProxy, server: Server, name: str
) -> None:
    """Memories that share connections wait, and are delivered, each in its own order."""
    memories = [open_memory(f"{name}-{number}", proxy.url) for number in range(3)]
    for memory in memories:
        memory.log = []
    proxy.refuse()
    for number in range(300):
        memories[number % 3].log.append(number)
    proxy.heal()
    for number, memory in enumerate(memories):
        assert flush(memory, DRAIN_S) == 0
        assert memory.log == list(range(number, 300, 3))
        assert status(memory).conflicts == 0


def test_nobody_has_to_call_again(
    open_memory: OpenMemory,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is queued just when all else has been delivered is delivered without another call."""
    memory = open_memory(name, proxy.url)
    memory.log = []
    deliver, late = Driver.deliver, ["late"]

    def delivered(driver: Driver) -> None:
        deliver(driver)
        if late:
            push(memory, "log", late.pop())

    monkeypatch.setattr(Driver, "deliver", delivered)
    proxy.refuse()
    push(memory, "log", "first")
    proxy.heal()
    wait_until(lambda: len(other.log) == 2, what="both changes")
    assert other.log == ["first", "late"]


# changes of several clients


def test_two_clients_set_different_keys(
    open_face: OpenFace, proxies: Callable[[], FaultProxy], other: ConversationMemory, name: str
) -> None:
    """Made while both were away, in one dict: both are there, and neither is a conflict."""
    networks = [proxies(), proxies()]
    faces = [open_face(name, network.url) for network in networks]
    other.box = {"old": 0, "gone": 0}
    for face, network in zip(faces, networks, strict=True):
        assert face.read("box") == {"old": 0, "gone": 0}
        network.refuse()
    for number, face in enumerate(faces):
        face.call("box", "__setitem__", f"k{number}", number)
        face.call("box", "update", {f"u{number}": number})
        face.call("box", "setdefault", f"d{number}", number)
    faces[1].call("box", "__delitem__", "gone")
    for face, network in reversed(list(zip(faces, networks, strict=True))):
        come_back(face, network)
    keys = [f"{kind}{number}" for number in (1, 0) for kind in "kud"]
    assert other.box == {"old": 0, **{key: int(key[1:]) for key in keys}}


def test_two_clients_change_different_places(
    open_face: OpenFace, proxies: Callable[[], FaultProxy], other: ConversationMemory, name: str
) -> None:
    """Changes far inside one value, and in one element, by two clients that were away: all kept."""
    networks = [proxies(), proxies()]
    faces = [open_face(name, network.url) for network in networks]
    other.tree = {"one": {"a": {"x": [0]}, "b": {"y": {0}}}, "two": {}}
    for face, network in zip(faces, networks, strict=True):
        face.read("tree")
        network.refuse()
    faces[0].call("tree", "append", 1, at=("one", "a", "x"))
    faces[0].call("tree", "update", {"p": 0}, at=("two",))
    faces[1].call("tree", "add", 1, at=("one", "b", "y"))
    faces[1].call("tree", "append", 2, at=("one", "a", "x"))
    faces[1].call("tree", "__setitem__", "q", 1, at=("two",))
    for face, network in zip(faces, networks, strict=True):
        come_back(face, network)
    assert other.tree == {
        "one": {"a": {"x": [0, 1, 2]}, "b": {"y": {0, 1}}},
        "two": {"p": 0, "q": 1},
    }


def test_two_clients_change_different_elements_of_an_inner_list(
    open_face: OpenFace, proxies: Callable[[], FaultProxy], other: ConversationMemory, name: str
) -> None:
    """Nobody moved an element, so both changes find theirs."""
    networks = [proxies(), proxies()]
    faces = [open_face(name, network.url) for network in networks]
    other.tree = {"list": [{"tags": []}, {"tags": []}]}
    for number, face in enumerate(faces):
        face.read("tree")
        networks[number].refuse()
        face.call("tree", "append", number, at=("list", number, "tags"))
    for face, network in zip(faces, networks, strict=True):
        come_back(face, network)
    assert other.tree == {"list": [{"tags": [0]}, {"tags": [1]}]}


BY_INDEX: dict[str, tuple[str, tuple[Any, ...]]] = {
    "set": ("__setitem__", (0, "mine")),
    "set from the end": ("__setitem__", (-1, "mine")),
    "delete": ("__delitem__", (1,)),
    "set a slice": ("__setitem__", (slice(0, 2), ["mine"])),
    "sort": ("sort", ()),
}


# where all elements are equal, only the server can tell that another one stands there
@pytest.mark.parametrize("letters", ["cba", "aaa"])
@pytest.mark.parametrize(("verb", "arguments"), BY_INDEX.values(), ids=list(BY_INDEX))
def test_an_index_that_others_moved_is_refused(
    open_face: OpenFace,
    proxy: FaultProxy,
    other: ConversationMemory,
    name: str,
    verb: str,
    arguments: tuple[Any, ...],
    letters: str,
) -> None:
    """It never lands on another element: it is reported, and what waits behind it is made."""
    face = open_face(name, proxy.url)
    face.assign("log", list(letters))
    face.read("log")
    proxy.refuse()
    face.call("log", verb, *arguments)
    face.push("log", "behind")
    other.log.insert(0, "a")
    proxy.heal()
    assert face.flush() == 0
    assert other.log == face.read("log") == ["a", *letters, "behind"]
    assert [(met.name, met.reason) for met in face.conflicts()] == [("log", "moved")]
    assert face.status().conflicts == 1


def test_an_index_that_nobody_moved_is_kept(
    open_face: OpenFace, proxy: FaultProxy, other: ConversationMemory, name: str
) -> None:
    """Appends of others move nothing: the element that was seen is the one that is changed."""
    face = open_face(name, proxy.url)
    face.assign("log", ["a", "b"])
    face.read("log")
    proxy.refuse()
    face.call("log", "__setitem__", -1, "mine")
    face.call("log", "insert", 0, "first")
    face.call("log", "__setitem__", 1, "second")
    other.log.append("theirs")
    come_back(face, proxy)
    assert other.log == ["first", "second", "mine", "theirs"]
