"""Putting all conversations of a directory under another key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis_memory.core.calls import Course
from redis_memory.core.index import Directory
from redis_memory.core.keys import id_of
from redis_memory.core.lines import Damaged
from redis_memory.core.listing import candidates
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
    rotated, was_busy = 0, True
    damaged: dict[bytes, Damaged] = {}
    while was_busy:
        was_busy = False
        now_us = yield from directory.now_us()
        search = Search("oldest", idle_us=0, now_us=now_us)
        while some := (yield from candidates(directory, search, _FEW)):
            search.position = (some[-1].score, some[-1].tag)
            for tag in (one.tag for one in some):
                try:
                    done = yield from rekey(
                        directory.keys, tag, directory.keyring, seal_plain=seal_plain
                    )
                except CorruptValueError as error:
                    damaged[tag] = Damaged(id_of(tag), str(error))
                    continue
                damaged.pop(tag, None)
                if done == "rotated":
                    rotated, was_busy = rotated + 1, True
            if progress is not None:
                progress(rotated)
    return RotationReport(rotated, tuple(damaged.values()))
