"""Declared attributes of an async memory: handles validate, and what is read is as declared."""

from __future__ import annotations

import asyncio

import pytest

from redis_memory import InvalidValueError, aio
from tests.typed.cases import Address, AsyncSupportCase, Color, Message, Profile

ONE = Message(role="user", text="one")


async def test_attributes_are_validated_and_have_defaults(acase: AsyncSupportCase) -> None:
    """As of a blocking memory."""
    state, home = acase.state, acase.home
    assert await state == "open"
    assert not await state.exists()
    await state.set("closed")
    assert await state == "closed"
    with pytest.raises(InvalidValueError, match="state"):
        await state.set("gone")  # type: ignore[arg-type]  # that is the point
    await state.delete()
    assert await state == "open"
    with pytest.raises(AttributeError, match="home"):
        await home
    await home.set(Address("Ulm"))
    assert await home == Address("Ulm")
    assert isinstance(await home, Address)


async def test_mutators_are_validated(acase: AsyncSupportCase) -> None:
    """Also the first one, while only the default is there."""
    messages, colors = acase["messages"], acase["colors"]
    await asyncio.gather(*(messages.append(ONE) for _ in range(5)))
    await messages.append({"role": "assistant"})
    assert await messages == [*[ONE] * 5, Message(role="assistant")]
    with pytest.raises(InvalidValueError, match=r"messages\[6\].role"):
        await messages.append({"role": "x"})
    assert type(await messages.pop()) is Message
    await messages.sort(key=lambda message: message.text)
    await colors.add(Color.RED)
    assert await colors == {Color.RED}
    assert await aio.push(acase, "messages", ONE) == 6
    assert await aio.window(acase, "messages", -1) == [ONE]


async def test_fields_are_set_through_handles(acase: AsyncSupportCase) -> None:
    """Validated, at every depth."""
    profile = acase.profile
    await profile["name"].set("Ann")
    await profile["address"].set({"city": "Ulm"})
    await profile["address"]["notes"].append("n")
    await profile["address"]["code"].set("89")
    await profile["tags"].append("t")
    expected = Profile(name="Ann", address=Address("Ulm", "89", ["n"]), tags=["t"])
    assert await profile == expected
    assert await profile["address"]["city"] == "Ulm"
    for change in (
        profile["age"].set(-1),
        profile["tags"].extend(["a", "b", "c"]),
        profile["address"]["notes"].append(3),
    ):
        with pytest.raises(InvalidValueError):
            await change
    with pytest.raises(KeyError):
        await profile["nothing"]
    assert not await profile["nothing"].exists()
    with pytest.raises(ValueError, match="nothing"):
        await profile["nothing"].set(1)
    with pytest.raises(AttributeError, match="append"):
        await profile.append(1)
    assert await profile == expected


async def test_a_model_says_what_to_write_instead(acase: AsyncSupportCase) -> None:
    """A plain assignment cannot be awaited."""
    await acase["messages"].append(ONE)
    profile = await acase.profile
    message = (await acase["messages"])[0]
    with pytest.raises(TypeError, match=r"await memory.profile\['name'\].set\(value\)"):
        profile.name = "Ann"
    with pytest.raises(TypeError, match=r"await memory.messages\[0\]\['text'\].set\(value\)"):
        message.text = "x"
    with pytest.raises(TypeError, match=r"await"):
        profile.tags.append("x")
    with pytest.raises(TypeError, match=r"await memory.state.set\(value\)"):
        acase.state = "closed"  # type: ignore[assignment]  # that is the point
