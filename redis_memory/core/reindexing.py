"""Making the index anew from the memories themselves; nothing else goes through the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.index import Candidate, Directory
from redis_memory.core.keys import NO_ID, id_of
from redis_memory.core.listing import candidates
from redis_memory.core.records import lives, together
from redis_memory.core.search import LAG_US, Search
from redis_memory.errors import CorruptValueError

_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """What `reindex` found: `found` conversations; `added`, `corrected`, `removed` entries."""

    found: int
    added: int
    corrected: int
    removed: int


def reindex(
    directory: Directory, progress: Callable[[int], object] | None = None
) -> Flow[ReindexReport]:
    """Make the index anew from the memories themselves; the only flow that scans the keys."""
    found = added = corrected = removed = 0
    cursor = b"0"
    seen: set[bytes] = set()
    while True:
        cursor, keys = yield Call(
            Head(b"SCAN"), cursor, b"MATCH", directory.keys.prefix + b"{*}", b"COUNT", b"1000"
        )
        tags = [tag for tag in map(partial(_tag_of_key, directory), keys) if tag is not None]
        tags = [tag for tag in dict.fromkeys(tags) if tag not in seen]
        seen.update(tags)
        counts = yield from _reindexed(directory, tags)
        found, added = found + counts[0], added + counts[1]
        corrected += counts[2]
        if progress is not None:
            progress(found)
        if cursor in (b"0", 0):
            break
    removed = yield from _without_memory(directory)
    return ReindexReport(found, added, corrected, removed)


def _reindexed(directory: Directory, tags: Sequence[bytes]) -> Flow[tuple[int, int, int]]:
    known = yield from lives(directory.keys, tags)
    there = [(tag, life) for tag, life in zip(tags, known, strict=True) if life]
    scores = yield from together([Call(Head(b"ZSCORE", directory.keys.index), t) for t, _ in there])
    wrong = [
        Candidate(tag, int(float(score)) if score is not None else 0, life)
        for (tag, life), score in zip(there, scores, strict=True)
        if score is None or int(float(score)) != int(life.activity) or life.ends
    ]
    yield from directory.correct(wrong)
    added = sum(score is None for score in scores)
    corrected = sum(
        score is not None and abs(int(float(score)) - int(life.activity)) > LAG_US
        for (_, life), score in zip(there, scores, strict=True)
    )
    return len(there), added, corrected


def _without_memory(directory: Directory) -> Flow[int]:
    """Remove the entries of conversations that are gone; how many there were."""
    before: int = yield Call(Head(b"ZCARD", directory.keys.index))
    search = Search("oldest")
    while some := (yield from candidates(directory, search, _PAGE)):
        search.position = (some[-1].score, some[-1].tag)
    after: int = yield Call(Head(b"ZCARD", directory.keys.index))
    return max(before - after, 0)


def _tag_of_key(directory: Directory, key: bytes) -> bytes | None:
    """The id in the key of a memory's hash; None for any other key."""
    tag = key.removeprefix(directory.keys.prefix + b"{").removesuffix(b"}")
    if len(tag) != len(key) - len(directory.keys.prefix) - 2 or tag == NO_ID:
        return None
    try:
        id_of(tag)
    except CorruptValueError:
        return None
    return tag
