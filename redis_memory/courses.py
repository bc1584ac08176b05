"""What can be done with a directory, as courses that its blocking and its async face run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from redis_memory import archiving, pruning, rotating
from redis_memory.archives import Archive, File, Lines
from redis_memory.archiving import ExportReport, LoadReport
from redis_memory.core import inspection, listing, reindexing, transfer
from redis_memory.core.calls import Course, Flow
from redis_memory.core.index import Directory
from redis_memory.core.inspection import ConversationInfo
from redis_memory.core.keys import normal_id, tag_of
from redis_memory.core.listing import Page
from redis_memory.core.reindexing import ReindexReport
from redis_memory.core.sealing import Keyring
from redis_memory.core.search import Search, Where
from redis_memory.core.transfer import OnExisting
from redis_memory.core.values import Limits
from redis_memory.errors import UnknownConversationError
from redis_memory.pruning import Keep, PruneReport, Spared
from redis_memory.rotating import RotationReport
from redis_memory.settings import Settings, resolve

_log = logging.getLogger("redis_memory")

Span = timedelta | float
Id = str | UUID
Ids = Id | Iterable[Id]


def resolved(
    url: str | None,
    prefix: str | None,
    client: Any,
    settings: Settings | None,
    options: dict[str, Any],
) -> Settings:
    """The settings of a directory, from the same arguments as those of a memory."""
    if client is not None and url is not None:
        raise TypeError("give either url or client, not both")
    return resolve(url, prefix, settings, options)


class Courses:
    """The courses of one directory. Wrong arguments raise before anything is asked."""

    def __init__(self, settings: Settings) -> None:
        limits = Limits(settings.max_value_bytes, settings.max_depth, settings.max_nodes)
        keys = settings.encryption_keys
        keyring = Keyring(keys) if keys else None
        self.directory: Directory = Directory(settings.prefix, limits, keyring)

    def listing(
        self,
        order: str,
        idle_for: Span | None,
        active_within: Span | None,
        match: str | None,
        where: Where | None,
        limit: int,
        cursor: str | None,
    ) -> Flow[Page]:
        """A page."""
        search = Search.of(order, idle_for, active_within, match, where, cursor)
        return listing.page(self.directory, search, limit)

    def info(self, conversation_id: Id) -> Flow[ConversationInfo]:
        """What a conversation consists of."""
        one = normal_id(conversation_id)
        found = yield from inspection.inspect(self.directory.keys, tag_of(one))
        if found is None:
            yield from self.directory.life(one)
            raise UnknownConversationError(f"there is no conversation {one!r}")
        return found

    def exists(self, conversation_id: Id) -> Flow[bool]:
        """Whether there is a conversation."""
        return self.directory.exists(normal_id(conversation_id))

    def delete(self, conversation_id: Id) -> Flow[bool]:
        """Delete a conversation."""
        return transfer.delete(self.directory, normal_id(conversation_id))

    def copy(self, source: Id, target: Id, *, replaces: bool) -> Flow[None]:
        """Copy a conversation."""
        yield from transfer.copy(
            self.directory, normal_id(source), normal_id(target), replaces=replaces
        )

    def rename(self, source: Id, target: Id, *, replaces: bool) -> Flow[None]:
        """Rename a conversation."""
        return transfer.rename(
            self.directory, normal_id(source), normal_id(target), replaces=replaces
        )

    def export(
        self,
        file: File,
        ids: Ids | None,
        progress: Callable[[int], object] | None,
    ) -> Course[ExportReport]:
        """Write conversations to a file."""
        wanted: Sequence[str] | None = None
        if ids is not None:
            several = [ids] if isinstance(ids, str | UUID) else ids
            wanted = list(dict.fromkeys(map(normal_id, several)))
        return archiving.export(self.directory, Archive(file), wanted, progress)

    def load(
        self, file: File, on_existing: OnExisting, progress: Callable[[int], object] | None
    ) -> Course[LoadReport]:
        """Store the conversations of a file."""
        return archiving.load(self.directory, Lines(file), on_existing, progress)

    def prune(
        self,
        idle_for: Span,
        where: Where | None,
        keep: Keep | None,
        archive_to: File | None,
        batch: int,
        progress: Callable[[PruneReport], object] | None,
        *,
        dry_run: bool,
    ) -> Course[PruneReport]:
        """Delete idle conversations."""
        search = Search.of("oldest", idle_for, None, None, where)
        archive = None if archive_to is None else Archive(archive_to, appends=True)
        course = pruning.prune(
            self.directory, search, Spared(keep), archive, batch, progress, dry_run=dry_run
        )
        return self._told_of_prune(course)

    def _told_of_prune(self, course: Course[PruneReport]) -> Course[PruneReport]:
        report = yield from course
        _log.info(
            "prune of %r%s: %d of %d conversations, %d bytes; %d kept, %d active, %d damaged",
            self.directory.prefix,
            " (dry run)" if report.dry_run else "",
            report.pruned,
            report.examined,
            report.bytes_freed,
            report.kept,
            report.active,
            len(report.damaged),
        )
        return report

    def reindex(self, progress: Callable[[int], object] | None) -> Flow[ReindexReport]:
        """Make the index anew."""
        report = yield from reindexing.reindex(self.directory, progress)
        _log.info(
            "reindex of %r: %d conversations, %d entries added, %d corrected, %d removed",
            self.directory.prefix,
            report.found,
            report.added,
            report.corrected,
            report.removed,
        )
        return report

    def rotate_keys(
        self, progress: Callable[[int], object] | None, *, seal_plain: bool
    ) -> Course[RotationReport]:
        """Put all conversations under the first key."""
        return rotating.rotate(self.directory, progress, seal_plain=seal_plain)
