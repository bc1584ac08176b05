"""`watch`: which attributes, for how long, through outages, and what is left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from redis_memory import (
    MISSING,
    AsyncConversationMemory,
    ClosedError,
    ConversationMemory,
    CorruptValueError,
    DataLossWarning,
    InvalidNameError,
    OfflineError,
    aio,
    close,
    push,
    watch,
)
from redis_memory.memory import core_of
from tests.faults import FaultProxy
from tests.feed.listeners import Diary, feed_threads, in_order, listening, mirrored
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.network import QUICKLY
from tests.servers import Server, free_port
from tests.waiting import async_wait_until, wait_until


@pytest.fixture
def memory(each_url: str, name: str) -> Iterator[ConversationMemory]:
    """A memory on each kind of server."""
    with ConversationMemory(name, each_url) as opened:
        yield opened


def test_only_the_named_attributes_are_told(
    each_url: str, open_face: OpenFace, memory: ConversationMemory, name: str
) -> None:
    """With names only those are told, whether they exist yet or not; names may be any text."""
    face = open_face(name, each_url)
    memory.topic = "before"
    names = ("topic", "log", "first seen", "näme;1:", "\ud800")
    with Diary(face, *names) as diary:
        for turn, attribute in enumerate((*names, "other", "topic2", *names)):
            memory[attribute] = turn
        del memory.topic
        diary.wait(lambda changes: len(changes) == 11)
    told = [(change.name, change.value) for change in diary.changes]
    first = list(zip(names, range(5), strict=True))
    again = list(zip(names, range(7, 12), strict=True))
    assert told == [*first, *again, ("topic", MISSING)]


def test_a_watch_ends_when_nothing_happens(memory: ConversationMemory) -> None:
    """With `timeout_s` the iteration ends after so many quiet seconds, and may be begun again."""
    with watch(memory, timeout_s=0.1) as changes:
        assert list(changes) == []
        memory.topic = "a"
        assert [change.value for change in changes] == ["a"]
        with watch(memory, "other", timeout_s=0.0) as others:
            assert list(others) == []


def test_names_that_cannot_be_are_refused(memory: ConversationMemory) -> None:
    """Nothing is left of a watch that was refused."""
    for wrong in ("", "_hidden", "x" * 600):
        with pytest.raises(InvalidNameError):
            watch(memory, "topic", wrong)
    assert not core_of(memory).state.listeners


def test_a_watch_needs_a_server(name: str) -> None:
    """Without one it cannot begin."""
    with (
        ConversationMemory(name, f"redis://127.0.0.1:{free_port()}", **QUICKLY) as memory,
        pytest.raises(OfflineError),
    ):
        watch(memory)


def test_closing_the_memory_ends_a_watch(each_url: str, open_face: OpenFace, name: str) -> None:
    """Whoever waits for changes of a memory that is closed gets ClosedError."""
    face = open_face(name, each_url)
    diary = Diary(face)
    face.assign("topic", "a")
    diary.wait(len)
    if hasattr(face, "background"):
        face.function("close")
    else:
        face.close()
    wait_until(lambda: diary.errors)
    assert [type(error) for error in diary.errors] == [ClosedError]
    diary.close()


def test_closing_waits_for_the_queue_and_ends_a_watch(
    server: Server, proxy: FaultProxy, open_memory: OpenMemory, name: str
) -> None:
    """So it does when closing takes long, because changes wait."""
    memory = open_memory(name, proxy.url, close_timeout_s=0.5)
    caught: list[BaseException] = []

    def listen() -> None:
        try:
            list(changes)
        except ClosedError as error:
            caught.append(error)

    memory.topic = "a"
    changes = watch(memory)
    thread = threading.Thread(target=listen)
    thread.start()
    proxy.refuse()
    memory.topic = "b"
    with pytest.warns(DataLossWarning):
        close(memory)
    thread.join(5)
    assert caught


def test_closing_a_watch_ends_its_iteration(each_url: str, open_face: OpenFace, name: str) -> None:
    """From another thread or task too; what comes later is told to nobody."""
    face = open_face(name, each_url)
    diary = Diary(face)
    face.assign("topic", "a")
    diary.wait(len)
    diary.close()
    face.assign("topic", "b")
    assert [change.value for change in diary.changes] == ["a"]
    assert diary.errors == []


@pytest.mark.parametrize("cycles", [1_000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_leaving_again_and_again_leaves_nothing(server: Server, name: str, cycles: int) -> None:
    """Watches that are begun and left, in every way, leave no connection, thread or listener."""
    with ConversationMemory(name, server.url) as memory:
        state = core_of(memory).state
        for turn in range(cycles):
            changes = watch(memory, "turn", timeout_s=5)
            memory.turn = turn
            assert next(changes).value == turn
            if turn % 3 == 0:
                changes.close()
            elif turn % 3 == 1:
                with changes:
                    pass
            else:
                del changes
            assert len(state.listeners) == 0
            assert len(feed_threads()) == 1
        assert len(listening(server)) <= 1
    wait_until(lambda: not feed_threads() and not listening(server))


async def test_leaving_async_watches_leaves_nothing(server: Server, name: str) -> None:
    """So do async ones, also when their tasks are cancelled."""
    async with AsyncConversationMemory(name, server.url) as memory:
        core = memory.__dict__["_redis_memory_core"]

        async def first(attribute: str) -> Any:
            async with aio.watch(memory, attribute) as changes:
                return (await anext(changes)).value

        for turn in range(200):
            tasks = [asyncio.create_task(first(attribute)) for attribute in ("turn", "never")]
            await async_wait_until(lambda: len(core.state.listeners) == 2)
            await memory.turn.set(turn)
            while not tasks[0].done():
                # a watch that had not begun yet when it was set
                await asyncio.wait(tasks[:1], timeout=0.05)
                await memory.turn.set(turn)
            tasks[1].cancel()
            assert await tasks[0] == turn
            with pytest.raises(asyncio.CancelledError):
                await tasks[1]
        assert not core.state.listeners
        assert asyncio.all_tasks() == {asyncio.current_task()}
    await async_wait_until(lambda: not feed_threads() and not listening(server))


async def test_a_cancelled_wait_loses_no_change(server: Server, name: str) -> None:
    """`asyncio.wait_for` around the next change may give up again and again: each is told once."""
    async with (
        AsyncConversationMemory(name, server.url) as memory,
        AsyncConversationMemory(name, server.url) as other,
        aio.watch(memory, "log", "big") as changes,
    ):
        told: list[Any] = []

        async def listen() -> None:
            while "end" not in told:
                with contextlib.suppress(TimeoutError):
                    change = await asyncio.wait_for(anext(changes), 0.0005)
                    told.append(change.value if change.name == "big" else change.value[0])

        task = asyncio.create_task(listen())
        for turn in range(100):
            await other.big.set(f"{turn}" * 20_000)
            await aio.push(other, "log", turn)
        await aio.push(other, "log", "end")
        await asyncio.wait_for(task, 20)
        assert [value for value in told if isinstance(value, int)] == list(range(100))


async def test_async_watches_side_by_side(server: Server, name: str) -> None:
    """Many tasks of one loop watch one memory, by function and by handle, and are told the same."""
    async with AsyncConversationMemory(name, server.url) as memory:

        async def three(number: int) -> list[Any]:
            watched = aio.watch(memory, "turn") if number % 2 else memory.turn.watch()
            async with watched as changes:
                begun.append(number)
                return [(await anext(changes)).value for _ in range(3)]

        begun: list[int] = []
        tasks = [asyncio.create_task(three(number)) for number in range(20)]
        await async_wait_until(lambda: len(begun) == 20)
        for turn in range(3):
            await memory.turn.set(turn)
        assert await asyncio.gather(*tasks) == [[0, 1, 2]] * 20


# outages


def test_a_restart_in_between_is_survived(
    own_server: Server, open_face: OpenFace, name: str
) -> None:
    """What was changed while nobody listened is told once, as the latest state; then all again."""
    face = open_face(name, own_server.url)
    with Diary(face) as diary:
        face.assign("topic", "a")
        face.push("log", 1)
        face.assign("doomed", True)
        diary.wait(lambda changes: len(changes) == 3)
        own_server.stop()
        wait_until(lambda: not face.status().online)
        face.assign("topic", "b")
        face.assign("topic", "c")
        face.push("log", 2)
        face.delete("doomed")
        own_server.start()
        diary.wait(lambda changes: mirrored(changes) == {"topic": "c", "log": [1, 2]}, limit_s=15)
        assert face.flush() == 0
        wait_until(lambda: face.status().online)
        face.push("log", 3)
        diary.wait(lambda changes: mirrored(changes) == {"topic": "c", "log": [1, 2, 3]})
    assert in_order(diary.changes)
    assert diary.errors == []


def test_a_restored_backup_is_told(own_server: Server, open_face: OpenFace, name: str) -> None:
    """What a server comes back with is told where it is older than what was told before."""
    face = open_face(name, own_server.url, repair_operations=0)
    older = {"topic": "old", "log": [1], "kept": 1, "doomed": True}
    for attribute, value in older.items():
        face.assign(attribute, value)
    own_server.client().save()
    with Diary(face) as diary:
        face.assign("topic", "new")
        face.push("log", 2)
        face.delete("doomed")
        face.assign("late", 1)
        diary.wait(lambda changes: len(changes) == 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataLossWarning)
            own_server.kill()
            own_server.start()
            diary.wait(lambda changes: mirrored(changes, older) == older, limit_s=15)
            assert {change.name for change in diary.changes[4:]} == {*older, "late"} - {"kept"}
            wait_until(lambda: face.status().online)
            face.assign("topic", "newer")
            diary.wait(lambda changes: changes[-1].value == "newer")
        assert len(diary.changes) == 9
    assert in_order(diary.changes)
    assert diary.errors == []


def test_a_cut_feed_tells_the_latest_state_once(
    server: Server, proxy: FaultProxy, open_face: OpenFace, name: str
) -> None:
    """Of what happened while the network was gone, each attribute's state is told once."""
    face = open_face(name, proxy.url)
    with ConversationMemory(name, server.url) as other, Diary(face) as diary:
        other.kept, other.gone, other.log = 1, 1, [0]
        diary.wait(lambda changes: len(changes) == 3)
        proxy.refuse()
        wait_until(lambda: not face.status().online)
        for turn in range(50):
            other.topic = turn
            push(other, "log", turn)
        del other.gone
        other.brief = 1
        del other.brief
        proxy.heal()
        diary.wait(lambda changes: len(changes) == 6)
        other.last = True
        diary.wait(lambda changes: changes[-1].name == "last")
    told = {change.name: change for change in diary.changes[3:]}
    assert sorted(told) == ["gone", "last", "log", "topic"]
    assert (told["topic"].kind, told["topic"].value, told["topic"].writer) == ("change", 49, "")
    assert told["log"].value == [0, *range(50)]
    assert told["gone"].kind == "delete"
    assert in_order(diary.changes)


