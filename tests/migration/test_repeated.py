"""A second run brings what is new, and overrides nobody who was later."""

from __future__ import annotations

from typing import Any

import pytest

from redis_memory import ConversationMemory, Conversations, clear, migration, snapshot, watch
from tests.migration.faces import Migrate, step_by_step
from tests.migration.old import OldWorkers, everything
from tests.migration.test_migrate import held, named, old_url
from tests.servers import Server
from tests.waiting import wait_until


def test_a_second_run_changes_nothing(migrate: Migrate, old: OldWorkers, server: Server) -> None:
    """What was brought is known; a list is not doubled, and no time is moved."""
    old.assign("c-1", "messages", ["a"])
    old.assign("c-1", "box", {"a": 1})
    migrate(server.url, dry_run=False)
    before = everything(server)
    for _ in range(3):
        report = migrate(server.url, dry_run=False)
        assert (report.known, report.brought, report.replaced) == (2, 0, ())
    assert everything(server) == before


def test_what_old_workers_write_later_is_brought(
    migrate: Migrate, old: OldWorkers, url: str
) -> None:
    """New values, new attributes, and appended messages, for which 0.3 and 0.4 move no time."""
    old.assign("c-1", "messages", ["a"], days_ago=2)
    old.assign("c-1", "state", "open", days_ago=1)
    old.assign("c-1", "gone", 1, days_ago=1)
    for round_number in range(3):
        migrate(url, dry_run=False)
        old.append("c-1", "messages", round_number)
        # by a clock that lags behind all that has happened since
        old.assign("c-1", "state", f"closed {round_number}", days_ago=0.9)
        old.assign("c-1", f"new {round_number}", 1)
        report = migrate(url, dry_run=False)
        assert (report.brought, report.known) == (1, 1 + round_number)
        assert report.replaced == ("memory:c-1:messages", "memory:c-1:state")
        assert held(url, "c-1")["messages"] == ["a", *range(round_number + 1)]
        assert held(url, "c-1")["state"] == f"closed {round_number}"


def test_the_newer_value_wins_and_the_report_names_it(
    migrate: Migrate, old: OldWorkers, url: str
) -> None:
    """`last_modified` is compared with the time of the last change by a new worker."""
    old.assign("c-1", "older", "old", days_ago=1)
    with ConversationMemory("c-1", url) as memory:
        memory.older = memory.newer = "new"
        memory.messages = ["new"]
    old.assign("c-1", "newer", "old")
    old.assign("c-1", "messages", ["old"])
    for dry_run in (True, False):
        report = migrate(url, dry_run=dry_run, delete_old=True)
        assert named(report.skipped, "kept") == ["memory:c-1:older"]
        assert report.replaced == ("memory:c-1:messages", "memory:c-1:newer")
    assert held(url, "c-1") == {"older": "new", "newer": "old", "messages": ["old"]}
    assert old.keys() == {b"memory:c-1:older"}


@pytest.mark.parametrize("on_existing", ["skip", "replace"])
def test_the_user_decides_what_stays(
    migrate: Migrate, old: OldWorkers, url: str, on_existing: Any
) -> None:
    """`skip` leaves what is there, `replace` has the old value win, whatever the times are."""
    old.assign("c-1", "older", "old", days_ago=1)
    with ConversationMemory("c-1", url) as memory:
        memory.older = memory.newer = "new"
    old.assign("c-1", "newer", "old")
    report = migrate(url, dry_run=False, on_existing=on_existing)
    winner = "new" if on_existing == "skip" else "old"
    assert held(url, "c-1") == {"older": winner, "newer": winner}
    assert len(report.replaced) == (0 if on_existing == "skip" else 2)
    assert len(report.skipped) == (2 if on_existing == "skip" else 0)


def test_a_change_by_a_new_worker_is_not_undone(
    migrate: Migrate, old: OldWorkers, url: str
) -> None:
    """Not by a second run, and not by an old worker who goes on with what he knows."""
    for name in ("a", "b", "c", "messages"):
        old.assign("c-1", name, ["old"], days_ago=1)
    migrate(url, dry_run=False)
    with ConversationMemory("c-1", url) as memory:
        memory.a = "new"
        memory.messages.append("new")
        del memory.b
    old.append("c-1", "messages", "older")
    report = migrate(url, dry_run=False)
    assert named(report.skipped, "kept") == ["memory:c-1:messages"]
    assert report.known == 3
    assert held(url, "c-1") == {"a": "new", "c": ["old"], "messages": ["old", "new"]}


