"""Leases: what one of many holds for a limited time, under a token that grows with each holder.

A lease is a field of the memory's hash; `lua/lease.lua` says what it holds. Those who wait for it
stand in a queue there. Each lease goes by a random id: asking again under the same id after a lost
answer gives the same token.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.clock import now_us
from redis_memory.core.feed import RELEASED, News
from redis_memory.core.flows import present
from redis_memory.core.keys import check_name
from redis_memory.core.scripts import SCRIPTS
from redis_memory.core.state import State
from redis_memory.errors import (
    LeaseLostError,
    OfflineError,
    RedisMemoryError,
    WaitTimeoutError,
)

_log = logging.getLogger("redis_memory")

MAX_TTL_S: Final = 7 * 86400
MIN_TTL_S: Final = 0.05
_MAX_OWNER_BYTES: Final = 512

# How long a place in the queue stays when whoever waits there does not ask again, and how often he
# does.
_PATIENCE_US = 10_000_000
_ASK_AGAIN_S = 3.0
_SOONEST_S = 0.001
# The part of its time by which a lease counts as lost early: clocks differ, threads are late.
_MARGIN = 20
# How many times in its life a lease is renewed, and asked for when the server is away.
_RENEWALS = 3
_ATTEMPTS = 20
_OVER = "its time is over, and the server may have given it to others"


class Lease:
    """One lease as its holder knows it, or whoever wants it.

    `token` is 0 while it is not held. `until_us` is when it may have run out at the server, by the
    clock of `core.clock`, and `due_us` when it is to be renewed. `is_lost`: it was held, and is not
    any more, or may not be. `is_given_up`: nobody here needs it any more.
    """

    __slots__ = (
        "_asked",
        "_birth",
        "_was_asked",
        "due_us",
        "field",
        "id",
        "is_given_up",
        "is_lost",
        "name",
        "owner",
        "pid",
        "state",
        "token",
        "ttl_us",
        "until_us",
    )

    def __init__(self, state: State, name: str, owner: str, ttl_s: float) -> None:
        self.state: State = state
        self.name: str = name
        self.field: bytes = b"_l" + check_name(name)
        self.owner: bytes = _checked_owner(owner)
        self.ttl_us: int = _checked_ttl_us(ttl_s)
        self.id: bytes = os.urandom(9).hex().encode()
        self.token: int = 0
        self.until_us: int = 0
        self.due_us: int = 0
        self.is_lost: bool = False
        self.is_given_up: bool = False
        # a child that was forked meanwhile holds nothing
        self.pid: int = os.getpid()
        # the last call that asked for it, and whether one before was sent
        self._asked: Call | None = None
        self._was_asked: bool = False
        self._birth: bytes = b""

    def __repr__(self) -> str:
        standing = "lost" if self.is_lost else "held" if self.token else "not held"
        return f"<lease {self.name!r} of {self.state.label}, {standing}>"

    @property
    def owner_text(self) -> str:
        """The owner, as was given."""
        return self.owner.decode("utf-8", "surrogatepass")

    @property
    def has_run_out(self) -> bool:
        """May its time be over at the server?"""
        return now_us() >= self.until_us

    @property
    def word(self) -> bytes:
        """The token as the server writes it."""
        return b"%013x" % self.token

    def asking(self, *, waits: bool) -> Flow[tuple[Lease | None, float]]:
        """Take it, or a place in the queue; without it, after how many seconds to ask again.

        One round trip.

        Raises:
            OfflineError: The server is away, or changes of this process wait for it.
        """
        yield from present(self.state)
        before_us = now_us()
        patience = b"%d" % (_PATIENCE_US if waits else 0)
        self._was_asked = self._is_known
        self._asked = self._call("lease_acquire", b"%d" % self.ttl_us, self.owner, patience)
        word, *told = yield self._asked
        if word == b"busy":
            return None, min(_ASK_AGAIN_S, max(_SOONEST_S, told[0] / 1e6))
        self.token, self._birth = int(told[0], 16), told[1]
        self._extend(before_us)
        return self, 0.0

    def renewing(self) -> Flow[None]:
        """Have it last for its whole time from now on. One round trip.

        Raises:
            LeaseLostError: It is not held any more.
            OfflineError: The server is away.
        """
        self.check()
        before_us = now_us()
        (word,) = yield self._call("lease_renew", b"%d" % self.ttl_us)
        if word != b"ok":
            if not self.is_given_up:  # meanwhile
                self._lose("others may hold it, or the server has forgotten it")
            raise self.lost()
        self._extend(before_us)

    def leaving(self) -> Flow[bool]:
        """Give it up behind all that this process has changed; whether it was held until now.

        Raises:
            OfflineError: The server is away, or changes of this process wait for it.
        """
        yield from present(self.state)
        return (yield from self.releasing())

    def releasing(self) -> Flow[bool]:
        """Give it up, or the place in the queue; whether it was held until now. One round trip.

        Raises:
            OfflineError: The server is away.
        """
        call = self._call("lease_release")
        word, birth = yield call
        if word == b"ok":
            return True
        # the first of several attempts may have released it: if its time is not over, and the
        # server has not begun anew, nothing else can have ended it
        was_released = call.attempts > 1 and birth == self._birth
        return bool(self.token) and was_released and not self.has_run_out

    def tending(self) -> Flow[None]:
        """Do what is due in the background: renew it, or give it up. On failure it is due again."""
        if self.has_run_out:
            self._lose(_OVER)
            return
        try:
            if not self.is_given_up:
                yield from self.renewing()
            elif self.state.is_waiting:
                raise OfflineError("what was changed under the lease comes first")
            else:
                yield from self.releasing()
                self.until_us = 0
        except LeaseLostError:
            pass  # `is_lost` says so
        except RedisMemoryError:
            self.due_us = now_us() + self.ttl_us // _ATTEMPTS

    def begin_release(self) -> bool:
        """From now on nobody here needs it; whether it is still held or asked for."""
        if self.is_given_up:
            return False
        if self.until_us and (self.has_run_out or self.pid != os.getpid()):
            self._lose(_OVER)
        self.is_given_up = True
        return not self.is_lost

    def give_up(self) -> bool:
        """Nobody here needs it any more; whether it is to be released in the background."""
        self.is_given_up = True
        self.due_us = now_us()
        if self.until_us == 0 and self._is_known:
            # it may have been taken by a call whose answer never came
            self.until_us = self.due_us + self.ttl_us
        return self.pid == os.getpid() and not (self.is_lost or self.has_run_out)

    @property
    def is_over(self) -> bool:
        """Is there nothing to be done for it any more?"""
        return self.is_lost or (self.is_given_up and self.has_run_out)

    def check(self) -> None:
        """Make sure that it is still held, as far as is known here.

        Raises:
            LeaseLostError: It may not be.
        """
        if self.has_run_out or self.pid != os.getpid():
            self._lose(_OVER)
        if self.is_lost or self.is_given_up:
            raise self.lost()

    def lost(self) -> LeaseLostError:
        """The error for one who relies on what he does not hold."""
        return LeaseLostError(
            f"{self.name!r} of {self.state.label} is not held any more: it was given up, or not "
            "renewed in time, and others may hold it"
        )

    def _lose(self, reason: str) -> None:
        # a forked child has lost nothing, and what was given up is missed by nobody
        if not self.is_lost and not self.is_given_up and self.pid == os.getpid():
            _log.warning("%r of %s is lost: %s", self.name, self.state.label, reason)
        self.is_lost = True

    @property
    def _is_known(self) -> bool:
        """May the server know of it?"""
        return self._was_asked or (self._asked is not None and self._asked.attempts > 0)

    def _extend(self, before_us: int) -> None:
        # from before the request was sent: the server counts from when it had it, which is later
        lasts_us = self.ttl_us - self.ttl_us // _MARGIN
        self.until_us = max(self.until_us, before_us + lasts_us)
        self.due_us = before_us + self.ttl_us // _RENEWALS

    def _call(self, script: str, *arguments: bytes) -> Call:
        head = Head.script(SCRIPTS[script], (self.state.keys.memory,), self.field, self.id)
        return Call(head, *arguments)


class Turn:
    """Rings when it is this lease's turn, and when the feed comes or goes."""

    def __init__(self, lease: Lease, ring: Callable[[], object]) -> None:
        self._name = lease.field.decode("utf-8", "surrogatepass")
        self._id = lease.id
        self._ring: Callable[[], object] = ring

    def hear(self, news: News) -> None:
        """Something was changed."""
        if news.what == RELEASED and news.name == self._name and news.payload == self._id:
            self._ring()

    def wake(self) -> None:
        """The feed was lost, or listens again."""
        self._ring()


