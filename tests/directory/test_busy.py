"""Whoever goes through the conversations while others change them loses none of it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from redis_memory import (
    ConversationExistsError,
    ConversationMemory,
    Conversations,
    clear,
    snapshot,
)
from redis_memory.core.calls import Call
from redis_memory.link.links import idle_writers
from tests.directory.conftest import Begin
from tests.directory.faces import Faces
from tests.directory.test_index import entries
from tests.servers import Server
from tests.waiting import wait_until


def change(url: str, conversation_id: str, **values: Any) -> None:
    """Change a conversation as a process that has not changed it lately: its entry moves."""
    idle_writers.clear()
    with ConversationMemory(conversation_id, url) as memory:
        for name, value in values.items():
            memory[name] = value


@contextmanager
def after_the_first(
    directory: Conversations, is_it: Callable[[Call], bool], act: Callable[[], object]
) -> Iterator[None]:
    """Have something happen between the first such call of a directory and what comes next."""
    link: Any = directory._desk.link
    execute, done = link.execute, list[bool]()

    def executed(call: Call) -> Any:
        reply = execute(call)
        if is_it(call) and not done:
            done.append(True)
            act()
        return reply

    with patch.object(link, "execute", executed):
        yield
    assert done, "there was no such call"


def looks(call: Call) -> bool:
    """Does it ask memories what they say of themselves?"""
    return any(b"_created" in one.arguments for one in call.companions)


def test_an_export_holds_who_is_active_all_the_time(
    open_directory: Faces, begin: Begin, url: str
) -> None:
    """A conversation that moves ahead of the export is in it, as are those it overtakes."""
    ids = [f"c-{number}" for number in range(60)]
    for one in [*ids, "busy"]:
        begin(one)
    told: list[int] = []

    def go_on(count: int) -> None:
        told.append(count)
        for one in ids[25:50] if len(told) == 1 else ():
            change(url, one, turn=count)
        change(url, "busy", turn=count)

    file = io.StringIO()
    open_directory(url).export(file, progress=go_on)
    assert len(told) > 3
    written = {json.loads(line)["id"] for line in file.getvalue().splitlines()}
    assert written == {*ids, "busy"}


def test_a_later_line_replaces_nothing_that_a_worker_has_changed(
    open_directory: Faces, begin: Begin, url: str
) -> None:
    """Who is at work again while the rest is loaded keeps what was done."""
    directory, lines = open_directory(url), list[str]()
    for topic in ("first", "second"):
        begin("c-1", topic=topic)
        file = io.StringIO()
        directory.export(file, "c-1")
        lines.append(file.getvalue())
    with ConversationMemory("c-1", url) as memory:
        clear(memory)
    for number in range(20):
        begin(f"other-{number}")
    file = io.StringIO()
    directory.export(file, [f"other-{number}" for number in range(20)])
    archive = io.StringIO(lines[0] + file.getvalue() + lines[1])
    acts = [lambda: change(url, "c-1", state="open")]
    report = directory.load(archive, progress=lambda _: acts.pop()() if acts else None)
    assert snapshot(ConversationMemory("c-1", url)) == {"topic": "first", "state": "open"}
    assert (report.created, report.skipped) == (1, 21)


def test_a_lifetime_begins_when_its_line_is_loaded(open_directory: Faces, server: Server) -> None:
    """However long the lines before it take."""
    lifetime_s = 0.4
    for name in ("a", "b"):
        with ConversationMemory(name, server.url, ttl_s=lifetime_s) as memory:
            memory.messages = ["x"]
    directory, file = open_directory(server.url), io.StringIO()
    directory.export(file)
    wait_until(lambda: directory.count() == 0)

    class Slow(io.StringIO):
        """One that takes longer for its first line than the lifetimes last."""

        def readline(self, *_: Any) -> Any:
            if self.tell() == 0:
                begun_s = time.monotonic()
                wait_until(lambda: time.monotonic() - begun_s > lifetime_s)
            return super().readline()

    assert directory.load(Slow(file.getvalue())).created == 2
    assert directory.info("b").ttl_s > 0


def test_a_rename_never_takes_away_what_was_written_under_the_new_id(
    begin: Begin, server: Server
) -> None:
    """Where workers change both meanwhile it says so, and both are there."""
    begin("old", topic="billing")

    def work() -> None:
        change(server.url, "old", late=1)
        change(server.url, "new", state="open")

    with (
        Conversations(server.url) as directory,
        after_the_first(directory, lambda call: b"create" in call.arguments, work),
        pytest.raises(ConversationExistsError, match=r"'old' and 'new'.*both are there"),
    ):
        directory.rename("old", "new")
    found = [snapshot(ConversationMemory(name, server.url)) for name in ("old", "new")]
    assert found == [{"topic": "billing", "late": 1}, {"topic": "billing", "state": "open"}]


def test_who_begins_an_ended_conversation_anew_stays_listed(server: Server) -> None:
    """Also where somebody counts at that moment."""
    with ConversationMemory("c-1", server.url, ttl_s=0.05) as memory:
        memory.topic = "first"
    wait_until(lambda: not server.client().exists("memory:{c-1}"), what="its end")
    with Conversations(server.url) as directory:
        with after_the_first(directory, looks, lambda: change(server.url, "c-1", topic="again")):
            directory.count()
        assert directory.list().ids == ("c-1",)


def test_who_is_active_while_a_line_is_skipped_counts_as_active(
    begin: Begin, server: Server
) -> None:
    """The entry keeps the newest time."""
    begin("c-1")
    with Conversations(server.url) as directory:
        file = io.StringIO()
        directory.export(file)
        file.seek(0)
        first = directory.info("c-1").last_activity
        with after_the_first(directory, looks, lambda: change(server.url, "c-1", topic="now")):
            assert directory.load(file).skipped == 1
        (score,) = entries(server).values()
        assert score > first.timestamp() * 1e6 + 1
