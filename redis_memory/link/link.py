"""The way to one server for all threads of a process: connections, used one call at a time."""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from typing import Any

import hiredis
import tenacity
from redis.exceptions import RedisError

from redis_memory.core.calls import Call
from redis_memory.core.clock import now_us
from redis_memory.errors import (
    InDoubtError,
    OfflineError,
    RedisMemoryError,
)
from redis_memory.link import failures
from redis_memory.link.address import Address
from redis_memory.link.circuit import Circuit
from redis_memory.link.failures import ElsewhereError, LinkFailureError
from redis_memory.link.greeting import greeting
from redis_memory.link.mismatch import explained
from redis_memory.link.steps import driven
from redis_memory.link.wire import ConnectionWire, SocketWire, Wire, is_unknown_script, with_source

_log = logging.getLogger("redis_memory")

_BROKEN = (OSError, RedisError)
# With full jitter: many clients of one server come back one by one.
FIRST_PAUSE_S = 0.02


def policy(timeout_s: float) -> dict[str, Any]:
    """How both links try again: with growing, jittered pauses, until `timeout_s` is over.

    A failure is returned, not raised: in the end the last one.
    """
    return {
        "retry": tenacity.retry_if_result(
            lambda reply: isinstance(reply, LinkFailureError) and not reply.timed_out
        ),
        "retry_error_callback": lambda state: state.outcome.result(),
        "wait": tenacity.wait_random_exponential(multiplier=0.005, max=0.1),
        "stop": tenacity.stop_before_delay(timeout_s),
    }


def replication_ms(timeout_s: float) -> int:
    """How long the server waits for replicas: it looks at that limit only every 0.1 s."""
    return max(1, int(timeout_s * 1000) - 150)


def reconnecting(reconnect_max_s: float) -> dict[str, Any]:
    """How both links look for a lost server: until it is back, never in step with each other."""
    return {
        "retry": tenacity.retry_if_result(lambda is_back: not is_back),
        "wait": tenacity.wait_random_exponential(multiplier=FIRST_PAUSE_S, max=reconnect_max_s),
    }


def without_traceback(failure: LinkFailureError) -> LinkFailureError:
    """The failure, and what caused it, without the frames that they came through."""
    error: BaseException | None = failure
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    return failure


def given_up(call: Call, failure: LinkFailureError, *, in_doubt: bool) -> RedisMemoryError:
    """The error for a call that could not be brought to an end in time."""
    if in_doubt and call.is_change:
        return InDoubtError(f"{failure}; the change was applied once or not at all")
    return OfflineError(str(failure))


def is_certain(refusal: RedisMemoryError, call: Call, *, in_doubt: bool) -> bool:
    """Does a refusal tell all there is to tell? A redirection takes the doubt with it."""
    if isinstance(refusal, ElsewhereError):
        refusal.in_doubt = in_doubt
        return True
    return not (call.is_change and in_doubt)


def refused_in_doubt(refusal: RedisMemoryError) -> InDoubtError:
    """The error for a change that was refused when it was sent again."""
    return InDoubtError(f"{refusal}; an earlier attempt was applied once or not at all")


