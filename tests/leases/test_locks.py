"""Locks: one holder at a time, in the order of coming, each under a larger token."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_memory import (
    ClosedError,
    ConversationMemory,
    InvalidNameError,
    WaitTimeoutError,
    aio,
    claim,
    clear,
    close,
    lock,
    snapshot,
)
from tests.leases.conftest import OpenTenant
from tests.leases.faces import Tenant
from tests.leases.fields import waiters
from tests.waiting import wait_until


def test_only_one_holds_a_lock(tenant: Tenant, rival: ConversationMemory) -> None:
    """While one is in the block, whoever tries once is told that it is held."""
    with tenant.locked(ttl_s=5):
        with pytest.raises(WaitTimeoutError, match="'lock'"), lock(rival, wait_s=0):
            pass
        with pytest.raises(TimeoutError), lock(rival, wait_s=0.05):
            pass
    with lock(rival, wait_s=0):
        pass


def test_tokens_grow_with_each_holder(tenant: Tenant, rival: ConversationMemory) -> None:
    """A service outside can refuse whoever comes with a smaller token than it has seen."""
    tokens = []
    for _ in range(20):
        with tenant.locked() as token:
            tokens.append(token)
        with lock(rival) as token:
            tokens.append(token)
    assert all(isinstance(token, int) for token in tokens)
    assert tokens == sorted(set(tokens))


def test_tokens_grow_when_the_data_is_lost(
    open_tenant: OpenTenant, name: str, each_server: Any
) -> None:
    """A token after the loss of all data is larger than those before it."""
    tenant = open_tenant(name, each_server.url)
    with tenant.locked() as before:
        pass
    each_server.client().flushall()
    with tenant.locked() as after:
        assert after > before


def test_a_waiter_gets_the_lock_when_it_is_given_up(
    tenant: Tenant, rival: ConversationMemory
) -> None:
    """Waiting ends with the block of the one before, long before the lock's time is over."""
    has_entered = threading.Event()

    def wait() -> int:
        with lock(rival, ttl_s=30, wait_s=5) as token:
            has_entered.set()
            return token

    with ThreadPoolExecutor(1) as pool:
        with tenant.locked(ttl_s=30) as token:
            waiting = pool.submit(wait)
            wait_until(lambda: waiters(rival, "lock") == 1)
            assert not has_entered.is_set()
        assert waiting.result(2.5) > token  # sooner than who waits looks by himself


def test_a_lock_is_renewed_while_its_block_runs(tenant: Tenant, rival: ConversationMemory) -> None:
    """A block may take many times `ttl_s`."""
    with tenant.locked(ttl_s=0.8):
        for _ in range(3):
            with pytest.raises(WaitTimeoutError), lock(rival, ttl_s=5, wait_s=0.4):
                pass
    with lock(rival, wait_s=0):
        pass


def test_a_lock_is_not_reentrant(tenant: Tenant) -> None:
    """Who holds it and asks again waits as everybody does."""
    with tenant.locked(), pytest.raises(WaitTimeoutError), tenant.locked(wait_s=0.05):
        pass
    with tenant.locked(wait_s=0):
        pass


def test_a_block_that_raises_gives_the_lock_up(tenant: Tenant, rival: ConversationMemory) -> None:
    """The exception arrives as it is, and the next one gets the lock at once."""
    with pytest.raises(ZeroDivisionError), tenant.locked():
        raise ZeroDivisionError
    with lock(rival, wait_s=0):
        pass


def test_names_of_locks_lie_beside_those_of_attributes(
    tenant: Tenant, rival: ConversationMemory
) -> None:
    """A lock takes no name from the user, and is in no list of names."""
    name = "Größe 1\n{x}"
    tenant.assign(name, 1)
    with tenant.locked(name), tenant.locked("other"):
        with pytest.raises(WaitTimeoutError), lock(rival, name, wait_s=0):
            pass
        assert list(rival) == [name]
        assert snapshot(rival) == {name: 1}
        assert not hasattr(rival, "other")


def test_a_lock_outlives_clear(tenant: Tenant, rival: ConversationMemory) -> None:
    """`clear` deletes attributes; who holds a lock holds it still."""
    tenant.assign("x", [1])
    with tenant.locked():
        clear(rival)
        with pytest.raises(WaitTimeoutError), lock(rival, wait_s=0):
            pass


def test_a_lock_excludes_claims_of_its_name(tenant: Tenant, rival: ConversationMemory) -> None:
    """Both are the same kind of lease."""
    with tenant.locked("task"):
        assert claim(rival, "task", "ann", ttl_s=5) is None
    held = tenant.held("task")
    with pytest.raises(WaitTimeoutError), lock(rival, "task", wait_s=0):
        pass
    assert held.release()


def test_one_lock_object_serves_many_threads(name: str, each_url: str) -> None:
    """`guard = lock(mem)` may be entered by all of them, as a `threading.Lock`."""
    entered = []
    with ConversationMemory(name, each_url) as mem, ThreadPoolExecutor(4) as pool:
        guard = lock(mem)

        def work(number: int) -> None:
            with guard:
                entered.append(number)
                mem.inside = number
                assert mem.inside == number

        list(pool.map(work, range(20)))
        assert sorted(entered) == list(range(20))
        with pytest.raises(RuntimeError, match="not held"):
            guard.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError, {"ttl_s": 0}),
        (ValueError, {"ttl_s": -1}),
        (ValueError, {"ttl_s": math.nan}),
        (ValueError, {"ttl_s": 8 * 86400}),
        (TypeError, {"ttl_s": "1"}),
        (TypeError, {"ttl_s": True}),
        (ValueError, {"wait_s": -1}),
        (ValueError, {"wait_s": math.nan}),
        (TypeError, {"wait_s": "1"}),
        (InvalidNameError, {"name": ""}),
        (InvalidNameError, {"name": "_x"}),
        (InvalidNameError, {"name": "x" * 513}),
        (InvalidNameError, {"name": 1}),
    ],
)
def test_a_wrong_argument_is_an_error_at_once(
    name: str, error: type[Exception], options: dict[str, Any]
) -> None:
    """Before anything is sent, and before the block."""
    mem = ConversationMemory(name, "redis://127.0.0.1:1")
    with pytest.raises(error):
        lock(mem, **options)
    with pytest.raises(error):
        aio.lock(aio.AsyncConversationMemory(name, "redis://127.0.0.1:1"), **options)


def test_a_closed_memory_takes_no_lock(name: str, each_url: str) -> None:
    """Later use raises ClosedError; a block that closes its memory is told at its end."""
    mem = ConversationMemory(name, each_url)
    with pytest.raises(ClosedError), lock(mem, ttl_s=0.1):
        close(mem)
    with pytest.raises(ClosedError), lock(mem):
        pass
    with ConversationMemory(name, each_url) as other, lock(other, wait_s=2):
        pass
