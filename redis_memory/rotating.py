"""Putting all conversations of a directory under another key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from redis_memory.core.calls import Course
from redis_memory.core.index import Directory
from redis_memory.core.keys import id_of
from redis_memory.core.lines import Damaged
from redis_memory.core.listing import active_since, candidates
from redis_memory.core.rekeying import rekey
from redis_memory.core.search import Search
from redis_memory.errors import ConfigurationError, CorruptValueError

# How many conversations of the index are asked for at a time.
_FEW: Final = 100


@dataclass(frozen=True, slots=True)
class RotationReport:
    """How many conversations were put under the first key, and those that cannot be opened."""

    rotated: int
    damaged: tuple[Damaged, ...]


def rotate(
    directory: Directory, progress: Callable[[int], object] | None, *, seal_plain: bool
) -> Course[RotationReport]:
    """Put all conversations under the first key; again, until a whole round finds none to do."""
    if directory.keyring is None:
        raise ConfigurationError("there is no encryption_key, so there is nothing to rotate")
    tally = _Tally()
    while tally.was_busy:
        tally.was_busy = False
        now_us = yield from directory.now_us()
        search = Search("oldest", idle_us=0, now_us=now_us)
        while some := (yield from candidates(directory, search, _FEW)):
            search.position = (some[-1].score, some[-1].tag)
            yield from _put_over(directory, [one.tag for one in some], tally, seals=seal_plain)
            if progress is not None:
                progress(tally.rotated)
        # who is active all the time moves ahead of every round
        moved = yield from active_since(directory, now_us)
        yield from _put_over(directory, moved, tally, seals=seal_plain)
    return RotationReport(tally.rotated, tuple(tally.damaged.values()))


@dataclass(slots=True)
class _Tally:
    """The report in the making; `was_busy` until a whole round finds none to do."""

    rotated: int = 0
    was_busy: bool = True
    damaged: dict[bytes, Damaged] = field(default_factory=dict)


def _put_over(
    directory: Directory, tags: Sequence[bytes], tally: _Tally, *, seals: bool
) -> Course[None]:
    if directory.keyring is None:
        return
    for tag in tags:
        try:
            done = yield from rekey(directory.keys, tag, directory.keyring, seal_plain=seals)
        except CorruptValueError as error:
            tally.damaged[tag] = Damaged(id_of(tag), str(error))
            continue
        tally.damaged.pop(tag, None)
        if done == "rotated":
            tally.rotated, tally.was_busy = tally.rotated + 1, True
