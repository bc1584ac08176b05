"""Entries of a cluster's directories: which ones are made later, and which again."""

from __future__ import annotations

import pytest

from redis_memory.core.calls import Call, Entering, Head
from redis_memory.link import entries as entries_module
from redis_memory.link.entries import Entries

INDEX, OTHER = b"memory:~conversations", b"other:~conversations"


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its only item is changed."""
    clock = [1000.0]
    monkeypatch.setattr(entries_module, "monotonic", lambda: clock[0])
    return clock


def entry(tag: bytes) -> Call:
    """The entry of a conversation."""
    return Entering(Head(b"EVALSHA", b"", b"2", INDEX, b""), tag, b"")


def tags(entries: Entries, index: bytes = INDEX) -> list[bytes]:
    """The conversations that an index lacks."""
    return [call.arguments[0] for call in entries.late_at(index)]


def test_a_missed_entry_is_late_until_it_is_made() -> None:
    """One for each conversation, of its own index."""
    entries = Entries()
    for tag in (b"a", b"b", b"a"):
        entries.missed(INDEX, entry(tag))
    entries.missed(OTHER, entry(b"c"))
    assert entries.lacking == [INDEX, OTHER]
    assert entries.made(INDEX, entry(b"a"), "node")
    assert tags(entries) == [b"b"]
    assert not entries.made(INDEX, entry(b"b"), "node")
    assert entries.lacking == [OTHER]


def test_another_node_gets_the_last_ones_again(now_s: list[float]) -> None:
    """Those of ten seconds before it, and none of before that, nor twice."""
    entries = Entries()
    for tag in (b"old", b"a", b"b"):
        entries.made(INDEX, entry(tag), "node")
        now_s[0] += 6
    assert not tags(entries)
    now_s[0] += 3600  # the failover may take long
    assert entries.made(INDEX, entry(b"a"), "replica")
    assert tags(entries) == [b"b"]
    assert not entries.made(INDEX, entry(b"b"), "replica")
    assert not entries.made(INDEX, entry(b"c"), "replica")


def test_what_is_kept_has_bounds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is beyond them is told, and so is what nobody makes any more."""
    monkeypatch.setattr(entries_module, "_MOST", 3)
    entries = Entries()
    for number in range(5):
        entries.made(INDEX, entry(b"%d" % number), "node")
    entries.made(INDEX, entry(b"x"), "replica")
    assert len(tags(entries)) == 3
    entries.missed(INDEX, entry(b"y"))
    assert "lacks one more conversation until reindex is called" in caplog.text
    assert tags(entries) == [b"2", b"3", b"4"]
    entries.give_up("the cluster")
    assert (
        "the directory of the cluster lacks 3 conversations until reindex is called" in caplog.text
    )
    assert entries.lacking == []


def test_a_refused_entry_and_those_of_the_parent_are_forgotten() -> None:
    """They are nobody's to make."""
    entries = Entries()
    entries.missed(INDEX, entry(b"a"))
    entries.drop(INDEX, entry(b"a"))
    assert entries.lacking == []
    entries.missed(INDEX, entry(b"a"))
    entries.after_fork()
    assert entries.lacking == []
