"""Every change is made exactly once, whatever happens to requests and replies."""

from __future__ import annotations

import copy
import itertools
import math
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    DataLossWarning,
    InDoubtError,
    StaleProxyError,
    clear,
    increment,
    push,
    setdefault,
    snapshot,
    status,
)
from tests.faults import FaultProxy, Loss, Predicate, Request
from tests.servers import Server

LOST: tuple[Loss, ...] = ("reset", "eof", "half")
MANY = 500

Apply = Callable[[Any], object]


def is_change(request: Request) -> bool:
    """Whether a request changes something: it names its writer."""
    return any(argument.startswith(b"_w") for argument in request.arguments)


def sent_first() -> Predicate:
    """True of each change when it is sent for the first time, false when it is sent again."""
    seen = set()

    def is_new(request: Request) -> bool:
        # the first argument is the script: its name, then its source
        what = request.arguments[1:]
        is_known = what in seen
        seen.add(what)
        return is_change(request) and not is_known

    return is_new


def fail_each_once(proxy: FaultProxy, how: str) -> None:
    """Let every change from now on fail once, and only once."""
    if how == "unsent":
        proxy.reset_before(math.inf, when=sent_first())
    elif how in LOST:
        proxy.lose_replies(math.inf, how=how, when=sent_first())


@pytest.fixture
def memory(name: str, proxy: FaultProxy) -> Iterator[ConversationMemory]:
    """A memory behind the proxy, patient enough for a slow machine."""
    with ConversationMemory(name, proxy.url, timeout_s=5) as memory:
        yield memory


@pytest.fixture
def forgetful(name: str, server: Server) -> Iterator[ConversationMemory]:
    """A memory that keeps no acknowledged change to make it again."""
    with ConversationMemory(name, server.url, timeout_s=5, repair_operations=0) as memory:
        yield memory


@pytest.fixture
def other(name: str, server: Server) -> Iterator[ConversationMemory]:
    """The same conversation, opened past the proxy by somebody who has read nothing."""
    with ConversationMemory(name, server.url, timeout_s=5) as memory:
        yield memory


@pytest.mark.parametrize("how", [*LOST, "unsent"])
def test_500_failures_make_500_appends(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy, how: str
) -> None:
    """Each append fails once on its way, and each is there once, in order."""
    memory.messages = []
    messages = memory.messages
    fail_each_once(proxy, how)
    for number in range(MANY):
        messages.append(number)
    assert proxy.lost + proxy.unsent == MANY
    assert messages == memory.messages == other.messages == list(range(MANY))


@pytest.mark.parametrize("how", ["reset", "unsent"])
def test_500_failures_make_a_counter_of_500(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy, how: str
) -> None:
    """Each increment returns its own sum, although its first try failed."""
    fail_each_once(proxy, how)
    assert [increment(memory, "count") for _ in range(MANY)] == list(range(1, MANY + 1))
    assert proxy.lost + proxy.unsent == MANY
    assert memory.count == other.count == MANY