@pytest.mark.parametrize("how", ["clear", "delete", "prune"])
def test_a_conversation_that_was_deleted_does_not_come_back(
    old: OldWorkers, url: str, how: str
) -> None:
    """Unless an old worker goes on with it, or the old values are to replace what is there."""
    old.assign("c-1", "messages", ["old"], days_ago=60)
    migration.migrate(url, dry_run=False)
    with Conversations(url) as directory:
        if how == "clear":
            clear(ConversationMemory("c-1", url))
        elif how == "delete":
            assert directory.delete("c-1")
        else:
            assert directory.prune().ids == ("c-1",)
        report = migration.migrate(url, dry_run=False)
        assert report.brought == 0
        # pruned after a long time, nothing is left that tells it from one that was evicted
        assert named(report.skipped, "kept") == (["memory:c-1:messages"] if how == "prune" else [])
        assert directory.list().ids == ()
        migration.migrate(url, dry_run=False, on_existing="replace")
        assert directory.list().ids == ("c-1",)
        directory.delete("c-1")
        old.append("c-1", "messages", "again")
        migration.migrate(url, dry_run=False)
    assert held(url, "c-1") == {"messages": ["old", "again"]}
    assert old.client.ttl("memory:{c-1}") == -1  # as of any memory that has attributes


def test_a_value_whose_memory_was_lost_is_not_deleted(
    migrate: Migrate, old: OldWorkers, server: Server
) -> None:
    """When the server has evicted it, the old key is all that is left."""
    old.assign("c-1", "messages", ["a"])
    migrate(server.url, dry_run=False)
    server.client().delete("memory:{c-1}", "memory:{c-1}:messages")
    report = migrate(server.url, dry_run=False, delete_old=True)
    assert (report.deleted, report.known) == (0, 0)
    assert old.keys() == {b"memory:c-1:messages"}
    assert named(report.skipped, "kept") == ["memory:c-1:messages"]


def test_a_memory_that_is_brought_again_is_read_again(
    migrate: Migrate, old: OldWorkers, server: Server
) -> None:
    """Also by who has seen it before, when neither its times nor its size have changed."""
    modified = old.assign("c-1", "box", {"a": "first"}, days_ago=1)
    migrate(server.url, dry_run=False)
    reader = ConversationMemory("c-1", server.url)
    assert reader.box == {"a": "first"}
    server.client().delete("memory:{c-1}", "memory:{c-1}:box")
    old.assign("c-1", "box", {"a": "second"}, at_ns=modified)
    migrate(server.url, dry_run=False)
    assert reader.box == {"a": "second"}


def test_old_keys_are_deleted_when_that_is_wanted(
    migrate: Migrate, old: OldWorkers, url: str
) -> None:
    """What was brought by this run or an earlier one, and nothing else."""
    old.assign("c-1", "a", 1)
    migrate(url, dry_run=False)
    old.assign("c-1", "b", 2)
    assert migrate(url, dry_run=False, delete_old=True).deleted == 2
    assert old.keys() == set()
    assert held(url, "c-1") == {"a": 1, "b": 2}
    # an old worker who is still there writes all of it anew
    old.assign("c-1", "a", 3)
    assert migrate(url, dry_run=False, delete_old=True).replaced == ("memory:c-1:a",)
    assert held(url, "c-1") == {"a": 3, "b": 2}


def test_what_is_written_between_reading_and_deleting_stays(old: OldWorkers, url: str) -> None:
    """At whatever moment of the run; the next one brings it, and deletes it."""
    steps = 0

    def counted(number: int, step: object) -> None:
        nonlocal steps
        steps = number

    old.assign("c-0", "messages", [])
    step_by_step(url, url, counted, delete_old=True)
    assert steps > 5
    for moment in range(1, steps + 1):
        conversation = f"c-{moment}"
        old.assign(conversation, "messages", ["first"], days_ago=1)

        def write(number: int, step: object, at: int = moment, to: str = conversation) -> None:
            if number != at:
                return
            if old.client.exists(f"memory:{to}:messages"):
                old.append(to, "messages", "second")
            else:
                old.assign(to, "messages", ["first", "second"])

        step_by_step(url, url, write, delete_old=True)
        migration.migrate(url, dry_run=False, delete_old=True)
        assert held(url, conversation) == {"messages": ["first", "second"]}
        assert old.keys() == set()


