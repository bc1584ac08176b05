"""Claims: a task or a role that one has, and writes that are refused once it is lost."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import (
    AsyncConversationMemory,
    Claim,
    ClosedError,
    ConversationMemory,
    InvalidNameError,
    LeaseLostError,
    RedisMemoryError,
    StaleClaimError,
    UnstorableValueError,
    aio,
    batch,
    claim,
    close,
)
from redis_memory.core.leases import Lease
from redis_memory.memory import core_of
from tests.leases.conftest import OpenTenant
from tests.leases.faces import Tenant
from tests.leases.fields import command, field
from tests.waiting import wait_until


def test_one_has_a_claim_and_the_others_none(tenant: Tenant, rival: ConversationMemory) -> None:
    """Nobody waits: who comes second gets None, also under the same name of owner."""
    held = tenant.held("task", "ann")
    assert (held.claim.name, held.claim.owner) == ("task", "ann")
    assert claim(rival, "task", "bob", ttl_s=5) is None
    assert tenant.claimed("task", "ann") is None
    assert claim(rival, "another task", "bob", ttl_s=5) is not None
    assert held.release()
    assert not held.release()
    taken = claim(rival, "task", "bob", ttl_s=5)
    assert taken is not None
    assert taken.token > held.token


def test_a_claim_is_renewed_in_the_background(tenant: Tenant, rival: ConversationMemory) -> None:
    """It lasts as long as its process, not only for `ttl_s`."""
    held = tenant.held("task", ttl_s=0.6)
    before = field(rival, "task")
    wait_until(lambda: field(rival, "task") != before)
    renewed = field(rival, "task")
    wait_until(lambda: field(rival, "task") != renewed)
    assert not held.is_lost
    held.renew()
    assert held.release()


def test_a_write_under_a_claim_is_one_change(tenant: Tenant, rival: ConversationMemory) -> None:
    """All attributes are there, of any kind; an empty container replaces what others have made."""
    rival.log = ["old"]
    held = tenant.held("task")
    assert not tenant.has("state")
    held.write(state="done", log=[], result={"a": [1, 2]}, **{"a b": None})
    assert (rival.state, rival.log, rival.result) == ("done", [], {"a": [1, 2]})
    assert rival["a b"] is None
    assert tenant.read("result") == {"a": [1, 2]}
    held.write()
    with pytest.raises(UnstorableValueError):
        held.write(state="broken", other=object())
    with pytest.raises(InvalidNameError):
        held.write(state="broken", _private=1)
    assert rival.state == tenant.read("state") == "done"
    held.write(state="again")
    assert rival.state == "again"


def test_a_late_write_is_refused(tenant: Tenant, rival: ConversationMemory) -> None:
    """Released, or taken by another one: nothing is written."""
    rival.x = "before"
    held = tenant.held("task")
    held.release()
    with pytest.raises(StaleClaimError, match="'task'"):
        held.write(x="late")
    assert rival.x == tenant.read("x") == "before"


def test_a_claim_that_others_took_is_lost(tenant: Tenant, rival: ConversationMemory) -> None:
    """The server refuses what it is asked under an old token; `lost` is set, and stays so."""
    rival.x = "before"
    held = tenant.held("task")
    snatch(rival, "task")
    with pytest.raises(StaleClaimError):
        held.write(x="late")
    assert held.is_lost
    assert rival.x == tenant.read("x") == "before"
    with pytest.raises(LeaseLostError):
        held.renew()
    with pytest.raises(StaleClaimError):
        held.write()
    assert not held.release()
    assert claim(rival, "task", "third", ttl_s=5) is None


def test_a_write_after_the_time_of_a_claim_is_refused(
    tenant: Tenant, rival: ConversationMemory
) -> None:
    """By the server's clock, though nobody else has it yet, and its holder believes in it."""
    rival.x = "before"
    held = tenant.held("task")
    run_out(rival, "task")
    with pytest.raises(StaleClaimError):
        held.write(x="late")
    assert held.is_lost
    assert rival.x == tenant.read("x") == "before"


def test_who_has_lost_a_claim_does_not_release_it(
    tenant: Tenant, rival: ConversationMemory
) -> None:
    """Nor does he who does not know that he has lost it: the other one holds it still."""
    held = tenant.held("task")
    snatch(rival, "task")
    assert not held.release()
    assert claim(rival, "task", "third", ttl_s=5) is None


def test_the_background_finds_out_that_a_claim_is_lost(
    tenant: Tenant, rival: ConversationMemory
) -> None:
    """`lost` is set at the next renewal, without any call of the holder."""
    held = tenant.held("task", ttl_s=0.6)
    snatch(rival, "task")
    wait_until(lambda: held.is_lost)
    with pytest.raises(LeaseLostError):
        held.renew()


def test_a_lock_that_was_lost_is_told_at_the_end_of_its_block(
    tenant: Tenant, rival: ConversationMemory
) -> None:
    """Whoever believed to be alone learns that he was not; what the block raises comes first."""
    with pytest.raises(LeaseLostError, match="'lock'"), tenant.locked():
        snatch(rival, "lock")
    rival_claim = claim(rival, "other", "x", ttl_s=5)
    assert rival_claim is not None
    with pytest.raises(ZeroDivisionError), tenant.locked("third"):
        snatch(rival, "third")
        raise ZeroDivisionError


def test_a_claim_that_nobody_keeps_is_given_up(tenant: Tenant, rival: ConversationMemory) -> None:
    """It ends with its object, as a file does."""
    held = tenant.held("task", ttl_s=30)
    assert claim(rival, "task", "bob", ttl_s=5) is None
    del held
    gc.collect()
    wait_until(lambda: claim(rival, "task", "bob", ttl_s=5), what="the release")


