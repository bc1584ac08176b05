"""A program ends without closing while changes of it wait: delivered, kept, or told as lost."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from redis_memory import push
from tests.outages.processes import (
    LIMIT_S,
    adopt,
    answer,
    ask,
    journal_files,
    opened,
    started,
    stored,
)
from tests.servers import Server


def leave_without_closing(url: str, name: str, folder: Path | None) -> None:
    """Queue changes and come to the end of the program; a process's work."""
    logging.basicConfig(level=logging.ERROR)
    # so late that only the end of the program can deliver
    memory = opened(name, url, journal=folder, reconnect_max_s=60)
    push(memory, "log", "first")
    ask("away")
    for number in range(10):
        push(memory, "log", number)
    ask("back")


def left(name: str, server: Server, folder: Path | None, *, is_back: bool) -> tuple[int, str]:
    """Run `leave_without_closing`; its exit status and what it wrote to stderr."""
    with started(leave_without_closing, server.url, name, folder) as process:
        try:
            answer(process, "away", server.stop)
            answer(process, "back", server.start if is_back else lambda: None)
            _, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    if not is_back:
        server.start()
    return process.returncode, errors


@pytest.mark.parametrize("with_journal", [True, False])
def test_the_end_of_a_program_delivers(
    name: str, own_server: Server, folder: Path, *, with_journal: bool
) -> None:
    """Who ends without closing, while the server is there again, leaves nothing undelivered."""
    code, errors = left(name, own_server, folder if with_journal else None, is_back=True)
    assert (code, errors) == (0, "")
    assert stored(name, own_server)["log"] == ["first", *range(10)]
    assert not with_journal or journal_files(folder) == []


def test_the_end_of_a_program_keeps_the_journal(
    name: str, own_server: Server, folder: Path
) -> None:
    """Who ends while the server is away leaves a journal for the next, and no error."""
    code, errors = left(name, own_server, folder, is_back=False)
    assert (code, errors) == (0, "")
    assert stored(name, own_server)["log"] == ["first"]
    adopt(name, own_server.url, folder)
    assert stored(name, own_server)["log"] == ["first", *range(10)]


def test_the_end_of_a_program_without_a_journal_is_told(name: str, own_server: Server) -> None:
    """Who ends while the server is away, without a journal, says how much is lost."""
    code, errors = left(name, own_server, None, is_back=False)
    assert code == 0
    assert "10 changes" in errors
    assert name in errors
    assert "lost" in errors
    assert stored(name, own_server)["log"] == ["first"]
