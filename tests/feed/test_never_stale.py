"""Cached reads are never silently old: what a reader has seen, it never sees undone."""

from __future__ import annotations

import itertools
import math
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import ConversationMemory, DataLossWarning, RedisMemoryError, increment, status
from redis_memory.memory import core_of
from tests.children import Child, exit_code, in_child
from tests.faults import FaultProxy
from tests.feed.listeners import has_heard, hears, knows
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.faces import Face
from tests.outages.network import is_any
from tests.servers import Server
from tests.waiting import wait_until

FEED_TIMEOUT_S = 0.4
# for a machine that does other things as well
GRACE_S = 1.0
RUN_S = 3.0


def asks(face: Face, name: str) -> bool:
    """Whether a read of the attribute goes to the server now."""
    return not knows(face.memory, name)  # type: ignore[attr-defined] # both faces have one


LOSSES: dict[str, Callable[[FaultProxy], None]] = {
    "a black hole": FaultProxy.stall,
    "refused": FaultProxy.refuse,
    "never answered": lambda proxy: proxy.lose_replies(math.inf, how="timeout", when=is_any),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_without_its_feed_a_cached_memory_asks(
    loss: str, server: Server, open_face: OpenFace, feed_proxy: FaultProxy, name: str
) -> None:
    """The feed alone is lost: within `feed_timeout_s` each read asks again, and then not."""
    face = open_face(
        name, server.url, read_mode="cached", feed_timeout_s=FEED_TIMEOUT_S, timeout_s=2
    )
    with ConversationMemory(name, server.url) as other:
        other.topic = 0
        wait_until(lambda: face.read("topic") == 0 and not asks(face, "topic"))
        assert face.status().feed
        LOSSES[loss](feed_proxy)
        begun = time.monotonic()
        other.topic = 1
        wait_until(lambda: face.read("topic") == 1)
        assert time.monotonic() - begun < FEED_TIMEOUT_S + GRACE_S
        wait_until(lambda: not face.status().feed, what="the loss to be noticed")
        for turn in range(20):
            other.topic = turn
            assert face.read("topic") == turn
        feed_proxy.heal()
        wait_until(lambda: face.read("topic") == 19 and not asks(face, "topic"))
        other.topic = "again"
        wait_until(lambda: face.read("topic") == "again", 1.0)


def test_a_lost_connection_is_noticed_at_once(
    server: Server, open_memory: OpenMemory, feed_proxy: FaultProxy, name: str
) -> None:
    """When the feed's connection ends, no limit needs to pass."""
    memory = open_memory(name, server.url, read_mode="cached", feed_timeout_s=60, timeout_s=2)
    memory.topic = 0
    wait_until(lambda: memory.topic == 0 and knows(memory, "topic"))
    feed_proxy.refuse()
    wait_until(lambda: not knows(memory, "topic"), GRACE_S)
    feed_proxy.heal()
    wait_until(lambda: memory.topic == 0 and knows(memory, "topic"))


def test_what_was_missed_while_the_feed_was_lost_is_read(
    server: Server, open_memory: OpenMemory, feed_proxy: FaultProxy, name: str
) -> None:
    """A copy from before the loss answers no more, though nobody asked meanwhile."""
    memory = open_memory(name, server.url, read_mode="cached", timeout_s=2)
    memory.topic = "old"
    wait_until(lambda: memory.topic == "old" and knows(memory, "topic"))
    feed_proxy.refuse()
    wait_until(lambda: not status(memory).feed, what="the loss to be noticed")
    with ConversationMemory(name, server.url) as other:
        other.topic = "new"
    feed_proxy.heal()
    has_heard(memory)
    assert memory.topic == "new"


def test_an_answer_that_is_older_than_the_feed_is_no_copy(
    server: Server,
    open_memory: OpenMemory,
    feed_proxy: FaultProxy,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was changed behind a read, and before the feed was heard, was told to nobody."""
    feed_proxy.refuse()
    memory = open_memory(name, server.url, read_mode="cached", timeout_s=2)
    link = core_of(memory).driver.link
    execute = link.execute
    with ConversationMemory(name, server.url) as other:
        other.topic = "old"

        def overtaken(call: Any) -> Any:
            reply = execute(call)
            other.topic = "new"
            feed_proxy.heal()
            has_heard(memory)
            return reply

        with monkeypatch.context() as patched:
            patched.setattr(link, "execute", overtaken)
            assert memory.topic == "old"
        assert memory.topic == "new"


def test_an_empty_server_is_noticed(own_server: Server, open_memory: OpenMemory, name: str) -> None:
    """A server that comes back with nothing is believed: no read shows what it does not hold."""
    memory = open_memory(name, own_server.url, read_mode="cached", repair_operations=0)
    memory.topic, memory.log = "a", [1]
    has_heard(memory)
    assert memory.topic == "a"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        own_server.restart(keep_data=False)
        wait_until(lambda: status(memory).online and hears(memory))
        wait_until(lambda: getattr(memory, "topic", None) is None)
        assert not hasattr(memory, "log")
        memory.topic = "b"
        assert memory.topic == "b"
    assert status(memory).data_loss


def test_a_flushed_server_is_noticed_in_time(
    own_server: Server, open_memory: OpenMemory, name: str
) -> None:
    """FLUSHALL is told to nobody: a copy answers for at most `cached_max_age_s` after it."""
    memory = open_memory(
        name, own_server.url, read_mode="cached", repair_operations=0, cached_max_age_s=0.5
    )
    memory.topic = "a"
    wait_until(lambda: memory.topic == "a" and knows(memory, "topic"))
    own_server.client().flushall()
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        wait_until(lambda: not hasattr(memory, "topic"))
    assert time.monotonic() - begun < 0.5 + GRACE_S
    memory.topic = "b"
    wait_until(lambda: memory.topic == "b" and knows(memory, "topic"))


def test_an_older_state_is_not_taken_for_news(
    own_server: Server, open_memory: OpenMemory, name: str
) -> None:
    """After a restored backup copies answer again, with what the backup holds."""
    memory = open_memory(name, own_server.url, read_mode="cached", repair_operations=0)
    memory.topic = "old"
    own_server.client().save()
    memory.topic = "new"
    wait_until(lambda: memory.topic == "new" and knows(memory, "topic"))
    own_server.kill()
    own_server.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        wait_until(lambda: status(memory).online)
        wait_until(lambda: memory.topic == "old" and knows(memory, "topic"))


class Reader:
    """Reads a counter and a list as fast as it can, and notes where one went back."""

    def __init__(self, memory: ConversationMemory) -> None:
        self.memory = memory
        self.faults: list[str] = []
        self.reads = 0
        self.answered = 0
        self._count = self._length = -1

    def read(self) -> None:
        """One more look."""
        self.answered += knows(self.memory, "count")
        try:
            count, log = self.memory.count, self.memory.log
        except (RedisMemoryError, AttributeError):
            return  # away, and not read yet
        self.reads += 1
        if count < self._count:
            self.faults.append(f"count {count} behind {self._count}")
        if len(log) < self._length:
            self.faults.append(f"log of {len(log)} behind {self._length}")
        for writer in {entry[0] for entry in log}:
            own = [turn for who, turn in log if who == writer]
            if own != list(range(len(own))):
                self.faults.append(f"{own} by {writer}")
        self._count, self._length = max(self._count, count), max(self._length, len(log))

    @property
    def has_ended(self) -> bool:
        """Whether the writer has said that it is done."""
        try:
            return hasattr(self.memory, "end")
        except RedisMemoryError:
            return False

    def run(self, stop: Callable[[], bool]) -> None:
        """Look until it is enough."""
        while not stop():
            self.read()


def write(name: str, url: str, stop: Callable[[], bool], **options: Any) -> None:
    """Count, and append numbers that grow, as fast as possible."""
    writer = uuid.uuid4().hex
    with ConversationMemory(name, url, **options) as memory:
        for turn in itertools.count():
            if stop():
                return
            increment(memory, "count")
            memory.log.append((writer, turn))


def until(end_s: float) -> Callable[[], bool]:
    """Whether a moment has come; the same in every process of a machine."""
    return lambda: time.monotonic() > end_s


def test_no_reader_sees_a_version_twice_removed(
    server: Server, proxy: FaultProxy, name: str
) -> None:
    """Threads and processes write and read, connections are cut: no reader ever goes back."""
    end = until(time.monotonic() + RUN_S)
    with ConversationMemory(name, server.url) as first:
        first.count, first.log = 0, []

    def read_in_process() -> None:
        with ConversationMemory(name, proxy_url, read_mode="cached", timeout_s=2) as memory:
            reader = Reader(memory)
            reader.run(end)
            assert reader.faults == []
            assert reader.answered

    proxy_url = proxy.url
    pids = [in_child(lambda: write(name, server.url, end)), in_child(read_in_process)]
    options: dict[str, Any] = {"read_mode": "cached", "timeout_s": 2, "reconnect_max_s": 0.02}
    with ConversationMemory(name, proxy_url, **options) as shared:
        readers = [Reader(shared) for _ in range(2)]
        threads = [threading.Thread(target=reader.run, args=(end,)) for reader in readers]
        threads.append(threading.Thread(target=write, args=(name, server.url, end)))
        for thread in threads:
            thread.start()
        while not end():
            reads = sum(reader.reads for reader in readers)
            wait_until(lambda: end() or sum(reader.reads for reader in readers) > reads + 300)  # noqa: B023 - called here
            proxy.drop()
        for thread in threads:
            thread.join()
    assert [exit_code(pid) for pid in pids] == [0, 0]
    for reader in readers:
        assert reader.faults == []
        assert reader.answered


def test_killed_servers_take_nothing_back(name: str) -> None:
    """The server is killed and comes back with all it had acknowledged: readers never go back."""
    with Server(tcp=True, appendonly="yes", appendfsync="always") as own:
        with ConversationMemory(name, own.url) as first:
            first.count, first.log = 0, []

        def work(child: Child) -> None:
            # its own changes waiting are shown while the server is away, so it only reads
            with ConversationMemory(
                name, own.url, read_mode="cached", timeout_s=0.2, reconnect_max_s=0.05
            ) as memory:
                reader = Reader(memory)
                child.tell()
                reader.run(lambda: reader.has_ended)
                assert reader.faults == []
                assert reader.answered

        children = [Child(work) for _ in range(2)]
        for child in children:
            child.reached()
        with ConversationMemory(name, own.url, timeout_s=5) as memory:
            for kills in range(4):
                for turn in range(50):
                    increment(memory, "count")
                    memory.log.append(("writer", 50 * kills + turn))
                if kills < 3:
                    own.kill()
                    own.start()
            memory.end = True
        for child in children:
            child.ended()
