"""The end of a lifetime: told by nobody, and found in time by who watches or waits."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from redis_memory import MISSING, ConversationMemory, expire
from redis_memory.core.feed import LIFETIME, News
from tests.faults import FaultProxy
from tests.feed.listeners import Diary, in_order, mirrored
from tests.feed.test_cached_reads import is_asked
from tests.feed.test_wait_for import Waiting
from tests.outages.conftest import OpenFace
from tests.servers import Server
from tests.waiting import wait_until

TTL_S = 0.5
# for a machine that does other things as well
SOON_S = 3.0
WAYS: dict[str, Callable[[str, str], ConversationMemory]] = {
    "expire": lambda name, url: _begun(ConversationMemory(name, url), TTL_S),
    "ttl_s": lambda name, url: _begun(ConversationMemory(name, url, ttl_s=TTL_S), None),
}


def _begun(memory: ConversationMemory, ttl_s: float | None) -> ConversationMemory:
    memory.topic, memory.log = "a", [1]
    if ttl_s is not None:
        expire(memory, ttl_s)
    return memory


@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_a_memory_is_waited_for(
    way: str, each_url: str, open_face: OpenFace, name: str
) -> None:
    """Who waits until an attribute is gone is told when its memory ends."""
    face = open_face(name, each_url)
    with WAYS[way](name, each_url):
        waiting = Waiting(face, ("topic", "log"), MISSING)
        assert waiting.ends(TTL_S + SOON_S) == (MISSING, MISSING)


@pytest.mark.parametrize("way", WAYS)
def test_a_lifetime_that_is_given_meanwhile_counts(
    way: str, each_url: str, open_face: OpenFace, name: str
) -> None:
    """It may be given, or shortened, or begin with a memory, after the wait or watch has begun."""
    face = open_face(name, each_url)
    with ConversationMemory(name, each_url) as other, Diary(face) as diary:
        other.topic = "a"
        expire(other, 3600)
        waiting = Waiting(face, "topic", MISSING)
        with WAYS[way](name, each_url):
            if way == "ttl_s":  # what a memory was given comes before the setting
                assert waiting.goes_on
                expire(other, TTL_S)
            assert waiting.ends(TTL_S + SOON_S) is MISSING
            diary.wait(lambda changes: mirrored(changes) == {}, limit_s=TTL_S + SOON_S)


def test_each_attribute_is_told_to_be_gone(each_url: str, open_face: OpenFace, name: str) -> None:
    """A watch tells the deletion of each attribute by nobody, once, and then what is begun anew."""
    face = open_face(name, each_url)
    with Diary(face) as diary:
        with WAYS["ttl_s"](name, each_url) as memory:
            diary.wait(lambda changes: len(changes) == 4, limit_s=TTL_S + SOON_S)
            assert [(change.kind, bool(change.writer)) for change in diary.changes] == [
                ("set", True),
                ("set", True),
                ("delete", False),
                ("delete", False),
            ]
            memory.topic = "again"
            diary.wait(lambda changes: len(changes) == 6, limit_s=TTL_S + SOON_S)
        assert [change.value for change in diary.changes[4:]] == ["again", MISSING]
    assert in_order(diary.changes)
    assert diary.errors == []


def test_changes_put_the_end_off(server: Server, open_face: OpenFace, name: str) -> None:
    """While somebody changes the memory it lives, and nothing is told to be gone before it is."""
    face = open_face(name, server.url)
    with WAYS["ttl_s"](name, server.url) as memory, Diary(face) as diary:
        waiting = Waiting(face, "topic", MISSING)
        begun = time.monotonic()

        def is_later() -> bool:
            memory.turn = 1
            return time.monotonic() - begun > 3 * TTL_S

        wait_until(is_later)
        assert waiting.goes_on
        assert not [change for change in diary.changes if change.kind == "delete"]
        assert waiting.ends(TTL_S + SOON_S) is MISSING
        diary.wait(lambda changes: mirrored(changes, {"topic": "a", "log": [1]}) == {})


def test_nobody_asks_before_the_end(
    server: Server, proxy: FaultProxy, open_face: OpenFace, name: str
) -> None:
    """Who watches a memory with a long lifetime, or waits, is told changes and asks nothing."""
    face = open_face(name, proxy.url)
    with WAYS["expire"](name, server.url) as memory:
        expire(memory, 3600)
        with Diary(face) as diary:
            waiting = Waiting(face, "topic", MISSING)
            memory.turn = 0
            diary.wait(lambda changes: len(changes) == 1)
            asked = proxy.requests_seen(is_asked)
            for turn in range(20):
                memory.turn = turn
            diary.wait(lambda changes: len(changes) == 21)
            assert proxy.requests_seen(is_asked) == asked
            assert waiting.goes_on
            del memory.topic
            assert waiting.ends() is MISSING


def test_the_message_of_a_lifetime_names_nothing() -> None:
    """It stands for the memory as a whole, and moves no version."""
    news = News(b"_l000000000000000000e0:0000000000000;")
    assert (news.what, news.name, news.payload) == (LIFETIME, "", b"")
    with pytest.raises(ValueError, match="no message"):
        News(b"_l000000000000000000e1:x0000000000000;")
