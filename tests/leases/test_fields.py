"""What leases leave in Redis: nothing for good, and nothing in the way of attributes."""

from __future__ import annotations

import time

from redis_memory import ConversationMemory, claim, clear, increment, lock, push, snapshot
from tests.leases.fields import command, field
from tests.waiting import wait_until

WEEK_S = 604_800


def key(name: str) -> bytes:
    """Where the memory lies."""
    return f"memory:{{{name}}}".encode()


def test_a_released_lease_leaves_no_field_of_its_own(name: str, each_url: str) -> None:
    """However many tasks are claimed, what stays is one field with the last token."""
    with ConversationMemory(name, each_url) as mem:
        for number in range(200):
            taken = claim(mem, f"task {number}", "ann", ttl_s=5)
            assert taken is not None
            taken.release()
        assert command(mem, b"HKEYS", key(name)) == [b"_token"]


def test_a_memory_of_leases_alone_does_not_stay_forever(name: str, each_url: str) -> None:
    """It expires as one without attributes does; with its first attribute it stays."""
    with ConversationMemory(name, each_url) as mem:
        with lock(mem):
            assert WEEK_S - 60 < command(mem, b"TTL", key(name)) <= WEEK_S
        mem.x = 1
        assert command(mem, b"TTL", key(name)) == -1
        with lock(mem):
            assert command(mem, b"TTL", key(name)) == -1
        del mem.x
        assert WEEK_S - 60 < command(mem, b"TTL", key(name)) <= WEEK_S


def test_leases_that_nobody_gave_up_do_not_stay_forever(name: str, each_url: str) -> None:
    """What ended an hour ago is removed while others are taken; what is newer stays."""
    with ConversationMemory(name, each_url) as mem:
        now_us = time.time_ns() // 1000
        for lease, ended_us in (("old", now_us - 3_700_000_000), ("new", now_us - 3_000_000_000)):
            stored = b"%013x %013x %s - ann" % (ended_us, ended_us, b"0" * 18)
            command(mem, b"HSET", key(name), b"_l" + lease.encode(), stored)

        def is_gone() -> bool:
            with lock(mem):
                return field(mem, "old") is None

        wait_until(is_gone)
        assert field(mem, "new") is not None
        assert claim(mem, "new", "bob", ttl_s=5) is not None


def test_tokens_grow_though_the_clock_of_the_server_goes_back(name: str, each_url: str) -> None:
    """A token is the server's time, moved on where that is not larger than the last one."""
    with ConversationMemory(name, each_url) as mem:
        with lock(mem) as first:
            pass
        ahead = first + 3_600_000_000
        command(mem, b"HSET", key(name), b"_token", b"%013x %013x" % (first, ahead))
        tokens = []
        for _ in range(3):
            with lock(mem) as token:
                tokens.append(token)
        assert tokens == [ahead + 1, ahead + 2, ahead + 3]


def test_leases_do_not_disturb_the_attributes(name: str, each_url: str) -> None:
    """Counting, clearing and snapshots go past them."""
    with ConversationMemory(name, each_url) as mem:
        held = claim(mem, "x", "ann", ttl_s=5)
        assert held is not None
        assert list(mem) == []
        assert increment(mem, "x") == 1
        push(mem, "log", "a")
        assert snapshot(mem) == {"x": 1, "log": ["a"]}
        clear(mem)
        assert len(mem) == 0
        held.write(x=2)
        assert snapshot(mem) == {"x": 2}
