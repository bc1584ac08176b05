"""The index: who is in it, and when, whatever happens between a change and its entry."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    ConversationMemory,
    Conversations,
    Memory,
    aio,
    clear,
    close,
    flush,
)
from redis_memory.core.keys import id_of, tag_of
from tests.directory.conftest import Begin
from tests.faults import FaultProxy, is_companion, is_ordinary
from tests.servers import Server
from tests.waiting import wait_until

ODD_IDS = [
    "*",
    "[a]",
    "}",
    "{x}",
    "a:b",
    "a b",
    "é😀",
    "\ud800",
    "%",
    "%25",
    "\n\0",
    "x" * 512,
    "~",
]


def entries(server: Server, prefix: str = "memory:") -> dict[bytes, float]:
    """The index as it lies in Redis."""
    rows: Any = server.client().zrange(f"{prefix}~conversations", 0, -1, withscores=True)
    return dict(rows)


@pytest.mark.parametrize("conversation_id", ODD_IDS)
def test_every_id_is_listed_as_it_was_given(begin: Begin, url: str, conversation_id: str) -> None:
    """An id with any characters is counted, listed, found and deleted, and no other one is."""
    begin(conversation_id)
    begin("bystander")
    with Conversations(url) as directory:
        assert set(directory.list().ids) == {conversation_id, "bystander"}
        assert directory.exists(conversation_id)
        assert conversation_id in directory
        assert directory.info(conversation_id).id == conversation_id
        assert directory.delete(conversation_id)
        assert directory.list().ids == ("bystander",)
    assert id_of(tag_of(conversation_id)) == conversation_id


def test_an_entry_costs_no_round_trip(server: Server, proxy: FaultProxy) -> None:
    """A change and its entry go in one packet, and only one change a second brings one."""
    memory = ConversationMemory("c-1", proxy.url)
    for number in range(20):
        memory.count = number
    # two for each packet, each sent once more where the server does not know the script
    assert proxy.requests_seen(is_companion) <= 8
    assert entries(server)
    assert proxy.requests_seen(is_ordinary) <= 22  # the script may have been unknown
    close(memory)


def test_the_score_is_the_servers_time(begin: Begin, server: Server) -> None:
    """Whatever this machine's clock says."""
    seconds, micros = server.client().time()
    begin("c-1")
    (score,) = entries(server).values()
    assert 0 <= score / 1e6 - (seconds + micros / 1e6) < 5


def test_a_worker_that_dies_after_its_change_leaves_an_entry(begin: Begin, server: Server) -> None:
    """The entry is made before the change, so nobody is killed in between."""
    if (child := os.fork()) == 0:
        begin("c-1")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert entries(server).keys() == {b"c-1"}


def test_an_entry_without_its_change_is_not_listed(server: Server, url: str) -> None:
    """Who was killed before the change leaves an entry too many; whoever lists removes it."""
    server.client().zadd("memory:~conversations", {"ghost": 1.7e15, "not an id": 1.7e15})
    with Conversations(url) as directory:
        assert directory.list().ids == ()
        assert directory.count() == 0
    assert entries(server) == {}


def test_deleting_the_last_attribute_removes_the_entry(begin: Begin, server: Server) -> None:
    """A memory without attributes is no conversation; with the next one it is one again."""
    memory = begin("c-1", topic="billing", state="open")
    del memory.topic
    assert entries(server).keys() == {b"c-1"}
    del memory.state
    assert entries(server) == {}
    memory.topic = "again"
    assert entries(server).keys() == {b"c-1"}


def test_clear_removes_the_entry(begin: Begin, server: Server) -> None:
    """Nothing of a cleared conversation is listed."""
    memory = begin("c-1", messages=["hello"])
    clear(memory)
    assert entries(server) == {}
    memory.messages = ["again"]
    assert entries(server).keys() == {b"c-1"}


