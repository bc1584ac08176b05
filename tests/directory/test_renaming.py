"""Other ids, while the workers go on."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

import pytest

from redis_memory import ConversationExistsError, ConversationMemory, push, snapshot
from tests.directory.conftest import Begin
from tests.directory.faces import Faces
from tests.servers import Server
from tests.waiting import wait_until


def test_nothing_is_lost_when_a_conversation_is_renamed_under_a_worker(
    open_directory: Faces, server: Server
) -> None:
    """What came before is under the new id, what comes later begins a conversation of the old."""
    told: list[int] = []
    stop = threading.Event()

    def work() -> None:
        with ConversationMemory("old", server.url) as memory:
            for number in count():
                push(memory, "log", number)
                told.append(number)
                if stop.wait(0.0005):
                    return

    worker = threading.Thread(target=work)
    worker.start()
    try:
        directory = open_directory(server.url)
        wait_until(lambda: len(told) > 50)
        directory.rename("old", "new")
        then = len(told)
        wait_until(lambda: len(told) > then + 50)
    finally:
        stop.set()
        worker.join()
    moved = snapshot(ConversationMemory("new", server.url))["log"]
    later = snapshot(ConversationMemory("old", server.url))["log"]
    assert moved + later == told
    assert len(moved) > 50
    assert set(directory.list().ids) == {"old", "new"}


@pytest.mark.parametrize("moves", [True, False])
def test_what_is_replaced_is_replaced_as_a_whole(
    open_directory: Faces, begin: Begin, server: Server, *, moves: bool
) -> None:
    """No key of it stays, and whoever has it open goes on with the new one."""
    begin("a", topic="new", messages=["new"])
    open_one = begin("b", topic="old", box={1: 2}, tags={1})
    assert open_one.box == {1: 2}
    directory = open_directory(server.url)
    call: Any = directory.rename if moves else directory.copy
    with pytest.raises(ConversationExistsError, match="'b'"):
        call("a", "b")
    assert snapshot(open_one)["topic"] == "old"
    call("a", "b", replace=True)
    assert snapshot(open_one) == {"topic": "new", "messages": ["new"]}
    open_one.messages.append("more")
    assert open_one.messages == ["new", "more"]
    assert not hasattr(open_one, "box")
    found = server.client().keys("memory:{b}*")
    assert set(found) - {b"memory:{b}~stamps"} == {b"memory:{b}", b"memory:{b}:messages"}
    assert directory.exists("a") is not moves
