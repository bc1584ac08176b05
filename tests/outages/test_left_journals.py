"""What a process has left in its journal: who delivers it, and what becomes of it otherwise."""

from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    JournalError,
    close,
    conflicts,
    flush,
    push,
    status,
)
from tests.children import Child, end_together
from tests.faults import FaultProxy
from tests.outages.processes import (
    LIMIT_S,
    adopt,
    is_script,
    journal_files,
    leave_orphan,
    lose,
    opened,
    records_left,
    stored,
)
from tests.resp import Request
from tests.servers import Server
from tests.waiting import wait_until


@pytest.mark.parametrize("is_back_first", [True, False])
def test_the_next_process_delivers(
    name: str, own_server: Server, folder: Path, *, is_back_first: bool
) -> None:
    """What a killed process had queued is delivered once by the next, which removes the file."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    assert len(journal_files(folder)) == 1
    if is_back_first:
        own_server.start()
        adopt(name, own_server.url, folder)
    else:
        with opened(name, own_server.url, journal=folder) as memory:
            push(memory, "log", "successor")
            own_server.start()
            wait_until(lambda: not journal_files(folder), LIMIT_S)
            assert flush(memory, LIMIT_S) == 0
    log = [entry for entry in stored(name, own_server)["log"] if entry != "successor"]
    assert log == ["first", *range(100)]
    assert journal_files(folder) == []


@pytest.mark.parametrize("is_back", [True, False])
async def test_an_awaited_memory_is_closed_soon_after(
    name: str, own_server: Server, folder: Path, *, is_back: bool
) -> None:
    """What it has adopted is delivered before, or left to the next process; no connection stays."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    if is_back:
        own_server.start()
    options: dict[str, Any] = {"journal": folder, "timeout_s": 0.3}
    options["close_timeout_s"] = LIMIT_S if is_back else 0.3
    async with AsyncConversationMemory(f"{name}-other", own_server.url, **options) as memory:
        await memory.topic.set("billing")
    if is_back:
        assert journal_files(folder) == []
        assert own_server.info("clients")["connected_clients"] == 1
    else:
        own_server.start()
        adopt(name, own_server.url, folder)
    assert stored(name, own_server)["log"] == ["first", *range(100)]


def test_two_processes_adopt_at_once(name: str, own_server: Server, folder: Path) -> None:
    """Of several that open the folder in the same moment, one delivers each journal, once."""
    for orphan in range(3):
        leave_orphan(f"{name}-{orphan}", own_server.url, folder, own_server.stop)
        own_server.start()

    def work(child: Child) -> None:
        child.tell()
        child.wait()
        with opened(name, own_server.url, journal=folder):
            wait_until(lambda: not journal_files(folder), LIMIT_S)

    end_together([Child(work) for _ in range(4)])
    for orphan in range(3):
        assert stored(f"{name}-{orphan}", own_server)["log"] == ["first", *range(100)]


@pytest.mark.parametrize("times", [1, 3])
def test_what_was_applied_before_the_death(
    name: str, server: Server, proxy: FaultProxy, folder: Path, times: int
) -> None:
    """An answer lost before SIGKILL, again and again: the changes are made once all the same."""

    def lose() -> None:
        proxy.lose_replies(10**9, how="timeout", when=is_script)

    leave_orphan(name, proxy.url, folder, lose)
    assert proxy.lost > 0, "no change was in doubt"
    for _ in range(times - 1):
        _die_while_delivering(name, proxy, folder)
    proxy.heal()
    adopt(name, proxy.url, folder)
    assert stored(name, server)["log"] == ["first", *range(100)]


def _die_while_delivering(name: str, proxy: FaultProxy, folder: Path) -> None:
    """Adopt, have the server make the changes, and die before the answer."""
    lost = proxy.lost

    def work(child: Child) -> None:
        memory = opened(name, proxy.url, journal=folder)
        wait_until(lambda: os.getppid() == 1, 2 * LIMIT_S, what=f"SIGKILL; {memory!r}")

    child = Child(work)
    wait_until(lambda: proxy.lost > lost, LIMIT_S, what="a delivery")
    child.kill()
    assert len(journal_files(folder)) == 1


# a writer that the server has forgotten


