"""The way back that the manual shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from redis_memory import ConversationMemory, migration
from tests.migration.old import OldWorkers
from tests.migration.test_migrate import held
from tests.servers import Server
from tests.test_readme import code_of

MANUAL = Path(__file__).parents[2] / "docs" / "migrating.md"


def test_the_manuals_way_back_writes_what_the_old_packages_read(
    old: OldWorkers, server: Server
) -> None:
    """Under the old keys, newer than before; and a later migration goes forward again."""
    for number in range(120):
        old.assign(f"c-{number}", "messages", ["old"], days_ago=1)
    migration.migrate(server.url, dry_run=False, delete_old=True)
    with ConversationMemory("user:7", server.url) as memory:
        memory.messages = ["new", {"a": None}]
    shown: dict[str, Any] = {}
    code = code_of(MANUAL.read_text("utf-8"), "python")
    exec(code[code.index("import json") :], shown)  # noqa: S102 - the manual's own code
    shown["write_back"](server.client(), server.url)
    assert len(old.keys()) == 121
    raw: Any = server.client().get("memory:user:7:messages")
    assert json.loads(raw)["value"] == ["new", {"a": None}]
    old.append("user:7", "messages", "older")
    old.append("c-5", "messages", "older")
    report = migration.migrate(server.url, dry_run=False)
    assert report.skipped == ()
    assert held(server.url, "user:7") == {"messages": ["new", {"a": None}, "older"]}
    assert held(server.url, "c-5") == {"messages": ["old", "older"]}