def test_a_change_during_the_run_is_named(old: OldWorkers, url: str) -> None:
    """The old key that was not deleted stands in the report."""
    old.assign("c-1", "messages", ["first"])

    def write(number: int, step: Any) -> None:
        call = getattr(step, "call", step)
        if any(b"memory:c-1:messages" in each.head.parts[3:] for each in call.companions):
            old.append("c-1", "messages", "second")

    report = step_by_step(url, url, write, delete_old=True)
    assert (report.brought, report.deleted) == (1, 0)
    assert report.changed == ("memory:c-1:messages",)


def test_new_workers_see_what_is_brought(migrate: Migrate, old: OldWorkers, url: str) -> None:
    """Those who have the conversation open, who read without asking, and who watch it."""
    reader = ConversationMemory("c-1", url)
    cached = ConversationMemory("c-1", url, read_mode="cached")
    assert not hasattr(reader, "messages")
    cached.other = 1
    assert not hasattr(cached, "messages")
    told: list[tuple[str, Any]] = []
    changes = watch(ConversationMemory("c-1", url), "messages", timeout_s=10)
    old.assign("c-1", "messages", ["a"])
    migrate(url, dry_run=False)
    assert reader.messages == ["a"]
    wait_until(lambda: hasattr(cached, "messages") and cached.messages == ["a"])
    change = next(changes)
    told.append((change.name, change.value))
    assert told == [("messages", ["a"])]
    reader.messages.append("b")
    assert snapshot(cached) == {"messages": ["a", "b"], "other": 1}
    changes.close()


def test_a_key_in_the_place_of_a_memory_is_no_loss(old: OldWorkers, url: str) -> None:
    """Ids with braces look like the new layout; another prefix keeps both."""
    old.assign("{x}", "messages", ["braces"])
    old.assign("x", "messages", ["plain"])
    old.assign("y", "messages", ["other"])
    report = migration.migrate(url, dry_run=False, delete_old=True)
    assert named(report.skipped, "damaged") == ["memory:x:messages"]
    assert held(url, "{x}") == {"messages": ["braces"]}
    assert held(url, "y") == {"messages": ["other"]}
    report = migration.migrate(url, target_prefix="new:", dry_run=False)
    assert report.skipped == ()
    assert held(url, "x", "new:") == {"messages": ["plain"]}


def test_a_memory_that_is_none_is_named(old: OldWorkers, server: Server) -> None:
    """Another type of key where the memory must lie: the others are brought."""
    server.client().lpush("memory:{c-1}", "a")
    old.assign("c-1", "state", "open")
    old.assign("c-2", "state", "open")
    report = migration.migrate(old_url(old), dry_run=False, delete_old=True)
    assert named(report.skipped, "damaged") == ["memory:c-1:state"]
    assert report.ids == ("c-2",)
    assert old.keys() == {b"memory:c-1:state"}


def test_without_its_notes_an_old_key_is_kept(
    migrate: Migrate, old: OldWorkers, server: Server
) -> None:
    """They end 30 days after the last run; nobody knows then whether the old value was brought."""
    old.assign("c-1", "messages", ["a"], days_ago=40)
    migrate(server.url, dry_run=False)
    notes = "memory:{c-1}~migrated"
    client = server.client()
    lives_s: Any = client.ttl(notes)
    assert 30 * 86_400 - 60 < lives_s <= 30 * 86_400
    client.delete(notes)
    report = migrate(server.url, dry_run=False, delete_old=True)
    assert named(report.skipped, "kept") == ["memory:c-1:messages"]
    assert (report.deleted, old.keys()) == (0, {b"memory:c-1:messages"})
    assert held(server.url, "c-1") == {"messages": ["a"]}