def test_a_slow_watcher_is_told_the_latest_states(server: Server, name: str) -> None:
    """Beyond 10,000 changes that were not fetched, what is left is told as the latest states."""
    with ConversationMemory(name, server.url) as memory, watch(memory, timeout_s=2) as changes:
        core = core_of(memory)
        watcher = next(iter(core.state.listeners))
        begun = [f"{turn}" for turn in range(50)]
        for turn in range(12_000):
            memory.last = turn
        for attribute in begun:
            memory[attribute] = attribute
        wait_until(lambda: len(watcher._untold) == 10_000)
        told = []
        for change in changes:
            told.append(change)
            if len({change.name for change in told}) == 51:
                break
        assert len(told) <= 10_000 + 51
        assert [change.value for change in told[:10_000]] == list(range(10_000))
        assert mirrored(told) == {"last": 11_999, **{each: each for each in begun}}
        assert in_order(told)
        memory.after = 1
        assert next(changes).name == "after"


# what does not fit


def test_a_damaged_attribute_ends_no_watch(server: Server, open_face: OpenFace, name: str) -> None:
    """CorruptValueError names the attribute; the iteration goes on behind it."""
    face = open_face(name, server.url)
    with ConversationMemory(name, server.url) as other, Diary(face) as diary:
        other.log = [1]
        diary.wait(len)
        server.client().rpush(f"memory:{{{name}}}:log", b"\xc1")
        push(other, "log", "x" * 20_000)
        other.topic = "b"
        diary.wait(lambda changes: changes[-1].name == "topic")
        assert [type(error) for error in diary.errors] == [CorruptValueError]
        assert "log" in str(diary.errors[0])


def test_foreign_messages_disturb_nobody(server: Server, open_face: OpenFace, name: str) -> None:
    """Whatever others publish on the memory's channel, changes are told and nothing else."""
    face = open_face(name, server.url)
    channel = f"memory:{{{name}}}~feed"
    writer = b"_w" + b"0" * 18
    foreign = [
        *(b"", b"x", b"\x00\xff" * 50, writer, writer + b"s5:topic", writer + b"s5:topicv;"),
        writer + b"s99999:topic",
        writer + b"s5:topicvzzzzzzzzzzzzz;abc",
        writer + b"x5:topic0000000000000;",
        writer + b"d0:0000000000000;",
        b"\xff" * 20 + b"s5:topicv0000000000001;\xa1a",
    ]
    with Diary(face) as diary:
        for message in foreign:
            assert server.client().publish(channel, message) == 1
            face.assign("topic", repr(message))
        diary.wait(lambda changes: len(changes) == len(foreign))
    assert [change.value for change in diary.changes] == [repr(message) for message in foreign]
    assert diary.errors == []
