"""What a migration tells: a report, and that report in the making."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from redis_memory.core.old_layout import OldKey, Skipped, shown


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a migration did, or with `dry_run` would do; `dataclasses.asdict` makes JSON of it.

    Of `keys` strings under the prefix: `brought` are attributes that were not there before,
    `replaced` names the keys whose attribute was there and older, `known` were brought by an
    earlier run and have not been changed under the old key since, `skipped` were left alone.
    The others vanished meanwhile. `bytes` of JSON were brought, into the conversations `ids`, and
    `of_prefix` of the attributes into the memory of the whole prefix. `deleted` old keys are gone;
    `changed` names those that were not deleted, because somebody wrote to them during the run.
    """

    dry_run: bool
    keys: int
    brought: int
    replaced: tuple[str, ...]
    known: int
    skipped: tuple[Skipped, ...]
    deleted: int
    changed: tuple[str, ...]
    bytes: int
    ids: tuple[str, ...]
    of_prefix: int
    seconds: float

    @property
    def damaged(self) -> tuple[Skipped, ...]:
        """Those of the keys of the packages that could not be brought."""
        return tuple(one for one in self.skipped if one.kind == "damaged")


@dataclass(slots=True)
class Tally:
    """The report in the making."""

    dry_run: bool
    begun_s: float = field(default_factory=monotonic)
    keys: int = 0
    brought: int = 0
    known: int = 0
    deleted: int = 0
    taken_bytes: int = 0
    of_prefix: int = 0
    replaced: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    ids: dict[str, None] = field(default_factory=dict)

    def count(self, one: OldKey, letter: bytes, size: int) -> bool:
        """Note what became of a key; whether the memory has what it holds."""
        if letter in _KEPT:
            self.skipped.append(Skipped(shown(one.key), "kept", _KEPT[letter]))
            return False
        if letter in _REFUSED:
            self.skipped.append(Skipped(shown(one.key), "damaged", _REFUSED[letter]))
            return False
        if letter == b"k":
            self.known += 1
            return True
        if letter == b"r":
            self.replaced.append(shown(one.key))
        else:
            self.brought += 1
        self.taken_bytes += size
        if one.conversation_id is None:
            self.of_prefix += 1
        else:
            self.ids[one.conversation_id] = None
        return True

    def report(self) -> MigrationReport:
        """What was done."""
        return MigrationReport(
            self.dry_run,
            self.keys,
            self.brought,
            tuple(sorted(self.replaced)),
            self.known,
            tuple(sorted(self.skipped, key=lambda one: (one.kind, one.key))),
            self.deleted,
            tuple(sorted(self.changed)),
            self.taken_bytes,
            tuple(self.ids),
            self.of_prefix,
            monotonic() - self.begun_s,
        )


# By the letters that `lua/bring.lua` answers.
_KEPT = {
    b"n": "a newer value is there, and stays",
    b"x": "there is a value already, and on_existing is 'skip'",
    b"g": "it was brought before, and its whole memory is gone since; on_existing='replace' brings "
    "it again",
}
_REFUSED = {
    b"c": "a key of another type lies where the memory keeps these elements: give the target "
    "another prefix",
    b"e": "the memory is encrypted, and this value would not be",
}