def check_wait(wait_s: object) -> None:
    """Make sure that one can wait so long.

    Raises:
        TypeError, ValueError: It is no number of seconds.
    """
    if wait_s is None:
        return
    if isinstance(wait_s, bool) or not isinstance(wait_s, (int, float)):
        raise TypeError(f"wait_s is a number of seconds or None, not {type(wait_s).__name__}")
    if not wait_s >= 0:
        raise ValueError("wait_s is at least 0")


def timed_out(lease: Lease, wait_s: float | None) -> WaitTimeoutError:
    """The error for a wait that was in vain."""
    return WaitTimeoutError(
        f"{lease.state.label}: others held {lease.name!r} for all of {wait_s} s"
    )


def _checked_owner(owner: object) -> bytes:
    if not isinstance(owner, str):
        raise TypeError(f"an owner is a str, not {type(owner).__name__}")
    encoded = owner.encode("utf-8", "surrogatepass")
    if len(encoded) > _MAX_OWNER_BYTES:
        raise ValueError(f"an owner has at most {_MAX_OWNER_BYTES} bytes, this one {len(encoded)}")
    return encoded


def _checked_ttl_us(ttl_s: object) -> int:
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, (int, float)):
        raise TypeError(f"ttl_s is a number of seconds, not {type(ttl_s).__name__}")
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        raise ValueError(f"ttl_s lies between {MIN_TTL_S} and {MAX_TTL_S} seconds")
    return int(ttl_s * 1_000_000)
