"""Listing: filters, order, cursors, and what is told of one conversation."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redis_memory import (
    ClosedError,
    ConversationMemory,
    Conversations,
    OfflineError,
    UnknownConversationError,
)
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.search import Order
from redis_memory.link.links import idle_writers
from tests.directory.conftest import Begin
from tests.directory.faces import Faces
from tests.servers import Server

DAY_US = 86_400_000_000


def age(server: Server, conversation_id: str, days: float) -> None:
    """Have a conversation be idle for so long, as if the time had passed."""
    client = server.client()
    key = f"memory:{{{conversation_id}}}"
    version = f"{int(client.hget(key, '_version') or b'', 16) - int(days * DAY_US):013x}"
    client.hset(key, mapping={"_version": version, "_created": version})
    client.zadd("memory:~conversations", {conversation_id: int(version, 16)})


def every_page(directory: Any, **options: Any) -> list[str]:
    """All ids, page after page."""
    ids: list[str] = []
    cursor = None
    while True:
        page = directory.list(cursor=cursor, **options)
        ids += page.ids
        cursor = page.cursor
        if cursor is None:
            return ids


def test_the_most_recent_comes_first(open_directory: Faces, begin: Begin, url: str) -> None:
    """Also one that was changed within the second in which its entry was made."""
    first = begin("a")
    begin("b")
    begin("c")
    first.topic = "again"
    directory = open_directory(url)
    page = directory.list()
    assert page.ids == ("a", "c", "b")
    assert directory.list("oldest").ids == ("b", "c", "a")
    assert page.cursor is None
    assert page[0].created < page[0].last_activity <= datetime.now(UTC) + timedelta(seconds=5)


def test_idle_and_active_conversations_are_told_apart(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """By their own last activity, not by what the index says of it."""
    for name in ("now", "week", "month"):
        begin(name)
    age(server, "week", 7)
    age(server, "month", 30)
    begin("stale entry")
    server.client().zadd("memory:~conversations", {"stale%20entry": 1})
    directory = open_directory(server.url)
    assert directory.list(idle_for=timedelta(days=20)).ids == ("month",)
    assert directory.list(idle_for=6 * 86400).ids == ("week", "month")
    assert directory.list(active_within=timedelta(days=20)).ids == ("stale entry", "now", "week")
    assert directory.list(idle_for=6 * 86400, active_within=8 * 86400).ids == ("week",)


def test_ids_are_matched_as_in_a_shell(open_directory: Faces, begin: Begin, url: str) -> None:
    """`*`, `?` and `[ab]`; the whole id, in its own letters."""
    for name in ("user-1", "user-22", "bot-1", "*"):
        begin(name)
    directory = open_directory(url)
    assert directory.list(match="user-*").ids == ("user-22", "user-1")
    assert directory.list(match="[ub]*-?").ids == ("bot-1", "user-1")
    assert directory.list(match="[*]").ids == ("*",)
    assert directory.list(match="USER-1").ids == ()


def test_where_looks_at_attributes(open_directory: Faces, begin: Begin, url: str) -> None:
    """An expression or a function of the attributes; what is missing does not match."""
    begin("open", state="open", messages=["a"])
    begin("archived", state="archived", messages=["a", "b"], profile={"tone": "formal"})
    begin("empty")
    directory = open_directory(url)
    assert directory.list(where='state == "archived"').ids == ("archived",)
    assert directory.list(where="len(messages) > 0").ids == ("archived", "open")
    assert directory.list(where='profile["tone"] == "formal"').ids == ("archived",)
    assert directory.list(where="not exists(state)").ids == ("empty",)
    assert directory.list(where=lambda found: "messages" in found).ids == ("archived", "open")


def test_a_damaged_conversation_does_not_hide_the_others(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """It is listed, and matches no condition about what cannot be read."""
    begin("good", state="open")
    begin("bad", state="open")
    server.client().hset("memory:{bad}", "state", "rubbish")
    server.client().zadd("memory:~conversations", {"text": 1.7e15})
    server.client().set("memory:{text}", "no hash")
    directory = open_directory(server.url)
    assert set(directory.list().ids) == {"good", "bad"}
    assert directory.list(where="exists(state)").ids == ("good",)
    assert directory.info("bad").attributes["state"].kind == "damaged"


@pytest.mark.parametrize(
    "fields",
    [
        {"_version": "f" * 20},
        {"_created": "f" * 20},
        {"_version": "-1"},
        {"_until": "9" * 30},
        {"_version": "nonsense"},
        {"_created": ""},
    ],
)
def test_a_time_that_cannot_be_does_not_hide_the_others(
    open_directory: Faces, begin: Begin, server: Server, fields: Any
) -> None:
    """A foreign hand has written it; the conversation counts as none, and nothing fails."""
    begin("good")
    begin("bad")
    server.client().hset("memory:{bad}", mapping=fields)
    directory = open_directory(server.url)
    for order in ("recent", "oldest"):
        assert directory.list(order).ids == ("good",)
    assert directory.reindex().found == 1
    assert directory.stats().conversations == directory.count() == 1
    assert not directory.exists("bad")
    assert directory.export(io.BytesIO()).conversations == 1
    assert directory.prune(0).ids == ("good",)


@pytest.mark.parametrize("order", ["recent", "oldest"])
def test_pages_meet_each_conversation_once(
    open_directory: Faces, begin: Begin, server: Server, order: str
) -> None:
    """Also those whose last activity is the same microsecond."""
    names = [f"c-{number}" for number in range(25)]
    for name in names:
        begin(name)
    client = server.client()
    version = client.hget("memory:{c-3}", "_version") or b""
    for name in names[3:20]:
        client.hset(f"memory:{{{name}}}", "_version", version)
        client.zadd("memory:~conversations", {name: int(version, 16)})
    directory = open_directory(server.url)
    for limit in (1, 4, 25, 100):
        assert sorted(every_page(directory, order=order, limit=limit)) == sorted(names)
    assert every_page(directory, order=order, limit=3, match="c-1?") == [
        name for name in every_page(directory, order=order) if len(name) == 4 and name < "c-2"
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cursor_is_stable_under_changes(server: Server, data: st.DataObject) -> None:
    """Whatever is begun, changed or deleted between two pages: the others are met once each."""
    server.client().flushall()
    idle_writers.clear()
    memories = {str(number): ConversationMemory(str(number), server.url) for number in range(12)}
    for memory in memories.values():
        memory.topic = "billing"
    order: Order = data.draw(st.sampled_from(["recent", "oldest"]))
    touched: set[str] = set()
    met: list[str] = []
    with Conversations(server.url) as directory:
        cursor = None
        while True:
            page = directory.list(order, limit=data.draw(st.integers(1, 5)), cursor=cursor)
            met += page.ids
            cursor = page.cursor
            if cursor is None:
                break
            for name in data.draw(st.lists(st.sampled_from(sorted(memories)), max_size=2)):
                touched.add(name)
                if data.draw(st.booleans()):
                    memories[name].topic = "changed"
                else:
                    directory.delete(name)
    untouched = memories.keys() - touched
    assert sorted(name for name in met if name in untouched) == sorted(untouched)
    assert all(met.count(name) == 1 for name in untouched)


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": "newest"},
        {"limit": 0},
        {"cursor": "nonsense"},
        {"idle_for": -1},
        {"where": "__import__('os')"},
        {"where": "state ="},
    ],
)
def test_wrong_arguments_are_errors(open_directory: Faces, url: str, wrong: Any) -> None:
    """Each says what is wrong, before anything is asked."""
    with pytest.raises(ValueError, match=r"order|limit|cursor|idle_for|condition"):
        open_directory(url).list(**wrong)


def test_a_cursor_of_the_other_order_is_an_error(
    open_directory: Faces, begin: Begin, url: str
) -> None:
    """It would go on at a wrong place."""
    begin("a")
    begin("b")
    directory = open_directory(url)
    cursor = directory.list(limit=1).cursor
    with pytest.raises(ValueError, match="cursor"):
        directory.list("oldest", cursor=cursor)


def test_no_listing_goes_through_the_keys(begin: Begin, server: Server) -> None:
    """The server sees no KEYS and no SCAN but those of reindex."""
    for number in range(5):
        begin(f"c-{number}")
    client = server.client()
    client.config_resetstat()
    with Conversations(server.url) as directory:
        directory.count()
        directory.list(where="topic == 'billing'", match="c-*", idle_for=0)
        directory.info("c-1")
        directory.stats()
        directory.rename("c-1", "c-9")
        directory.prune(0)
    seen = {name.partition("|")[0] for name in client.info("commandstats")}
    assert not {"cmdstat_keys", "cmdstat_scan", "cmdstat_hscan"} & seen


def test_info_tells_what_a_conversation_consists_of(
    open_directory: Faces, begin: Begin, url: str
) -> None:
    """Kinds, lengths, bytes and times; no values."""
    memory = begin("c-1", topic="secret", turns=3, messages=["a", "b"], profile={1: 2}, tags={"x"})
    found = open_directory(url).info("c-1")
    assert {name: (one.kind, one.length) for name, one in found.attributes.items()} == {
        "topic": ("value", None),
        "turns": ("number", None),
        "messages": ("list", 2),
        "profile": ("dict", 1),
        "tags": ("set", 1),
    }
    assert found.bytes > sum(one.bytes for one in found.attributes.values()) > 0
    assert found.writers == 1
    assert found.ttl_s is None
    times = sorted(one.changed for one in found.attributes.values() if one.changed)
    assert found.created == times[0]
    assert found.last_activity == times[-1]
    assert "secret" not in repr(found)
    assert memory.topic == "secret"


def test_an_unknown_id_is_a_clear_error(open_directory: Faces, url: str) -> None:
    """A LookupError that names the id."""
    directory = open_directory(url)
    assert not directory.exists("nobody")
    assert not directory.delete("nobody")
    for call in (directory.info, lambda name: directory.rename(name, "x")):
        with pytest.raises(UnknownConversationError, match="nobody"):
            call("nobody")


def test_stats_count_the_active_and_the_idle(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """By the index."""
    for name in ("now", "yesterday", "week", "month"):
        begin(name)
    age(server, "yesterday", 1.5)
    age(server, "week", 8)
    age(server, "month", 31)
    found = open_directory(server.url).stats()
    active = (found.active_hour, found.active_day, found.active_week)
    assert (found.conversations, *active, found.idle_month) == (4, 1, 1, 2, 1)
    assert found.oldest_activity < found.newest_activity


def test_a_server_that_is_away_is_an_error(open_directory: Faces, own_server: Server) -> None:
    """Nothing waits, and a later call finds the server again."""
    directory = open_directory(own_server.url)
    assert directory.count() == 0
    own_server.stop()
    with pytest.raises(OfflineError):
        directory.list()
    own_server.start()
    for _ in range(1000):
        try:
            assert directory.count() == 0
            break
        except OfflineError:
            continue


def test_a_flushed_script_cache_goes_unnoticed(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """Scripts are loaded again, those in the middle of a packet too."""
    for number in range(30):
        begin(f"c-{number}", messages=["a"])
    directory = open_directory(server.url)
    server.client().script_flush()
    assert len(directory.list(where="len(messages) == 1")) == 30
    server.client().script_flush()
    assert directory.prune(0).pruned == 30


def test_a_closed_directory_refuses(open_directory: Faces, url: str) -> None:
    """Later use raises ClosedError; repr shows no password."""
    directory = open_directory(url)
    directory.count()
    directory.close()
    with pytest.raises(ClosedError):
        directory.count()


def test_pages_are_sequences(begin: Begin, url: str) -> None:
    """They can be iterated, measured, indexed."""
    for name in "abc":
        begin(name)
    with Conversations(url) as directory:
        page = directory.list()
        assert [one.id for one in page] == list(page.ids)
        assert len(page) == 3
        assert all(one.last_activity >= other.last_activity for one, other in pairwise(page))
        assert "password" not in repr(directory)
    assert set(SCRIPTS) >= {"enter", "correct", "record"}
