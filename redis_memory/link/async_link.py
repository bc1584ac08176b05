"""The way to one server for the tasks of one event loop: as `link`, awaited."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Any

import tenacity
from redis.exceptions import InvalidResponse, RedisError

from redis_memory.core.state import Call
from redis_memory.errors import RedisMemoryError
from redis_memory.link import failures
from redis_memory.link.address import Address
from redis_memory.link.failures import LinkFailureError
from redis_memory.link.greeting import greeting
from redis_memory.link.link import given_up, policy, refused_in_doubt
from redis_memory.link.mismatch import explained
from redis_memory.link.wire import as_reply, is_unknown_script, with_source


class AsyncLink:
    """Connections to one server.

    A connection belongs to one call from before its bytes are sent until its reply has been read.
    Whatever interrupts that, a cancellation too, drops the connection.
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.is_verified: bool = False
        self.is_online: bool | None = None
        self.reconnects: int = 0
        self.users = 0
        self.is_of_client: bool = False
        self._idle: deque[Any] = deque()
        self._connections: set[Any] = set()

    async def execute(self, call: Call) -> Any:
        """Send a call and return its reply; send it again while answers get lost.

        Raises:
            InDoubtError: A change was sent, and no answer came within `timeout_s`.
            OfflineError: The server cannot be reached, or does not serve now.
            RedisMemoryError: The server refused; nothing was changed.
        """
        try:
            return await self._once(call)
        except LinkFailureError as failure:
            return await self._again(call, failure)

    async def _again(self, call: Call, failure: LinkFailureError) -> Any:
        self.reconnects += 1
        await self.close()
        doubts = [failure.in_doubt]

        async def once_more() -> Any:
            try:
                return await self._once(call)
            except LinkFailureError as error:
                doubts.append(error.in_doubt)
                raise

        try:
            if failure.timed_out:
                raise failure
            return await tenacity.AsyncRetrying(**policy(self.timeout_s))(once_more)
        except LinkFailureError as last:
            self.is_online = False
            if not self.is_verified:
                reason = await asyncio.to_thread(explained, last, self.address)
                if reason is not None:
                    raise reason from last
            raise given_up(call, last, in_doubt=any(doubts)) from last
        except RedisMemoryError as refusal:
            if call.is_change and any(doubts):
                raise refused_in_doubt(refusal) from refusal
            raise

    async def _once(self, call: Call) -> Any:
        if not self._idle and self.address.prepare is not None:
            await asyncio.to_thread(self.address.prepare)
        attempts = call.attempts
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._exchanged(call)
        except TimeoutError as error:
            message = f"no answer from {self.address.label} within {self.timeout_s} s"
            is_sent = call.attempts > attempts
            raise LinkFailureError(message, in_doubt=is_sent, timed_out=True) from error

    async def _exchanged(self, call: Call) -> Any:
        connection = self._idle.pop() if self._idle else await self._connected()
        call.attempts += 1
        try:
            reply = await _sent(connection, *call.head.parts, *call.arguments)
            if isinstance(reply, Exception) and is_unknown_script(reply):
                reply = await _sent(connection, *with_source(call))
        except InvalidResponse as error:
            await self._drop(connection)
            raise failures.not_redis(self.address.label) from error
        except (OSError, RedisError) as error:
            await self._drop(connection)
            raise failures.from_calling(error, self.address.label) from error
        except BaseException:  # a signal or cancellation too: its reply is still to come
            await self._drop(connection)
            raise
        self._idle.append(connection)
        self.is_online = True
        if isinstance(reply, Exception):
            raise failures.from_reply(reply)
        return reply

    async def _connected(self) -> Any:
        address = self.address
        connection = address.connection()
        self._connections.add(connection)
        # `_once` limits the whole call. redis-py would use `asyncio.wait_for`, which before Python
        # 3.12 swallows a cancellation that arrives just when a command has been sent.
        connection.socket_timeout = None
        try:
            await connection.connect()
        except (OSError, RedisError) as error:
            await self._drop(connection)
            raise failures.from_connecting(error, address.label) from error
        except BaseException:  # a signal or cancellation too: its reply is still to come
            await self._drop(connection)
            raise
        if not self.is_verified and not address.is_fake:
            await self._greet(connection)
            self.is_verified = True
        return connection

    async def _greet(self, connection: Any) -> None:
        steps = greeting(self.address.label)
        reply = None
        try:
            while True:
                reply = await _sent(connection, *steps.send(reply))
        except StopIteration:
            return
        except RedisMemoryError:  # some are OSErrors too
            await self._drop(connection)
            raise
        except (OSError, RedisError) as error:
            await self._drop(connection)
            raise failures.from_greeting(error, self.address.label) from error
        except BaseException:  # a signal or cancellation too: its reply is still to come
            await self._drop(connection)
            raise

    async def _drop(self, connection: Any) -> None:
        self._connections.discard(connection)
        await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the connections that are not in use; a later call opens new ones."""
        while self._idle:
            connection = self._idle.popleft()
            self._connections.discard(connection)
            await connection.disconnect()

    def after_fork(self) -> None:
        """Leave the connections to the parent process."""
        while self._connections:
            _leave_to_parent(self._connections.pop())


def _leave_to_parent(connection: Any) -> None:
    """Put nothing in the place of a connection's socket, in a forked child.

    The child shares the parent's selector. Closing the connection here, as the garbage collector
    does, would make the parent deaf on its own.
    """
    writer = getattr(connection, "_writer", None)
    if isinstance(writer, asyncio.StreamWriter):
        descriptor = writer.get_extra_info("socket").fileno()
        if descriptor >= 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, descriptor, inheritable=False)
            os.close(nothing)


async def _sent(connection: Any, *parts: bytes) -> Any:
    """Send a command and return its reply; error replies are returned, not raised."""
    try:
        await connection.send_command(*parts)
        return await connection.read_response()
    except RedisError as error:
        return as_reply(error)
