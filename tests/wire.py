"""One connection through the fault-injecting proxy: what passes, and what happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from tests.resp import Frames, Predicate, Request, named, parse_request

Loss = Literal["reset", "eof", "half", "timeout"]
Ending = Literal["reset", "eof"]
Address = str | tuple[str, int]

CHUNK_BYTES = 65_536

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
is_subscription = named(
    *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE")
)
# in RESP2 what a subscriber is told looks like a reply
_TOLD = re.compile(rb"\*\d\r\n\$\d+\r\n[ps]?(message|(un)?subscribe)\r\n")


@dataclass(slots=True)
class Fault:
    """What is to happen to the next requests that match, and to how many of them."""

    kind: Loss | Literal["unsent"]
    left: float
    when: Predicate


@dataclass(slots=True)
class Traffic:
    """What all connections of a proxy obey, and what they count."""

    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    faults: list[Fault] = field(default_factory=list)
    request_delay_s: float = 0.0
    reply_delay_s: float = 0.0
    slicing: bool = False
    record: list[Request] | None = None
    connections: int = 0
    requests: int = 0
    lost: int = 0
    unsent: int = 0
    request_bytes: int = 0
    reply_bytes: int = 0

    def judge(self, frame: bytes, request: Request) -> Fault | None:
        """Count a request, and say which fault strikes it."""
        self.requests += 1
        self.request_bytes += len(frame)
        if self.record is not None:
            self.record.append(request)
        for fault in self.faults:
            # a subscription is answered by messages, and has no reply that could be lost
            strikes = fault.kind == "unsent" or not is_subscription(request)
            if fault.left > 0 and strikes and fault.when(request):
                fault.left -= 1
                return fault
        return None

    async def hold(self, delay_s: float) -> None:
        """Keep a message back for the delay, and for as long as nothing flows."""
        if delay_s:
            await asyncio.sleep(delay_s)
        await self.flowing.wait()


class Wire:
    """Carries requests one way and replies the other until either side, or a fault, ends it."""

    def __init__(self, client: socket.socket, upstream: Address, traffic: Traffic) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._upstream = upstream
        family = socket.AF_UNIX if isinstance(upstream, str) else socket.AF_INET
        self._server = socket.socket(family)
        self._traffic = traffic
        self._pending: deque[Fault | None] = deque()
        self._subscriber = False
        self._ending: Ending = "reset"
        for side in (self._client, self._server):
            side.setblocking(False)
        # a byte sent alone must also arrive alone
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def carry(self) -> None:
        """Forward until the end; `close` is to be called then, even if this never began."""
        # a broken side needs no report here: the other side meets a reset
        with contextlib.suppress(OSError):
            await self._traffic.flowing.wait()
            await self._loop.sock_connect(self._server, self._upstream)
            self._ending = await self._pump()
        # in a black hole the end of the server goes unnoticed too
        await self._traffic.flowing.wait()
        self._server.close()
        if self._ending == "eof":
            with contextlib.suppress(OSError):
                await self._take_leave()

    def close(self) -> None:
        """Close both sides; the client meets a reset unless the end was an orderly one."""
        if self._ending == "reset":
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._client.close()
        self._server.close()

    async def _pump(self) -> Ending:
        replies = self._loop.create_task(self._carry_replies())
        requests = self._loop.create_task(self._carry_requests())
        try:
            await asyncio.wait({replies, requests}, return_when=asyncio.FIRST_COMPLETED)
            return (replies if replies.done() else requests).result()
        finally:
            replies.cancel()
            requests.cancel()
            await asyncio.gather(replies, requests, return_exceptions=True)

    async def _carry_requests(self) -> Ending:
        frames = Frames()
        while data := await self._loop.sock_recv(self._client, CHUNK_BYTES):
            for frame in frames.feed(data):
                request = parse_request(frame)
                fault = self._traffic.judge(frame, request)
                await self._traffic.hold(self._traffic.request_delay_s)
                if fault is not None and fault.kind == "unsent":
                    self._traffic.unsent += 1
                    return "reset"
                if is_subscription(request):
                    self._subscriber = True
                else:
                    self._pending.append(fault)
                await self._loop.sock_sendall(self._server, frame)
        self._server.shutdown(socket.SHUT_WR)
        # the server may still have to answer: its end of stream is the end of this connection
        never: asyncio.Future[Ending] = self._loop.create_future()
        return await never

    async def _carry_replies(self) -> Ending:
        frames = Frames()
        while data := await self._loop.sock_recv(self._server, CHUNK_BYTES):
            for frame in frames.feed(data):
                fault = self._fault_of(frame)
                await self._traffic.hold(self._traffic.reply_delay_s)
                if fault is not None:
                    return await self._lose(frame, fault.kind)
                await self._deliver(frame)
        return "eof"

    def _fault_of(self, frame: bytes) -> Fault | None:
        told = frame.startswith(b">") or (self._subscriber and _TOLD.match(frame))
        return self._pending.popleft() if self._pending and not told else None

    async def _lose(self, frame: bytes, kind: str) -> Ending:
        self._traffic.lost += 1
        if kind == "half":
            await self._deliver(frame[: len(frame) // 2])
        if kind == "timeout":
            while await self._loop.sock_recv(self._server, CHUNK_BYTES):
                pass
        return "reset" if kind == "reset" else "eof"

    async def _deliver(self, frame: bytes) -> None:
        self._traffic.reply_bytes += len(frame)  # first: the client may look as soon as it has it
        step = 1 if self._traffic.slicing else len(frame)
        for start in range(0, len(frame), step):
            await self._loop.sock_sendall(self._client, frame[start : start + step])
            # sendall does not pause when the kernel takes the byte: let the client look at it
            await asyncio.sleep(0)

    async def _take_leave(self) -> None:
        """End the stream, and read on: closing with unread bytes would be a reset."""
        self._client.shutdown(socket.SHUT_WR)
        while await self._loop.sock_recv(self._client, CHUNK_BYTES):
            pass