async def test_awaited_memories_are_entered_alike(server: Server, url: str) -> None:
    """The async face enters and removes too."""
    async with AsyncConversationMemory("c-1", url) as memory:
        await memory.topic.set("billing")
        assert entries(server).keys() == {b"c-1"}
        await memory.topic.delete()
        assert entries(server) == {}
        await memory.topic.set("billing")
        await aio.clear(memory)
        assert entries(server) == {}


def test_a_refused_change_leaves_no_entry(server: Server, url: str) -> None:
    """Deleting what is not there makes no conversation."""
    memory = ConversationMemory("c-1", url)
    with pytest.raises(AttributeError):
        del memory.topic
    assert entries(server) == {}


def test_a_memory_of_a_whole_prefix_is_no_conversation(server: Server, url: str) -> None:
    """It is not listed, and not found by reindex."""
    Memory(url).topic = "all"
    with Conversations(url) as directory:
        assert directory.reindex().found == 0
    assert entries(server) == {}


def test_what_waited_is_entered_when_it_is_delivered(own_server: Server) -> None:
    """A conversation that was begun, or emptied, while Redis was away is listed, or not."""
    begun = ConversationMemory("begun", own_server.url)
    emptied = ConversationMemory("emptied", own_server.url)
    emptied.topic = "billing"
    own_server.stop()
    begun.topic = "billing"
    del emptied.topic
    own_server.start()
    assert flush(begun, 8.0) == flush(emptied, 8.0) == 0
    wait_until(lambda: entries(own_server).keys() == {b"begun"}, what="the entries")
    close(begun)
    close(emptied)


def test_who_may_not_write_the_index_may_still_write(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A user without rights on the index is told once in the log, and its changes are made."""
    own_server.client().acl_setuser(
        *("ann", True),
        passwords=["+secret"],
        keys=["memory:{*"],
        channels=["*"],
        categories=["+@all"],
    )
    url = own_server.url.replace("unix://", "unix://ann:secret@")
    memory = ConversationMemory("c-1", url)
    memory.topic = "billing"
    assert memory.topic == "billing"
    others = [ConversationMemory(f"c-{number}", url) for number in range(2, 4)]
    for other in others:
        other.topic = "billing"
    assert entries(own_server) == {}
    told = [one for one in caplog.records if one.levelname == "WARNING"]
    assert len(told) == 1
    for each in (memory, *others):
        close(each)


def test_reindex_makes_the_index_anew(begin: Begin, server: Server, url: str) -> None:
    """What was lost is added, what is wrong corrected, what is gone removed, by prefix."""
    for name in ("a", "b", "c", "*"):
        begin(name)
    begin("elsewhere", prefix="memory:2:")
    begin("inner", prefix="memory:{x}")
    client = server.client()
    client.hset("memory:{foreign}", "field", "nothing of ours")
    client.set("memory:{text}", "no hash")
    truth = entries(server)
    client.zrem("memory:~conversations", "a")
    client.zadd("memory:~conversations", {"b": 1, "ghost": 5})
    with Conversations(url) as directory:
        found = directory.reindex()
        assert (found.found, found.added, found.corrected, found.removed) == (4, 1, 1, 1)
        assert set(directory.list().ids) == {"a", "b", "c", "*"}
        assert directory.reindex() == type(found)(4, 0, 0, 0)
    assert entries(server).keys() == truth.keys()


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("prod", "prod2"),
        ("a", "ab"),
        ("a", "a{"),
        ("a", "a{c-2}"),
        ("a", "a*"),
        ("", "a"),
        ("*", "a"),
    ],
)
def test_a_prefix_that_begins_like_another_has_a_directory_of_its_own(
    begin: Begin, url: str, short: str, long: str
) -> None:
    """`prod` does not see `prod2`, nor does it delete there."""
    begin("c-1", prefix=short)
    begin("c-2", prefix=long)
    with Conversations(url, prefix=short) as one, Conversations(url, prefix=long) as two:
        assert one.list().ids == ("c-1",)
        assert one.reindex().found == 1
        assert one.prune(0).ids == ("c-1",)
        assert (one.count(), two.count(), two.list().ids) == (0, 1, ("c-2",))
        assert two.reindex() == type(two.reindex())(1, 0, 0, 0)
