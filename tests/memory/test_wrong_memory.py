"""The functions of one face refuse the memories of the other, before they do anything."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

import redis_memory
from redis_memory import AsyncConversationMemory, ConversationMemory, aio

# what each needs behind the memory
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "batch": (),
    "claim": ("task", "me"),
    "clear": (),
    "close": (),
    "compare_and_set": ("state", 1, 2),
    "conflicts": (),
    "expire": (60,),
    "flush": (1,),
    "increment": ("count",),
    "lock": (),
    "push": ("log", 1),
    "rotate_keys": (),
    "setdefault": ("state", 1),
    "snapshot": (),
    "status": (),
    "transaction": (),
    "wait_for": ("state",),
    "watch": (),
    "window": ("log",),
}
OPTIONS: dict[str, dict[str, Any]] = {"claim": {"ttl_s": 5}}


def test_all_functions_are_tried() -> None:
    """Those that take a memory, in both faces."""
    assert set(ARGUMENTS) == {n for n in aio.__all__ if _takes_a_memory(getattr(aio, n))}


def _takes_a_memory(function: Callable[..., Any]) -> bool:
    return not inspect.isclass(function) and "memory" in inspect.signature(function).parameters


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_memory_of_the_other_face_is_refused(name: str, url: str, conversation_id: str) -> None:
    """A TypeError says which functions to use, at the call; nothing is begun or left behind."""
    memory = ConversationMemory(conversation_id, url)
    awaited = AsyncConversationMemory(conversation_id, url)
    arguments, options = ARGUMENTS[name], OPTIONS.get(name, {})
    with pytest.raises(TypeError, match=r"redis_memory\.aio"):
        getattr(redis_memory, name)(awaited, *arguments, **options)
    for wrong, message in ((memory, "blocking memory"), (None, "not NoneType"), ("x", "not str")):
        with pytest.raises(TypeError, match=message):
            _run(getattr(aio, name), wrong, *arguments, **options)
    for wrong, message in ((None, "not NoneType"), ("x", "not str")):
        with pytest.raises(TypeError, match=message):
            getattr(redis_memory, name)(wrong, *arguments, **options)
    # another thread is not kept waiting by a block that nobody ends
    writer = threading.Thread(target=setattr, args=(memory, "state", 1))
    writer.start()
    writer.join(5)
    assert memory.state == 1
    redis_memory.close(memory)
    asyncio.run(aio.close(awaited))


def _run(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    async def awaited() -> None:
        result = function(*arguments, **options)
        if inspect.isawaitable(result):
            await result

    asyncio.run(awaited())
