"""Typed memories of several workers, in blocks, while the server is away, and in cached mode."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_memory import (
    ConversationMemory,
    InvalidValueError,
    OfflineError,
    aio,
    batch,
    claim,
    compare_and_set,
    flush,
    increment,
    push,
    status,
    transaction,
    wait_for,
    watch,
)
from tests.outages.network import QUICKLY
from tests.servers import Server
from tests.typed.cases import Address, AsyncSupportCase, Color, Message, Profile, SupportCase
from tests.waiting import wait_until

WORKERS, TIMES = 4, 25
ONE = Message(role="user", text="one")


def in_parallel(url: str, work: Callable[[SupportCase, int], None]) -> SupportCase:
    """Let workers, each with a memory of its own, do the same at once; the memory afterwards."""
    name = uuid.uuid4().hex

    def run(number: int) -> None:
        with SupportCase(name, url) as case:
            for _ in range(TIMES):
                work(case, number)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run, range(WORKERS)))
    return SupportCase(name, url)


def test_all_that_is_appended_to_a_default_is_kept(url: str) -> None:
    """Nobody creates the list, and nobody wipes it."""
    case = in_parallel(
        url, lambda it, number: it.messages.append(Message(role="user", text=f"{number}"))
    )
    texts = [message.text for message in case.messages]
    assert sorted(texts) == sorted(f"{number}" for number in range(WORKERS) for _ in range(TIMES))
    assert in_parallel(url, lambda it, _: it.greeting.append("x")).greeting[:2] == ["hello", "x"]


def test_changes_of_different_fields_are_kept(url: str) -> None:
    """Of a model that is an attribute, of its inner dataclass, and of one in a list."""

    def work(case: SupportCase, number: int) -> None:
        profile: Any = case.tree if number == 3 else case.profile
        if number == 0:
            profile.age += 1
        elif number == 1:
            profile.address.city += "x"
        elif number == 2:
            profile.address.code += "y"
        else:
            profile.name += "z"

    def begin(case: SupportCase, number: int) -> None:
        if number == 0 and "tree" not in case:
            case.profile = Profile(address=Address(""))
            case.tree = {"name": ""}  # type: ignore[assignment]  # a dict is taken as well
        wait_until(lambda: "tree" in case)
        work(case, number)

    case = in_parallel(url, begin)
    assert case.profile == Profile(age=TIMES, address=Address("x" * TIMES, "y" * TIMES))
    assert case.tree is not None
    assert case.tree.name == "z" * TIMES


def test_sums_begin_at_the_default(url: str) -> None:
    """Whoever adds first."""
    case = in_parallel(url, lambda it, _: void(increment(it, "total")))
    assert case.total == WORKERS * TIMES
    name = uuid.uuid4().hex
    with SupportCase(name, url) as one, SupportCase(name, url) as two:
        assert one.count == two.count == 5
        increment(one, "count")
        assert increment(two, "count") == 7


def void(_: object) -> None:
    """Nothing."""


def test_a_block_that_is_not_made_leaves_no_trace(case: SupportCase, other: SupportCase) -> None:
    """Neither in what is stored, nor in models and defaults that were held before."""
    case.profile = Profile()
    stored, default, messages = case.profile, case.span, case.messages
    assert stored is not None
    with pytest.raises(ZeroDivisionError), batch(case):
        stored.age = 5
        stored.tags.append("t")
        default.high = 20
        messages.append(ONE)
        assert (case.profile.age, case.span.high, case.messages) == (5, 20, [ONE])
        raise ZeroDivisionError
    assert (stored, default.high, messages) == (Profile(), 10, [])
    assert list(other) == ["profile"]
    stored.tags.append("u")
    default.high = 30
    messages.append(ONE)
    assert (other.profile, other.span.high, other.messages) == (Profile(tags=["u"]), 30, [ONE])


def test_blocks_are_validated_and_made_as_one(case: SupportCase, other: SupportCase) -> None:
    """Batches and transactions."""
    with batch(case):
        case.messages.append(ONE)
        case.span.high = 20
        case.colors.add(Color.RED)
        with pytest.raises(InvalidValueError):
            case.state = "gone"  # type: ignore[assignment]  # that is the point
        assert list(other) == []
    assert (other.messages, other.span.high, other.colors) == ([ONE], 20, {Color.RED})
    with transaction(case):
        case.total = case.span.high
        case.messages[0].text += "!"
    assert (other.total, other.messages[0].text) == (20, "one!")


def test_compare_and_set_compares_what_is_declared(case: SupportCase) -> None:
    """Models as well as dicts of them, and the values of enums."""
    case.profile = Profile(name="Ann")
    assert not compare_and_set(case, "profile", Profile(), Profile(age=1))
    assert compare_and_set(case, "profile", Profile(name="Ann"), {"age": 2})
    assert case.profile == Profile(age=2)
    with pytest.raises(InvalidValueError, match="profile"):
        compare_and_set(case, "profile", Profile(age=2), {"age": -2})


def test_who_waits_is_given_what_is_declared(case: SupportCase, other: SupportCase) -> None:
    """And compares with it; a change that is watched shows what is stored."""
    with watch(case, "profile", timeout_s=5) as changes:
        other.profile = Profile(age=3)
        assert next(changes).value["age"] == 3
    assert wait_for(case, "profile", Profile(age=3), timeout_s=5) == Profile(age=3)
    assert isinstance(wait_for(case, "profile", lambda it: it.age == 3, timeout_s=5), Profile)


def test_what_is_written_under_a_claim_fits(case: SupportCase, other: SupportCase) -> None:
    """Or nothing of it is written."""
    held = claim(case, "job", "me", ttl_s=30)
    assert held is not None
    held.write(state="closed", profile=Profile(age=3))
    with pytest.raises(InvalidValueError, match="total"):
        held.write(state="open", total="many")
    assert (other.state, other.profile) == ("closed", Profile(age=3))
    held.release()


async def test_async_blocks_are_validated_and_made_as_one(acase: AsyncSupportCase) -> None:
    """Models that were changed in a block that is not made are as before."""
    async with aio.batch(acase):
        await acase.profile["age"].set(4)
        await acase["messages"].append(ONE)
        with pytest.raises(InvalidValueError):
            await acase.profile["age"].set(-4)
    with pytest.raises(ZeroDivisionError):
        async with aio.batch(acase):
            await acase.profile["age"].set(5)
            raise ZeroDivisionError
    assert await acase.profile == Profile(age=4)
    assert await acase["messages"] == [ONE]


def test_while_the_server_is_away_all_is_validated_all_the_same(own_server: Server) -> None:
    """What fits waits, what does not is refused at once, and defaults are known."""
    name = uuid.uuid4().hex
    with SupportCase(name, own_server.url, **QUICKLY) as case:
        case.profile = Profile()
        assert case.messages == []
        _ = case.profile
        with pytest.raises(AttributeError):
            _ = case.home
        own_server.stop()
        case.state = "closed"
        case.messages.append(ONE)
        case.messages[0].text = "two"
        assert case.profile is not None
        case.profile.age = 3
        assert push(case, "messages", ONE) is None
        with pytest.raises(InvalidValueError):
            case.messages.append({"role": "x"})  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InvalidValueError):
            case.profile.age = -3
        with pytest.raises(OfflineError):
            _ = case.pet
        assert case.messages == [Message(role="user", text="two"), ONE]
        assert case.profile == Profile(age=3)
        own_server.restart()
        assert flush(case, 5) == 0
        with SupportCase(name, own_server.url) as other:
            wait_until(lambda: status(case).online)
            assert case.state == other.state == "closed"
            assert other.messages == [Message(role="user", text="two"), ONE]
            assert other.profile == case.profile == Profile(age=3)


def test_cached_reads_are_as_declared(each_url: str, conversation_id: str) -> None:
    """Defaults, members of enums, models, and what no longer fits."""
    with (
        SupportCase(conversation_id, each_url, read_mode="cached") as case,
        ConversationMemory(conversation_id, each_url) as plain,
    ):
        assert case.state == "open"
        case.profile = Profile(color=Color.BLUE)
        case.colors.add(Color.RED)
        for _ in range(3):
            assert "state" not in case
            assert (case.state, case.colors) == ("open", {Color.RED})
            assert case.profile == Profile(color=Color.BLUE)
        plain.state = "odd"
        plain.pet = {"kind": "dog"}

        def is_told() -> bool:
            try:
                return bool(case["state"] is None)
            except InvalidValueError:
                return True

        wait_until(is_told)
        wait_until(lambda: type(case.pet).__mro__[2].__name__ == "Dog")
