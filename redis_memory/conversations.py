"""Conversations: the directory of all conversations under a prefix, blocking."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self, TypeVar
from uuid import UUID

from redis_memory.archives import File
from redis_memory.archiving import ExportReport, LoadReport
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
from redis_memory.telemetry import kinds

T = TypeVar("T")

A_MONTH = timedelta(days=30)


class Conversations:
    """The conversations under one prefix, found by an index that is kept beside them.

    Each conversation enters it with its changes, at most once a second, so `list` may show times
    and an order that are a second old where they are not read anew. No call but `reindex` goes
    through the keys of the server. Threads may share a directory; a forked child may go on
    with it.

    Args:
        url: As for `Memory`, like all other arguments.

    Raises:
        TypeError: An option is unknown.
        ConfigurationError: A value or the url cannot work.

    Every method raises OfflineError while the server is away; nothing waits. Spans of time are
    timedeltas or seconds.
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
        self._desk = kinds.desk(taken, client)

    @property
    def prefix(self) -> str:
        """What the keys of its conversations begin with."""
        return self._courses.directory.prefix

    def _run(self, course: Course[T]) -> T:
        return self._desk.run(course)

    def count(self) -> int:
        """How many conversations there are. Cost: three round trips, O(1)."""
        return self._run(self._courses.directory.count())

    def list(
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
        """The next conversations, most recently active first, or `oldest` first.

        Args:
            order: `recent` or `oldest`.
            idle_for: Only those without a change for so long.
            active_within: Only those changed since.
            match: Only ids that this pattern matches: `*`, `?`, `[abc]`, as in a shell.
            where: Only those for whose attributes this is true: a function that is given them as a
                dict of plain values, or an expression such as `state == "archived"`.
            limit: At most so many.
            cursor: `cursor` of the page before: it goes on behind the last one, whatever was
                changed meanwhile. Who did not change is met exactly once.

        Raises:
            ValueError: An argument cannot work.

        Cost: three round trips for each 100 that are looked at, two more with `where`; those that
        do not match are looked at, too.
        """
        return self._run(
            self._courses.listing(order, idle_for, active_within, match, where, limit, cursor)
        )

    def info(self, conversation_id: Id) -> ConversationInfo:
        """What one conversation consists of, without its values. Cost: two round trips.

        Raises:
            UnknownConversationError: There is none.
        """
        return self._run(self._courses.info(conversation_id))

    def exists(self, conversation_id: Id) -> bool:
        """Whether there is such a conversation. Cost: one round trip, or two."""
        return self._run(self._courses.exists(conversation_id))

    def __contains__(self, conversation_id: object) -> bool:
        return isinstance(conversation_id, str | UUID) and self.exists(conversation_id)

    def delete(self, conversation_id: Id) -> bool:
        """Delete a conversation; whether there was one.

        As `clear`: what others have queued for it does not bring it back. Cost: six round trips.
        """
        return self._run(self._courses.delete(conversation_id))

    def copy(self, conversation_id: Id, new_id: Id, *, replace: bool = False) -> None:
        """Copy a conversation as it is at one moment, its lifetime included.

        Raises:
            UnknownConversationError: There is none.
            ConversationExistsError: There is one under the new id, and `replace` is not given.
            CorruptValueError: An attribute cannot be read; nothing is stored.

        Cost: six round trips, O(size).
        """
        self._run(self._courses.copy(conversation_id, new_id, replaces=replace))

    def rename(self, conversation_id: Id, new_id: Id, *, replace: bool = False) -> None:
        """Give a conversation another id.

        What others change under the old id meanwhile comes with it. Who is killed in the middle
        leaves both; the old one is deleted last.

        Raises:
            As `copy`. ConversationExistsError also when others change both meanwhile: both are
            there then.

        Cost: eight round trips, O(size).
        """
        self._run(self._courses.rename(conversation_id, new_id, replaces=replace))

    def export(
        self,
        file: File,
        ids: Ids | None = None,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> ExportReport:
        """Write all conversations, or those with these ids, to a file of JSON Lines.

        A line is one conversation at one moment, and keeps every type. A conversation that is
        changed during the export may have two lines; `load` takes the later one. A file that is
        given by its path is there whole or not at all. Few conversations are in memory at a time.

        Args:
            file: A path, or a file that is open for text or bytes.
            ids: One id, several, or None for all.
            progress: Called with the number of conversations written so far.

        Raises:
            ArchiveError: The file cannot be written.
            UnknownConversationError: One of `ids` is not there.
        """
        return self._run(self._courses.export(file, ids, progress))

    def load(
        self,
        file: File,
        on_existing: OnExisting = "skip",
        *,
        progress: Callable[[int], object] | None = None,
    ) -> LoadReport:
        """Store the conversations of a file that `export` or `prune` has written.

        Each is there as a whole or not at all. A damaged line is named in the report, and the
        others are stored. A lifetime begins anew.

        Args:
            file: A path, or a file that is open for text or bytes.
            on_existing: `skip` leaves a conversation alone that is there already, `replace`
                replaces it, `error` stops there.
            progress: Called with the number of conversations so far.

        Raises:
            ArchiveError: The file cannot be read.
            ConversationExistsError: With `error`; those before it were stored.
        """
        return self._run(self._courses.load(file, on_existing, progress))

    def prune(
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
        """Delete the conversations without a change for `idle_for`.

        One that is changed during the run is not deleted: the server looks in the same step. A run
        that is interrupted can be repeated.

        Args:
            idle_for: How long they must have been idle.
            where: Only those for whose attributes this is true, as for `list`.
            keep: Not those for whose attributes this is true; or the ids to be kept.
            dry_run: Delete nothing, and report what would be deleted.
            archive_to: A file to which they are appended, as lines for `load`, and which is on the
                disk before they are deleted. One that cannot be read is not deleted.
            batch: How many are looked at, and archived, at a time.
            progress: Called with the report so far.

        Raises:
            ArchiveError: The archive cannot be written; nothing was deleted that it does not hold.
            ValueError: An argument cannot work.

        Cost: other clients wait for at most two deletions at a time.
        """
        return self._run(
            self._courses.prune(idle_for, where, keep, archive_to, batch, progress, dry_run=dry_run)
        )

    def stats(self) -> Stats:
        """How many there are, and how active. Cost: four round trips, O(log n)."""
        return self._run(self._courses.directory.stats())

    def reindex(self, *, progress: Callable[[int], object] | None = None) -> ReindexReport:
        """Make the index anew from the conversations themselves.

        Needed after data was restored without it, or brought in by other means. Goes through all
        keys of the server, 1,000 at a time, while others use it.

        Args:
            progress: Called with the number of conversations found so far.
        """
        return self._run(self._courses.reindex(progress))

    def rotate_keys(
        self, *, seal_plain: bool = False, progress: Callable[[int], object] | None = None
    ) -> RotationReport:
        """Encrypt all conversations under the first key of `encryption_key`.

        As `rotate_keys` of one memory, for each that is in the index: `reindex` first, before the
        old key is given up. A run that was interrupted can be repeated.

        Args:
            seal_plain: Also encrypt conversations whose values are not encrypted.
            progress: Called with the number of conversations done so far.

        Raises:
            ConfigurationError: The directory was opened without `encryption_key`.
        """
        return self._run(self._courses.rotate_keys(progress, seal_plain=seal_plain))

    def close(self) -> None:
        """Close the connections, when nobody else uses them; later use raises ClosedError."""
        self._desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        label = self._desk.link.address.label
        return f"<Conversations under {self.prefix!r} at {label}>"
