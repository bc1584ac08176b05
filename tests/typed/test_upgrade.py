"""The hook `__upgrade__`: a memory is brought to what its class declares, once, and as a whole."""

# ruff: noqa: RUF012 - a declared default is a fresh one for each reader
from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field

from redis_memory import (
    MISSING,
    AsyncConversationMemory,
    ConflictError,
    ConversationMemory,
    DataLossWarning,
    InDoubtError,
    InvalidValueError,
    OfflineError,
    aio,
    batch,
    claim,
    clear,
    compare_and_set,
    flush,
    increment,
    push,
    setdefault,
    snapshot,
    transaction,
    wait_for,
    window,
)
from redis_memory.core.schemas import Mark
from redis_memory.core.scripts import SCRIPTS
from redis_memory.typed.declarations import Schema
from redis_memory.typed.upgrading import mark_of
from tests.children import Child, end_together
from tests.faults import FaultProxy, Request
from tests.outages.network import QUICKLY
from tests.servers import Server
from tests.waiting import wait_until

PROCESSES = 8
WEEK_S = 604_800


class Message(BaseModel):
    role: Literal["user", "assistant"] = "user"
    text: str


class Case(ConversationMemory):
    """Of before: `status`, and messages that were strings."""

    state: Literal["open", "closed"] = "open"
    messages: list[Message] = []
    upgrades: int = 0
    given: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
        cls.given.append({**stored})
        return upgraded(stored)


class AsyncCase(AsyncConversationMemory):
    state: Literal["open", "closed"] = "open"
    messages: list[Message] = []
    upgrades: int = 0

    @classmethod
    def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return upgraded(stored)


def upgraded(stored: dict[str, Any]) -> dict[str, Any]:
    """What is stored in its new form."""
    if stored.pop("status", None) == "done":
        stored["state"] = "closed"
    messages = stored.get("messages", [])
    stored["messages"] = [{"text": it} if isinstance(it, str) else it for it in messages]
    stored["upgrades"] = stored.get("upgrades", 0) + 1
    return stored


OLD = {"status": "done", "messages": ["Hello"], "more": {"left": (1, b"alone")}}
NEW = {
    "state": "closed",
    "messages": [{"role": "user", "text": "Hello"}],
    "more": {"left": (1, b"alone")},
    "upgrades": 1,
}


@pytest.fixture(autouse=True)
def nothing_is_given_yet() -> None:
    """The hook has not been called."""
    Case.given.clear()


@pytest.fixture
def old(plain: ConversationMemory) -> ConversationMemory:
    """A memory as it was stored before."""
    return fill(plain)


def fill(plain: ConversationMemory) -> ConversationMemory:
    """Store what is to be upgraded."""
    for name, value in OLD.items():
        setattr(plain, name, value)
    return plain


@pytest.fixture
def case(each_url: str, conversation_id: str) -> Iterator[Case]:
    """The memory through the class of today."""
    with Case(conversation_id, each_url) as memory:
        yield memory


def marks(server: Server, name: str) -> dict[bytes, bytes]:
    """The marks of all classes."""
    fields: Any = server.client().hgetall(f"memory:{{{name}}}")
    return {key: value for key, value in fields.items() if key.startswith(b"_schema")}


def schema_of(kind: Any) -> Schema:
    """What a class declares."""
    schema: Schema = kind._redis_memory_schema
    return schema


def in_block(case: Case, block: Any) -> None:
    """Read and change it in a block."""
    with block(case):
        assert case.state == "closed"
        assert case.messages == [Message(text="Hello")]
        case.state = "open"
        push(case, "messages", Message(text="2"))
    assert [message.text for message in case.messages] == ["Hello", "2"]


def written_under_claim(case: Case) -> bool:
    """Change it under a claim."""
    it = claim(case, "role", "me", ttl_s=30)
    assert it is not None
    it.write(state="open")
    it.release()
    return case.state == "open" and len(case.messages) == 1


