"""What is logged: each event once, however many calls meet it, and never a value or a password."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from redis_memory import (
    ConversationMemory,
    Conversations,
    LeaseLostError,
    OfflineError,
    QueueFullError,
    claim,
)
from redis_memory.core.feed import CHANGED, News
from redis_memory.core.state import State
from redis_memory.core.watching import _MOST_UNTOLD, Watcher
from redis_memory.link.cluster import Topology
from tests.faults import FaultProxy
from tests.groups import Service
from tests.inhabitants import emptied
from tests.outages.faces import Face
from tests.outages.network import DRAIN_S
from tests.servers import Server
from tests.telemetry.conftest import OpenFace, Said
from tests.waiting import wait_until

WARNED, TOLD, FAILED = ["WARNING"], ["INFO"], ["ERROR"]


def test_an_outage_is_four_lines(
    open_face: OpenFace, proxy: FaultProxy, name: str, said: Said
) -> None:
    """Away, waiting, delivered, back: one line each, for any number of calls in between."""
    face = open_face(name, proxy.url)
    face.assign("log", [])
    assert said.text == ""
    proxy.refuse()
    for number in range(20):
        face.call("log", "append", number)
        face.read("log")
    proxy.heal()
    assert face.flush() == 0
    assert said.levels("is away: ") == WARNED
    assert said.levels("changes wait for the server") == TOLD
    assert said.levels("20 changes that waited are delivered") == TOLD
    wait_until(lambda: said.levels("is back") == WARNED, what="the end of the outage")
    assert len(said.text.splitlines()) == 4


def test_each_outage_is_told_anew(
    open_face: OpenFace, proxy: FaultProxy, name: str, said: Said
) -> None:
    """What was told of one outage does not silence the next."""
    face = open_face(name, proxy.url, queue_operations=2)
    for _ in range(2):
        proxy.refuse()
        for number in range(2):
            face.assign("topic", number)
        for _ in range(5):
            with pytest.raises(QueueFullError):
                face.assign("topic", "one too many")
        proxy.heal()
        assert face.flush() == 0
    assert said.levels("no change can wait any more") == 2 * FAILED
    assert said.levels("2 changes that waited are delivered") == 2 * TOLD
    assert said.levels("is away: ") == 2 * WARNED


def test_a_server_that_refuses_what_waits_is_told_of_once(
    open_face: OpenFace, own_server: Server, name: str, said: Said
) -> None:
    """Out of memory: one warning, while the delivery is tried again and again."""
    face = open_face(name, own_server.url)
    face.assign("log", [])
    with FaultProxy(own_server.url) as proxy:
        waiting = open_face(name, proxy.url)
        proxy.refuse()
        waiting.function("push", "log", "while the server was away")
        own_server.client().config_set("maxmemory", "1")
        proxy.heal()
        wait_until(lambda: said.levels("changes go on waiting") == WARNED, what="the refusal")
        attempts = proxy.requests_seen()
        wait_until(lambda: proxy.requests_seen() > attempts + 10, what="more attempts")
        waiting.function("push", "log", "while it was full")
        assert said.levels("changes go on waiting") == WARNED
        own_server.client().config_set("maxmemory", "0")
        assert waiting.flush() == 0
        waiting.close()
    assert face.read("log") == ["while the server was away", "while it was full"]


def test_a_lost_lease_is_told_of_once(server: Server, name: str, said: Said) -> None:
    """The first who finds out says so, and no later renewal does; a release says nothing."""
    with ConversationMemory(name, server.url) as memory:
        mine = claim(memory, "triage", "ann", ttl_s=30)
        assert mine is not None
        server.client().flushall()
        for _ in range(3):
            with pytest.raises(LeaseLostError):
                mine.renew()
        assert said.levels("'triage' of conversation") == WARNED
        other = claim(memory, "other", "ann", ttl_s=30)
        assert other is not None
        other.release()
        with pytest.raises(LeaseLostError):
            other.renew()
    assert said.levels("'other'") == []


def test_a_lost_feed_is_told_of_and_so_is_its_return(
    open_face: OpenFace, own_server: Server, name: str, said: Said
) -> None:
    """One line when nobody is heard any more, one when everybody is again."""
    face = open_face(name, own_server.url, read_mode="cached")
    face.assign("topic", "billing")
    wait_until(lambda: face.status().feed, what="the feed")
    own_server.restart()
    wait_until(lambda: said.levels("is heard again") == WARNED, what="the return of the feed")
    assert said.levels("the feed of") == 2 * WARNED
    assert said.levels("was lost") == WARNED


def test_a_watch_that_falls_behind_says_so_once(said: Said) -> None:
    """Who does not fetch what is told gets the latest states, and the log says so."""
    watcher = Watcher((), lambda: None)
    exhausted = watcher.beginning(State("memory:", "c-1"))
    next(exhausted)
    with suppress(StopIteration):
        exhausted.send([])
    for number in range(_MOST_UNTOLD + 5):
        watcher.hear(News.of(CHANGED, "topic", b"v%013x;" % number))
    assert said.levels("a watch is 10000 changes behind") == WARNED


def test_a_failover_by_sentinels_is_told_of(open_face: OpenFace, name: str, said: Said) -> None:
    """The line names the server that leads now; finding the first one is no event."""
    with Service() as service:
        face = open_face(name, service.url)
        face.assign("topic", "billing")
        assert said.levels("the primary is") == []
        before = service.primary
        service.fail_over()
        service.wait_for_demotion(before)
        wait_until(lambda: _answers(face), DRAIN_S, what="the new primary")
        assert said.levels(f"the primary is 127.0.0.1:{service.primary.port} now") == WARNED
        face.close()


def _answers(face: Face) -> bool:
    return bool(face.status().online)


def test_a_failover_in_a_cluster_is_told_of(said: Said) -> None:
    """Slots that move between the same primaries are no event; another primary is."""
    topology = Topology((("a", 1),), "redis+cluster://a:1", lambda *_: None, 1.0)
    topology._take({0: ("a", 1), 1: ("b", 1)})
    topology.learn(0, ("b", 1))
    topology.learn(0, ("a", 1))
    assert said.text == ""
    topology.learn(1, ("c", 1))
    topology._take({0: ("a", 1), 1: ("c", 1)})
    assert said.levels("the primaries are a:1, b:1, c:1 now") == WARNED
    assert said.levels("the primaries are a:1, c:1 now") == WARNED


def test_runs_over_the_directory_are_told_of(server: Server, name: str, said: Said) -> None:
    """Whoever prunes or reindexes leaves a line with the counts."""
    prefix = f"{name}:"
    for number in range(3):
        with ConversationMemory(f"c-{number}", server.url, prefix=prefix) as memory:
            memory.topic = "billing"
    with Conversations(server.url, prefix=prefix) as directory:
        directory.prune(idle_for=0, keep=["c-1"], dry_run=True)
        directory.prune(idle_for=0, keep=["c-1"])
        server.client().delete(f"{prefix}~conversations")
        directory.reindex()
    assert said.levels(f"prune of {prefix!r} (dry run): 2 of 3 conversations") == TOLD
    assert said.levels(f"prune of {prefix!r}: 2 of 3 conversations") == TOLD
    assert said.levels(f"reindex of {prefix!r}: 1 conversations, 1 entries added") == TOLD


def test_a_server_that_is_started_here_is_told_of(tmp_path: Path, name: str, said: Said) -> None:
    """By the process that starts it, not by those that find it running."""
    folder = tmp_path / "data"
    with emptied(folder):
        for _ in range(2):
            with ConversationMemory(name, f"embedded://{folder}", timeout_s=5) as memory:
                memory.topic = "billing"
    assert said.levels("was started") == TOLD


def test_neither_values_nor_passwords_are_logged(
    open_face: OpenFace, name: str, said: Said
) -> None:
    """At no level, through an outage with conflicts, a full queue and a data loss."""
    with Server(tcp=True, password="the-password") as server, FaultProxy(server.url) as proxy:
        face = open_face(name, proxy.url, queue_operations=3, read_mode="cached")
        with ConversationMemory(name, server.url) as other:
            face.assign("topic", "the value")
            face.assign("messages", ["the value"])
            proxy.refuse()
            with suppress(OfflineError):
                face.assign("topic", "the value, later")
            other.topic = "the value of another"
            face.call("messages", "__setitem__", 0, "the value, changed")
            other.messages.insert(0, "the value of another")
            face.assign("topic", "the value, once more")
            with pytest.raises(QueueFullError):
                face.assign("topic", "the value that is too much")
            proxy.heal()
            assert face.flush() == 0
            other.topic = "the value, known"
            server.client().flushall()
            with pytest.warns(match="no longer knows"):
                other.topic = "the value, again"
        face.close()
    for event in ("is away", "conflict in", "no change can wait", "no longer knows", "is back"):
        assert said.levels(event), event
    assert "the value" not in said.text
    assert "the-password" not in said.text


def test_a_program_without_logging_sees_what_is_wrong() -> None:
    """Warnings and errors come to stderr, and what is only told does not."""
    code = "import logging, redis_memory; log = logging.getLogger('redis_memory'); "
    run = subprocess.run(
        [sys.executable, "-c", f"{code} log.error('an event'); log.info('a thing')"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert run.stderr == "an event\n"


def test_a_wait_over_an_outage_repeats_nothing(
    open_face: OpenFace, own_server: Server, name: str, said: Said
) -> None:
    """Who waits asks again and again, and the log holds one line for the outage all the same."""
    face = open_face(name, own_server.url)
    face.assign("state", "open")
    own_server.stop()
    with suppress(OfflineError, TimeoutError):
        face.function("wait_for", "state", "done", timeout_s=0.5)
    own_server.start()
    wait_until(lambda: said.levels("is back") == WARNED, DRAIN_S, what="the end of the outage")
    assert said.levels("is away: ") == WARNED
