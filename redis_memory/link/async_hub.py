"""The links to the nodes of a cluster for one event loop: as `hub`, awaited."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from redis.exceptions import RedisError

from redis_memory.core.calls import Call
from redis_memory.errors import OfflineError
from redis_memory.link.async_link import AsyncLink
from redis_memory.link.cluster import NodeAddress
from redis_memory.link.failures import ElsewhereError, LinkFailureError
from redis_memory.link.nodes import Hub, Lane, NodeCircuit
from redis_memory.link.steps import async_driven


class AsyncNodeLink(NodeCircuit, AsyncLink):
    """The way to one node."""

    async def _again(self, call: Call, failure: LinkFailureError) -> Any:
        self.suspect()
        return await super()._again(call, failure)

    async def _greet(self, connection: Any) -> None:
        await super()._greet(connection)
        self.trust()

    async def ask(self, call: Call) -> Any:
        """As of `NodeLink`."""
        try:
            if not self._idle and self.address.prepare is not None:
                await asyncio.to_thread(self.address.prepare)
            async with asyncio.timeout(self.timeout_s):
                connection = self._idle.pop() if self._idle else await self._connected()
                try:
                    await connection.send_command(b"ASKING")
                    await connection.read_response()
                except BaseException:  # a cancellation too: a reply is still to come
                    await self._drop(connection)
                    raise
        except (LinkFailureError, OSError, RedisError) as failure:
            raise OfflineError(str(failure)) from failure
        self._idle.append(connection)
        return await self.execute_once(call)


class AsyncHub(Hub[AsyncNodeLink]):
    """The links of one event loop."""

    lock: Any

    def _link(self, address: NodeAddress) -> AsyncNodeLink:
        return AsyncNodeLink(address, self.timeout_s, self.reconnect_max_s, self.replicas)

    def lane(self, memory: bytes) -> AsyncLane:
        """The way of one memory."""
        return AsyncLane(self, memory)

    async def execute(self, call: Call) -> Any:
        """Send a call that belongs to no single memory, to the nodes of what it is about."""
        return await async_driven(self._routing(call), lambda step: step[0](step[1]))

    async def delivered(self, until_s: float) -> None:
        """As of a link."""
        for link in list(self.links.values()):
            await link.delivered(until_s)

    async def close(self) -> None:
        """Close the connections that are not in use, and end the search for lost nodes."""
        for link in list(self.links.values()):
            await link.close()

    def after_fork(self) -> None:
        """Leave the connections, and what waits, to the parent process."""
        self.lock = threading.RLock()
        for link in self.links.values():
            link.after_fork()


class AsyncLane(Lane[AsyncNodeLink]):
    """The way of one memory to its node."""

    __slots__ = ()

    async def execute(self, call: Call) -> Any:
        """As of a link."""
        if call.is_apart:
            return await self.hub.execute(call)
        if call.companions:
            return await self._accompanied(call, once=False)
        return await self.send(call)

    async def send(self, call: Call) -> Any:
        """The same for a call that has its key in the slot of the lane, as its companions have."""
        try:
            return await self.link.execute(call)
        except ElsewhereError as elsewhere:
            return await self._follow(call, elsewhere, once=False)

    async def execute_once(self, call: Call) -> Any:
        """As of a link."""
        if call.is_apart:
            return await self.hub.execute(call)
        if call.companions:
            return await self._accompanied(call, once=True)
        return await self._send_once(call)

    async def _send_once(self, call: Call) -> Any:
        try:
            return await self.link.execute_once(call)
        except ElsewhereError as elsewhere:
            return await self._follow(call, elsewhere, once=True)

    async def _accompanied(self, call: Call, *, once: bool) -> Any:
        answers = await async_driven(self._beside(call), self.hub.execute)
        reply = await (self._send_once(call) if once else self.send(call))
        self._join(call, answers)
        return reply

    async def _follow(self, call: Call, elsewhere: ElsewhereError, *, once: bool) -> Any:
        async def do(step: Any) -> Any:
            if isinstance(step, (int, float)):
                return await asyncio.sleep(step)
            link, sent = step
            send = link.ask if sent is not call else link.execute
            if once and sent is call:
                send = link.execute_once
            return await send(sent)

        return await async_driven(self._following(call, elsewhere), do)
