"""A server that is away is told in time, and what was changed then is applied once, in order."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_memory import (
    ConversationMemory,
    DataLossWarning,
    InDoubtError,
    OfflineError,
    ServerRefusedError,
    clear,
    conflicts,
    flush,
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
from tests.waiting import in_time, wait_until

TIMEOUT_S = 0.3
# for a machine that does other things as well; to wait twice is still too long
GRACE_S = 0.25
# what a call may take
CALL_S = TIMEOUT_S + GRACE_S

Call = Callable[[ConversationMemory], object]


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


KNOWN = ["first", "second"]
# what is called, and what comes of it while the server is away
CALLS: dict[str, tuple[Call, object]] = {
    "read": (lambda memory: memory.messages, KNOWN),
    "in": (lambda memory: "messages" in memory, True),
    "window": (lambda memory: window(memory, "messages", -1), ["second"]),
    "hasattr": (lambda memory: hasattr(memory, "absent"), OfflineError),
    "snapshot": (snapshot, OfflineError),
    "setdefault": (lambda memory: setdefault(memory, "messages", []), KNOWN),
    "assign": (lambda memory: setattr(memory, "topic", "billing"), None),
    "push": (lambda memory: push(memory, "messages", "late"), None),
    "increment": (lambda memory: increment(memory, "count"), None),
    "delete": (lambda memory: delattr(memory, "notes"), None),
    "clear": (clear, None),
}
BEFORE: dict[str, object] = {"messages": KNOWN, "notes": {"a": 1}}
# what the server has when it is back
AFTER: dict[str, dict[str, object]] = {
    "assign": BEFORE | {"topic": "billing"},
    "push": BEFORE | {"messages": [*KNOWN, "late"]},
    "increment": BEFORE | {"count": 1},
    "delete": {"messages": KNOWN},
    "clear": {},
}
ANSWERED_BY_THE_SERVER: dict[str, Call] = {
    "getattr": lambda memory: getattr(memory, "absent", None),
    "item": lambda memory: memory["absent"],
    "in": lambda memory: "absent" in memory,
    "list": list,
    "len": len,
    "dir": dir,
    "snapshot": snapshot,
    "window": lambda memory: window(memory, "messages"),
    "setdefault": lambda memory: setdefault(memory, "owner", "somebody"),
    "large increment": lambda memory: increment(memory, "count", 10**15),
}
AWAY: dict[str, Callable[[FaultProxy], None]] = {
    "refused": FaultProxy.refuse,
    "a black hole": FaultProxy.stall,
    "never answered": lambda proxy: proxy.lose_replies(math.inf, how="timeout"),
    "always cut off": lambda proxy: proxy.lose_replies(math.inf, when=lambda _: True),
}


def is_back(memory: ConversationMemory, limit_s: float = 5) -> None:
    """Wait until a memory has found its server, and nothing of it waits any more."""
    assert flush(memory, limit_s) == 0
    wait_until(lambda: status(memory).online, limit_s, what="the memory to find its server")


def outcome(call: Call, memory: ConversationMemory) -> object:
    """What a call returns, or `OfflineError` where it raises that."""
    try:
        return call(memory)
    except OfflineError:
        return OfflineError


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("away", AWAY.values(), ids=list(AWAY))
def test_an_unreachable_server_is_told_in_time(
    memory: ConversationMemory,
    other: ConversationMemory,
    proxy: FaultProxy,
    away: Callable[[FaultProxy], None],
    call: str,
) -> None:
    """However the server is away: a change waits, and is made once; no read answers falsely."""
    use, expected = CALLS[call]
    memory.notes = {"a": 1}
    away(proxy)
    with in_time(CALL_S):
        assert outcome(use, memory) == expected
    proxy.heal()
    is_back(memory)
    assert snapshot(other) == snapshot(memory) == AFTER.get(call, BEFORE)
    assert not hasattr(memory, "absent")
    assert status(memory).data_loss == 0
    assert not conflicts(memory)


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_sent_to_a_server_that_is_away(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy, call: str
) -> None:
    """Once it is known to be away, no call waits for it, and the outcome is the same."""
    use, expected = CALLS[call]
    memory.notes = {"a": 1}
    proxy.refuse()
    assert not status(memory).online
    with in_time(TIMEOUT_S / 2):
        assert outcome(use, memory) == expected
    proxy.heal()
    is_back(memory)
    assert snapshot(other) == snapshot(memory) == AFTER.get(call, BEFORE)


@pytest.mark.parametrize("call", ANSWERED_BY_THE_SERVER.values(), ids=list(ANSWERED_BY_THE_SERVER))
def test_what_only_the_server_knows_tells_an_outage(name: str, call: Call) -> None:
    """No call takes a server that is away for one that has nothing, and none is kept for later."""
    with ConversationMemory(name, f"redis://{HOST}:{free_port()}", timeout_s=0.01) as memory:
        for _ in range(2):
            with pytest.raises(OfflineError):
                call(memory)
        assert status(memory).queued == 0


def test_a_missing_attribute_is_told_apart_from_an_unknown_one(
    memory: ConversationMemory, proxy: FaultProxy
) -> None:
    """What was seen to be missing stays so while the server is away; more is not known."""
    assert not hasattr(memory, "absent")
    proxy.refuse()
    assert not hasattr(memory, "absent")
    assert "absent" not in memory
    with pytest.raises(AttributeError):
        window(memory, "absent")
    with pytest.raises(OfflineError):
        hasattr(memory, "unknown")
    with pytest.raises(OfflineError):
        _ = "unknown" in memory


@pytest.mark.parametrize("how", ["delete", "clear"])
def test_what_was_deleted_before_the_outage_is_missing(
    memory: ConversationMemory, proxy: FaultProxy, how: str
) -> None:
    """A process that has deleted an attribute need not ask whether it is there."""
    if how == "delete":
        del memory.messages
    else:
        clear(memory)
    proxy.refuse()
    assert not hasattr(memory, "messages")
    assert "messages" not in memory


SEEN: dict[str, Call] = {
    "in": lambda memory: "x" in memory,
    "window": lambda memory: window(memory, "x"),
    "dir": lambda memory: "x" in dir(memory),
    "snapshot": lambda memory: "x" in snapshot(memory),
    "assign": lambda memory: setattr(memory, "x", [1, 2]),
    "push": lambda memory: push(memory, "x", 2),
}


@pytest.mark.parametrize("see", SEEN.values(), ids=list(SEEN))
def test_what_was_missing_once_is_not_missing_for_ever(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy, see: Call
) -> None:
    """Once this process has stored it, or has seen it, no outage makes `hasattr` say no."""
    assert not hasattr(memory, "x")
    other.x = [1]
    proxy.lose_replies(when=is_change)
    see(memory)
    proxy.refuse()
    with suppress(OfflineError):  # which is no wrong answer
        assert memory.x in ([1], [1, 2])


def test_deleting_what_is_known_to_be_missing_is_refused(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """As it is online; so it never takes away what another process stores meanwhile."""
    assert not hasattr(memory, "absent")
    proxy.refuse()
    try:
        with pytest.raises(AttributeError):
            del memory.absent
        assert status(memory).queued == 0
    finally:
        proxy.heal()
        is_back(memory)
    other.absent = 2
    assert memory.absent == 2


def test_a_frozen_server_is_told_in_time(name: str, own_server: Server) -> None:
    """A halted process keeps connections open; nobody waits for it longer than for any other."""
    with ConversationMemory(name, own_server.url, timeout_s=TIMEOUT_S) as memory:
        memory.messages = ["first"]
        messages = memory.messages
        own_server.freeze()
        with in_time(CALL_S):
            messages.append("sent")
        with in_time(TIMEOUT_S / 2):
            messages.append("unsent")
            assert memory.messages == messages == ["first", "sent", "unsent"]
        with (
            ConversationMemory(name, own_server.tcp_url, timeout_s=TIMEOUT_S) as newcomer,
            in_time(CALL_S),
            pytest.raises(OfflineError),
        ):
            _ = newcomer.messages
        own_server.thaw()
        is_back(memory)
        messages.append("next")
        assert memory.messages == messages == ["first", "sent", "unsent", "next"]
        assert status(memory).data_loss == 0


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
            in_time(2.0 if "invalid" in url else CALL_S),
            pytest.raises(OfflineError, match=where),
        ):
            _ = memory.topic
        with pytest.warns(DataLossWarning, match="1 changes of conversation 'c-1'"):
            write_in_vain(url, where)


def write_in_vain(url: str, where: str) -> None:
    """Change what can never be delivered."""
    with ConversationMemory("c-1", url, timeout_s=TIMEOUT_S, close_timeout_s=0) as memory:
        memory.topic = "billing"
        assert memory.topic == "billing"
        assert re.search(where, status(memory).reason or "")


def test_opening_a_memory_asks_nobody() -> None:
    """A memory can be opened while the server is away."""
    with in_time(CALL_S), ConversationMemory("c-1", f"redis://{HOST}:{free_port()}") as memory:
        assert "not yet connected" in repr(memory)


def test_a_memory_says_how_it_stands(memory: ConversationMemory, proxy: FaultProxy) -> None:
    """`status` answers during an outage too, and counts each time that a connection was lost."""
    before = status(memory)
    assert before.online
    assert before.round_trip_s is not None
    proxy.refuse()
    with in_time(CALL_S):
        assert not status(memory).online
    assert status(memory).round_trip_s is None
    assert "offline" in repr(memory)
    proxy.heal()
    is_back(memory)
    assert status(memory).round_trip_s is not None
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
        with in_time(CALL_S), pytest.raises(OfflineError, match="BUSY"):
            _ = memory.unknown
        with in_time(CALL_S):
            memory.topic = "refund"
        assert memory.topic == "refund"
        assert status(memory).queued == 1
        own_server.client().script_kill()
        endless.join()
        is_back(memory)
        assert memory.topic == "refund"
        assert own_server.client().hget(f"memory:{{{name}}}", "topic") is not None
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


def test_a_change_in_doubt_is_made_once(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """What was applied and not answered waits with what was never sent; each is there once."""
    messages = memory.messages
    proxy.lose_replies(math.inf)
    messages.append("applied")
    assert other.messages == ["first", "second", "applied"]
    proxy.refuse()
    push(memory, "messages", "unsent")
    assert memory.messages == ["first", "second", "applied", "unsent"]
    assert other.messages == ["first", "second", "applied"]
    proxy.heal()
    is_back(memory)
    assert memory.messages == other.messages == ["first", "second", "applied", "unsent"]
    assert not conflicts(memory)


def test_a_change_in_doubt_is_said_to_be(
    memory: ConversationMemory, other: ConversationMemory, proxy: FaultProxy
) -> None:
    """A `pop` that was sent and not answered is `InDoubtError`, else a plain `OfflineError`."""
    messages = memory.messages
    messages.append("third")
    assert messages.pop() == "third"  # from now on the server knows the script
    proxy.lose_replies(math.inf)
    with pytest.raises(InDoubtError):
        messages.pop()
    assert other.messages == ["first"]
    proxy.refuse()
    with pytest.raises(OfflineError) as unsent:
        memory.messages.pop()
    assert not isinstance(unsent.value, InDoubtError)
    proxy.heal()
    is_back(memory)
    assert memory.messages == other.messages == ["first"]
    messages.append("next")
    assert memory.messages == other.messages == messages == ["first", "next"]


def test_a_read_is_never_in_doubt(memory: ConversationMemory, proxy: FaultProxy) -> None:
    """A lost read has changed nothing, so it is an outage and no more."""
    proxy.lose_replies(math.inf)
    with pytest.raises(OfflineError) as read:
        _ = memory.unknown
    assert not isinstance(read.value, InDoubtError)
    assert status(memory).queued == 0


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
    memory.topic = "late"
    proxy.drop()
    proxy.heal()
    is_back(memory)
    assert memory.topic == other.topic == "late"
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
    messages.append("in doubt")
    other.messages.append("meanwhile")
    assert messages == memory.messages == ["first", "second", "in doubt"]
    proxy.heal()
    is_back(memory)
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
    memory.topic = "billing"
    assert 2 <= proxy.connections - before <= 30
    # the thread that looks for it does not hurry either
    away, begin = proxy.connections, time.monotonic()
    wait_until(lambda: proxy.connections >= away + 6, 10, what="more attempts")
    assert time.monotonic() - begin > 0.1
    proxy.heal()
    is_back(memory)


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
    """Eight threads that meet an outage at once all go on, and what each changed is there."""
    proxy.refuse()
    lengths: list[int | None] = []
    told: list[Exception] = []

    def write(number: int) -> None:
        try:
            lengths.append(push(memory, "numbers", number))
        except RedisMemoryError as error:
            told.append(error)

    def run() -> None:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with in_time(TIMEOUT_S + 8 * GRACE_S):
        run()
    assert lengths == [None] * 8
    proxy.heal()
    is_back(memory)
    run()
    assert not told
    assert sorted(length for length in lengths[8:] if length) == list(range(9, 17))
    assert sorted(memory.numbers) == sorted([*range(8), *range(8)])