def test_an_unsent_journal_of_a_forgotten_writer(
    name: str, own_server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer's entry is gone, and nothing was sent: all is made, once, and the gap is told."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    own_server.start()
    _forget_writers(name, own_server)
    with opened(name, own_server.url, journal=folder) as memory:
        wait_until(lambda: not journal_files(folder), LIMIT_S)
        assert conflicts(memory) == []
    assert stored(name, own_server)["log"] == ["first", *range(100)]
    assert "no longer knows" in caplog.text


def test_a_sent_journal_of_a_forgotten_writer(
    name: str, server: Server, proxy: FaultProxy, folder: Path
) -> None:
    """The same with one change in doubt: it is not made again, and is reported as in doubt."""

    def lose() -> None:
        proxy.lose_replies(10**9, how="timeout", when=is_script)

    leave_orphan(name, proxy.url, folder, lose)
    assert stored(name, server)["log"] == ["first", 0]
    _forget_writers(name, server)
    proxy.heal()
    with opened(name, proxy.url, journal=folder) as memory:
        wait_until(lambda: len(stored(name, server)["log"]) >= 101, LIMIT_S)
        reported = [(found.name, found.reason, found.mine) for found in conflicts(memory)]
    assert reported == [("log", "in doubt", [0])]
    assert stored(name, server)["log"] == ["first", *range(100)]


def test_a_journal_is_kept_until_its_changes_are_made(
    name: str, server: Server, proxy: FaultProxy, folder: Path
) -> None:
    """Also where the changes get other numbers, since the server forgot the writer."""

    def lose() -> None:
        proxy.lose_replies(10**9, how="timeout", when=is_script)

    leave_orphan(name, proxy.url, folder, lose)
    forgotten = _forget_writers(name, server)
    proxy.heal()

    def is_renumbered(request: Request) -> bool:
        return any(part.startswith(b"_w") and part != forgotten for part in request.arguments)

    proxy.reset_before(10**9, when=is_renumbered)
    with opened(name, proxy.url, journal=folder):
        wait_until(lambda: proxy.unsent > 0, LIMIT_S, what="a delivery under other numbers")
        kept = len(records_left(folder))
        proxy.heal()
        wait_until(lambda: len(stored(name, server)["log"]) >= 101, LIMIT_S)
    assert kept == 99


def _forget_writers(name: str, server: Server) -> bytes:
    """Have the server forget the only writer of a memory, and give its id."""
    key = f"memory:{{{name}}}"
    fields: Any = server.client().hkeys(key)
    (writer,) = [field for field in fields if field.startswith(b"_w")]
    assert server.client().hdel(key, writer) == 1
    return bytes(writer)


def test_an_emptied_server_gets_the_journal(name: str, own_server: Server, folder: Path) -> None:
    """The server lost everything meanwhile: what waited is made all the same, once."""
    leave_orphan(name, own_server.url, folder, own_server.kill)
    own_server.restart(keep_data=False)
    adopt(name, own_server.url, folder)
    assert stored(name, own_server)["log"] == list(range(100))


# age and room


def test_an_old_journal_is_kept_aside(
    name: str, own_server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal older than allowed is not delivered: it is kept, and a warning tells of it."""
    leave_orphan(name, own_server.url, folder, own_server.stop)
    own_server.start()
    (file,) = folder.iterdir()
    long_ago_s = time.time() - 3600
    os.utime(file, (long_ago_s, long_ago_s))
    with opened(name, own_server.url, journal=folder, journal_max_age_s=1800) as memory:
        push(memory, "log", "later")
        assert flush(memory, LIMIT_S) == 0
    assert journal_files(folder) == [f"{file.stem}.expired"]
    assert "is older than" in caplog.text
    assert stored(name, own_server)["log"] == ["first", "later"]


def test_a_full_disk(name: str, own_server: Server, folder: Path) -> None:
    """What cannot be written down raises JournalError and is not queued; the memory goes on."""

    def work(child: Child) -> None:
        memory = opened(name, own_server.url, journal=folder)
        memory.log = []
        kept: list[int] = []
        child.tell()
        child.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        refusals = 0
        for number in range(200):
            try:
                push(memory, "log", number)
                kept.append(number)
            except JournalError:
                refusals += 1
        assert refusals > 20
        assert len(kept) > 5
        assert status(memory).queued == len(kept)
        assert memory.log == kept
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        push(memory, "log", "room")
        child.tell()
        child.wait()
        assert flush(memory, LIMIT_S) == 0
        assert memory.log == [*kept, "room"]
        close(memory)

    child = Child(work)
    child.reached()
    own_server.stop()
    child.go()
    child.reached()
    own_server.start()
    child.go()
    child.ended()
    assert journal_files(folder) == []


def test_a_disk_that_is_full_from_the_start(name: str, own_server: Server, tmp_path: Path) -> None:
    """A journal that cannot even be made: JournalError, nothing queued, and back to work later."""
    with opened(name, own_server.url, journal=tmp_path / "file" / "journal") as memory:
        push(memory, "log", 1)
        (tmp_path / "file").write_text("no folder")
        lose(memory, own_server)
        for _ in range(3):
            with pytest.raises(JournalError) as caught:
                push(memory, "log", 2)
            assert caught.value.__cause__ is not None
            assert isinstance(caught.value.__cause__, OSError)
            assert caught.value.__cause__.errno in (errno.ENOTDIR, errno.EEXIST)
            assert status(memory).queued == 0
        own_server.start()
        wait_until(lambda: status(memory).online, LIMIT_S)
        push(memory, "log", 3)
        assert memory.log == [1, 3]
