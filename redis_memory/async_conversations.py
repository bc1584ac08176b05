"""AsyncConversations: the directory of all conversations under a prefix, awaited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

from redis_memory.archives import File
from redis_memory.archiving import ExportReport, LoadReport
from redis_memory.conversations import A_MONTH
from redis_memory.core.calls import Course
from redis_memory.core.index import Stats
from redis_memory.core.inspection import ConversationInfo
from redis_memory.core.listing import Page
from redis_memory.core.reindexing import ReindexReport
from redis_memory.core.search import Order, Where
from redis_memory.core.transfer import OnExisting
from redis_memory.courses import Courses, Id, Ids, Span, resolved
from redis_memory.pruning import Keep, PruneReport
from redis_memory.rotating import RotationReport
from redis_memory.settings import Settings
from redis_memory.telemetry import async_kinds

T = TypeVar("T")


class AsyncConversations:
    """As `Conversations`, awaited; files are read and written in a thread.

    The connections belong to the event loop of the first call. `where`, `keep` and `progress` are
    called in the loop.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        client: Any = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        taken = resolved(url, prefix, client, settings, options)
        self._courses = Courses(taken)
        self._desk = async_kinds.async_desk(taken, client)

    @property
    def prefix(self) -> str:
        """What the keys of its conversations begin with."""
        return self._courses.directory.prefix

    async def _run(self, course: Course[T]) -> T:
        return await self._desk.run(course)

    async def count(self) -> int:
        """As `Conversations.count`."""
        return await self._run(self._courses.directory.count())

    async def list(
        self,
        order: Order = "recent",
        *,
        idle_for: Span | None = None,
        active_within: Span | None = None,
        match: str | None = None,
        where: Where | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """As `Conversations.list`."""
        return await self._run(
            self._courses.listing(order, idle_for, active_within, match, where, limit, cursor)
        )

    async def info(self, conversation_id: Id) -> ConversationInfo:
        """As `Conversations.info`."""
        return await self._run(self._courses.info(conversation_id))

    async def exists(self, conversation_id: Id) -> bool:
        """As `Conversations.exists`."""
        return await self._run(self._courses.exists(conversation_id))

    async def delete(self, conversation_id: Id) -> bool:
        """As `Conversations.delete`."""
        return await self._run(self._courses.delete(conversation_id))

    async def copy(self, conversation_id: Id, new_id: Id, *, replace: bool = False) -> None:
        """As `Conversations.copy`."""
        await self._run(self._courses.copy(conversation_id, new_id, replaces=replace))

    async def rename(self, conversation_id: Id, new_id: Id, *, replace: bool = False) -> None:
        """As `Conversations.rename`."""
        await self._run(self._courses.rename(conversation_id, new_id, replaces=replace))

    async def export(
        self,
        file: File,
        ids: Ids | None = None,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> ExportReport:
        """As `Conversations.export`."""
        return await self._run(self._courses.export(file, ids, progress))

    async def load(
        self,
        file: File,
        on_existing: OnExisting = "skip",
        *,
        progress: Callable[[int], object] | None = None,
    ) -> LoadReport:
        """As `Conversations.load`."""
        return await self._run(self._courses.load(file, on_existing, progress))

    async def prune(
        self,
        idle_for: Span = A_MONTH,
        *,
        where: Where | None = None,
        keep: Keep | None = None,
        dry_run: bool = False,
        archive_to: File | None = None,
        batch: int = 500,
        progress: Callable[[PruneReport], object] | None = None,
    ) -> PruneReport:
        """As `Conversations.prune`."""
        return await self._run(
            self._courses.prune(idle_for, where, keep, archive_to, batch, progress, dry_run=dry_run)
        )

    async def stats(self) -> Stats:
        """As `Conversations.stats`."""
        return await self._run(self._courses.directory.stats())

    async def reindex(self, *, progress: Callable[[int], object] | None = None) -> ReindexReport:
        """As `Conversations.reindex`."""
        return await self._run(self._courses.reindex(progress))

    async def rotate_keys(
        self, *, seal_plain: bool = False, progress: Callable[[int], object] | None = None
    ) -> RotationReport:
        """As `Conversations.rotate_keys`."""
        return await self._run(self._courses.rotate_keys(progress, seal_plain=seal_plain))

    async def close(self) -> None:
        """As `Conversations.close`."""
        await self._desk.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        label = self._desk.address.label
        return f"<AsyncConversations under {self.prefix!r} at {label}>"
