"""The directory on every server: each real one on this machine, and the one inside the process."""

from __future__ import annotations

import io

from redis_memory import ConversationMemory, Conversations, expire, snapshot
from tests.waiting import wait_until


def test_the_directory_does_the_same_on_every_server(each_url: str) -> None:
    """List, describe, move, export, load, prune, reindex, and the end of a lifetime."""
    memories = {name: ConversationMemory(name, each_url) for name in ("a", "b", "*")}
    for memory in memories.values():
        memory.messages = ["hello"]
        memory.tags = {1}
        memory.box = {"x": 1}
        memory.state = "open"
    with Conversations(each_url) as directory:
        assert directory.list().ids == ("*", "b", "a")
        assert directory.list(where="len(messages) == 1", limit=2).ids == ("*", "b")
        assert directory.info("a").attributes["tags"].length == 1
        directory.rename("b", "c")
        directory.copy("c", "d")
        file = io.BytesIO()
        assert directory.export(file).conversations == 4
        assert directory.delete("a")
        report = directory.prune(0, keep=["c"])
        assert sorted(report.ids) == ["*", "d"]
        file.seek(0)
        loaded = directory.load(file)
        assert (loaded.created, loaded.skipped) == (3, 1)
        assert directory.count() == 4
        assert directory.reindex().found == 4
        assert directory.stats().conversations == 4
        again = ConversationMemory("d", each_url)
        expire(again, 0.3)
        assert 0 < (directory.info("d").ttl_s or 0) <= 0.3
        wait_until(lambda: directory.count() == 3, what="the end of a lifetime")
    memories["*"].messages.append("again")
    assert snapshot(memories["*"])["messages"] == ["hello", "again"]
