"""Conversations in files, and under other ids."""

from __future__ import annotations

import io
import os
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redis_memory import (
    ArchiveError,
    ConversationExistsError,
    ConversationMemory,
    Conversations,
    CorruptValueError,
    UnknownConversationError,
    push,
    snapshot,
)
from redis_memory.link.links import idle_writers
from tests.directory.conftest import Begin
from tests.directory.faces import Faces
from tests.directory.test_index import ODD_IDS, entries
from tests.servers import Server
from tests.strategies import same, values

names = st.text(min_size=1, max_size=20).filter(lambda name: not name.startswith("_"))


def held(url: str, conversation_id: str, prefix: str = "memory:") -> dict[str, Any]:
    """All attributes of a conversation."""
    return snapshot(ConversationMemory(conversation_id, url, prefix=prefix))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attributes=st.dictionaries(names, values(8), min_size=1, max_size=3))
def test_every_value_comes_back_from_a_file(server: Server, attributes: dict[str, Any]) -> None:
    """Equal and of the same type, into another prefix."""
    server.client().flushall()
    idle_writers.clear()
    memory = ConversationMemory("c-1", server.url)
    for name, value in attributes.items():
        if name != "conversation_id":
            memory[name] = value
    file = io.StringIO()
    with Conversations(server.url) as source, Conversations(server.url, prefix="2") as target:
        written = source.export(file).conversations
        file.seek(0)
        assert target.load(file).created == written
    if written:
        assert same(held(server.url, "c-1", "2"), snapshot(memory))


@pytest.mark.parametrize("conversation_id", ODD_IDS)
def test_every_id_travels(begin: Begin, url: str, conversation_id: str, tmp_path: Path) -> None:
    """To a file and back, to another id and back."""
    begin(conversation_id, messages=["a"])
    with Conversations(url) as directory:
        directory.export(tmp_path / "all.jsonl", conversation_id)
        directory.rename(conversation_id, "plain")
        assert directory.list().ids == ("plain",)
        directory.rename("plain", conversation_id)
        assert directory.delete(conversation_id)
        assert directory.load(tmp_path / "all.jsonl").created == 1
    assert held(url, conversation_id) == {"messages": ["a"]}


