"""Removing conversations: attribute by attribute, as with any object, or all at once with `clear`.

`dir(memory)` names the stored attributes, and `delattr` deletes one. `conversation_id` is named as
well, and is read-only.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from redis_memory import ConversationMemory, clear, snapshot

SERVER = "embedded://"  # or "redis://host:6379"
KEPT = timedelta(days=7)


def remove_one_by_one(mem: ConversationMemory) -> None:
    for name in dir(mem):
        if not name.startswith("_"):
            # read-only, or deleted by another process meanwhile
            with suppress(AttributeError):
                delattr(mem, name)


def is_old(mem: ConversationMemory) -> bool:
    last_activity: datetime | None = getattr(mem, "last_activity", None)
    return last_activity is not None and last_activity < datetime.now(UTC) - KEPT


def main() -> None:
    run = uuid4()
    mems = {name: ConversationMemory(f"{name}-{run}", SERVER) for name in ("ann", "bob", "cem")}
    for days, mem in zip((30, 10, 1), mems.values(), strict=True):
        mem.messages = [{"role": "user", "content": "Hello!"}]
        mem.profile = {"language": "en"}
        mem.last_activity = datetime.now(UTC) - timedelta(days=days)

    removers = {"ann": remove_one_by_one, "bob": clear, "cem": clear}
    for name, mem in mems.items():
        before = sorted(mem)
        if is_old(mem):
            removers[name](mem)
        print(f"{name}: {', '.join(before)} -> {', '.join(sorted(mem)) or 'nothing'}")

    assert [len(mem) for mem in mems.values()] == [0, 0, 3]
    assert snapshot(mems["ann"]) == {}
    assert not hasattr(mems["bob"], "messages")
    clear(mems["cem"])


if __name__ == "__main__":
    main()
