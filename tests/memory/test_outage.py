"""A server that is away is told in time, and what was not applied then is not applied later."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_memory import (
    ConversationMemory,
    InDoubtError,
    OfflineError,
    ServerRefusedError,
    clear,
    increment,
    push,
    setdefault,
    snapshot,
    status,
    window,
)
from redis_memory.errors import RedisMemoryError
from tests.faults import FaultProxy, Request
from tests.servers import HOST, Server, free_port
from tests.waiting import wait_until

TIMEOUT_S = 0.3
# for a machine that does other things as well; to wait twice is still too long
GRACE_S = 0.25

Call = Callable[[ConversationMemory], object]


@contextmanager
def in_time(limit_s: float = TIMEOUT_S + GRACE_S) -> Iterator[None]:
    """Fail when the block takes longer than a call may take."""
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < limit_s


@pytest.fixture
def name() -> str:
    """A conversation that no other test has written to."""
    return uuid.uuid4().hex


@pytest.fixture
def memory(name: str, proxy: FaultProxy) -> Iterator[ConversationMemory]:
    """A memory behind the proxy that has written and read before."""
    with ConversationMemory(name, proxy.url, timeout_s=TIMEOUT_S) as memory:
        memory.messages = ["first"]
        memory.messages.append("second")
        yield memory


@pytest.fixture
def other(name: str, server: Server) -> Iterator[ConversationMemory]:
    """The same conversation, opened past the proxy."""
    with ConversationMemory(name, server.url, timeout_s=5) as memory:
        yield memory


CALLS: dict[str, Call] = {
    "read": lambda memory: memory.messages,
    "hasattr": lambda memory: hasattr(memory, "absent"),
    "assign": lambda memory: setattr(memory, "topic", "billing"),
    "push": lambda memory: push(memory, "messages", "late"),
}
OTHER_CALLS: tuple[Call, ...] = (
    lambda memory: getattr(memory, "absent", None),
    lambda memory: memory["absent"],
    lambda memory: "absent" in memory,
    list,
    len,
    dir,
    snapshot,
    clear,
    lambda memory: window(memory, "messages"),
    lambda memory: increment(memory, "count"),
    lambda memory: setdefault(memory, "owner", "somebody"),
    lambda memory: delattr(memory, "messages"),
)
AWAY: dict[str, Callable[[FaultProxy], None]] = {
    "refused": FaultProxy.refuse,
    "a black hole": FaultProxy.stall,
    "never answered": lambda proxy: proxy.lose_replies(math.inf, how="timeout"),
    "always cut off": lambda proxy: proxy.lose_replies(math.inf, when=lambda _: True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize("away", AWAY.values(), ids=list(AWAY))
def test_an_unreachable_server_is_told_in_time(
    memory: ConversationMemory, proxy: FaultProxy, away: Callable[[FaultProxy], None], call: Call
) -> None:
    """Whatever is called, and however the server is away: `OfflineError`, and no false answer."""
    away(proxy)
    with in_time(), pytest.raises(OfflineError):
        call(memory)
    proxy.heal()
    call(memory)


def test_every_call_tells_an_outage(name: str) -> None:
    """No call takes a server that is away for one that has nothing."""
    with ConversationMemory(name, f"redis://{HOST}:{free_port()}", timeout_s=0.01) as memory:
        for call in OTHER_CALLS:
            with pytest.raises(OfflineError):
                call(memory)


def test_a_frozen_server_is_told_in_time(name: str, own_server: Server) -> None:
    """A halted process keeps connections open; nobody waits for it longer than for any other."""
    with ConversationMemory(name, own_server.url, timeout_s=TIMEOUT_S) as memory:
        memory.messages = ["first"]
        messages = memory.messages
        calls: list[Callable[[], object]] = [
            lambda: memory.messages,
            lambda: messages.append("late"),
        ]
        own_server.freeze()
        for call in calls:
            with in_time(), pytest.raises(OfflineError):
                call()
        with (
            ConversationMemory(name, own_server.tcp_url, timeout_s=TIMEOUT_S) as newcomer,
            in_time(),
            pytest.raises(OfflineError),
        ):
            _ = newcomer.messages
        own_server.thaw()
        messages.append("next")
        assert memory.messages == messages
        assert messages in (["first", "next"], ["first", "late", "next"])


def test_an_address_without_a_server_is_told_in_time() -> None:
    """No port, no socket file, and no name: each is an outage, with the address in the message."""
    port = free_port()
    for url, where in (
        (f"redis://{HOST}:{port}", str(port)),
        ("unix:///nowhere/server.sock", "/nowhere/server.sock"),
        ("redis://nowhere.invalid:6379", r"nowhere\.invalid"),
    ):
        with (
            ConversationMemory("c-1", url, timeout_s=TIMEOUT_S) as memory,
            in_time(2.0 if "invalid" in url else TIMEOUT_S + GRACE_S),
            pytest.raises(OfflineError, match=where),
        ):
            memory.topic = "billing"


def test_opening_a_memory_asks_nobody() -> None:
    """A memory can be opened while the server is away."""
    with in_time(), ConversationMemory("c-1", f"redis://{HOST}:{free_port()}") as memory:
        assert "not yet connected" in repr(memory)


def test_a_memory_says_how_it_stands(memory: ConversationMemory, proxy: FaultProxy) -> None:
    """`status` answers during an outage too, and counts each time that a connection was lost."""
    before = status(memory)
    assert before.online
    assert before.round_trip_s is not None
    proxy.refuse()
    with in_time():
        assert not status(memory).online
    assert status(memory).round_trip_s is None
    assert "offline" in repr(memory)
    proxy.heal()
    assert status(memory).online
    assert "online" in repr(memory)
    assert status(memory).reconnects > before.reconnects


# riding over


def test_a_short_restart_is_ridden_over(name: str, own_server: Server) -> None:
    """Calls that meet a restarting server wait for it: every one succeeds, exactly once."""
    with ConversationMemory(name, own_server.url, timeout_s=10) as memory:
        memory.numbers = []
        numbers = memory.numbers
        thread = threading.Thread(target=own_server.restart)
        thread.start()
        while thread.is_alive():
            numbers.append(len(numbers))
        thread.join()
        numbers.append(len(numbers))
        assert numbers == memory.numbers == list(range(len(numbers)))
        assert status(memory).reconnects > 0
        assert status(memory).data_loss == 0


def _is_reached(written: list[int], goal: int) -> bool:
    return sum(written) >= goal


def test_kills_lose_and_double_nothing(name: str) -> None:
    """Four writers go on while the server, which syncs every write, is killed again and again."""
    with Server(appendonly="yes", appendfsync="always") as server:
        stop = threading.Event()
        written = [0] * 4

        def write(writer: int) -> None:
            with ConversationMemory(name, server.url, timeout_s=10) as memory:
                while not stop.is_set():
                    push(memory, "log", (writer, written[writer]))
                    increment(memory, "count")
                    written[writer] += 1

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(6):
            goal = sum(written) + 40
            wait_until(partial(_is_reached, written, goal), 10, what="more writes")
            server.kill()
            server.start()
        stop.set()
        for thread in threads:
            thread.join()
        with ConversationMemory(name, server.url, timeout_s=5) as memory:
            log = memory.log
            for writer, count in enumerate(written):
                assert [n for w, n in log if w == writer] == list(range(count))
            assert memory.count == len(log) == sum(written)


def test_a_busy_server_is_waited_for(name: str, own_server: Server) -> None:
    """A server that runs somebody's endless script is away, and then it is not."""
    with ConversationMemory(name, own_server.url, timeout_s=TIMEOUT_S) as memory:
        memory.topic = "billing"
        own_server.client().config_set("lua-time-limit", 1)
        endless = threading.Thread(target=_run_endless_script, args=(own_server,))
        endless.start()
        wait_until(lambda: _is_busy(own_server), what="the server to be busy")
        with in_time(), pytest.raises(OfflineError, match="BUSY"):
            memory.topic = "refund"
        own_server.client().script_kill()
        endless.join()
        memory.topic = "done"
        assert memory.topic == "done"


