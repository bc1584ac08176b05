"""The way to one server for the tasks of one event loop: as `link`, awaited."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from typing import Any

import tenacity
from redis.exceptions import InvalidResponse, RedisError

from redis_memory.core.calls import Call
from redis_memory.core.clock import now_us
from redis_memory.errors import (
    OfflineError,
    RedisMemoryError,
)
from redis_memory.link import failures
from redis_memory.link.address import Address
from redis_memory.link.circuit import Circuit
from redis_memory.link.failures import LinkFailureError
from redis_memory.link.greeting import greeting
from redis_memory.link.link import (
    FIRST_PAUSE_S,
    given_up,
    is_certain,
    policy,
    reconnecting,
    refused_in_doubt,
    replication_ms,
    without_traceback,
)
from redis_memory.link.mismatch import explained
from redis_memory.link.steps import async_driven
from redis_memory.link.wire import as_reply, is_unknown_script, with_source

_log = logging.getLogger("redis_memory")


class AsyncLink(Circuit):
    """Connections to one server.

    A connection belongs to one call from before its bytes are sent until its reply has been read.
    Whatever interrupts that, a cancellation too, drops the connection.
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
        self._seeker: asyncio.Task[None] | None = None
        self.is_verified: bool = False
        self._idle: deque[Any] = deque()
        self._connections: set[Any] = set()

    @property
    def hub(self) -> AsyncLink:
        """All that is shared by the memories of this server: the link itself."""
        return self

    def lane(self, memory: bytes) -> AsyncLink:  # noqa: ARG002 - a cluster has one for each memory
        """The way of one memory: that of all."""
        return self

    async def execute(self, call: Call) -> Any:
        """Send a call and return its reply; send it again while answers get lost.

        While the server is away nothing is sent, and no time is lost.

        Raises:
            InDoubtError: A change was sent, and no answer came within `timeout_s`.
            OfflineError: The server cannot be reached, or does not serve now.
            RedisMemoryError: The server refused; nothing was changed.
        """
        if self.away is not None:
            raise type(self.away)(*self.away.args)
        try:
            return await self._once(call)
        except LinkFailureError as failure:
            return await self._again(call, failure)

    async def execute_once(self, call: Call) -> Any:
        """The same in one attempt, also while the server counts as away."""
        try:
            return await self._once(call)
        except LinkFailureError as failure:
            await self._drop_idle()
            raise given_up(call, failure, in_doubt=failure.in_doubt) from failure

    async def _again(self, call: Call, failure: LinkFailureError) -> Any:
        # the call began at most so long ago; what others do from then on, it does not know
        lost_us = now_us() - int(self.timeout_s * 1_000_000)
        if not failure.of_slot:
            self.reconnects += 1
            await self._drop_idle()
        doubts = [failure.in_doubt]

        async def once_more() -> Any:
            try:
                return await self._once(call)
            except LinkFailureError as error:
                doubts.append(error.in_doubt)
                # a traceback would keep the frames of all callers, and what they hold, alive
                return without_traceback(error)

        if not failure.timed_out:
            try:
                reply: Any = await tenacity.AsyncRetrying(**policy(self.timeout_s))(once_more)
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
        ask = None if self.is_verified else asyncio.to_thread(explained, failure, self.address)
        if ask is not None and (reason := await ask) is not None:
            raise reason from failure
        self.lose(OfflineError(str(failure)), lost_us)
        raise given_up(call, failure, in_doubt=any(doubts)) from failure

    async def _once(self, call: Call) -> Any:
        if not self._idle and self.address.prepare is not None:
            await asyncio.to_thread(self.address.prepare)
        attempts = call.attempts
        try:
            async with asyncio.timeout(self.timeout_s):
                connection, reply = await self._exchanged(call)
        except TimeoutError as error:
            message = f"no answer from {self.address.label} within {self.timeout_s} s"
            is_sent = call.attempts > attempts
            raise LinkFailureError(message, in_doubt=is_sent, timed_out=True) from error
        self.is_online = True
        if call.companions:
            call.answers = failures.judged(call.answers)
        is_refused = isinstance(reply, Exception)
        if self.replicas and call.is_change and not is_refused:
            call.replicas = await self._replicated(connection)
        if call.replicas >= 0:
            self._idle.append(connection)
        if is_refused:
            refusal = failures.from_reply(reply)
            if isinstance(refusal, LinkFailureError) and not refusal.of_slot:
                # another server may have taken its place: the next connection looks for it
                await self._drop_idle()
            raise refusal
        return reply

    async def _exchanged(self, call: Call) -> tuple[Any, Any]:
        """Send a call; the connection, and the reply on it."""
        connection = self._idle.pop() if self._idle else await self._connected()
        call.attempts += 1
        try:
            if call.companions:
                reply = await _sent_with(connection, call)
            else:
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
        return connection, reply

    async def _replicated(self, connection: Any) -> int:
        """How many replicas have what was written on this connection; -1 when it broke."""
        within_ms = b"%d" % replication_ms(self.timeout_s)
        try:
            async with asyncio.timeout(self.timeout_s):
                reply = await _sent(connection, b"WAIT", b"%d" % self.replicas, within_ms)
        except (OSError, RedisError):  # what the change itself was answered is in hand
            await self._drop(connection)
            return -1
        except BaseException:  # a signal or cancellation too: its reply is still to come
            await self._drop(connection)
            raise
        return reply if isinstance(reply, int) else 0

    def seek(self) -> None:
        """Have a task look for the server, if none does."""
        if self._seeker is None or self._seeker.done():
            self._seeker = asyncio.create_task(self._look(), name="redis-memory-reconnect")

    async def _look(self) -> None:
        """Look for the server until it is back and has all that waited for it."""
        while self.away is not None or self.is_owing:
            await asyncio.sleep(FIRST_PAUSE_S)
            await tenacity.AsyncRetrying(**reconnecting(self.reconnect_max_s))(self._come_back)

    async def _come_back(self) -> bool:
        return await async_driven(
            self.coming_back(),
            lambda step: self.execute_once(step) if isinstance(step, Call) else step.deliver(),
        )

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
        if (address.must_lead or not self.is_verified) and not address.is_fake:
            await self._greet(connection)
            self.is_verified = True
        return connection

    async def _greet(self, connection: Any) -> None:
        steps = greeting(self.address.label, must_lead=self.address.must_lead)
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

    async def delivered(self, until_s: float) -> None:
        """Wait until nothing waits any more; at most until then, by the monotonic clock."""
        if self.waiting and self._seeker is not None:
            await asyncio.wait([self._seeker], timeout=max(0.0, until_s - time.monotonic()))

    async def close(self) -> None:
        """Close the connections that are not in use, and end the search for a lost server.

        A later call opens new ones.
        """
        seeker, self._seeker = self._seeker, None
        if seeker is not None and seeker is not asyncio.current_task():
            seeker.cancel()
            await asyncio.gather(seeker, return_exceptions=True)
        self.away = None
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        while self._idle:
            connection = self._idle.popleft()
            self._connections.discard(connection)
            await connection.disconnect()

    def after_fork(self) -> None:
        """Leave the connections, and what waits, to the parent process."""
        self._seeker, self.away = None, None
        self.waiting.clear()
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
        await _send(connection, *parts)
        return await connection.read_response()
    except RedisError as error:
        return as_reply(error)


async def _sent_with(connection: Any, call: Call) -> Any:
    """Send a call behind its companions, without waiting in between, and return its reply."""
    calls = (*call.companions, call)
    for each in calls:
        await _send(connection, *each.head.parts, *each.arguments)
    replies: list[Any] = []
    for _ in calls:
        try:
            replies.append(await connection.read_response())
        except RedisError as error:
            replies.append(as_reply(error))
    call.answers = answers = replies[:-1]
    for at, companion in enumerate(call.companions):
        if is_unknown_script(answers[at]):
            answers[at] = await _sent(connection, *with_source(companion))
    return replies[-1]


async def _send(connection: Any, *parts: bytes) -> None:
    try:
        await connection.send_command(*parts)
    except AttributeError as error:
        # CPython 3.12 fails so when it writes to what the other side has closed
        raise ConnectionResetError("the server closed the connection") from error
