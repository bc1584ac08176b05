"""The index of a directory: counted, kept in line with the memories, asked for one of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.directory import AT_ANY_TIME
from redis_memory.core.keys import DirectoryKeys, tag_of
from redis_memory.core.records import Life, Record, lives, memory_key, opened, together
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.sealing import Keyring, Sealer
from redis_memory.core.search import SECOND_US
from redis_memory.core.values import Limits
from redis_memory.errors import RedisMemoryError

_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Stats:
    """How many conversations there are, how many were active lately, how many have a lifetime."""

    conversations: int
    active_hour: int
    active_day: int
    active_week: int
    idle_month: int
    expiring: int
    oldest_activity: datetime | None
    newest_activity: datetime | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry of the index, and what its memory says."""

    tag: bytes
    score: int
    life: Life | None


class Directory:
    """The conversations under one prefix. The methods are flows."""

    def __init__(self, prefix: str, limits: Limits, keyring: Keyring | None = None) -> None:
        self.prefix: str = prefix
        self.keys: DirectoryKeys = DirectoryKeys(prefix)
        self.limits: Limits = limits
        self.keyring: Keyring | None = keyring

    def sealer(self, tag: bytes) -> Sealer | None:
        """What opens and seals the values of a conversation, None where they are not encrypted."""
        return None if self.keyring is None else Sealer(self.keyring, memory_key(self.keys, tag))

    def values(self, record: Record, names: Collection[str] | None = None) -> dict[str, Any]:
        """As `Record.values`, of a conversation that may be encrypted.

        Raises:
            CorruptValueError: An attribute cannot be read; of one that is encrypted and cannot be
                opened DecryptionError.
        """
        sealer = self.sealer(record.tag)
        if sealer is not None:
            record = opened(sealer, record)
        return record.values(self.limits, names)

    def now_us(self) -> Flow[int]:
        """The server's time. One round trip."""
        seconds, micros = yield Call(Head(b"TIME"))
        return int(seconds) * SECOND_US + int(micros)

    def count(self) -> Flow[int]:
        """How many conversations there are. Three round trips."""
        now_us = yield from self.now_us()
        yield from self.sweep(now_us)
        found: int = yield Call(Head(b"ZCARD", self.keys.index))
        return found

    def sweep(self, now_us: int) -> Flow[None]:
        """Forget the conversations whose lifetime is over. One round trip when there are none."""
        before: list[bytes] = []
        while True:
            asked = Call(
                Head(b"ZRANGEBYSCORE", self.keys.expiring),
                b"-inf",
                b"%d" % now_us,
                *(b"LIMIT", b"0", b"%d" % _PAGE),
            )
            tags: list[bytes] = yield asked
            if not tags or tags == before:
                return
            before = tags
            found = yield from lives(self.keys, tags)
            is_done = yield from self.tidy(
                [
                    # who has begun one anew since then has entered it before
                    Candidate(tag, now_us if life is None else 0, life)
                    for tag, life in zip(tags, found, strict=True)
                ]
            )
            is_new = not any(life and life.ends and int(life.ends) <= now_us for life in found)
            if not (is_done and is_new) or len(tags) < _PAGE:
                return

    def tidy(self, candidates: Sequence[Candidate]) -> Flow[bool]:
        """Correct entries on the way of something else, which goes on without it; was it done?

        A node that is away, a server without memory or a missing right must not keep anybody from
        looking. Whoever comes across the entries next makes up for it.
        """
        try:
            yield from self.correct(candidates)
        except RedisMemoryError:
            return False
        return True

    def correct(self, candidates: Sequence[Candidate]) -> Flow[tuple[int, int]]:
        """Bring entries in line with their memories; how many were removed, and moved.

        One round trip for each 50.
        """
        removed = moved = 0
        head = Head.script(SCRIPTS["correct"], (self.keys.index, self.keys.expiring))
        for at in range(0, len(candidates), 50):
            arguments: list[bytes] = []
            for one in candidates[at : at + 50]:
                life = one.life
                told = (life.activity, life.ends) if life else (b"", b"")
                arguments += (one.tag, b"%d" % one.score, *told)
            gone, changed = yield Call(head, *arguments)
            removed, moved = removed + gone, moved + changed
        return removed, moved

    def exists(self, conversation_id: str) -> Flow[bool]:
        """Whether there is a conversation. One round trip, two when there is none."""
        return (yield from self.life(conversation_id)) is not None

    def life(self, conversation_id: str) -> Flow[Life | None]:
        """What a conversation's memory says of itself, None when there is none."""
        tag = tag_of(conversation_id)
        (life,) = yield from lives(self.keys, [tag])
        if life is None:
            score = yield Call(Head(b"ZSCORE", self.keys.index), tag)
            if score is not None:
                # once more: who entered it before is seen now, and who did since has a newer score
                (life,) = yield from lives(self.keys, [tag])
                yield from self.tidy([Candidate(tag, int(float(score)), life)])
        return life

    def stats(self) -> Flow[Stats]:
        """Figures about the index. Four round trips."""
        now_us = yield from self.now_us()
        yield from self.sweep(now_us)
        index = self.keys.index
        hour_us = 3600 * SECOND_US

        def counted(low: int, high: int = int(AT_ANY_TIME)) -> Call:
            return Call(Head(b"ZCOUNT", index), b"%d" % low, b"%d" % high)

        asked = [
            Call(Head(b"ZCARD", index)),
            *(counted(now_us - hour_us * hours) for hours in (1, 24, 168)),
            counted(0, now_us - hour_us * 24 * 30),
            Call(Head(b"ZCARD", self.keys.expiring)),
            Call(Head(b"ZRANGE", index), b"0", b"0", b"WITHSCORES"),
            Call(Head(b"ZRANGE", index), b"-1", b"-1", b"WITHSCORES"),
        ]
        replies = yield from together(asked)
        for reply in replies:
            if isinstance(reply, RedisMemoryError):
                raise reply
        every, hour, day, week, month, expiring, oldest, newest = replies
        return Stats(every, hour, day, week, month, expiring, _time(oldest), _time(newest))


def _time(row: list[bytes]) -> datetime | None:
    return datetime.fromtimestamp(float(row[1]) / SECOND_US, UTC) if row else None
