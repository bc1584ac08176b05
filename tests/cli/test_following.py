"""`watch` and `tail`: live, complete, and ended as a shell ends them."""

from __future__ import annotations

import json
import signal
import threading
from datetime import datetime

import pytest

from redis_memory import ConversationMemory, flush, push
from tests.cli.commands import Commands
from tests.cli.conftest import Begin
from tests.servers import Server


def test_watch_tells_each_change_in_a_line(command: Commands, begin: Begin) -> None:
    """What kind, which value, by whom, when; and nothing else."""
    memory = begin("c-1", topic="billing", messages=["a"])
    watching = command.start("watch", "c-1", "--json")
    assert watching.line("stderr") == "redis-memory: watching 'c-1'"
    changes = []
    for change in (
        lambda: setattr(memory, "topic", {1: "x"}),
        lambda: memory.messages.append(b"b"),
        lambda: memory.messages.pop(0),
        lambda: delattr(memory, "topic"),
    ):
        change()  # one by one: a container's value is read when it is told
        changes.append(json.loads(watching.line()))
    told = [(change["name"], change["kind"], change.get("value", "gone")) for change in changes]
    assert told == [
        ("topic", "set", {"$dict": [[1, "x"]]}),
        ("messages", "append", [{"$bytes": "Yg=="}]),
        ("messages", "change", [{"$bytes": "Yg=="}]),
        ("topic", "delete", "gone"),
    ]
    assert len({change["writer"] for change in changes}) == 1
    versions = [change["version"] for change in changes]
    assert versions == sorted(set(versions))
    assert datetime.fromisoformat(changes[0]["at"]).timestamp() == versions[0] / 1e6


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_watch_cleanly(
    command: Commands, begin: Begin, how: signal.Signals
) -> None:
    """With the exit code that a shell knows it by, and without a word."""
    memory = begin("c-1")
    watching = command.start("watch", "c-1", "topic")
    watching.line("stderr")
    memory.other = 1
    memory.topic = "one\ntwo"
    # people are told in a line, too
    line = watching.line()
    assert line.endswith("  set     topic  'one\\ntwo'")
    outcome = watching.end(how)
    assert (outcome.code, outcome.out, outcome.err) == (128 + how, "", "")


def test_a_watch_ends_when_nobody_reads(command: Commands, begin: Begin) -> None:
    """Also when nothing happens any more that could be written."""
    begin("c-1")
    watching = command.start("watch", "c-1", "--json")
    watching.line("stderr")
    watching.close_its_pipe()
    outcome = watching.wait()
    assert (outcome.code, outcome.err) == (141, "")


@pytest.mark.parametrize("arguments", [["ls", "--json"], ["export", "-"], ["get", "c-1", "long"]])
def test_a_closed_pipe_is_no_fault(command: Commands, begin: Begin, arguments: list[str]) -> None:
    """`redis-memory ls | head` says nothing about it."""
    begin("c-1", long=["x" * 1000] * 1000)
    running = command.start(*arguments)
    running.close_its_pipe()
    outcome = running.wait()
    assert (outcome.code, outcome.err) == (141, "")


def test_tail_prints_the_end_of_a_list(command: Commands, begin: Begin) -> None:
    """One element a line: texts as they are, everything else as JSON."""
    begin("c-1", messages=["first", {"role": "user"}, "two\nlines", b"x"])
    assert command.good("tail", "c-1", "messages", "-n", "3").lines == [
        '{"role": "user"}',
        r"'two\nlines'",
        '{"$bytes": "eA=="}',
    ]
    assert command.good("tail", "c-1", "messages", "-n", "2", "--json").lines == [
        r'"two\nlines"',
        '{"$bytes": "eA=="}',
    ]
    assert command.good("tail", "c-1", "messages", "-n", "0").out == ""
    assert len(command.good("tail", "c-1", "messages").lines) == 4


def test_tail_follows_and_tells_each_element_once(command: Commands, begin: Begin) -> None:
    """Also those that are appended while it begins."""
    memory = begin("c-1", messages=[0])
    over = threading.Event()

    def append() -> None:
        number = 1
        while not over.is_set():
            push(memory, "messages", number)
            number += 1
            over.wait(0.001)

    writer = threading.Thread(target=append)
    writer.start()
    try:
        tailing = command.start("tail", "c-1", "messages", "--follow", "-n", "1000000")
        assert [tailing.line() for _ in range(2000)] == [str(number) for number in range(2000)]
    finally:
        over.set()
        writer.join()
    assert tailing.end(signal.SIGINT).code == 130


def test_tail_says_when_a_list_was_changed_otherwise(command: Commands, begin: Begin) -> None:
    """And goes on with what is there then."""
    memory = begin("c-1", messages=["a", "b"])
    tailing = command.start("tail", "c-1", "messages", "-f", "-n", "2")
    assert [tailing.line(), tailing.line()] == ["a", "b"]
    memory.messages = ["x", "y", "z"]
    assert [tailing.line(), tailing.line()] == ["y", "z"]
    assert "changed otherwise" in tailing.line("stderr")
    memory.messages.append("last")
    assert tailing.line() == "last"
    del memory.messages
    assert "no list any more" in tailing.line("stderr")
    memory.messages = ["anew"]
    assert tailing.line() == "anew"


def test_watch_and_tail_survive_a_restart() -> None:
    """What happens after it is told, by both."""
    with Server(tcp=True, appendonly="yes", appendfsync="always") as server:
        commands = Commands(server.url)
        with ConversationMemory("c-1", server.url) as memory:
            memory.messages = ["a"]
            watching = commands.start("watch", "c-1", "--json")
            tailing = commands.start("tail", "c-1", "messages", "-f")
            try:
                watching.line("stderr")
                assert tailing.line() == "a"
                server.kill()
                memory.messages.append("b")
                server.start()
                assert flush(memory, 30) == 0
                assert json.loads(watching.line())["value"] in (["b"], ["a", "b"])
                memory.messages.append("c")
                lines = [tailing.line()]
                while lines[-1] != "c":
                    lines.append(tailing.line())
                # after the gap the end of the list is told, with what was told before
                assert lines in (["b", "c"], ["a", "b", "c"])
            finally:
                commands.close()