def test_replies_in_single_bytes_are_put_together(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """However the network cuts replies, changes and reads are what they are."""
    proxy.slice_replies()
    memory.messages = []
    for number in range(50):
        memory.messages.append({"number": number})
        assert memory.messages[-1] == {"number": number}
    assert memory.messages == other.messages == [{"number": number} for number in range(50)]


def test_forgotten_scripts_are_loaded_again(
    memory: ConversationMemory, other: ConversationMemory, server: Server
) -> None:
    """SCRIPT FLUSH between any two operations is not noticed."""
    memory.messages = []
    held = memory.messages
    steps: list[Callable[[], object]] = [
        lambda: held.append(1),
        lambda: increment(memory, "count"),
        lambda: setattr(memory, "topic", "billing"),
        lambda: memory.messages,
        lambda: snapshot(memory),
        lambda: held.insert(0, 0),
        lambda: delattr(memory, "topic"),
    ]
    for step in steps:
        server.client().script_flush()
        step()
    assert snapshot(other) == {"messages": [0, 1], "count": 1}
    assert status(memory).data_loss == 0


@pytest.mark.parametrize("how", LOST)
def test_a_lost_reply_to_the_first_use_of_a_script_is_harmless(
    memory: ConversationMemory,
    other: ConversationMemory,
    proxy: FaultProxy,
    server: Server,
    how: Loss,
) -> None:
    """Where the script had to be loaded, the reply may get lost as well."""
    memory.messages = []
    held = memory.messages
    for number in range(20):
        server.client().script_flush()
        proxy.lose_replies(how=how, when=lambda request: request.name == b"EVAL")
        held.append(number)
    assert proxy.lost == 20
    assert held == other.messages == list(range(20))


WRITES = {
    *("HSET", "HSETNX", "HDEL", "HINCRBY", "DEL", "EXPIRE", "PERSIST"),
    *("RPUSH", "LPUSH", "LSET", "LREM", "LPOP", "RPOP", "LINSERT"),
}


def use_every_script(memory: ConversationMemory) -> None:
    """Change a memory in every way that has a script, or a branch of one, of its own."""
    memory.box = [3, 1, 2]
    memory.box.append(4)
    memory.box.insert(1, 5)
    memory.box[0] = 6
    memory.box.remove(5)
    memory.box.sort()
    del memory.box[1]
    assert memory.box.pop(0) == 1
    memory.box = "text"
    memory.box = {"a": {"b": [1]}}
    memory.box["a"]["b"].append(2)
    memory.box.update(c=1)
    assert memory.box.setdefault("d", 2) == 2
    assert memory.box.popitem() == ("d", 2)
    memory.box.clear()
    memory.box = {1, 2}
    memory.box.add(3)
    memory.box.remove(1)
    memory.box &= {2}
    memory.box ^= {2, 4}
    memory.new = 1
    increment(memory, "new")
    increment(memory, "half", 0.5)
    push(memory, "log", 1)
    push(memory, "log", 2)
    del memory.log
    clear(memory)


def runs_of(seen: Iterable[dict[str, Any]]) -> Iterator[list[list[str]]]:
    """What MONITOR has shown: the commands that ran inside each command of a client."""
    inside: list[list[str]] = []
    for command in seen:
        if command["client_type"] == "lua":
            inside.append(command["command"].split(" "))
        else:
            yield inside
            inside = []


def test_a_number_is_stored_before_anything_else(
    memory: ConversationMemory, server: Server, name: str
) -> None:
    """So a server that refuses to write refuses a change as a whole, and never half of it."""
    client: Any = server.client()
    with client.monitor() as monitor:
        use_every_script(memory)
        end = uuid.uuid4().hex
        client.echo(end)
        seen = list(itertools.takewhile(lambda c: end not in c["command"], monitor.listen()))
    first = [
        next(words for words in inside if words[0].upper() in WRITES)
        for inside in runs_of([*seen, {"client_type": "end"}])
        if any(words[0].upper() in WRITES for words in inside)
    ]
    assert len(first) > 25
    for command, key, field, *_ in first:
        assert (command.upper(), key, field[:2]) == ("HSET", f"memory:{{{name}}}", "_w")


# what a change returns when its reply was lost


LIST_CHANGES: dict[str, Apply] = {
    "append": lambda box: box.append(9),
    "extend": lambda box: box.extend([8, 9]),
    "insert": lambda box: box.insert(1, 9),
    "insert in front": lambda box: box.insert(0, 9),
    "set": lambda box: box.__setitem__(-1, 9),
    "delete": lambda box: box.__delitem__(1),
    "pop": lambda box: box.pop(),
    "pop first": lambda box: box.pop(0),
    "pop one": lambda box: box.pop(2),
    "remove": lambda box: box.remove(1),
    "sort": lambda box: box.sort(),
    "reverse": lambda box: box.reverse(),
    "repeat": lambda box: box.__imul__(2) and None,
    "set a slice": lambda box: box.__setitem__(slice(1, 3), [7, 8, 9]),
    "delete a slice": lambda box: box.__delitem__(slice(0, 2)),
    "clear": lambda box: box.clear(),
}
DICT_CHANGES: dict[str, Apply] = {
    "set": lambda box: box.__setitem__("c", 3),
    "replace": lambda box: box.__setitem__("a", 3),
    "delete": lambda box: box.__delitem__("a"),
    "pop": lambda box: box.pop("a"),
    "pop or default": lambda box: box.pop("z", "none"),
    "popitem": lambda box: box.popitem(),
    "setdefault new": lambda box: box.setdefault("c", 3),
    "setdefault old": lambda box: box.setdefault("a", 3),
    "update": lambda box: box.update(c=3, a=4),
    "clear": lambda box: box.clear(),
}
SET_CHANGES: dict[str, Apply] = {
    "add": lambda box: box.add(9),
    "discard": lambda box: box.discard(1),
    "remove": lambda box: box.remove(1),
    "update": lambda box: box.update({8, 9}),
    "keep": lambda box: box.intersection_update({1, 9}),
    "toggle": lambda box: box.symmetric_difference_update({1, 9}),
    "clear": lambda box: box.clear(),
}
NESTED_CHANGES: dict[str, Apply] = {
    "append": lambda box: box["a"]["list"].append(9),
    "pop": lambda box: box["a"]["list"].pop(),
    "sort": lambda box: box["a"]["list"].sort(),
    "set": lambda box: box["a"].__setitem__("new", 1),
    "popitem": lambda box: box["a"].popitem(),
    "setdefault": lambda box: box["a"].setdefault("deep", []).append(1),
    "in a tuple": lambda box: box["t"][1].append(2),
}
CHANGES = [
    *(pytest.param([3, 1, 2, 1], change, id=f"list {n}") for n, change in LIST_CHANGES.items()),
    *(pytest.param({"a": 1, "b": 2}, change, id=f"dict {n}") for n, change in DICT_CHANGES.items()),
    *(pytest.param({1, 2}, change, id=f"set {n}") for n, change in SET_CHANGES.items()),
    *(
        pytest.param({"a": {"list": [3, 1]}, "t": (0, [1])}, change, id=f"nested {n}")
        for n, change in NESTED_CHANGES.items()
    ),
]


@pytest.mark.parametrize("how", ["reset", "unsent"])
@pytest.mark.parametrize(("value", "change"), CHANGES)
def test_a_change_returns_what_it_did(
    memory: ConversationMemory,
    other: ConversationMemory,
    proxy: FaultProxy,
    value: Any,
    change: Apply,
    how: str,
) -> None:
    """With a reply lost on the way, result, proxy and stored value are those of a plain box."""
    plain = copy.deepcopy(value)
    memory.box = value
    box = memory.box
    fail_each_once(proxy, how)
    assert change(box) == change(plain)
    assert proxy.lost + proxy.unsent > 0
    assert box == plain
    assert memory.box == plain
    assert other.box == plain
    assert type(other.box) is type(box)


def test_set_pop_returns_the_element_that_was_taken(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """Which element it is may be anything, but it is the one that is gone."""
    memory.box = {1, 2, 3}
    box = memory.box
    fail_each_once(proxy, "reset")
    taken = box.pop()
    assert proxy.lost == 1
    assert box == other.box == {1, 2, 3} - {taken}


def test_work_taken_with_lost_replies_is_taken_once(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """Every item of a work queue is handed out exactly once."""
    memory.work = list(range(100))
    work = memory.work
    fail_each_once(proxy, "reset")
    assert [work.pop(0) for _ in range(100)] == list(range(100))
    assert proxy.lost == 100
    assert other.work == []


@pytest.mark.parametrize("how", ["reset", "unsent"])
def test_functions_return_what_they_did(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy, how: str
) -> None:
    """Assignments, deletions and functions survive a lost reply as proxies do."""
    fail_each_once(proxy, how)
    memory.topic = "billing"
    memory.topic = ["a"]
    assert push(memory, "log", 1, 2) == 2
    assert push(memory, "log", 3) == 3
    assert increment(memory, "half", 0.5) == 0.5
    assert increment(memory, "large", 10**20) == 10**20
    assert increment(memory, "large") == 10**20 + 1
    assert setdefault(memory, "owner", "a") == "a"
    assert setdefault(memory, "owner", "b") == "a"
    memory.gone = 1
    del memory.gone
    kept = {"topic": ["a"], "log": [1, 2, 3], "half": 0.5, "large": 10**20 + 1, "owner": "a"}
    assert snapshot(memory) == snapshot(other) == kept
    clear(memory)
    assert snapshot(other) == {}
    assert proxy.lost + proxy.unsent >= 12
    assert status(memory).data_loss == 0


# the same while others write


OVERTAKEN: dict[str, tuple[Any, Apply, Apply, Any]] = {
    # what is there, what others do first, what is done then, what comes of both
    "sort": ([3, 1], lambda box: box.append(2), lambda box: box.sort(), [1, 2, 3]),
    "nested": (
        {"prefs": {"a": 1}},
        lambda box: box["prefs"].update(b=2),
        lambda box: box["prefs"].update(c=3),
        {"prefs": {"a": 1, "b": 2, "c": 3}},
    ),
    "setdefault": (
        {"a": 1},
        lambda box: box.update(b="theirs"),
        lambda box: box.setdefault("b", "mine"),
        {"a": 1, "b": "theirs"},
    ),
}


@pytest.mark.parametrize("how", ["reset", "unsent"])
@pytest.mark.parametrize(
    ("value", "theirs", "mine", "both"), OVERTAKEN.values(), ids=list(OVERTAKEN)
)
def test_a_lost_reply_to_a_conflict_is_no_loss(
    memory: ConversationMemory,
    other: ConversationMemory,
    proxy: FaultProxy,
    value: Any,
    theirs: Apply,
    mine: Apply,
    both: Any,
    how: str,
) -> None:
    """A change that others overtook is made again on what they left, also when that got lost."""
    memory.box = value
    box = memory.box
    theirs(other.box)
    fail_each_once(proxy, how)
    mine(box)
    assert proxy.lost + proxy.unsent > 0
    assert box == memory.box == other.box == both


# a server that has forgotten


def forget_writers(server: Server, name: str) -> None:
    """Remove the server's knowledge of who wrote what, and leave the attributes."""
    key = f"memory:{{{name}}}"
    fields: Any = server.client().hkeys(key)
    server.client().hdel(key, *(field for field in fields if field.startswith(b"_w")))


def test_a_forgotten_writer_is_noticed(
    memory: ConversationMemory, other: ConversationMemory, server: Server, name: str
) -> None:
    """The next change is made, once, with a warning; the ones behind it without."""
    memory.messages = ["a"]
    messages = memory.messages
    forget_writers(server, name)
    with pytest.warns(DataLossWarning, match=f"conversation '{name}'"):
        messages.append("b")
    messages.append("c")
    assert status(memory).data_loss == 1
    assert messages == other.messages == ["a", "b", "c"]


def test_a_forgotten_writer_is_never_taken_for_a_new_one(
    memory: ConversationMemory,
    other: ConversationMemory,
    proxy: FaultProxy,
    server: Server,
    name: str,
) -> None:
    """A change that may have been applied already is not made again: it is in doubt."""
    memory.messages = []
    memory.messages.append("a")
    messages = memory.messages
    is_new = sent_first()

    def look(request: Request) -> bool:
        if is_change(request) and not is_new(request):
            forget_writers(server, name)
        return False

    proxy.reset_before(when=look)
    proxy.lose_replies(when=is_change)
    with pytest.warns(DataLossWarning), pytest.raises(InDoubtError):
        messages.append("b")
    assert proxy.lost == 1
    assert other.messages == ["a", "b"]
    memory.messages.append("c")
    assert other.messages == memory.messages == ["a", "b", "c"]
    assert status(memory).data_loss == 1


def test_an_emptied_server_is_noticed(
    memory: ConversationMemory, other: ConversationMemory, server: Server
) -> None:
    """FLUSHALL under a writer that lives: one warning, and what it had made is made again."""
    memory.topic = "billing"
    memory.messages = ["a"]
    held = memory.messages
    server.client().flushall()
    with pytest.warns(DataLossWarning, match="2 changes") as told:
        memory.topic = "refund"
    assert [(loss.forgotten, loss.repaired) for loss in losses(told)] == [(2, 2)]
    assert snapshot(other) == snapshot(memory) == {"topic": "refund", "messages": ["a"]}
    held.append("b")
    assert held == memory.messages == other.messages == ["a", "b"]
    assert status(memory).data_loss == 1


def test_what_was_not_kept_is_told_as_lost(
    forgetful: ConversationMemory, other: ConversationMemory, server: Server
) -> None:
    """Without changes kept for repair the warning counts the loss, and the memory goes on."""
    forgetful.topic = "billing"
    forgetful.messages = ["a"]
    held = forgetful.messages
    server.client().flushall()
    with pytest.warns(DataLossWarning, match="2 changes") as told:
        forgetful.topic = "refund"
    assert [(loss.forgotten, loss.repaired) for loss in losses(told)] == [(2, 0)]
    assert snapshot(other) == snapshot(forgetful) == {"topic": "refund"}
    with pytest.raises(StaleProxyError):
        held.append("b")
    forgetful.messages = ["b"]
    assert other.messages == ["b"]
    assert status(forgetful).data_loss == 1


def losses(told: pytest.WarningsRecorder) -> list[DataLossWarning]:
    """The losses among the warnings, as they were raised."""
    return [one.message for one in told if isinstance(one.message, DataLossWarning)]


def test_an_emptied_server_is_noticed_by_a_held_proxy(
    memory: ConversationMemory, server: Server
) -> None:
    """The append says that the list was lost, makes it again, and is behind what was in it."""
    memory.messages = ["a"]
    held = memory.messages
    server.client().flushall()
    with pytest.warns(DataLossWarning):
        held.append("b")
    assert held == memory.messages == ["a", "b"]
    assert status(memory).data_loss == 1


def test_a_lost_list_is_gone_for_a_held_proxy(
    forgetful: ConversationMemory, server: Server
) -> None:
    """Where it cannot be made again, the append says that it is gone, and the warning why."""
    forgetful.messages = ["a"]
    held = forgetful.messages
    server.client().flushall()
    with pytest.warns(DataLossWarning), pytest.raises(StaleProxyError):
        held.append("b")
    assert snapshot(forgetful) == {}


@pytest.mark.parametrize(("kept", "count"), [(1000, 2), (0, 1)])
def test_a_server_that_comes_back_older_is_noticed(
    own_server: Server, kept: int, count: int
) -> None:
    """After a restart from an old snapshot the next read warns, and repairs what it can."""
    with ConversationMemory("c-1", own_server.url, timeout_s=5, repair_operations=kept) as memory:
        memory.count = 1
        own_server.restart()
        memory.count = 2
        own_server.kill()
        own_server.start()
        with pytest.warns(DataLossWarning):
            assert memory.count == count
        memory.last = 3
        assert snapshot(memory) == {"count": count, "last": 3}
        assert status(memory).data_loss == 1


def test_a_list_begun_anew_is_read_as_it_is(
    memory: ConversationMemory, other: ConversationMemory, server: Server
) -> None:
    """What a reader knew of a list that was lost is not mixed with the list in its place."""
    memory.messages = list("abc")
    memory.messages.append("d")
    assert memory.messages == list("abcd")
    server.client().flushall()
    other.messages = []
    for letter in "uvwxyz":
        other.messages.append(letter)
    assert memory.messages == list("uvwxyz")


def test_a_held_proxy_does_not_change_a_list_begun_anew(
    memory: ConversationMemory, other: ConversationMemory, server: Server
) -> None:
    """An index seen in a list that was lost never means an element of the list in its place."""
    memory.first = 1
    memory.messages = list("abc")
    held = memory.messages
    server.client().flushall()
    other.messages = list("xyz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        with pytest.raises(StaleProxyError):
            held[0] = "A"
    assert other.messages == list("xyz")


@pytest.mark.parametrize(("kept", "made_again"), [(1000, ["lost"]), (0, [])])
def test_a_restored_list_is_read_as_it_is(
    own_server: Server, kept: int, made_again: list[str]
) -> None:
    """What a reader saw appended after the backup is not mixed with what was appended since."""
    with (
        ConversationMemory("c-1", own_server.url, timeout_s=5) as reader,
        ConversationMemory(
            "c-1", own_server.tcp_url, timeout_s=5, repair_operations=kept
        ) as writer,
    ):
        writer.messages = ["a"]
        own_server.restart()
        writer.messages.append("lost")
        assert reader.messages == ["a", "lost"]
        own_server.kill()
        own_server.start()
        assert "messages" in writer
        with pytest.warns(DataLossWarning):
            push(writer, "messages", "b")
        push(writer, "messages", "c")
        assert reader.messages == ["a", *made_again, "b", "c"]
