"""The command that shows what waits in a folder: numbers and names, never a value."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it says nothing of its types
import pytest

from redis_memory.journal import main
from redis_memory.link.adoption import adopt
from tests.link.journals import HEADER, NAME, SECRET, SERVER, WEEK_S, left


def change(number: int, name: bytes, *rest: object) -> bytes:
    """The record of a change."""
    packed: bytes = msgpack.packb([number, "list", name, *rest])
    return packed


@pytest.fixture
def mixed(folder: Path) -> Path:
    """A folder with a held journal, a kept one, and some damage."""
    records = [
        change(1, b"messages", SECRET),
        change(2, b"messages", {"a": [SECRET]}, msgpack.ExtType(5, SECRET.encode())),
        change(3, b"", SECRET),
        change(4, "naïve\n".encode(), SECRET),
        change(5, b"bad \xff"),
        msgpack.packb(["delivered", 17, SECRET]),
        SECRET.encode(),
        b"",
        b"\x95\x01",
        change(6, b"messages") + b"more",
        msgpack.packb([True, "list", b"messages"]),
        msgpack.packb([7, b"list", b"messages"]),
        msgpack.packb([]),
        msgpack.packb({"a": 1}),
    ]
    path = left(folder, records)
    path.write_bytes(path.read_bytes() + SECRET.encode())
    (folder / "notes.txt").write_text(SECRET)
    old = left(folder, [change(1, b"box")], replace(HEADER, conversation_id=None, writer="_wb"))
    old.rename(old.with_suffix(".expired"))
    (folder / "_wc.damaged-1").write_bytes(SECRET.encode())
    return folder


def test_the_command_shows_numbers_and_names(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One block for each journal, also the ones kept aside, and never a value."""
    with suppress(FileNotFoundError):
        os.utime(mixed / NAME, (time.time() - 100,) * 2)
    assert main([str(mixed)]) == 0
    output = capsys.readouterr().out
    assert SECRET not in output
    first, second, third = (block.splitlines() for block in output.strip().split("\n\n"))
    assert (first[0], second[0], third[0]) == (NAME, "_wb.expired", "_wc.damaged-1")
    rows = [line.strip().rsplit(maxsplit=1) for line in first[1:]]
    assert ["conversation", "alice"] in rows
    assert ["server", SERVER] in rows
    assert ["writer", HEADER.writer] in rows
    assert ["changes", "5"] in rows
    assert ["damaged bytes", str(len(SECRET))] in rows
    assert ["owner", "gone"] in rows
    assert ["unreadable", "8"] in rows
    assert ["messages", "2"] in rows
    assert ["(whole memory)", "1"] in rows
    assert [r"'na\xefve\n'", "1"] in rows
    assert any(line.split() == ["last", "change", "100", "s", "ago"] for line in first)
    assert ["prefix", "app"] in [line.split() for line in second]
    assert ["server", "unknown"] in [line.split() for line in third]


def test_the_command_speaks_to_programs(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints a list of objects with the same numbers, and never a value."""
    holder = next(adopt(mixed, SERVER, WEEK_S)).journal
    assert main([str(mixed), "--json"]) == 0
    output = capsys.readouterr().out
    assert SECRET not in output
    first, aside, second, third = json.loads(output)
    assert first["file"] == NAME.replace("journal", "damaged-1")
    assert (aside["file"], second["file"], third["file"]) == (NAME, "_wb.expired", "_wc.damaged-1")
    assert aside["attributes"] == {"": 1, "bad \\xff": 1, "messages": 2, "naïve\n": 1}
    numbers = {name: aside[name] for name in ("changes", "unreadable", "damaged_bytes", "is_held")}
    assert numbers == {"changes": 5, "unreadable": 8, "damaged_bytes": 0, "is_held": True}
    assert aside["bytes"] == (mixed / NAME).stat().st_size
    assert (second["conversation_id"], second["prefix"]) == (None, "app")
    assert (third["server"], third["damaged_bytes"]) == (None, len(SECRET))
    holder.close()


def test_the_command_runs_as_a_module(folder: Path, tmp_path: Path) -> None:
    """`python -m redis_memory.journal FOLDER` ends with 0, and with 2 without a folder."""
    left(folder, [change(1, b"messages")])
    command = [sys.executable, "-m", "redis_memory.journal"]
    good, bad = (
        subprocess.run([*command, place], capture_output=True, text=True, check=False)
        for place in (folder, tmp_path / "missing")
    )
    assert (good.returncode, bad.returncode) == (0, 2)
    assert "messages" in good.stdout
    assert "there is no folder" in bad.stderr


def test_the_command_says_that_there_is_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An empty folder is a good answer, not an error."""
    with caplog.at_level(logging.DEBUG):
        assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no journals in {tmp_path}\n"