def _run_endless_script(server: Server) -> None:
    with (
        redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.ResponseError, match="killed"),
    ):
        client.eval("while true do end", 0)


def _is_busy(server: Server) -> bool:
    try:
        server.client().ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


# in doubt


def test_a_change_in_doubt_is_said_to_be(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """Sent and not answered is `InDoubtError`; never sent is a plain `OfflineError`."""
    messages = memory.messages
    proxy.lose_replies(math.inf)
    with pytest.raises(InDoubtError):
        messages.append("applied")
    assert other.messages == ["first", "second", "applied"]
    proxy.heal()
    proxy.refuse()
    with pytest.raises(OfflineError) as unsent:
        push(memory, "messages", "unsent")
    assert not isinstance(unsent.value, InDoubtError)
    proxy.heal()
    assert memory.messages == ["first", "second", "applied"]


def test_a_read_is_never_in_doubt(memory: ConversationMemory, proxy: FaultProxy) -> None:
    """A lost read has changed nothing, so it is an outage and no more."""
    proxy.lose_replies(math.inf)
    with pytest.raises(OfflineError) as read:
        _ = memory.messages
    assert not isinstance(read.value, InDoubtError)


def is_change(request: Request) -> bool:
    """Whether a request changes something: it names its writer."""
    return any(argument.startswith(b"_w") for argument in request.arguments)


def changes_of(proxy: FaultProxy) -> list[Request]:
    """Every change that the proxy has seen, in order, those sent again as well."""
    seen: list[Request] = []

    def collect(request: Request) -> bool:
        seen.append(request)
        return True

    proxy.requests_seen(collect)
    return list(filter(is_change, seen))


@pytest.mark.parametrize("was_applied", [True, False])
def test_a_change_in_doubt_is_not_applied_after_the_next_one(
    memory: ConversationMemory,
    other: ConversationMemory,
    proxy: FaultProxy,
    server: Server,
    *,
    was_applied: bool,
) -> None:
    """Once the next change went through, a straggler in the network changes nothing any more."""
    if was_applied:
        proxy.lose_replies(math.inf)
    else:
        proxy.stall()
    with pytest.raises(InDoubtError):
        memory.topic = "late"
    proxy.drop()
    proxy.heal()
    memory.topic = "next"
    push(memory, "messages", "third")
    stored = server.client().hgetall(f"memory:{{{memory.conversation_id}}}")
    client: Any = server.client()
    for request in changes_of(proxy):
        client.execute_command(request.name, *request.arguments)
    assert server.client().hgetall(f"memory:{{{memory.conversation_id}}}") == stored
    assert snapshot(other) == {"messages": ["first", "second", "third"], "topic": "next"}
    assert status(memory).data_loss == 0


def test_everything_that_was_ever_sent_may_arrive_again(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy, server: Server
) -> None:
    """A network that repeats every request, in any order, changes nothing."""
    messages = memory.messages
    messages.append({"tags": []})
    messages[-1]["tags"].append("new")
    messages.insert(0, "zero")
    messages.pop()
    increment(memory, "count")
    memory.owner = "somebody"
    del memory.owner
    stored = snapshot(other)
    requests = changes_of(proxy)
    assert len(requests) >= 9
    client: Any = server.client()
    for request in [*requests, *reversed(requests)]:
        client.execute_command(request.name, *request.arguments)
    assert snapshot(other) == snapshot(memory) == stored
    messages.append("last")
    assert other.messages == messages


def test_proxies_are_right_after_an_outage(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """A held proxy takes in what was applied in doubt, and what others did meanwhile."""
    messages = memory.messages
    proxy.lose_replies(math.inf)
    with pytest.raises(InDoubtError):
        messages.append("in doubt")
    other.messages.append("meanwhile")
    proxy.heal()
    messages.append("after")
    assert messages == other.messages == ["first", "second", "in doubt", "meanwhile", "after"]


# refused


REFUSED: tuple[Call, ...] = (
    lambda memory: setattr(memory, "topic", "refund"),
    lambda memory: setattr(memory, "messages", ["other"]),
    lambda memory: push(memory, "messages", "third"),
    lambda memory: push(memory, "new", "third"),
    lambda memory: memory.messages.append("third"),
    lambda memory: memory.messages.insert(0, "third"),
    lambda memory: memory.messages.pop(),
    lambda memory: memory.messages.sort(reverse=True),
    lambda memory: memory.messages.clear(),
    lambda memory: memory.profile.update(name="Bob", age=1),
    lambda memory: memory.profile.popitem(),
    lambda memory: memory.profile["tags"].append("b"),
    lambda memory: memory.members.add(2),
    lambda memory: memory.members.pop(),
    lambda memory: increment(memory, "count"),
    lambda memory: delattr(memory, "topic"),
    clear,
)


def test_a_server_without_memory_refuses_before_any_effect(name: str, own_server: Server) -> None:
    """Out of memory: every change is refused as a whole, and works when there is room again."""
    with ConversationMemory(name, own_server.url, timeout_s=5) as memory:
        memory.topic = "billing"
        memory.messages = ["first", "second"]
        memory.profile = {"name": "Ann", "tags": ["a"]}
        memory.members = {1}
        memory.count = 1
        held = memory.messages
        before = snapshot(memory)
        own_server.client().config_set("maxmemory", 1)
        for change in REFUSED:
            with pytest.raises(ServerRefusedError, match="OOM"):
                change(memory)
            assert snapshot(memory) == before
            assert held == memory.messages == before["messages"]
        own_server.client().config_set("maxmemory", 0)
        held.append("third")
        assert memory.messages == held == ["first", "second", "third"]
        for change in REFUSED:
            change(memory)
        assert snapshot(memory) == {}
        assert status(memory).data_loss == 0


# how it is tried again


@pytest.mark.parametrize("how", ["lost", "unsent"])
def test_a_failed_command_is_sent_twice_and_no_more(
    memory: ConversationMemory, proxy: FaultProxy, how: str
) -> None:
    """One failure, one repetition: nothing below this library repeats commands of its own."""
    messages = memory.messages
    before = proxy.requests_seen(is_change)
    if how == "lost":
        proxy.lose_replies()
    else:
        proxy.reset_before()
    messages.append("third")
    assert proxy.requests_seen(is_change) - before == 2
    messages.append("fourth")
    assert proxy.requests_seen(is_change) - before == 3


def test_trying_again_is_no_busy_loop(memory: ConversationMemory, proxy: FaultProxy) -> None:
    """A server that cuts every command off is asked a few times, with pauses in between."""
    proxy.reset_before(math.inf, when=lambda _: True)
    before = proxy.connections
    with pytest.raises(OfflineError):
        memory.topic = "billing"
    assert 2 <= proxy.connections - before <= 30


def test_flapping_leaks_no_connection(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """A network that breaks between any two calls loses nothing and leaves one connection."""
    for number in range(50):
        proxy.drop()
        push(memory, "numbers", number)
    assert other.numbers == list(range(50))
    wait_until(lambda: proxy.open_connections <= 1, what="the broken connections to end")
    assert proxy.connections <= 60


def test_threads_share_the_outage(memory: ConversationMemory, proxy: FaultProxy) -> None:
    """Eight threads that meet an outage at once are all told, and all go on afterwards."""
    proxy.refuse()
    told: list[Exception] = []

    def write(number: int) -> None:
        try:
            push(memory, "numbers", number)
        except RedisMemoryError as error:
            told.append(error)

    def run() -> None:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run()
    assert len(told) == 8
    assert all(isinstance(error, OfflineError) for error in told)
    proxy.heal()
    run()
    assert len(told) == 8
    assert sorted(memory.numbers) == list(range(8))