def test_a_loaded_conversation_is_a_living_one(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """Who has it open sees it, its proxies write through, and it was created when it was."""
    begin("c-1", topic="billing", box={"a": 1}, tags={1}, messages=["a"])
    colleague = ConversationMemory("c-2", server.url)
    assert not hasattr(colleague, "box")
    directory = open_directory(server.url)
    created = directory.info("c-1").created
    file = io.BytesIO()
    directory.export(file)
    directory.load(io.BytesIO(file.getvalue().replace(b'"c-1"', b'"c-2"')))
    colleague.box["b"] = 2
    colleague.tags.add(2)
    push(colleague, "messages", "b")
    assert snapshot(colleague) == {
        "topic": "billing",
        "box": {"a": 1, "b": 2},
        "tags": {1, 2},
        "messages": ["a", "b"],
    }
    assert abs((directory.info("c-2").created - created).total_seconds()) < 0.001
    assert directory.list().ids == ("c-2", "c-1")


def test_a_damaged_line_is_named_and_the_others_are_loaded(
    open_directory: Faces, begin: Begin, url: str
) -> None:
    """By its number, with the reason, and never with what it holds."""
    for number in range(3):
        begin(f"c-{number}", secret="confidential")
    directory = open_directory(url)
    file = io.StringIO()
    directory.export(file)
    lines = file.getvalue().splitlines()
    damaged = [
        lines[0],
        lines[1][:-20],
        "",
        '{"confidential": 1}',
        lines[2].replace('"c-2"', '""'),
        lines[2].replace('"confidential"', '{"$bytes": "!"}'),
        lines[2].replace('"secret"', '"_secret"'),
        '["confidential"]',
        "\x00",
        lines[2],
    ]
    for name in ("c-0", "c-1", "c-2"):
        directory.delete(name)
    report = directory.load(io.StringIO("\n".join(damaged)))
    assert report.created == 2
    assert [one.where for one in report.damaged] == [f"line {n}" for n in (2, 4, 5, 6, 7, 8, 9)]
    assert "confidential" not in str(report)
    assert sorted(directory.list().ids) == ["c-0", "c-2"]


def test_a_key_of_others_in_the_place_of_a_line_is_named(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """It stays as it is, and the other lines are loaded."""
    for number in range(3):
        begin(f"c-{number}")
    directory, file = open_directory(server.url), io.StringIO()
    directory.export(file)
    client = server.client()
    client.flushall()
    client.set("memory:{c-1}", "not ours")
    file.seek(0)
    report = directory.load(file)
    assert [one.where for one in report.damaged] == ["line 2"]
    assert sorted(directory.list().ids) == ["c-0", "c-2"]
    assert client.get("memory:{c-1}") == b"not ours"


@pytest.mark.parametrize("on_existing", ["skip", "replace", "error"])
def test_what_exists_is_skipped_replaced_or_an_error(
    open_directory: Faces, begin: Begin, url: str, on_existing: Any
) -> None:
    """As it was asked for; replaced as a whole, for those who have it open, too."""
    begin("c-1", topic="old", messages=["old"])
    directory = open_directory(url)
    file = io.StringIO()
    directory.export(file)
    file.seek(0)
    memory = begin("c-1", topic="new", messages=["new", "newer"], more=[1])
    begin("last")
    if on_existing == "error":
        with pytest.raises(ConversationExistsError, match="c-1"):
            directory.load(file, on_existing)
    else:
        report = directory.load(file, on_existing)
        assert (report.skipped, report.replaced) == ((1, 0) if on_existing == "skip" else (0, 1))
    if on_existing == "replace":
        assert snapshot(memory) == {"topic": "old", "messages": ["old"]}
        assert memory.messages == ["old"]
        memory.messages.append("newest")
        assert memory.messages == ["old", "newest"]
    else:
        assert snapshot(memory)["messages"] == ["new", "newer"]
        assert directory.list().ids == ("last", "c-1")  # what was left alone was not active


def test_of_two_lines_of_one_conversation_the_later_one_counts(
    open_directory: Faces, begin: Begin, url: str
) -> None:
    """An export during which it was changed may have both."""
    begin("c-1", topic="first")
    directory = open_directory(url)
    file = io.StringIO()
    directory.export(file)
    begin("c-1", topic="second")
    directory.export(file)
    directory.delete("c-1")
    file.seek(0)
    assert directory.load(file).created == 2
    assert held(url, "c-1") == {"topic": "second"}


def test_only_the_wanted_ids_are_exported(
    open_directory: Faces, begin: Begin, url: str, tmp_path: Path
) -> None:
    """One, or several; an unknown one is an error, and leaves no file."""
    for name in ("a", "b", "all"):
        begin(name)
    directory = open_directory(url)
    assert directory.export(tmp_path / "one", "all").conversations == 1
    assert b'"id":"all"' in (tmp_path / "one").read_bytes()
    assert directory.export(tmp_path / "two", ["a", "b", "a"]).conversations == 2
    with pytest.raises(UnknownConversationError, match="nobody"):
        directory.export(tmp_path / "three", ["a", "nobody"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_conversation_that_cannot_be_read_is_named(
    open_directory: Faces, begin: Begin, server: Server, tmp_path: Path
) -> None:
    """And the others are exported."""
    begin("good")
    begin("bad", topic="billing")
    server.client().hset("memory:{bad}", "topic", "rubbish")
    report = open_directory(server.url).export(tmp_path / "all")
    assert report.conversations == 1
    assert [one.where for one in report.damaged] == ["bad"]


def test_a_file_that_cannot_be_written_or_read_is_a_clear_error(
    open_directory: Faces, begin: Begin, url: str, tmp_path: Path
) -> None:
    """With the path; an older file of that name stays as it was."""
    begin("c-1")
    directory = open_directory(url)
    with pytest.raises(ArchiveError, match="nowhere"):
        directory.export(tmp_path / "nowhere" / "all")
    with pytest.raises(ArchiveError, match="nothing"):
        directory.load(tmp_path / "nothing")
    (tmp_path / "old").write_text("old")

    def fail(_: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        directory.export(tmp_path / "old", progress=fail)
    assert (tmp_path / "old").read_text() == "old"
    assert os.listdir(tmp_path) == ["old"]  # noqa: PTH208


def test_a_copy_and_a_renamed_conversation_hold_the_same(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """Each is there as a whole; the other's index entry goes with it."""
    values = {"topic": "billing", "messages": ["a"], "box": {True: 1, "b": {2}}, "tags": {1.0}}
    begin("a", **values)
    begin("taken")
    directory = open_directory(server.url)
    directory.copy("a", "b")
    created = directory.info("a").created
    directory.rename("a", "c")
    assert same(held(server.url, "b"), held(server.url, "c"))
    assert held(server.url, "c") == values
    assert directory.info("c").created == created
    assert not directory.exists("a")
    assert entries(server).keys() == {b"b", b"c", b"taken"}
    with pytest.raises(ConversationExistsError, match="taken"):
        directory.rename("b", "taken")
    directory.rename("b", "taken", replace=True)
    assert held(server.url, "taken") == values
    with pytest.raises(ValueError, match="own place"):
        directory.copy("c", "c")


def test_what_cannot_be_read_is_not_renamed(
    open_directory: Faces, begin: Begin, server: Server
) -> None:
    """It stays where it is, and nothing half is stored."""
    begin("bad", topic="billing", other=1)
    server.client().hset("memory:{bad}", "topic", "rubbish")
    directory = open_directory(server.url)
    with pytest.raises(CorruptValueError, match="topic"):
        directory.rename("bad", "new")
    assert directory.exists("bad")
    assert not directory.exists("new")


def test_a_large_export_takes_constant_memory(server: Server, tmp_path: Path) -> None:
    """Four times as many conversations take no more."""
    peaks = []
    with Conversations(server.url) as directory:
        for count in (200, 800):
            for number in range(count):
                memory = ConversationMemory(f"c-{number}", server.url)
                memory.text = "x" * 2000
            idle_writers.clear()
            tracemalloc.start()
            assert directory.export(tmp_path / "all").conversations == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_times_are_kept(begin: Begin, url: str, tmp_path: Path) -> None:
    """A line tells when the conversation was created and last active."""
    begin("c-1")
    with Conversations(url) as directory:
        directory.export(tmp_path / "all")
        (entry,) = directory.list()
    text = (tmp_path / "all").read_text()
    assert entry.created.isoformat() in text
    assert isinstance(entry.last_activity, datetime)
