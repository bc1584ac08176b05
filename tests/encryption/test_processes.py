"""Processes share an encrypted memory, its journals and its directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import redis_memory
from redis_memory import ConversationMemory, UnknownConversationError, status
from redis_memory.journal import main
from tests.encryption.conftest import Open
from tests.encryption.keys import BOTH, MARKER, OLD, dumped
from tests.faults import FaultProxy
from tests.servers import Server
from tests.waiting import wait_until

VARIABLE = "REDIS_MEMORY_ENCRYPTION_KEY"
ROOT = Path(redis_memory.__file__).parents[1]


def _run(program: str, *arguments: str, key: str | None = OLD) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop(VARIABLE, None)
    if key is not None:
        environment[VARIABLE] = key
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


_WRITE = """
import sys
from redis_memory import ConversationMemory, increment
with ConversationMemory(sys.argv[1], sys.argv[2], timeout_s=5) as mem:
    for number in range(50):
        mem.messages.append((sys.argv[3], number))
        mem.members.add(number)
        mem.profile[number] = sys.argv[3]
        increment(mem, "count")
"""
_LEAVE = """
import os, sys
from redis_memory import ConversationMemory, push
mem = ConversationMemory(sys.argv[1], sys.argv[2], journal=sys.argv[3], timeout_s=0.2)
for number in range(5):
    push(mem, "messages", sys.argv[4] + str(number))
os._exit(0)
"""


def test_two_processes_share_a_memory(opened: Open, server: Server, name: str) -> None:
    """What processes with the key in their environment write at once is all there, and exact."""
    mem = opened(name)
    mem.messages, mem.members, mem.profile = [], set(), {}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: OLD}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITE, name, server.url, f"{MARKER}-{number}"],
            env=environment,
        )
        for number in range(2)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert len(mem.messages) == 100
    assert mem.members == set(range(50)) == set(mem.profile)
    assert mem.count == 100
    assert MARKER.encode() not in dumped(server)


def test_a_process_without_the_key_is_told(opened: Open, server: Server, name: str) -> None:
    """It reads and writes nothing, and the error names the setting and no value."""
    mem = opened(name)
    mem.messages = [MARKER]
    told = _run(_WRITE, name, server.url, "x", key=None)
    assert "DecryptionError" in told
    assert "encryption_key" in told
    assert MARKER not in told
    assert mem.messages == [MARKER]


def test_a_journal_is_delivered_by_who_has_the_key(
    opened: Open,
    proxy: FaultProxy,
    folder: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its file shows names and numbers; who lacks the key leaves it, who has it delivers it."""
    proxy.refuse()
    told = _run(_LEAVE, name, proxy.url, str(folder), MARKER)
    assert "Traceback" not in told, told
    (file,) = folder.glob("*.journal")
    assert MARKER.encode() not in file.read_bytes()
    assert main([str(folder)]) == 0
    assert "messages" in (shown := capsys.readouterr().out)
    assert MARKER not in shown
    proxy.heal()
    with ConversationMemory("nobody", proxy.url, journal=folder) as plain:
        plain.x = 1
    assert file.exists()
    mem = _adopting(opened, name, proxy.url, folder)
    wait_until(lambda: hasattr(mem, "messages") and len(mem.messages) == 5, what="the delivery")
    assert mem.messages == [f"{MARKER}{number}" for number in range(5)]
    wait_until(lambda: not file.exists(), what="the end of the journal")
    assert status(mem).data_loss == 0


def _adopting(opened: Open, name: str, url: str, folder: Path) -> ConversationMemory:
    from redis_memory.link import journals  # noqa: PLC0415

    # a folder is looked into once a second
    journals._looked_s.clear()
    return opened(name, url, key=BOTH, journal=folder)


def test_a_journal_in_the_open_is_left(
    opened: Open, proxy: FaultProxy, folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a process without the key has left is not mixed into an encrypted memory, nor lost."""
    proxy.refuse()
    _run(_LEAVE, name, proxy.url, str(folder), "open", key=None)
    (file,) = folder.glob("*.journal")
    proxy.heal()
    mem = _adopting(opened, name, proxy.url, folder)
    mem.text = "x"
    assert not hasattr(mem, "messages")
    assert file.exists()
    assert "is not taken over" in caplog.text


def test_a_directory_moves_encrypted_conversations(
    opened: Open, server: Server, url: str, tmp_path: Path, open_directory: Callable[..., Any]
) -> None:
    """Copies, renamed and archived conversations can be read under their new ids, and no other."""
    mem = opened("a")
    mem.text, mem.messages, mem.d, mem.s = MARKER, [MARKER], {"k": MARKER}, {MARKER}
    directory = open_directory(url, encryption_key=OLD)
    directory.copy("a", "b")
    directory.rename("b", "c")
    for one in ("a", "c"):
        again = opened(one)
        assert (again.text, again.messages, again.d, again.s) == (
            MARKER,
            [MARKER],
            {"k": MARKER},
            {MARKER},
        )
        again.d["more"] = 1
        again.s.add(MARKER)
        assert again.s == {MARKER}
    opened("unrelated").text = "else"
    assert directory.list(where=f"text == '{MARKER}'").ids == ("c", "a")
    assert directory.info("a").attributes
    archive = tmp_path / "old.jsonl"
    directory.prune(0, where=f"text == '{MARKER}'", archive_to=archive)
    assert directory.list().ids == ("unrelated",)
    assert MARKER.encode() not in archive.read_bytes()
    assert MARKER.encode() not in dumped(server)
    assert directory.load(archive).created == 2
    assert opened("a").messages == [MARKER]
    with pytest.raises(UnknownConversationError):
        directory.copy("x", "y")