# Every way to a memory; what each gives of the upgraded one.
WAYS: dict[str, tuple[Any, Any]] = {
    "read": (lambda case: case.state, "closed"),
    "read an item": (lambda case: case["state"], "closed"),
    "has": (lambda case: hasattr(case, "status"), False),
    "in": (lambda case: "status" in case, False),
    "names": (sorted, sorted(NEW)),
    "snapshot": (snapshot, NEW),
    "window": (lambda case: window(case, "messages"), [Message(text="Hello")]),
    "assign": (lambda case: setattr(case, "state", "open"), None),
    "delete": (lambda case: delattr(case, "state"), None),
    "setdefault": (lambda case: setdefault(case, "state", "open"), "closed"),
    "push": (lambda case: push(case, "messages", Message(text="2")), 2),
    "increment": (lambda case: increment(case, "upgrades", 10), 11),
    "compare": (lambda case: compare_and_set(case, "state", "closed", "open"), True),
    "wait": (lambda case: wait_for(case, "state", "closed", timeout_s=5), "closed"),
    "batch": (lambda case: in_block(case, batch), None),
    "transaction": (lambda case: in_block(case, transaction), None),
    "claim": (written_under_claim, True),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_memory_is_upgraded_before_it_is_used(
    old: ConversationMemory, case: Case, way: str
) -> None:
    """Whatever is done first; and by this object once."""
    act, expected = WAYS[way]
    assert act(case) == expected
    assert "status" not in old
    assert old.more == OLD["more"]
    assert old.messages[0] == NEW["messages"][0]  # type: ignore[index]  # it is a list
    assert case.messages[0] == Message(text="Hello")
    assert case.upgrades in (1, 11)
    assert Case.given == [OLD]


def test_a_memory_is_upgraded_once(
    old: ConversationMemory, case: Case, conversation_id: str, each_url: str
) -> None:
    """Other objects and other processes find that it is done."""
    assert case.upgrades == 1
    for _ in range(2):
        with Case(conversation_id, each_url) as other:
            assert other.upgrades == 1
            assert snapshot(other) == NEW
    # what is stored in the old form afterwards is the business of whoever stores it
    old.status = "done"
    with Case(conversation_id, each_url) as other:
        assert other.upgrades == 1
        assert other["status"] == "done"


def test_of_processes_that_open_a_memory_at_once_one_upgrades_it(
    server: Server, conversation_id: str
) -> None:
    """All of them see it done."""
    fill(ConversationMemory(conversation_id, server.url))

    def work(child: Child) -> None:
        with Case(conversation_id, server.url) as case:
            child.tell()
            child.wait()
            push(case, "messages", Message(text="more"))
            assert (case.state, case.upgrades) == ("closed", 1)
            assert case.messages[0] == Message(text="Hello")

    end_together([Child(work) for _ in range(PROCESSES)])
    with Case(conversation_id, server.url) as case:
        assert len(case.messages) == 1 + PROCESSES
        assert case.upgrades == 1


def test_threads_of_one_object_upgrade_it_once(old: ConversationMemory, case: Case) -> None:
    """Those that come second wait for the first."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        assert list(pool.map(lambda _: case.upgrades, range(PROCESSES))) == [1] * PROCESSES
    assert Case.given == [OLD]


def test_what_others_write_meanwhile_is_not_lost(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """The hook is run again on what is there by then."""
    seen: list[list[str]] = []

    class Slow(Case):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            seen.append([*stored["messages"]])
            if len(seen) == 1:
                old.messages.append("meanwhile")
            elif len(seen) == 2:
                old.another = 1
            elif len(seen) == 3:
                del old.another
            return upgraded(stored)

    with Slow(conversation_id, each_url) as case:
        assert [message.text for message in case.messages] == ["Hello", "meanwhile"]
        assert case.upgrades == 1
        assert "another" not in case
    assert seen == [["Hello"], *[["Hello", "meanwhile"]] * 3]


def test_a_writer_that_never_stops_is_told_of(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """By a ConflictError, after so many attempts; nothing was changed."""
    attempts: list[Any] = []

    class Late(Case):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            attempts.append(increment(old, "count"))
            return {}

    with Late(conversation_id, each_url) as case:
        with pytest.raises(ConflictError) as told:
            _ = case.state
        assert told.value.names == ("count",)
        assert len(attempts) == 20
        assert {**snapshot(old), "count": 0} == {**OLD, "count": 0}


@pytest.mark.parametrize("error", [ValueError, KeyError, AttributeError, ZeroDivisionError])
def test_a_hook_that_fails_leaves_the_memory_as_it_was(
    old: ConversationMemory, conversation_id: str, each_url: str, error: type[Exception]
) -> None:
    """The caller is told, also one who only asks what there is; the next one tries again."""

    class Failing(Case):
        works: ClassVar[bool] = False

        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            wanted = upgraded(stored)
            if not cls.works:
                raise error("no")
            return wanted

    is_missing = issubclass(error, AttributeError | LookupError)
    with Failing(conversation_id, each_url) as case:
        for act in (lambda: hasattr(case, "state"), lambda: case["state"], lambda: len(case)):
            with pytest.raises(RuntimeError if is_missing else error) as told:
                act()
            assert isinstance(told.value.__cause__ if is_missing else told.value, error)
            assert snapshot(old) == OLD
        with pytest.raises(RuntimeError if is_missing else error):
            case.state = "open"
        with pytest.raises(RuntimeError if is_missing else error), batch(case):
            case.state = "open"
        assert snapshot(old) == OLD
        Failing.works = True
        assert snapshot(case) == NEW


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"state": "gone"}, InvalidValueError),
        ({"messages": [{"text": 5}]}, InvalidValueError),
        ({"_private": 1}, InvalidValueError),
        ({5: 1}, InvalidValueError),
        ({"more": object()}, TypeError),
        ([], TypeError),
        (None, TypeError),
    ],
)
def test_what_the_hook_returns_is_validated(
    old: ConversationMemory, conversation_id: str, each_url: str, wanted: Any, error: type
) -> None:
    """What does not fit is refused, and changes nothing."""

    class Wrong(Case):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            result: dict[str, Any] = wanted
            return result

    with Wrong(conversation_id, each_url) as case:
        for _ in range(2):
            with pytest.raises(error):
                _ = case.messages
        assert snapshot(old) == OLD
        clear(case)
        assert case.messages == []


def test_models_and_coerced_values_are_stored_as_declared(
    plain: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """What the hook returns goes in by the same door as everything else."""
    plain.old = ["a", "b"]

    class Modelled(ConversationMemory, extra="forbid"):
        messages: list[Message] = []
        count: int = 0

        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            texts = stored.pop("old", [])
            if cls.given:
                stored["new"] = 1
            return {**stored, "messages": [Message(text=it) for it in texts], "count": "5"}

        given: ClassVar[bool] = True

    with Modelled(conversation_id, each_url) as case:
        with pytest.raises(InvalidValueError, match="new: It is not declared"):
            _ = case.count
        Modelled.given = False
        assert case.count == 5
        assert case.messages == [Message(text="a"), Message(text="b")]
        assert snapshot(plain)["messages"][1] == {"role": "user", "text": "b"}


def test_each_class_has_marks_of_its_own(server: Server, conversation_id: str) -> None:
    """A subclass upgrades for itself, and another class with the same memory does."""
    plain = fill(ConversationMemory(conversation_id, server.url))

    class Sub(Case):
        priority: int = 0

        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            return {**super().__upgrade__(stored), "priority": 3}

    class Other(ConversationMemory):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            return {**stored, "other": True}

    class Unhooked(Case):
        __upgrade__ = None  # type: ignore[assignment]  # without it

    with Unhooked(conversation_id, server.url) as unhooked:
        assert unhooked["status"] == "done"
    for _ in range(2):
        for kind in (Case, Sub, Other):
            with kind(conversation_id, server.url) as memory:
                assert memory.state == "closed"
    assert snapshot(plain) == {**NEW, "priority": 3, "other": True, "upgrades": 2}
    assert len(Case.given) == 2
    assert len(marks(server, conversation_id)) == 3
    assert all(
        len(key) <= 64 and len(value) <= 64 for key, value in marks(server, conversation_id).items()
    )


def version(number: int | None, default: Any = 0) -> type[ConversationMemory]:
    """A class as it was, or will be, in another release."""

    class Released(ConversationMemory):
        by: list[int] = []
        if number is None:
            field: str = str(default)
            __annotations__["field"] = type(default)
        else:
            __schema_version__ = number

        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            return {**stored, "by": [*stored["by"], -1 if number is None else number]}

    return Released


def test_an_older_process_undoes_nothing(each_url: str, plain: ConversationMemory) -> None:
    """By versions those that come later count; without them each schema is brought about once."""
    name = str(plain.conversation_id)
    plain.by = []
    for number in (1, 2, 1, 2, 3, 1, 10, 9, 3):
        with version(number)(name, each_url) as memory:
            assert memory.by[-1] >= number
    assert plain.by == [1, 2, 3, 10]
    for default in ("text", 1, "text", 2, 1.5, 1):
        with version(None, default)(name, each_url) as memory:
            assert -1 in memory.by
    assert plain.by == [1, 2, 3, 10, -1, -1, -1]


@pytest.mark.parametrize("wrong", [-1, "1", 1.0, True])
def test_a_version_is_a_number(wrong: Any) -> None:
    """Or the class cannot be made."""
    with pytest.raises(TypeError, match="__schema_version__"):
        version(wrong)


def test_marks_never_begin_with_other_marks() -> None:
    """The server compares beginnings; the oldest of many are forgotten."""
    row = b""
    seen: list[bytes] = []
    for number in range(1, 30):
        mark = Mark("module.Class", "", number)
        assert not mark.is_in(row)
        row = mark.added_to(row)
        assert mark.is_in(row)
        assert Mark("module.Class", "", number - 1).is_in(row)
        assert not any(row.startswith(other) for other in seen)
        seen.append(row)
        assert len(row) <= 64
    long = [Mark(f"{'m' * 80}.{'x' * at}", "").field for at in range(80)]
    assert len(set(long)) == 80
    assert max(map(len, long)) == 64


def test_an_empty_memory_is_marked_by_its_first_attribute(
    server: Server, conversation_id: str
) -> None:
    """Reading stores nothing, and what is stored in the new form is never given to the hook."""
    first: list[Any] = [
        lambda it: it.messages.append(Message(text="1")),
        lambda it: setattr(it, "state", "closed"),
        lambda it: push(it, "messages", Message(text="1")),
        lambda it: increment(it, "upgrades"),
        lambda it: setdefault(it, "state", "closed"),
        lambda it: compare_and_set(it, "state", MISSING, "closed"),
        lambda it: in_batch(it, lambda: setattr(it, "state", "closed")),
        lambda it: in_batch(it, lambda: it.messages.append(Message(text="1"))),
    ]
    for at, act in enumerate(first):
        name = f"{conversation_id}-{at}"
        with Case(name, server.url) as case:
            for _ in range(2):
                assert (case.state, case.messages, len(case)) == ("open", [], 0)
                assert not hasattr(case, "nothing")
            assert not server.client().keys(f"*{name}*")
            with pytest.raises(AttributeError):
                del case.state
            assert marks(server, name) == {}
            act(case)
            assert len(marks(server, name)) == 1
        with Case(name, server.url) as case:
            assert len(case) == 1
    assert Case.given == []


def in_batch(case: Case, act: Any) -> None:
    """Do something in a block."""
    with batch(case):
        act()


def test_what_comes_into_an_empty_memory_is_upgraded(plain: ConversationMemory, case: Case) -> None:
    """Also after it was read, and where the first change is one of a default that was held."""
    held = case.messages
    assert case.state == "open"
    fill(plain)
    held.append(Message(text="2"))
    assert [message.text for message in case.messages] == ["Hello", "2"]
    assert (case.state, case.upgrades) == ("closed", 1)
    assert Case.given == [OLD]


@pytest.mark.parametrize("is_cleared", [True, False])
def test_a_mark_keeps_no_empty_memory_alive(
    server: Server, conversation_id: str, *, is_cleared: bool
) -> None:
    """It stays for as long as the writers do, so what is stored anew counts as upgraded."""
    fill(ConversationMemory(conversation_id, server.url))
    key = f"memory:{{{conversation_id}}}"
    with Case(conversation_id, server.url) as case:
        assert case.state == "closed"
        assert server.client().ttl(key) == -1
        if is_cleared:
            clear(case)
        else:
            for name in [*case]:
                del case[name]
        assert 0 < server.client().ttl(key) <= WEEK_S
        assert len(marks(server, conversation_id)) == 1
        assert case["state"] == "open"
    with Case(conversation_id, server.url) as case:
        case.messages.append(Message(text="new"))
        assert server.client().ttl(key) == -1
    with Case(conversation_id, server.url) as case:
        assert case.messages == [Message(text="new")]
    assert Case.given == [OLD]


def test_a_hook_that_empties_a_memory_lets_it_go(server: Server, conversation_id: str) -> None:
    """What the hook leaves out is deleted."""
    fill(ConversationMemory(conversation_id, server.url))

    class Emptying(Case):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            return {}

    with Emptying(conversation_id, server.url) as case:
        assert len(case) == 0
        assert 0 < server.client().ttl(f"memory:{{{conversation_id}}}") <= WEEK_S
        assert server.client().keys(f"*{conversation_id}*:*") == []


def test_a_clear_needs_no_upgrade(old: ConversationMemory, case: Case) -> None:
    """Whatever the hook would say."""
    clear(case)
    assert snapshot(old) == {}
    assert Case.given == []


def test_round_trips_of_an_upgrade(proxy: FaultProxy, server: Server) -> None:
    """One where nothing is to be done, none after that; else those of a transaction."""
    plain = fill(ConversationMemory("trips", server.url))

    def trips(memory: Case) -> int:
        before = proxy.requests_seen()
        assert memory.state == "closed"
        return proxy.requests_seen() - before

    with ConversationMemory("warm", proxy.url) as warm:
        warm.x = [1]
        with batch(warm):
            warm.x = [2]
        assert snapshot(warm) == {"x": warm.x}
        with Case("trips", proxy.url) as case:
            assert trips(case) <= 5
            assert trips(case) == 1
        with Case("trips", proxy.url) as case:
            assert trips(case) == 2
            assert trips(case) == 1
    assert snapshot(plain) == NEW


def test_cached_reads_are_of_the_upgraded_memory(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """Also in a memory that was empty when it was first read."""
    with Case(conversation_id, each_url, read_mode="cached") as case:
        assert case.state == "closed"
        wait_until(lambda: case.messages == [Message(text="Hello")])
    clear(old)
    with Case(f"{conversation_id}-2", each_url, read_mode="cached") as case:
        assert case.state == "open"
        fill(ConversationMemory(f"{conversation_id}-2", each_url))
        assert case["state"] == "closed"
        assert case.upgrades == 1


def is_together(request: Request) -> bool:
    """Whether a request changes several attributes as one."""
    script = SCRIPTS["together"]
    return bool(request.arguments) and request.arguments[0] in (script.sha, script.source)


def test_a_lost_answer_upgrades_no_memory_twice(proxy: FaultProxy, server: Server) -> None:
    """It is sent again under its number."""
    plain = fill(ConversationMemory("lost", server.url))
    with Case("lost", proxy.url, timeout_s=5) as case:
        proxy.lose_replies(1, when=is_together)
        assert case.upgrades == 1
    assert snapshot(plain) == NEW


def test_an_upgrade_in_doubt_is_looked_for_again(proxy: FaultProxy, server: Server) -> None:
    """It was done as a whole, or not at all."""
    plain = fill(ConversationMemory("doubt", server.url))
    with Case("doubt", proxy.url, **QUICKLY) as case:
        proxy.lose_replies(100, how="timeout", when=is_together)
        with pytest.raises(InDoubtError):
            _ = case.state
        proxy.heal()
        wait_until(lambda: online(case))
        assert case.upgrades == 1
    assert snapshot(plain) == NEW


def online(case: Case) -> bool:
    """Whether it can be read, and is upgraded."""
    try:
        return case.state == "closed"
    except OfflineError:
        return False


def test_the_first_use_needs_the_server(own_server: Server) -> None:
    """Nothing is written to a memory of which nothing is known; later outages are as any other."""
    fill(ConversationMemory("away", own_server.url))
    with Case("away", own_server.url, **QUICKLY) as case:
        with Case("away", own_server.url, **QUICKLY) as other:
            assert other.state == "closed"
            own_server.stop()
            for act in WAYS["read"][0], WAYS["assign"][0], WAYS["push"][0]:
                with pytest.raises(OfflineError):
                    act(case)
            assert other.state == "closed"
            other.state = "open"
            own_server.start()
            assert flush(other, 5) == 0
        wait_until(lambda: not offline(case))


def offline(case: Case) -> bool:
    """Whether the server cannot be asked."""
    try:
        return len(case) < 0
    except OfflineError:
        return True


def test_the_first_change_of_an_empty_memory_may_wait(proxy: FaultProxy, server: Server) -> None:
    """If that was seen before the outage; the mark waits with it, once."""
    with Case("later", proxy.url, **QUICKLY) as case:
        assert (case.state, case.messages) == ("open", [])
        proxy.refuse()
        case.state = "closed"
        case.messages.append(Message(text="1"))
        with batch(case):
            case.upgrades = 5
        assert case.state == "closed"
        proxy.heal()
        assert flush(case, 10) == 0
        wait_until(lambda: online(case))
        assert len(marks(server, "later")) == 1
    with Case("later", server.url) as case:
        assert case.upgrades == 5
    assert Case.given == []


def test_old_attributes_that_come_during_an_outage_are_upgraded(
    proxy: FaultProxy, server: Server
) -> None:
    """What waits marks no memory that is not empty any more."""
    with Case("meanwhile", proxy.url, **QUICKLY) as case:
        assert case.state == "open"
        proxy.refuse()
        case.priority = 1
        fill(ConversationMemory("meanwhile", server.url))
        proxy.heal()
        assert flush(case, 10) == 0
        wait_until(lambda: online(case))
        assert snapshot(case) == {**NEW, "priority": 1}
    assert Case.given == [{**OLD, "priority": 1}]


def test_a_mark_is_made_again_with_what_the_server_has_lost(
    server: Server, conversation_id: str
) -> None:
    """Whoever comes next does not upgrade what was upgraded."""
    fill(ConversationMemory(conversation_id, server.url))
    with Case(conversation_id, server.url) as case:
        assert case.state == "closed"
        before = marks(server, conversation_id)
        server.client().flushall()
        with pytest.warns(DataLossWarning):
            case.messages.append(Message(text="2"))
        assert marks(server, conversation_id) == before
        assert [message.text for message in case.messages] == ["Hello", "2"]
    with Case(conversation_id, server.url) as case:
        assert (case.state, case.upgrades) == ("closed", 1)
    assert Case.given == [OLD]


def test_the_hook_may_use_the_memory(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """It sees it as it was."""

    class Curious(Case):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            assert it.status == stored["status"]
            return upgraded(stored)

    with Curious(conversation_id, each_url) as it:
        assert it.state == "closed"


def test_other_threads_wait_for_the_hook(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """Nobody who uses the same object sees the memory as it was."""
    begun, go = threading.Event(), threading.Event()

    class Long(Case):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            assert go.wait(10)
            return upgraded(stored)

    with Long(conversation_id, each_url) as case, ThreadPoolExecutor(2) as pool:
        first = pool.submit(getattr, case, "state")
        assert begun.wait(10)
        second = pool.submit(partial(hasattr, case, "status"))
        go.set()
        assert (first.result(10), second.result(10)) == ("closed", False)


async def test_an_async_memory_is_upgraded(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """By one of the tasks that use it first."""
    async with AsyncCase(conversation_id, each_url) as case:
        states = await asyncio.gather(*(case["state"] for _ in range(5)))
        assert states == ["closed"] * 5
        assert await aio.snapshot(case) == NEW
        await case["messages"].append(Message(text="2"))
    async with AsyncCase(conversation_id, each_url) as case:
        assert await case["upgrades"] == 1
        assert len(await case["messages"]) == 2


async def test_an_async_block_upgrades_first(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """The block itself is made of the upgraded memory."""
    async with AsyncCase(conversation_id, each_url) as case:
        async with aio.transaction(case):
            assert await case["state"] == "closed"
            await case["state"].set("open")
        assert await case["upgrades"] == 1
    assert old.state == "open"


async def test_an_empty_async_memory_is_marked(server: Server, conversation_id: str) -> None:
    """By its first attribute, also one that begins as a default."""
    async with AsyncCase(conversation_id, server.url) as case:
        assert await case["messages"] == []
        assert marks(server, conversation_id) == {}
        await case["messages"].append(Message(text="1"))
        assert len(marks(server, conversation_id)) == 1
        assert await case["upgrades"] == 0


async def test_a_failing_hook_reaches_who_awaits(
    old: ConversationMemory, conversation_id: str, each_url: str
) -> None:
    """Also `get` and `exists`, which take what is missing for an answer."""

    class Failing(AsyncCase):
        @classmethod
        def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
            raise KeyError("status")

    async with Failing(conversation_id, each_url) as case:
        for act in (case["state"].get, case["state"].exists, partial(aio.snapshot, case)):
            with pytest.raises(RuntimeError, match="KeyError"):
                await act()
    assert snapshot(old) == OLD


PROGRAM = """
from typing import Annotated, Any
from pydantic import AfterValidator, BaseModel, Field
from redis_memory import ConversationMemory
from redis_memory.typed.upgrading import mark_of

class Inner(BaseModel):
    '''Text {text}.'''
    colors: set[str] = {{"red", "green", "blue"}}
    free: Any = Field(default_factory=object, description="{text}")

class Thing:
    pass

class Case(ConversationMemory):
    colors: set[str] = {{"red", "green", "blue"}}
    inner: Inner | None = None
    checked: Annotated[int, AfterValidator(lambda it: it)] = {default}
    @classmethod
    def __upgrade__(cls, stored):
        return stored

print(mark_of(Case._redis_memory_schema).added_to(b"").decode())
"""


def test_a_schema_is_the_same_in_each_process() -> None:
    """Neither defaults nor descriptions, nor the order of a set, make it another one."""
    found = set()
    for seed, text, default in (("1", "a", 1), ("2", "b", 1), ("3", "c", 2)):
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM.format(text=text, default=default)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(ran.stdout)
    assert len(found) == 1


def test_a_schema_tells_forms_apart() -> None:
    """Names, types and constraints make it another one, also where JSON has no schema."""

    def of(annotation: Any, name: str = "x") -> bytes:
        body = {
            "__annotations__": {name: annotation},
            "__module__": __name__,
            "__upgrade__": classmethod(lambda _, stored: stored),
        }
        kind = type("Made", (ConversationMemory,), body)
        return mark_of(schema_of(kind)).added_to(b"")

    class Inner(BaseModel):
        title: int = 0

    class Changed(BaseModel):
        title: str = ""

    Changed.__name__ = Changed.__qualname__ = "Inner"
    forms = [
        int,
        str,
        Annotated[int, Field(ge=0)],
        Inner,
        Changed,
        list[Inner],
        Literal["a", "b"],
        Literal["a"],
        Annotated[Callable[[int], int], AfterValidator(lambda it: it)],
    ]
    assert len({of(form) for form in forms}) == len(forms)
    assert of(int) != of(int, "y")
    assert of(int) == of(Annotated[int, Field(description="what it is", title="X")])
    again = Annotated[Callable[[int], int], AfterValidator(lambda it: it)]
    assert of(again) == of(forms[-1])
