"""`prune`, `export`, `import`: nothing goes that was not meant to, and a cron job learns of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redis_memory import ConversationMemory, Conversations, snapshot
from tests.cli.commands import Commands
from tests.cli.conftest import Begin
from tests.directory.test_listing import age
from tests.faults import FaultProxy
from tests.servers import Server
from tests.waiting import wait_until


@pytest.fixture
def old(begin: Begin, server: Server) -> None:
    """Three conversations that have been idle for 60 days, and one that has not."""
    for name in "abc":
        begin(name, state="open" if name == "a" else "archived", messages=[b"1", (2,)])
        age(server, name, 60)
    begin("new")


def ids(server: Server) -> set[str]:
    """All that there are."""
    with Conversations(server.url) as directory:
        return set(directory.list().ids)


def test_prune_only_tells_until_it_is_told_to(command: Commands, old: None, server: Server) -> None:
    """Without --yes nothing is deleted, and no archive is begun."""
    outcome = command.good("prune", "--archive", "/nowhere/at/all")
    assert outcome.lines[:3] == ["a", "b", "c"]
    assert outcome.lines[3].startswith("would prune 3 of 3 idle conversations")
    assert "--yes" in outcome.err
    assert ids(server) == {"a", "b", "c", "new"}


def test_prune_leaves_a_receipt_and_an_archive(
    command: Commands, old: None, server: Server, tmp_path: Path
) -> None:
    """What went is named and counted, and can be brought back."""
    archive = tmp_path / "archive.jsonl"
    options = ["--where", 'state == "archived"', "--batch", "1", "--archive", str(archive)]
    receipt = json.loads(command.good("prune", *options, "--yes", "--json").out)
    assert receipt.pop("bytes_freed") > 100
    assert receipt.pop("seconds") >= 0
    assert receipt == {
        "dry_run": False,
        "examined": 3,
        "pruned": 2,
        "kept": 1,
        "active": 0,
        "archived": 2,
        "ids": ["b", "c"],
        "damaged": [],
    }
    assert ids(server) == {"a", "new"}
    kept = command.good("prune", "--keep", "exists(state)", "--yes")
    assert kept.lines[0].startswith("pruned 0 of 1 idle conversation,")
    loaded = json.loads(command.good("import", str(archive), "--json").out)
    assert loaded == {"created": 2, "replaced": 0, "skipped": 0, "damaged": []}
    with ConversationMemory("b", server.url) as memory:
        assert snapshot(memory) == {"state": "archived", "messages": [b"1", (2,)]}


@pytest.mark.parametrize("archive", ["/nowhere/archive", "/dev/full", "/"])
def test_prune_deletes_nothing_that_it_cannot_archive(
    command: Commands, old: None, server: Server, archive: str
) -> None:
    """With 1, and the reason."""
    outcome = command.inside("prune", "--yes", "--archive", archive)
    assert outcome.code == 1
    assert f"cannot write the archive {archive}" in outcome.err
    assert ids(server) == {"a", "b", "c", "new"}


def test_prune_fails_for_what_cannot_be_read(
    command: Commands, old: None, server: Server, tmp_path: Path
) -> None:
    """A cron job hears of it; the others are pruned."""
    server.client().hset("memory:{b}", "state", "rubbish")
    outcome = command.run("prune", "--yes", "--archive", str(tmp_path / "archive"))
    assert outcome.code == 1
    assert "'b' was left alone" in outcome.err
    assert ids(server) == {"b", "new"}


@pytest.mark.parametrize(("how", "code"), [("Ctrl-C", 130), ("SIGTERM", 143), ("outage", 3)])
def test_a_prune_that_is_stopped_says_so_and_can_be_repeated(
    begin: Begin, server: Server, proxy: FaultProxy, how: str, code: int
) -> None:
    """It tells how many are gone at least, and the next run takes the rest."""
    for number in range(60):
        begin(str(number))
    proxy.delay(reply_s=0.02)
    commands = Commands(proxy.url)
    running = commands.start("prune", "--idle-for", "0s", "--batch", "1", "--yes")
    client = server.client()
    wait_until(lambda: client.zcard("memory:~conversations") < 57, 60, what="the first deletions")
    if how == "outage":
        proxy.refuse()
        outcome = running.wait()
    else:
        outcome = running.end(signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    assert outcome.code == code
    assert "run it again for the rest" in outcome.err
    assert "Traceback" not in outcome.err
    commands.close()
    left = len(ids(server))
    assert 0 < left < 57
    again = Commands(server.url).good("prune", "--idle-for", "0s", "--yes")
    assert again.lines[0].startswith(f"pruned {left} of {left} ")


def test_export_and_import_keep_everything(
    command: Commands, old: None, server: Server, tmp_path: Path
) -> None:
    """To a file, or through a pipe; some, or all."""
    with ConversationMemory("a", server.url) as memory:
        before = snapshot(memory)
    file = tmp_path / "all.jsonl"
    assert json.loads(command.good("export", str(file), "--json").out) == {
        "conversations": 4,
        "bytes": file.stat().st_size,
        "damaged": [],
    }
    some = command.good("export", "-", "a", "b")
    assert len(some.lines) == 2
    assert some.err.startswith("redis-memory: exported 2 conversations")
    server.client().flushall()
    loaded = command.good("import", "-", stdin=some.out.encode())
    assert loaded.lines == ["created 2, replaced 0, skipped 0 that were there"]
    assert command.good("import", str(file)).lines == [
        "created 2, replaced 0, skipped 2 that were there"
    ]
    again = command.good("import", str(file), "--on-existing", "replace", "--json")
    assert json.loads(again.out)["replaced"] == 4
    assert command.inside("import", str(file), "--on-existing", "error").code == 1
    with ConversationMemory("a", server.url) as memory:
        assert snapshot(memory) == before


def test_a_damaged_line_is_named_and_the_others_are_loaded(
    command: Commands, old: None, server: Server
) -> None:
    """With 1."""
    lines = command.good("export", "-").out.encode().splitlines(keepends=True)
    server.client().flushall()
    damaged = [lines[0], b'{"redis_memory":1,"id":"half', b"\n", *lines[1:], b"\xff\n"]
    outcome = command.inside("import", "-", "--json", stdin=b"".join(damaged))
    assert outcome.code == 1
    report = json.loads(outcome.out)
    assert report["created"] == 4
    assert [one["where"] for one in report["damaged"]] == ["line 2", "line 6"]
    assert "line 2: " in outcome.err
    assert ids(server) == {"a", "b", "c", "new"}


def test_an_archive_that_cannot_be_written_or_read_is_1(command: Commands, old: None) -> None:
    """And named."""
    for arguments in (["export", "/nowhere/file"], ["import", "/nowhere/file"], ["import", "/"]):
        outcome = command.inside(*arguments)
        assert outcome.code == 1
        assert f"the archive {arguments[1]}" in outcome.err


def test_a_terminal_gets_a_table_and_a_bar(
    command: Commands, old: None, begin: Begin, server: Server
) -> None:
    """Drawn, with nothing taken for markup; elsewhere neither bar nor colour."""
    begin("[bold red]x[/]:smile:")

    def on_a_terminal(*arguments: str, **environment: str) -> str:
        own, its = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "redis_memory", *arguments],
            env={**command.environment, "TERM": "xterm", "COLUMNS": "200", **environment},
            stdin=subprocess.DEVNULL,
            stdout=its,
            stderr=its,
        ) as process:
            os.close(its)
            told = b""
            while received := _read(own):
                told += received
            os.close(own)
        assert process.returncode == 0
        return told.decode()

    table = on_a_terminal("ls")
    assert "[bold red]x[/]:smile:" in table
    assert "\x1b[1mCONVERSATION" in table
    # the locale of a terminal has nothing to do with the ids
    begin("日本")
    table = on_a_terminal("ls", PYTHONIOENCODING="ascii")
    assert "日本" in table
    assert "looked at 3" in on_a_terminal("prune", "--yes")
    assert "\x1b" not in command.good("ls").out


def _read(terminal: int) -> Any:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""
