"""Awaited changes are made exactly once, whatever happens to replies, tasks and loops."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import math
import multiprocessing
import random
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    ClosedError,
    ConversationMemory,
    InDoubtError,
    OfflineError,
    aio,
    snapshot,
)
from tests.faults import FaultProxy
from tests.memory.test_async import is_online_again
from tests.memory.test_delivery import LOST, fail_each_once, is_change
from tests.servers import Server
from tests.waiting import async_wait_until, in_time, wait_until

MANY = 200
TIMEOUT_S = 0.3
# for a machine that does other things as well; to wait twice is still too long
GRACE_S = 0.25
# what a call may take
CALL_S = TIMEOUT_S + GRACE_S

Use = Callable[[AsyncConversationMemory], Awaitable[object]]


@pytest.fixture
async def memory(name: str, proxy: FaultProxy) -> AsyncIterator[AsyncConversationMemory]:
    """A memory behind the proxy, patient enough for a slow machine."""
    async with AsyncConversationMemory(name, proxy.url, timeout_s=5) as memory:
        yield memory


@pytest.fixture
async def direct(name: str, server: Server) -> AsyncIterator[AsyncConversationMemory]:
    """The same conversation past the proxy."""
    async with AsyncConversationMemory(name, server.url, timeout_s=5) as memory:
        yield memory


@pytest.fixture
def blocking(name: str, server: Server) -> Iterator[ConversationMemory]:
    """The same conversation as a blocking worker sees it."""
    with ConversationMemory(name, server.url, timeout_s=5) as memory:
        yield memory


@pytest.fixture
async def watched(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Run the loop in debug mode; fail when it complains, or when a task is left behind."""
    asyncio.get_running_loop().set_debug(True)
    yield
    await async_wait_until(lambda: len(asyncio.all_tasks()) == 1, what="the end of all tasks")
    gc.collect()  # what nobody awaited or closed is told when it is collected
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# lost replies


@pytest.mark.parametrize("how", [*LOST, "unsent"])
async def test_200_failures_make_200_appends(
    memory: AsyncConversationMemory, blocking: ConversationMemory, proxy: FaultProxy, how: str
) -> None:
    """Each append fails once on its way, and each is there once, in order."""
    await memory.messages.set([])
    fail_each_once(proxy, how)
    for number in range(MANY):
        await memory.messages.append(number)
    assert proxy.lost + proxy.unsent == MANY
    assert await memory.messages == blocking.messages == list(range(MANY))


@pytest.mark.parametrize("how", ["reset", "unsent"])
async def test_200_failures_make_a_counter_of_200(
    memory: AsyncConversationMemory, blocking: ConversationMemory, proxy: FaultProxy, how: str
) -> None:
    """Each increment returns its own sum, although its first try failed."""
    fail_each_once(proxy, how)
    assert [await memory.count.increment() for _ in range(MANY)] == list(range(1, MANY + 1))
    assert proxy.lost + proxy.unsent == MANY
    assert blocking.count == MANY


async def test_failures_under_many_tasks_mix_up_nothing(
    memory: AsyncConversationMemory, blocking: ConversationMemory, proxy: FaultProxy
) -> None:
    """Tasks that change one memory at the same time each get their own answer."""
    fail_each_once(proxy, "reset")
    sums: list[Any] = await asyncio.gather(*(memory.count.increment() for _ in range(100)))
    assert sorted(sums) == list(range(1, 101))
    assert proxy.lost == 100
    assert blocking.count == 100


CHANGES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "list.pop": ([1, 2, 3], lambda box: box.pop()),
    "list.pop first": ([1, 2, 3], lambda box: box.pop(0)),
    "list.insert": ([1, 2], lambda box: box.insert(0, 9)),
    "list.sort": ([3, 1, 2], lambda box: box.sort()),
    "dict.popitem": ({"a": 1, "b": 2}, lambda box: box.popitem()),
    "dict.setdefault": ({}, lambda box: box.setdefault("a", [1])),
    "set.pop": ({1}, lambda box: box.pop()),
}


