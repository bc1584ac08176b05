"""Locks and claims when replies are lost, the server goes away, forgets, or processes end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from redis_memory import (
    AsyncConversationMemory,
    Claim,
    ConversationMemory,
    LeaseLostError,
    OfflineError,
    WaitTimeoutError,
    aio,
    batch,
    claim,
    lock,
)
from redis_memory.core.scripts import SCRIPTS
from tests.alarms import interrupted
from tests.children import Child
from tests.faults import FaultProxy, Loss, Request
from tests.leases.conftest import OpenTenant
from tests.leases.fields import field, waiters
from tests.outages.network import LOST, PATIENT_S, QUICKLY
from tests.servers import Server
from tests.waiting import async_wait_until, in_time, wait_until

# before whoever waits looks by himself, which he does every 3 s
SOONER_S = 2.5


def is_lease(request: Request) -> bool:
    """Whether a request is about a lease."""
    known = [(s.sha, s.source) for name, s in SCRIPTS.items() if name.startswith("lease")]
    return bool(request.arguments) and any(request.arguments[0] in pair for pair in known)


def know_scripts(memory: ConversationMemory) -> None:
    """Have the server know the scripts, or what gets lost is only that it does not."""
    held = claim(memory, "first", "x", ttl_s=5)
    assert held is not None
    held.renew()
    held.release()


@pytest.mark.parametrize("how", LOST)
def test_a_lost_reply_takes_or_gives_up_nothing_twice(
    open_tenant: OpenTenant, proxy: FaultProxy, name: str, how: Loss
) -> None:
    """Acquire, renew and release are asked again, and answered as the first time."""
    tenant = open_tenant(name, proxy.url)
    with ConversationMemory(name, proxy.url, timeout_s=PATIENT_S) as rival:
        know_scripts(rival)
        proxy.lose_replies(1, how=how, when=is_lease)
        held = tenant.held("task")
        assert proxy.armed == 0
        proxy.lose_replies(1, how=how, when=is_lease)
        held.renew()
        held.write(x=1)
        proxy.lose_replies(1, how=how, when=is_lease)
        assert held.release()
        assert proxy.armed == 0
        proxy.lose_replies(1, how=how, when=is_lease)
        with tenant.locked():
            proxy.lose_replies(1, how=how, when=is_lease)
        assert proxy.armed == 0
        assert field(rival, "task") is None
        assert field(rival, "lock") is None


def test_a_release_whose_reply_is_lost_is_one_when_others_have_the_lock_by_then(
    open_tenant: OpenTenant, proxy: FaultProxy, server: Server, name: str
) -> None:
    """Who released in time is not told that he lost it, though the server knows another holder."""
    tenant = open_tenant(name, proxy.url)
    with ConversationMemory(name, server.url) as rival:
        know_scripts(rival)
        followers: list[Claim] = []

        def follow(request: Request) -> bool:
            # before the release is sent again, somebody takes what the first one gave up
            if is_lease(request) and (taken := claim(rival, "task", "bob", ttl_s=60)):
                followers.append(taken)
            return False

        held = tenant.held("task", ttl_s=60)
        proxy.lose_replies(1, how="reset", when=is_lease)
        proxy.reset_before(when=follow)
        assert held.release()
        assert followers


def test_while_the_server_is_away_nothing_is_taken(
    open_tenant: OpenTenant, proxy: FaultProxy, name: str
) -> None:
    """Both raise OfflineError, at once when the outage is known, however long one would wait."""
    tenant = open_tenant(name, proxy.url)
    tenant.assign("x", 1)
    proxy.refuse()
    with pytest.raises(OfflineError):
        tenant.claimed("task")
    with in_time(0.2):
        for wait_s in (None, 0, 60):
            with pytest.raises(OfflineError), tenant.locked(wait_s=wait_s):
                pass
        with pytest.raises(OfflineError):
            tenant.claimed("task")


def test_an_outage_during_the_wait_is_waited_out(
    open_tenant: OpenTenant, proxy: FaultProxy, server: Server, name: str
) -> None:
    """What is given up meanwhile is taken as soon as the server is back."""
    tenant = open_tenant(name, proxy.url)
    with ConversationMemory(name, server.url) as rival, ThreadPoolExecutor(1) as pool:
        other = claim(rival, "lock", "bob", ttl_s=30)
        assert other is not None

        def wait() -> int:
            with tenant.locked(wait_s=8) as token:
                return int(token)

        waiting = pool.submit(wait)
        wait_until(lambda: waiters(rival, "lock") == 1)
        proxy.refuse()
        assert other.release()
        assert not waiting.done()
        proxy.heal()
        assert waiting.result(5) > other.token


def test_a_wait_that_ends_in_an_outage_was_in_vain(
    open_tenant: OpenTenant, proxy: FaultProxy, server: Server, name: str
) -> None:
    """It raises what every wait in vain raises, and leaves the queue as soon as it can."""
    tenant = open_tenant(name, proxy.url)
    with ConversationMemory(name, server.url) as rival, ThreadPoolExecutor(1) as pool:
        with lock(rival, ttl_s=30):

            def wait() -> None:
                with pytest.raises(WaitTimeoutError), tenant.locked(ttl_s=5, wait_s=0.7):
                    pass

            waiting = pool.submit(wait)
            wait_until(lambda: waiters(rival, "lock") == 1)
            proxy.refuse()
            waiting.result(5)
            proxy.heal()
            wait_until(lambda: waiters(rival, "lock") == 0)
        with lock(rival, wait_s=0):
            pass


def test_a_restart_of_the_server_loses_no_lease(
    open_tenant: OpenTenant, own_server: Server, name: str
) -> None:
    """With its data kept, holder and waiters go on where they were."""
    tenant = open_tenant(name, own_server.url)
    with (
        ConversationMemory(name, own_server.url, **QUICKLY) as rival,
        ThreadPoolExecutor(1) as pool,
    ):
        with tenant.locked(ttl_s=30) as first:

            def wait() -> int:
                with lock(rival, wait_s=8) as token:
                    return token

            waiting = pool.submit(wait)
            with ConversationMemory(name, own_server.url) as looking:
                wait_until(lambda: waiters(looking, "lock") == 1)
            own_server.restart()
            assert not waiting.done()
        assert waiting.result(5) > first


def test_a_server_that_has_forgotten_all_has_ended_all_leases(
    open_tenant: OpenTenant, own_server: Server, name: str
) -> None:
    """Holders find out at the next renewal, and at the end of the block; tokens go on growing."""
    tenant = open_tenant(name, own_server.url)
    held = tenant.held("task", ttl_s=1)
    with pytest.raises(LeaseLostError), tenant.locked("block", ttl_s=30) as before:
        own_server.restart(keep_data=False)
    wait_until(lambda: held.is_lost)
    with pytest.raises(LeaseLostError):
        held.renew()
    with tenant.locked("block") as after:
        assert after > before


def test_a_short_outage_costs_no_claim(
    open_tenant: OpenTenant, proxy: FaultProxy, server: Server, name: str
) -> None:
    """Renewal is tried again until the time is over."""
    tenant = open_tenant(name, proxy.url)
    with ConversationMemory(name, server.url) as rival:
        held = tenant.held("task", ttl_s=3)
        before = field(rival, "task")
        requests = proxy.requests
        proxy.refuse()
        wait_until(lambda: not tenant.status().online)
        with pytest.raises(OfflineError):
            held.renew()
        with pytest.raises(OfflineError):
            held.write(x=1)
        assert proxy.requests == requests
        proxy.heal()
        wait_until(lambda: field(rival, "task") != before)
        assert not held.is_lost
        held.write(x=1)
        assert rival.x == 1


@pytest.mark.parametrize("how", ["refused", "frozen"])
def test_a_claim_is_lost_when_its_time_is_over_without_an_answer(
    open_tenant: OpenTenant, own_server: Server, name: str, how: str
) -> None:
    """By the local clock, before the server can give it to somebody else."""
    with FaultProxy(own_server.url) as proxy:
        tenant = open_tenant(name, proxy.url)
        held = tenant.held("task", ttl_s=0.5)
        if how == "refused":
            proxy.refuse()
        else:
            own_server.freeze()
        wait_until(lambda: held.is_lost)
        if how == "frozen":
            own_server.thaw()
        else:
            with ConversationMemory(name, own_server.url) as rival:
                stored = field(rival, "task")
                assert stored is not None
                seconds, micros = own_server.client().time()
                assert int(stored.split(b" ")[1], 16) <= seconds * 1_000_000 + micros + 100_000
        with pytest.raises((LeaseLostError, OfflineError)):
            held.renew()


def test_a_lock_left_while_the_server_is_away_is_given_up_when_it_is_back(
    open_tenant: OpenTenant, proxy: FaultProxy, server: Server, name: str
) -> None:
    """The end of the block says so; nobody waits for the end of the lock's time."""
    tenant = open_tenant(name, proxy.url)
    with ConversationMemory(name, server.url) as rival:
        with pytest.raises(OfflineError), tenant.locked(ttl_s=4):
            proxy.refuse()
        with pytest.raises(WaitTimeoutError), lock(rival, wait_s=0):
            pass
        proxy.heal()
        with lock(rival, wait_s=1.5):
            pass


