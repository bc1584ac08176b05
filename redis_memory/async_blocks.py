"""Several changes of an async memory as one: what `batch` and `transaction` of `aio` give."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

from redis_memory.async_core import AsyncCore
from redis_memory.core.blocks import Block

M = TypeVar("M")


class AsyncTogether(AbstractAsyncContextManager[M]):
    """A block of changes of one memory that leave together at its end."""

    __slots__ = ("_block", "_core", "_is_strict", "_memory", "_missing")

    _block: Block

    def __init__(self, memory: M, core: AsyncCore, *, is_strict: bool) -> None:
        self._memory: M = memory
        self._core: AsyncCore = core
        self._is_strict: bool = is_strict
        self._missing: set[str] = set()

    async def __aenter__(self) -> M:
        self._block = await self._core.driver.begin_block(self, is_strict=self._is_strict)
        self._missing = set(self._core.seen.missing)
        return self._memory

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_done = False
        try:
            await self._core.driver.end_block(self._block, is_good=kind is None)
            is_done = kind is None
        finally:
            if not is_done:
                self._core.forget_block(self._missing)
