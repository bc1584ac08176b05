"""The connection on which a process hears of changes: one for each server, for all memories."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any

import tenacity

from redis_memory.core import feed
from redis_memory.core.state import State
from redis_memory.core.subscriptions import Subscriptions
from redis_memory.errors import AccessDeniedError, RedisMemoryError
from redis_memory.link import failures
from redis_memory.link.address import Address
from redis_memory.link.ear import Ear, FakeEar, SocketEar
from redis_memory.link.failures import LinkFailureError
from redis_memory.link.greeting import check_role
from redis_memory.link.link import FIRST_PAUSE_S, reconnecting
from redis_memory.link.wire import ConnectionWire

_log = logging.getLogger("redis_memory")

# How long the connection stays when nobody listens any more: somebody may again.
_LINGER_S = 1.0
# How long messages gather after some have been heard.
_REST_S = 0.001
# How many pings fit into the time in which one must be answered.
_BEATS = 4

_sessions = count(1)


class Pulse:
    """When to send a ping, and until when it must be answered."""

    def __init__(self) -> None:
        self._next_s = 0.0
        # of a ping without an answer yet
        self._sent_s = 0.0

    def is_due(self, timeout_s: float) -> bool:
        """Is a ping to be sent now?

        Raises:
            TimeoutError: The last one should have been answered by now.
        """
        now_s = monotonic()
        if self._sent_s and now_s - self._sent_s > timeout_s:
            raise TimeoutError("no answer to a ping")
        if self._sent_s or now_s < self._next_s:
            return False
        self._next_s, self._sent_s = now_s + timeout_s / _BEATS, now_s
        return True

    def left_s(self, timeout_s: float) -> float:
        """How long nothing needs to be done about it."""
        until_s = self._sent_s + timeout_s if self._sent_s else self._next_s
        return max(0.0, until_s - monotonic())

    def answered(self) -> float:
        """The ping was answered; when it was sent."""
        sent_s, self._sent_s = self._sent_s, 0.0
        return sent_s


class Feed:
    """Hears of the changes of the memories that are followed.

    `session` numbers the connections, over all feeds of the process. `answered_s` is when, by the
    monotonic clock, the last ping was sent that has been answered: all that was published before
    has been heard. `refusal` is why the server lets nobody listen.
    """

    def __init__(self, address: Address, timeout_s: float, reconnect_max_s: float) -> None:
        self.address: Address = address
        self.reconnect_max_s: float = reconnect_max_s
        self.session: int = 0
        self.answered_s: float = float("-inf")
        self.refusal: RedisMemoryError | None = None
        # was it lost, and said so, and has not been heard since?
        self._is_missed: bool = False
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        # by channel, the memories that are followed and by whom; a process may hold one twice
        self._followed: dict[bytes, dict[State, set[object]]] = {}
        # the channels whose followers have changed since the thread looked last
        self._touched: set[bytes] = set()
        self._idle_s = monotonic()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._connection: Any = None

    def follow(self, state: State, who: object, timeout_s: float) -> None:
        """Hear of the changes of a memory; `state.session` is set as soon as that is so.

        At least one ping in `timeout_s` will be answered while the server is there.
        """
        with self._lock:
            self._timeout_s = min(self._timeout_s, timeout_s)
            followers = self._followed.setdefault(state.keys.feed, {})
            followers.setdefault(state, set()).add(who)
            self._touched.add(state.keys.feed)
        self.keep()
        self._nudge()

    def leave(self, state: State, who: object) -> None:
        """One who followed the memory, or was interrupted when about to, does so no more."""
        with self._lock:
            followers = self._followed.get(state.keys.feed, {})
            others = followers.get(state, set())
            others.discard(who)
            if others:
                return
            followers.pop(state, None)
            state.session = 0
            if not followers:
                self._followed.pop(state.keys.feed, None)
                self._touched.add(state.keys.feed)
                self._idle_s = monotonic()
        self._nudge()

    def follows(self, state: State) -> bool:
        """Does somebody follow the memory?"""
        return state in self._followed.get(state.keys.feed, ())

    def keep(self) -> None:
        """Have a thread listen, if none does."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="redis-memory-feed", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending
                    self._thread = None

    def close_unused(self) -> None:
        """Close the connection now if nobody listens."""
        with self._lock:
            is_used = bool(self._followed)
        if not is_used:
            self.close()

    def close(self) -> None:
        """Listen no more. A later follower begins anew."""
        thread = self._thread
        self._stop.set()
        self._nudge()
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(self._timeout_s)

    def after_fork(self) -> None:
        """In a forked child: the connection is the parent's; who follows on asks `keep` again."""
        self._lock = threading.RLock()
        self._thread = None
        # the parent's may be held by a thread that does not exist here
        self._stop = threading.Event()
        for end in self._wake or ():
            end.close()
        self._wake = None
        # redis-py closes only its own descriptor of a socket that another process opened
        self._disconnect()
        for followers in self._followed.values():
            for state in followers:
                state.session = 0
        self.session, self.answered_s = 0, float("-inf")

    def _nudge(self) -> None:
        wake = self._wake
        if wake is not None:
            with suppress(OSError):  # full, so it will be seen anyway; or closed, so nobody looks
                wake[1].send(b"!")

    def _is_needed(self) -> bool:
        with self._lock:
            return bool(self._followed) or monotonic() - self._idle_s < _LINGER_S

    def _run(self, stop: threading.Event) -> None:
        # made in this thread, where no signal handler can strike in between
        wake = socket.socketpair()
        for end in wake:
            end.setblocking(False)
        with self._lock:
            self._wake = wake
        seeking = tenacity.Retrying(
            **reconnecting(self.reconnect_max_s),
            stop=tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
        )
        try:
            while self._is_needed():
                seeking(self._listened, stop, wake[0])
                if stop.wait(FIRST_PAUSE_S):
                    break
        except tenacity.RetryError:
            pass  # told to stop
        with self._lock:
            if self._thread is threading.current_thread():
                self._thread = None
            if self._wake is wake:
                self._wake = None
            for end in wake:
                end.close()
            is_needed = bool(self._followed)
        if is_needed:  # somebody came just now, perhaps while this one was told to stop
            self.keep()

    def _listened(self, stop: threading.Event, wake: socket.socket) -> bool:
        """Connect, and listen until the connection is lost; whether there was one to lose."""
        if not self._is_needed():
            return True
        listens = False
        try:
            for _ in self._listening(wake):
                listens = True
                if stop.is_set() or not self._is_needed():
                    break
        except Exception as error:  # noqa: BLE001 - whatever it was: nobody listens any more
            self._lose(error)
        else:
            self._lose(None)
        return listens

    def _lose(self, error: Exception | None) -> None:
        self._disconnect()
        was_heard = self.session != 0
        self.session, self.answered_s = 0, float("-inf")
        refused = isinstance(error, AccessDeniedError)
        if error is not None and (was_heard or (refused and self.refusal is None)):
            _log.warning("the feed of %s was lost: %s", self.address.label, error)
            self._is_missed = True
        self.refusal = error if isinstance(error, AccessDeniedError) else None
        for state in self._states():
            feed.follow(state, 0)
        if refused:
            for state in self._states():
                for listener in list(state.listeners):
                    listener.wake()

    def _states(self) -> list[State]:
        with self._lock:
            # copied first: a memory that is collected meanwhile leaves
            return [state for followers in list(self._followed.values()) for state in [*followers]]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _listening(self, wake: socket.socket) -> Iterator[None]:
        """Listen; yields after each look at what has arrived."""
        if self.address.prepare is not None:
            self.address.prepare()
        target = self.address.target()
        connection = self._connection = self.address.connection()
        connection.connect()
        self._greet(connection)
        is_fake = self.address.is_fake
        ear: Ear = FakeEar(connection) if is_fake else SocketEar(connection, wake)
        session = Subscriptions(next(_sessions))
        pulse = Pulse()
        with self._lock:
            self._touched.update(self._followed)
        try:
            while True:
                with self._lock:
                    touched, self._touched = self._touched, set()
                if self.address.target() != target:
                    raise LinkFailureError("the primary is another server now", in_doubt=False)
                commands = session.commands(touched, self._followed)
                if pulse.is_due(self._timeout_s):
                    commands += self._beat()
                if commands:
                    ear.send(commands)
                self._adopt(session, touched)
                left_s = pulse.left_s(self._timeout_s)
                replies = ear.replies(left_s if self._followed else min(left_s, _LINGER_S))
                is_news = [self._take(session, pulse, reply) for reply in replies]
                if any(is_news):
                    # a writer hears its own changes too: without a rest each would wake this
                    # thread, and take the interpreter away from the writer
                    time.sleep(_REST_S)
                yield
        finally:
            ear.close()

    def _greet(self, connection: Any) -> None:
        """Whether a new connection leads to where it should."""
        if self.address.must_lead:
            check_role(self.address.label, ConnectionWire(connection).send(b"HELLO"))

    def _beat(self) -> list[tuple[bytes, ...]]:
        """What must be answered for the feed to count as alive; the PING comes last."""
        return [(b"PING",)]

    def _take_refusal(self, reply: Exception) -> None:
        """Take in an error reply."""
        raise failures.from_reply(reply)

    def _adopt(self, session: Subscriptions, channels: set[bytes]) -> None:
        """Who has begun to follow a channel that is listened to already hears at once."""
        # under the lock: who leaves at this moment must not be told that it is followed
        with self._lock:
            for channel in channels & session.confirmed:
                for state in list(self._followed.get(channel, ())):
                    feed.follow(state, session.number)

    def _take(self, session: Subscriptions, pulse: Pulse, reply: Any) -> bool:
        """Take in what has arrived; whether it tells of a change."""
        if isinstance(reply, Exception):
            self._take_refusal(reply)
            return False
        if session.is_pong(reply):
            self.answered_s = pulse.answered()
            self.session, self.refusal = session.number, None
            if self._is_missed:
                self._is_missed = False
                _log.warning("the feed of %s is heard again", self.address.label)
            return False
        if not isinstance(reply, list):  # of a question that a beat asks
            return False
        kind, channel, content = reply
        if kind == b"message":
            for state in list(self._followed.get(channel, ())):
                feed.hear(state, content)
            return True
        if session.has_confirmed(kind, channel):
            self._adopt(session, {channel})
        return False