@pytest.mark.parametrize("how", ["reset", "unsent"])
@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_returns_what_it_did(
    memory: AsyncConversationMemory,
    blocking: ConversationMemory,
    proxy: FaultProxy,
    what: str,
    how: str,
) -> None:
    """With a reply lost on the way, result and stored value are those of a plain box."""
    value, change = CHANGES[what]
    plain, inner = value.copy(), value.copy()
    await memory.box.set(value)
    await memory.outer.set({"in": [value]})
    fail_each_once(proxy, how)
    assert await change(memory.box) == change(plain)
    assert await change(memory.outer["in"][0]) == change(inner)
    assert proxy.lost + proxy.unsent >= 2
    assert await memory.box == blocking.box == plain
    assert await memory.outer == blocking.outer == {"in": [inner]}


# cancelled tasks


async def more(count: Callable[[], int], *, than: int) -> None:
    """Wait until a counter of the proxy has grown."""
    await async_wait_until(lambda: count() > than, what="the proxy to see the request")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("watched")
async def test_cancelled_tasks_double_nothing(
    direct: AsyncConversationMemory, blocking: ConversationMemory, seed: int
) -> None:
    """What was awaited to its end is there once, what was cancelled at most once, all in order."""
    choices = random.Random(seed)
    await direct.messages.set([])
    done, doubtful, sums, increments = [], 0, [], 0

    async def work(number: int) -> None:
        nonlocal doubtful, increments
        if number % 2:
            doubtful += 1
            await direct.messages.append(number)
            done.append(number)
        else:
            increments += 1
            sums.append(await direct.count.increment())

    for start in range(0, 400, 4):
        tasks = [asyncio.create_task(work(number)) for number in range(start, start + 4)]
        for task in tasks:
            for _ in range(choices.randrange(15)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stored = blocking.messages.aslist()
    assert 0 < len(done) < doubtful
    assert stored == sorted(set(stored))
    assert set(done) <= set(stored)
    assert sums == sorted({total for total in sums if total is not None})
    assert len(sums) <= blocking.count <= increments
    await direct.messages.append("last")
    assert await direct.messages == [*stored, "last"]
    assert await direct.count.increment() == blocking.count


@pytest.mark.usefixtures("watched")
async def test_no_reply_reaches_another_task(server: Server, name: str) -> None:
    """Whoever reads while others are cancelled gets the value of the attribute that he named."""
    choices = random.Random(5)
    memories = [AsyncConversationMemory(f"{name}-{n}", server.url, timeout_s=5) for n in range(4)]
    for number, memory in enumerate(memories):
        for letter in "abc":
            await memory[letter].set([letter, number])
    answers = 0

    async def read(number: int, letter: str) -> None:
        nonlocal answers
        assert await memories[number][letter] == [letter, number]
        assert await memories[number][letter].exists()
        assert await aio.window(memories[number], letter) == [letter, number]
        answers += 1

    for _ in range(40):
        tasks = [
            asyncio.create_task(read(number, letter)) for number in range(4) for letter in "abc"
        ]
        for _ in range(choices.randrange(40)):
            await asyncio.sleep(0)
        for task in choices.sample(tasks, 6):
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
    assert answers > 240
    for memory in memories:
        await aio.close(memory)


@pytest.mark.usefixtures("watched")
async def test_a_change_cancelled_after_it_was_applied_is_kept_once(
    memory: AsyncConversationMemory, blocking: ConversationMemory, proxy: FaultProxy
) -> None:
    """The next change finds out that its number is used, and takes another one."""
    await memory.messages.set([])
    await memory.messages.append("first")  # from now on the server knows the script
    for number in range(10):
        proxy.lose_replies(how="timeout", when=is_change)
        lost = proxy.lost
        task = asyncio.create_task(memory.messages.append(number))
        await more(lambda: proxy.lost, than=lost)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await memory.messages.append(f"after {number}")
    pairs = ((number, f"after {number}") for number in range(10))
    expected = ["first", *itertools.chain(*pairs)]
    assert await memory.messages == blocking.messages == expected


@pytest.mark.usefixtures("watched")
async def test_a_cancelled_change_is_never_applied_after_a_later_one(
    memory: AsyncConversationMemory, blocking: ConversationMemory, proxy: FaultProxy
) -> None:
    """A request that was on its way comes too late once another change went through."""
    await memory.messages.set([])
    for number in range(10):
        seen = proxy.requests
        proxy.stall()
        task = asyncio.create_task(aio.push(memory, "messages", number))
        await more(lambda: proxy.requests, than=seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.heal()
        await memory.messages.append(f"after {number}")
    await async_wait_until(lambda: proxy.open_connections == 1, what="what was cancelled to end")
    stored = blocking.messages.aslist()
    assert [item for item in stored if isinstance(item, str)] == [f"after {n}" for n in range(10)]
    for number in range(10):
        assert stored.count(number) <= 1
        before = stored[: stored.index(f"after {number}")]
        assert stored.count(number) == before.count(number)


@pytest.mark.usefixtures("watched")
async def test_a_cancelled_call_ends_at_once(
    memory: AsyncConversationMemory, blocking: ConversationMemory, proxy: FaultProxy
) -> None:
    """Wherever a call is when it is cancelled, it waits no longer for an answer."""
    for steps in range(25):
        await memory.count.set(steps)
        proxy.stall()
        task = asyncio.create_task(memory.count.increment())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled()
        proxy.heal()
    assert await memory.count.increment() == blocking.count


@pytest.mark.usefixtures("watched")
async def test_a_time_limit_of_the_callers_is_kept(
    memory: AsyncConversationMemory, proxy: FaultProxy
) -> None:
    """`asyncio.timeout` ends a call, even while others of the memory wait for their turn."""
    await memory.messages.set([])
    proxy.stall()
    with in_time(0.05 + GRACE_S):
        waiting = [asyncio.create_task(memory.messages.append(number)) for number in range(3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await memory.messages.append("late")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    proxy.heal()
    await memory.messages.append("next")
    assert (await memory.messages)[-1] == "next"


async def test_cancelling_leaves_no_connection(server: Server, name: str) -> None:
    """As many connections as calls at the same time, whoever is cancelled; none after closing."""
    baseline = len(server.client().client_list())
    async with AsyncConversationMemory(name, server.url, timeout_s=5) as memory:
        for turn in range(60):
            task = asyncio.create_task(memory.count.increment())
            for _ in range(turn % 12):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await memory.count.increment()
        wait_until(
            lambda: len(server.client().client_list()) <= baseline + 1, what="the others to end"
        )
    wait_until(lambda: len(server.client().client_list()) == baseline, what="the last one to end")


async def test_a_memory_closed_while_others_wait_lets_the_running_call_end(
    memory: AsyncConversationMemory, blocking: ConversationMemory, proxy: FaultProxy
) -> None:
    """The call that is on its way is answered; those behind the close are told."""
    await memory.count.set(0)
    proxy.delay(reply_s=0.02)
    running = asyncio.create_task(memory.count.increment())
    await asyncio.sleep(0)
    closing = asyncio.create_task(aio.close(memory))
    await asyncio.sleep(0)
    late = asyncio.create_task(memory.count.increment())
    await asyncio.wait([running, closing, late])
    assert running.result() == 1
    assert isinstance(late.exception(), ClosedError)
    assert blocking.count == 1


# a server that is away


# what is called, and what comes of it while the server is away
CALLS: dict[str, tuple[Use, object]] = {
    "read": (lambda memory: memory.topic, "billing"),
    "exists": (lambda memory: memory.topic.exists(), True),
    "window": (lambda memory: aio.window(memory, "messages"), ["first"]),
    "read what is not known": (lambda memory: memory.absent.get(), OfflineError),
    "exists what is not known": (lambda memory: memory.absent.exists(), OfflineError),
    "snapshot": (aio.snapshot, OfflineError),
    "set": (lambda memory: memory.topic.set("refunds"), None),
    "append": (lambda memory: memory.messages.append("late"), None),
    "push": (lambda memory: aio.push(memory, "messages", "late"), None),
    "increment": (lambda memory: memory.count.increment(), None),
}
BEFORE: dict[str, object] = {"topic": "billing", "messages": ["first"]}
# what the server has when it is back, after two calls
AFTER: dict[str, dict[str, object]] = {
    "set": {"topic": "refunds"},
    "append": {"messages": ["first", "late", "late"]},
    "push": {"messages": ["first", "late", "late"]},
    "increment": {"count": 2},
}
AWAY: dict[str, Callable[[FaultProxy], None]] = {
    "refused": FaultProxy.refuse,
    "a black hole": FaultProxy.stall,
    "never answered": lambda proxy: proxy.lose_replies(math.inf, how="timeout"),
    "always cut off": lambda proxy: proxy.lose_replies(math.inf, when=lambda _: True),
}


async def outcome(call: Awaitable[object]) -> object:
    """What a call returns, or `OfflineError` where it raises that."""
    try:
        return await call
    except OfflineError:
        return OfflineError


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("away", AWAY)
async def test_an_unreachable_server_is_told_in_time(
    name: str, proxy: FaultProxy, blocking: ConversationMemory, away: str, call: str
) -> None:
    """However the server is away: a change waits, and is made once; no read answers falsely."""
    use, expected = CALLS[call]
    async with AsyncConversationMemory(name, proxy.url, timeout_s=TIMEOUT_S) as memory:
        for attribute, value in BEFORE.items():
            await memory[attribute].set(value)
        AWAY[away](proxy)
        with in_time(CALL_S):
            assert await outcome(use(memory)) == expected
        with in_time(TIMEOUT_S / 2):  # the second one does not even try
            assert await outcome(use(memory)) == expected
        proxy.heal()
        assert await aio.flush(memory, 5) == 0
        await is_online_again(memory)
        after = BEFORE | AFTER.get(call, {})
        assert await aio.snapshot(memory) == snapshot(blocking) == after
        assert not await memory.absent.exists()
        assert (await aio.status(memory)).data_loss == 0


async def test_what_needs_an_answer_and_got_none_is_in_doubt(
    name: str, proxy: FaultProxy, blocking: ConversationMemory
) -> None:
    """A `pop` was applied once or not at all, which InDoubtError says, and never later."""
    async with AsyncConversationMemory(name, proxy.url, timeout_s=TIMEOUT_S) as memory:
        await memory.messages.set(["first", "second", "third"])
        assert await memory.messages.pop() == "third"  # from now on the server knows the script
        # only the change: a read that is lost before it would tell that the server is away
        proxy.lose_replies(how="timeout", when=is_change)
        with in_time(CALL_S), pytest.raises(InDoubtError):
            await memory.messages.pop()
        proxy.refuse()
        with in_time(CALL_S), pytest.raises(OfflineError) as unsent:
            await memory.messages.pop()
        assert not isinstance(unsent.value, InDoubtError)
        proxy.heal()
        await is_online_again(memory)
        await memory.messages.append("next")
        assert await memory.messages == blocking.messages == ["first", "next"]


@pytest.mark.parametrize("away", AWAY)
async def test_a_server_that_was_never_reached_is_told_in_time(
    name: str, proxy: FaultProxy, blocking: ConversationMemory, away: str
) -> None:
    """A memory that opens its first connection waits no longer than any other."""
    async with AsyncConversationMemory(name, proxy.url, timeout_s=TIMEOUT_S) as memory:
        AWAY[away](proxy)
        with in_time(CALL_S), pytest.raises(OfflineError):
            await memory.topic
        with in_time(CALL_S):
            await memory.topic.set("billing")
        assert await memory.topic == "billing"
        proxy.heal()
        assert await aio.flush(memory, 5) == 0
        assert await memory.topic == blocking.topic == "billing"
        await memory.topic.set("refunds")
        assert await memory.topic == blocking.topic == "refunds"


async def test_a_frozen_server_is_told_in_time(own_server: Server) -> None:
    """A halted process keeps connections open; what was sent to it is made once."""
    async with AsyncConversationMemory("c-1", own_server.url, timeout_s=TIMEOUT_S) as memory:
        await memory.messages.set(["first"])
        own_server.freeze()
        with in_time(CALL_S):
            assert await aio.push(memory, "messages", "sent") is None
        with in_time(TIMEOUT_S / 2):
            await memory.messages.append("unsent")
            assert await memory.messages == ["first", "sent", "unsent"]
        own_server.thaw()
        assert await aio.flush(memory, 5) == 0
        await memory.messages.append("next")
        assert await memory.messages == ["first", "sent", "unsent", "next"]
        assert (await aio.status(memory)).data_loss == 0


async def test_a_short_outage_is_ridden_over(own_server: Server) -> None:
    """A server that is back within the time limit is not noticed by tasks that wait for it."""
    async with AsyncConversationMemory("c-1", own_server.url, timeout_s=5) as memory:
        await memory.count.set(0)
        await asyncio.to_thread(own_server.stop)
        tasks = [asyncio.create_task(memory.count.increment()) for _ in range(5)]
        await asyncio.to_thread(own_server.start)
        sums: list[Any] = await asyncio.gather(*tasks)
        assert sorted(sums) == [1, 2, 3, 4, 5]


# loops, threads, processes


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_memory_serves_one_loop_after_another(server: Server, name: str) -> None:
    """Each `asyncio.run` gets connections of its own; those of ended loops are dropped."""
    baseline = len(server.client().client_list())
    memory = AsyncConversationMemory(name, server.url)

    async def append(number: int) -> None:
        await asyncio.gather(*(aio.push(memory, "messages", number) for _ in range(3)))

    for number in range(5):
        asyncio.run(append(number))
    asyncio.run(finish(memory, [number for number in range(5) for _ in range(3)]))
    gc.collect()
    wait_until(lambda: len(server.client().client_list()) == baseline, what="connections to end")


async def finish(memory: AsyncConversationMemory, expected: list[Any]) -> None:
    """Check the messages, and close the memory."""
    async with memory:
        assert await memory.messages == expected


def test_a_loop_stopped_in_the_middle_of_a_call_blocks_nobody(
    server: Server, proxy: FaultProxy, name: str
) -> None:
    """Another loop is told at once, and goes on when the first one is closed."""
    memory = AsyncConversationMemory(name, proxy.url, timeout_s=5)
    stopped = asyncio.new_event_loop()
    stopped.run_until_complete(memory.count.set(0))
    proxy.stall()
    task = stopped.create_task(memory.count.increment())
    stopped.run_until_complete(asyncio.sleep(0))
    proxy.heal()

    async def increment() -> object:
        return await memory.count.increment()

    with pytest.raises(RuntimeError, match="event loop"):
        asyncio.run(increment())
    task.cancel()
    stopped.run_until_complete(asyncio.gather(task, return_exceptions=True))
    stopped.run_until_complete(aio.close(memory))
    stopped.close()


async def write_as(writer: str, memory: AsyncConversationMemory) -> list[Any]:
    """Append under a name in two ways, and count; the sums that came back."""
    sums: list[Any] = []
    for number in range(0, 100, 2):
        await aio.push(memory, "messages", [writer, number])
        sums.append(await memory.count.increment())
        await memory.messages.append([writer, number + 1])
    return sums


def check_writers(server: Server, name: str, sums: list[Any]) -> None:
    """Check that all changes of two writers are there, once and in the order of each."""
    with ConversationMemory(name, server.url) as memory:
        stored = memory.messages.aslist()
        for writer in "ab":
            assert [number for each, number in stored if each == writer] == list(range(100))
        assert sorted(sums) == list(range(1, 101))
        assert memory.count == 100


def test_two_threads_with_loops_of_their_own_lose_nothing(server: Server, name: str) -> None:
    """Two loops at the same time, each with a memory of its own: all is kept, in order."""

    async def work(writer: str) -> list[Any]:
        async with AsyncConversationMemory(name, server.url, timeout_s=5) as memory:
            return await write_as(writer, memory)

    with ThreadPoolExecutor(2) as pool:
        sums = pool.map(lambda writer: asyncio.run(work(writer)), "ab")
    check_writers(server, name, [*itertools.chain(*sums)])


def test_two_running_loops_do_not_share_one_memory(server: Server, name: str) -> None:
    """The second one is told to open its own; the first one goes on."""
    memory = AsyncConversationMemory(name, server.url, timeout_s=5)

    async def second() -> None:
        await memory.count.increment()

    async def first() -> None:
        await memory.count.increment()
        with pytest.raises(RuntimeError, match="one for each loop"):
            await asyncio.to_thread(asyncio.run, second())
        assert await memory.count.increment() == 2
        await aio.close(memory)

    asyncio.run(first())


def increment_and_append(memory: AsyncConversationMemory, writer: str) -> None:
    """What a forked child does, in a loop of its own."""
    # as in production: where warnings are errors, redis-py's `__del__` ends before it closes
    warnings.simplefilter("ignore")

    async def work() -> None:
        for number in range(25):
            await aio.push(memory, "messages", f"{writer}{number}")
            await memory.count.increment()
        await aio.close(memory)
        gc.collect()  # what is left of the parent's connections is closed here, and must not be

    asyncio.run(work())


async def test_a_forked_child_goes_on_as_another_writer(server: Server, name: str) -> None:
    """Forked while a loop runs and a connection is open: both write, nothing is lost or doubled."""
    fork = multiprocessing.get_context("fork")
    async with AsyncConversationMemory(name, server.url, timeout_s=5) as memory:
        await memory.messages.set(["first"])
        children = [
            fork.Process(target=increment_and_append, args=(memory, letter)) for letter in "ab"
        ]
        for child in children:
            child.start()
        for number in range(25):
            await aio.push(memory, "messages", f"p{number}")
            await memory.count.increment()
        for child in children:
            await asyncio.to_thread(child.join)
            assert child.exitcode == 0
        stored = await memory.messages
        for writer in "abp":
            own = [message for message in stored if message[0] == writer]
            assert own == [f"{writer}{number}" for number in range(25)]
        assert await memory.count.increment(0) == 75
        assert (await aio.status(memory)).reconnects == 0


async def test_both_faces_write_at_the_same_time(
    direct: AsyncConversationMemory, blocking: ConversationMemory
) -> None:
    """Threads with the blocking face and tasks with the async one change one list and one dict."""

    def work() -> None:
        blocking.messages.extend(["blocking"] * 5)
        for number in range(50):
            blocking.messages.append("blocking")
            blocking.seen[f"b{number}"] = number

    await direct.messages.set([])
    await direct.seen.set({})
    thread = asyncio.create_task(asyncio.to_thread(work))
    for number in range(50):
        await direct.messages.append("async")
        await direct.seen[f"a{number}"].set(number)
    await thread
    state = snapshot(blocking)
    assert state == await aio.snapshot(direct)
    assert (state["messages"].count("async"), state["messages"].count("blocking")) == (50, 55)
    assert state["seen"] == {f"{face}{n}": n for face in "ab" for n in range(50)}