def test_what_was_changed_under_a_lock_arrives_before_it_is_given_up(
    open_tenant: OpenTenant, proxy: FaultProxy, server: Server, name: str
) -> None:
    """The next holder sees it, also when the block met an outage."""
    tenant = open_tenant(name, proxy.url)
    with ConversationMemory(name, server.url) as rival:
        for number in range(5):
            with tenant.locked(ttl_s=10):
                proxy.refuse()
                tenant.assign("x", number)
                proxy.heal()
                wait_until(lambda: tenant.status().online)
            with lock(rival, wait_s=5):
                assert rival.x == number


def test_a_forked_child_holds_nothing(name: str, url: str) -> None:
    """Its claims are lost from the start; it neither renews nor releases what the parent holds."""
    with ConversationMemory(name, url) as mem, lock(mem, ttl_s=5):
        held = claim(mem, "task", "parent", ttl_s=5)
        assert held is not None

        def work(_: Child) -> None:
            assert held.lost.is_set()
            with pytest.raises(LeaseLostError):
                held.renew()
            assert not held.release()
            assert claim(mem, "task", "child", ttl_s=1) is None
            with pytest.raises(WaitTimeoutError), lock(mem, wait_s=0):
                pass
            mine = claim(mem, "another", "child", ttl_s=0.9)
            assert mine is not None
            before = field(mem, "another")
            wait_until(lambda: field(mem, "another") != before)
            assert mine.release()

        Child(work).ended()
        assert not held.lost.is_set()
        held.write(x=1)
        assert held.release()


