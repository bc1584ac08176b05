"""The way to one server for all threads of a process: connections, used one call at a time."""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

import hiredis
import tenacity
from redis.exceptions import RedisError

from redis_memory.core.state import Call
from redis_memory.errors import InDoubtError, OfflineError, RedisMemoryError
from redis_memory.link import failures
from redis_memory.link.address import Address
from redis_memory.link.failures import LinkFailureError
from redis_memory.link.greeting import greeting
from redis_memory.link.mismatch import explained
from redis_memory.link.wire import ConnectionWire, SocketWire, Wire, is_unknown_script, with_source

_BROKEN = (OSError, RedisError)


def policy(timeout_s: float) -> dict[str, Any]:
    """How both links try again: with growing, jittered pauses, until `timeout_s` is over."""
    return {
        "retry": tenacity.retry_if_exception(
            lambda error: isinstance(error, LinkFailureError) and not error.timed_out
        ),
        "wait": tenacity.wait_random_exponential(multiplier=0.005, max=0.1),
        "stop": tenacity.stop_before_delay(timeout_s),
        "reraise": True,
    }


def given_up(call: Call, failure: LinkFailureError, *, in_doubt: bool) -> RedisMemoryError:
    """The error for a call that could not be brought to an end in time."""
    if in_doubt and call.is_change:
        return InDoubtError(f"{failure}; the change was applied once or not at all")
    return OfflineError(str(failure))


def refused_in_doubt(refusal: RedisMemoryError) -> InDoubtError:
    """The error for a change that was refused when it was sent again."""
    return InDoubtError(f"{refusal}; an earlier attempt was applied once or not at all")


class Link:
    """Connections to one server.

    A connection belongs to one call from before its bytes are sent until its reply has been read.
    Whatever interrupts that, an exception from a signal handler too, drops the connection, so no
    reply can reach another call.
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.is_verified: bool = False
        # what the last call told: None before the first one
        self.is_online: bool | None = None
        self.reconnects: int = 0
        self.users = 0
        self.is_of_client: bool = False
        self._idle: deque[Wire] = deque()

    def execute(self, call: Call) -> Any:
        """Send a call and return its reply; send it again while answers get lost.

        Raises:
            InDoubtError: A change was sent, and no answer came within `timeout_s`.
            OfflineError: The server cannot be reached, or does not serve now.
            RedisMemoryError: The server refused; nothing was changed.
        """
        try:
            return self._once(call)
        except LinkFailureError as failure:
            return self._again(call, failure)

    def _again(self, call: Call, failure: LinkFailureError) -> Any:
        self.reconnects += 1
        self._drop_idle()
        doubts = [failure.in_doubt]

        def once_more() -> Any:
            try:
                return self._once(call)
            except LinkFailureError as error:
                doubts.append(error.in_doubt)
                raise

        try:
            if failure.timed_out:
                raise failure
            return tenacity.Retrying(**policy(self.timeout_s))(once_more)
        except LinkFailureError as last:
            self.is_online = False
            reason = None if self.is_verified else explained(last, self.address)
            if reason is not None:
                raise reason from last
            raise given_up(call, last, in_doubt=any(doubts)) from last
        except RedisMemoryError as refusal:
            if call.is_change and any(doubts):
                raise refused_in_doubt(refusal) from refusal
            raise

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
        except hiredis.ProtocolError as error:
            wire.close()
            raise failures.not_redis(self.address.label) from error
        except _BROKEN as error:
            wire.close()
            raise failures.from_calling(error, self.address.label) from error
        except BaseException:  # a signal or cancellation too: its reply is still to come
            wire.close()
            raise
        self._idle.append(wire)
        self.is_online = True
        if isinstance(reply, Exception):
            raise failures.from_reply(reply)
        return reply

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
        if not self.is_verified and not address.is_fake:
            self._greet(wire)
            self.is_verified = True
        return wire

    def _greet(self, wire: Wire) -> None:
        steps = greeting(self.address.label)
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
        """Close the connections that are not in use; a later call opens new ones."""
        self._drop_idle()

    def after_fork(self) -> None:
        """Leave the connections to the parent process."""
        # redis-py closes only its own descriptor of a socket that another process opened
        self._drop_idle()