class Link(Circuit):
    """Connections to one server.

    A connection belongs to one call from before its bytes are sent until its reply has been read.
    Whatever interrupts that, an exception from a signal handler too, drops the connection, so no
    reply can reach another call.
    """

    # once more, for type checkers that look at each class by itself
    away: RedisMemoryError | None
    is_online: bool | None
    reconnects: int

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        reconnect_max_s: float = 0.45,
        replicas: int = 0,
    ) -> None:
        super().__init__(address)
        self.timeout_s = timeout_s
        self.reconnect_max_s = reconnect_max_s
        self.replicas = replicas
        self._lock = threading.RLock()
        self._seeker: threading.Thread | None = None
        self._stop = threading.Event()
        self.is_verified: bool = False
        self._idle: deque[Wire] = deque()

    @property
    def hub(self) -> Link:
        """All that is shared by the memories of this server: the link itself."""
        return self

    def lane(self, memory: bytes) -> Link:  # noqa: ARG002 - a cluster has one for each memory
        """The way of one memory: that of all."""
        return self

    def execute(self, call: Call) -> Any:
        """Send a call and return its reply; send it again while answers get lost.

        While the server is away nothing is sent, and no time is lost.

        Raises:
            InDoubtError: A change was sent, and no answer came within `timeout_s`.
            OfflineError: The server cannot be reached, or does not serve now.
            RedisMemoryError: The server refused; nothing was changed.
        """
        away = self.away  # read once: the thread that looks for the server may clear it
        if away is not None:
            raise type(away)(*away.args)
        try:
            return self._once(call)
        except LinkFailureError as failure:
            return self._again(call, failure)

    def execute_once(self, call: Call) -> Any:
        """The same in one attempt, also while the server counts as away."""
        try:
            return self._once(call)
        except LinkFailureError as failure:
            self._drop_idle()
            raise given_up(call, failure, in_doubt=failure.in_doubt) from failure

    def _again(self, call: Call, failure: LinkFailureError) -> Any:
        # the call began at most so long ago; what others do from then on, it does not know
        lost_us = now_us() - int(self.timeout_s * 1_000_000)
        if not failure.of_slot:
            self.reconnects += 1
            self._drop_idle()
        doubts = [failure.in_doubt]

        def once_more() -> Any:
            try:
                return self._once(call)
            except LinkFailureError as error:
                doubts.append(error.in_doubt)
                # a traceback would keep the frames of all callers, and what they hold, alive
                return without_traceback(error)

        if not failure.timed_out:
            try:
                reply = tenacity.Retrying(**policy(self.timeout_s))(once_more)
            except RedisMemoryError as refusal:
                if is_certain(refusal, call, in_doubt=any(doubts)):
                    raise
                raise refused_in_doubt(refusal) from refusal
            if not isinstance(reply, LinkFailureError):
                return reply
            failure = reply
        if failure.of_slot:  # the others are served
            raise given_up(call, failure, in_doubt=any(doubts)) from failure
        self.is_online = False
        reason = None if self.is_verified else explained(failure, self.address)
        if reason is not None:
            raise reason from failure
        self.lose(OfflineError(str(failure)), lost_us)
        raise given_up(call, failure, in_doubt=any(doubts)) from failure

    def _once(self, call: Call) -> Any:
        try:
            wire = self._idle.pop()
        except IndexError:
            wire = self._connected()
        call.attempts += 1
        try:
            reply = wire.call(call)
            if isinstance(reply, Exception) and is_unknown_script(reply):
                reply = wire.send(*with_source(call))
            if self.replicas and call.is_change and not isinstance(reply, Exception):
                call.replicas = self._replicated(wire)
        except hiredis.ProtocolError as error:
            wire.close()
            raise failures.not_redis(self.address.label) from error
        except _BROKEN as error:
            wire.close()
            raise failures.from_calling(error, self.address.label) from error
        except BaseException:  # a signal or cancellation too: its reply is still to come
            wire.close()
            raise
        if call.replicas >= 0:
            self._idle.append(wire)
        if call.companions:
            call.answers = failures.judged(call.answers)
        self.is_online = True
        if isinstance(reply, Exception):
            raise self._refusal(reply)
        return reply

    def _refusal(self, reply: Exception) -> RedisMemoryError | LinkFailureError:
        refusal = failures.from_reply(reply)
        if isinstance(refusal, LinkFailureError) and not refusal.of_slot:
            # another server may have taken its place: the next connection looks for it
            self._drop_idle()
        return refusal

    def _replicated(self, wire: Wire) -> int:
        """How many replicas have what was written on this connection; -1 when it broke."""
        within_ms = b"%d" % replication_ms(self.timeout_s)
        try:
            reply = wire.send(b"WAIT", b"%d" % self.replicas, within_ms)
        except _BROKEN:  # what the change itself was answered is in hand
            wire.close()
            return -1
        return reply if isinstance(reply, int) else 0

    def seek(self) -> None:
        """Have a thread look for the server, if none does."""
        with self._lock:
            # one that was never started, or has died: a signal handler may have raised there
            if self._seeker is None or not self._seeker.is_alive():
                self._stop = threading.Event()
                self._seeker = threading.Thread(
                    target=self._look, name="redis-memory-reconnect", daemon=True
                )
                try:
                    self._seeker.start()
                except RuntimeError:  # the interpreter is ending
                    self._seeker = None
                except KeyError as error:
                    # where a signal handler raises in `start`, CPython may stumble over itself
                    raise error.__context__ or error from None

    def _look(self) -> None:
        """Look for the server until it is back and has all that waited for it."""
        stop = self._stop
        seeking = tenacity.Retrying(
            **reconnecting(self.reconnect_max_s),
            stop=tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
        )
        try:
            while not stop.wait(FIRST_PAUSE_S):
                seeking(self._come_back)
                with self._lock:
                    if self.away is None and not self.is_owing:
                        self._seeker = None
                        return
        except tenacity.RetryError:
            pass  # told to stop
        with self._lock:
            if self._seeker is threading.current_thread():
                self._seeker = None

    def _come_back(self) -> bool:
        return driven(
            self.coming_back(),
            lambda step: self.execute_once(step) if isinstance(step, Call) else step.deliver(),
        )

    def _connected(self) -> Wire:
        address = self.address
        if address.prepare is not None:
            address.prepare()
        connection = address.connection()
        try:
            connection.connect()
            raw = getattr(connection, "_sock", None)
            wire: Wire = ConnectionWire(connection)
            if isinstance(raw, socket.socket):
                wire = SocketWire(connection, raw)
        except (hiredis.ProtocolError, *_BROKEN) as error:
            connection.disconnect()
            raise failures.from_connecting(error, address.label) from error
        except BaseException:  # a signal or cancellation too: its reply is still to come
            connection.disconnect()
            raise
        if (address.must_lead or not self.is_verified) and not address.is_fake:
            self._greet(wire)
            self.is_verified = True
        return wire

    def _greet(self, wire: Wire) -> None:
        steps = greeting(self.address.label, must_lead=self.address.must_lead)
        reply = None
        try:
            while True:
                reply = wire.send(*steps.send(reply))
        except StopIteration:
            return
        except RedisMemoryError:  # some are OSErrors too
            wire.close()
            raise
        except (hiredis.ProtocolError, *_BROKEN) as error:
            wire.close()
            raise failures.from_greeting(error, self.address.label) from error
        except BaseException:  # a signal or cancellation too: its reply is still to come
            wire.close()
            raise

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.popleft().close()

    def close(self) -> None:
        """Close the connections that are not in use, and end the search for a lost server.

        A later call opens new ones.
        """
        self._stop.set()
        seeker = self._seeker
        if seeker is not None and seeker.is_alive() and seeker is not threading.current_thread():
            seeker.join(self.timeout_s + self.reconnect_max_s)
        self.away = None
        self._drop_idle()

    def after_fork(self) -> None:
        """Leave the connections, and what waits, to the parent process."""
        self._lock = threading.RLock()
        self._seeker, self.away = None, None
        self.waiting.clear()
        # redis-py closes only its own descriptor of a socket that another process opened
        self._drop_idle()