def test_a_killed_holder_is_followed_after_the_time_of_its_lease(name: str, url: str) -> None:
    """A waiter gets it then, without any message."""

    def hold(child: Child) -> None:
        with ConversationMemory(name, url) as mem, lock(mem, ttl_s=0.9):
            child.tell()
            child.wait()

    child = Child(hold)
    child.reached()
    with ConversationMemory(name, url) as mem:
        with pytest.raises(WaitTimeoutError), lock(mem, wait_s=1.1):
            pass
        child.kill()
        with lock(mem, wait_s=4):
            pass


def test_a_killed_waiter_is_passed_over(name: str, url: str) -> None:
    """Whoever waits behind it gets the lock within seconds."""

    def wait(_: Child) -> None:
        with ConversationMemory(name, url) as mem, lock(mem):
            pass

    with (
        ConversationMemory(name, url) as mem,
        ConversationMemory(name, url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        with lock(mem):
            child = Child(wait)
            wait_until(lambda: waiters(mem, "lock") == 1)

            def wait_behind() -> None:
                with lock(other, wait_s=10):
                    pass

            behind = pool.submit(wait_behind)
            wait_until(lambda: waiters(mem, "lock") == 2)
            child.kill()
        behind.result(9)


def claimed(memory: ConversationMemory, owner: str, *, ttl_s: float) -> Claim:
    """The claim of the task, as soon as it is free."""
    held = wait_until(lambda: claim(memory, "task", owner, ttl_s=ttl_s))
    assert held is not None
    return held


def test_a_late_write_of_a_stopped_holder_is_refused(name: str, url: str) -> None:
    """50 of 50: stopped (SIGSTOP) until others have the claim, it wakes up and writes in vain."""
    rounds = 50

    def work(child: Child) -> None:
        with ConversationMemory(name, url) as mem:
            for _ in range(rounds):
                held = claimed(mem, "stopped", ttl_s=0.08)
                child.tell()
                child.wait()
                with pytest.raises(RuntimeError, match="not held"):
                    held.write(x="late")
                wait_until(held.lost.is_set)
                # once more as one who believes to be in time: the server itself refuses
                lease = held._holding.lease
                lease.is_lost, lease.until_us = False, lease.until_us + 60_000_000
                with pytest.raises(RuntimeError, match="not held"):
                    held.write(x="late")
                child.tell()

    child = Child(work)
    with ConversationMemory(name, url) as mem:
        for number in range(rounds):
            child.reached()
            os.kill(child.pid, signal.SIGSTOP)
            os.waitpid(child.pid, os.WUNTRACED)
            held = claimed(mem, "follower", ttl_s=5)
            held.write(x=number)
            os.kill(child.pid, signal.SIGCONT)
            child.go()
            child.reached()
            assert mem.x == number
            assert held.release()
    child.ended()


async def test_a_cancelled_wait_leaves_the_queue(name: str, url: str) -> None:
    """Whoever waits behind it is next."""
    async with (
        AsyncConversationMemory(name, url) as mem,
        AsyncConversationMemory(name, url) as other,
    ):
        with ConversationMemory(name, url) as looking:

            async def wait(memory: AsyncConversationMemory) -> int:
                async with aio.lock(memory) as token:
                    return token

            async with aio.lock(mem):
                cancelled = asyncio.create_task(wait(mem))
                await async_wait_until(lambda: waiters(looking, "lock") == 1)
                behind = asyncio.create_task(wait(other))
                await async_wait_until(lambda: waiters(looking, "lock") == 2)
                cancelled.cancel()
                await async_wait_until(lambda: waiters(looking, "lock") == 1)
            async with asyncio.timeout(SOONER_S):
                await behind
            assert cancelled.cancelled()


async def test_a_cancelled_block_gives_the_lock_up(name: str, url: str) -> None:
    """Wherever the cancellation strikes, somebody else has the lock soon after."""
    async with (
        AsyncConversationMemory(name, url) as mem,
        AsyncConversationMemory(name, url) as other,
    ):

        async def work() -> None:
            async with aio.lock(mem, ttl_s=60):
                await mem.x.set(1)

        for steps in range(40):
            task = asyncio.create_task(work())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with aio.lock(other, ttl_s=60, wait_s=2):
                pass


# Python tells so of a handler that raises in a finalizer
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_at_any_line_gives_the_lock_up(name: str, url: str) -> None:
    """Wherever a signal handler raises, the lock is free soon after, and nothing renews it."""
    with ConversationMemory(name, url) as mem, ConversationMemory(name, url) as other:

        def work() -> None:
            with lock(mem, ttl_s=3):
                assert claim(other, "lock", "other", ttl_s=3) is None

        def is_ours(path: str) -> bool:
            return path.endswith("leases.py")

        at = 1
        while interrupted(work, at, within=is_ours, at_the_end_of_with=False):
            at += 1
            with lock(other, wait_s=2.5):
                pass
        assert at > 50


def test_a_signal_handler_may_lock_too(name: str, url: str) -> None:
    """In the middle of a wait it takes another lock, and the wait goes on."""
    with ConversationMemory(name, url) as mem, ConversationMemory(name, url) as other:
        struck = threading.Event()

        def strike(*_: object) -> None:
            with lock(mem, "another"):
                struck.set()

        before = signal.signal(signal.SIGALRM, strike)
        try:
            held = claim(other, "lock", "other", ttl_s=5)
            assert held is not None
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(WaitTimeoutError), lock(mem, wait_s=0.3):
                pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert struck.is_set()
        assert held.release()
        with lock(mem, wait_s=0), batch(mem):
            mem.x = 1