def test_a_claim_serves_as_a_context_manager(name: str, each_url: str) -> None:
    """The end of its block gives it up, whatever has happened."""
    with ConversationMemory(name, each_url) as mem:
        taken = claim(mem, "task", "ann", ttl_s=5)
        assert taken is not None
        with pytest.raises(ZeroDivisionError), taken as same:
            assert same is taken
            raise ZeroDivisionError
        assert claim(mem, "task", "bob", ttl_s=5) is not None


async def test_an_async_claim_serves_as_a_context_manager(name: str, each_url: str) -> None:
    """The end of its block gives it up; `lost` can be awaited."""
    async with AsyncConversationMemory(name, each_url) as mem:
        taken = await aio.claim(mem, "task", "ann", ttl_s=5)
        assert taken is not None
        async with taken as same:
            assert same is taken
        again = await aio.claim(mem, "task", "bob", ttl_s=0.2)
        assert again is not None
        with ConversationMemory(name, each_url) as rival:
            snatch(rival, "task")
        async with asyncio.timeout(5):
            await again.lost.wait()


def test_a_claim_ends_with_its_memory(open_tenant: OpenTenant, name: str, each_url: str) -> None:
    """A closed memory renews nothing: others get the claim after `ttl_s`."""
    tenant = open_tenant(name, each_url)
    held = tenant.held("task", ttl_s=0.2)
    tenant.close()
    if isinstance(held.claim, Claim):
        wait_until(lambda: held.is_lost)
        with pytest.raises((ClosedError, LeaseLostError)):
            held.renew()
    with ConversationMemory(name, each_url) as rival:
        wait_until(lambda: claim(rival, "task", "bob", ttl_s=5))


def test_inside_a_block_a_claim_does_not_write(name: str, each_url: str) -> None:
    """A batch and a write under a claim are each one change: the error says so."""
    with ConversationMemory(name, each_url) as mem:
        taken = claim(mem, "task", "ann", ttl_s=5)
        assert taken is not None
        with batch(mem):
            mem.x = 1
            with pytest.raises(RuntimeError, match="inside a batch"):
                taken.write(y=2)
        taken.write(y=3)
        assert (mem.x, mem.y) == (1, 3)


def test_a_claim_is_renewed_while_a_batch_is_open(name: str, each_url: str) -> None:
    """A block that takes longer than `ttl_s` costs no claim of its memory."""
    with (
        ConversationMemory(name, each_url) as mem,
        ConversationMemory(name, each_url) as rival,
    ):
        taken = claim(mem, "task", "ann", ttl_s=0.9)
        assert taken is not None
        with batch(mem):
            mem.x = 1
            for _ in range(3):
                wait_until(changed(rival, field(rival, "task")))
        taken.renew()


def test_owners_are_in_no_repr(tenant: Tenant) -> None:
    """Who claims something is the user's data."""
    held = tenant.held("task", "a secret owner")
    assert "secret" not in repr(held.claim)
    assert "'task'" in repr(held.claim)


def test_a_claim_belongs_to_its_process(tenant: Tenant) -> None:
    """It cannot be copied or pickled, which would look like a second holder."""
    held = tenant.held("task")
    with pytest.raises(TypeError):
        pickle.dumps(held.claim)
    with pytest.raises(TypeError):
        copy.copy(held.claim)


@pytest.mark.parametrize(
    ("error", "owner", "ttl_s"),
    [(TypeError, 1, 5), (ValueError, "x" * 513, 5), (ValueError, "x", 0), (TypeError, "x", None)],
)
def test_a_wrong_argument_is_an_error(
    error: type[Exception], owner: Any, ttl_s: Any, name: str
) -> None:
    """Before anything is sent."""
    mem = ConversationMemory(name, "redis://127.0.0.1:1")
    with pytest.raises(error):
        claim(mem, "task", owner, ttl_s=ttl_s)
    async_mem = AsyncConversationMemory(name, "redis://127.0.0.1:1")
    with pytest.raises(error):
        asyncio.run(aio.claim(async_mem, "task", owner, ttl_s=ttl_s))


def test_the_errors_are_what_handlers_expect() -> None:
    """Both are RuntimeErrors of this library."""
    for kind in (StaleClaimError, LeaseLostError):
        assert issubclass(kind, RedisMemoryError)
        assert issubclass(kind, RuntimeError)


def changed(memory: ConversationMemory, before: bytes | None) -> Callable[[], bool]:
    """Whether the lease `task` has been renewed since."""
    return lambda: field(memory, "task") != before


def snatch(memory: ConversationMemory, name: str) -> None:
    """Let somebody else take a lease without waiting for the end of its time."""
    core = core_of(memory)
    command(memory, b"HDEL", core.state.keys.memory, b"_l" + name.encode())
    other = Lease(core.state, name, "another", 60)
    found, _ = core.run(other.asking(waits=False))
    assert found is other


def run_out(memory: ConversationMemory, name: str) -> None:
    """Let the time of a lease be over at the server."""
    stored = field(memory, name)
    assert stored is not None
    token, _, rest = stored.split(b" ", 2)
    over = b"%b %013x %b" % (token, 1, rest)
    command(memory, b"HSET", core_of(memory).state.keys.memory, b"_l" + name.encode(), over)


def test_a_memory_that_is_closed_gives_no_claim(name: str, each_url: str) -> None:
    """Later use raises ClosedError."""
    mem = ConversationMemory(name, each_url)
    close(mem)
    with pytest.raises(ClosedError):
        claim(mem, "task", "ann", ttl_s=5)
