"""A proxy between client and server that loses, cuts and delays what a network would."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from redis_memory.core.scripts import SCRIPTS
from tests.background import Background
from tests.resp import Predicate, Request, named
from tests.servers import HOST, free_port
from tests.wire import Address, Fault, Loss, Traffic, Wire

__all__ = ["FaultProxy", "Loss", "Predicate", "Request", "is_ordinary", "named"]

_BESIDE_CHANGES = (SCRIPTS["enter"], SCRIPTS["renew"])
_COMPANIONS = {part for script in _BESIDE_CHANGES for part in (script.sha, script.source)}
_asks_for_the_end = named("PTTL")
_is_greeting = named("HELLO", "AUTH", "CLIENT", "SELECT", "PING")


def is_ordinary(request: Request) -> bool:
    """Whether a request is work: no HELLO, AUTH, CLIENT, SELECT, PING, no companion."""
    return not _is_greeting(request) and not is_companion(request)


def is_companion(request: Request) -> bool:
    """Whether a request keeps directory or lifetime, in the packet of a change or a read."""
    return _asks_for_the_end(request) or any(part in _COMPANIONS for part in request.arguments[:1])


class FaultProxy:
    """Listens on a loopback port, forwards to `upstream`, and goes wrong when told to.

    It knows whole requests and whole replies (RESP2 and RESP3, pipelines and subscriptions; not
    MONITOR nor CLIENT REPLY), so that a fault strikes exactly the request that it is meant for.
    A control has taken effect when it returns, and may be called from any thread.

    Args:
        upstream: `redis://` or `unix://`; user and password pass into `url`.
        record: Keep each request for `requests_seen`. Turn it off where millions are sent.

    Cost: about 0.1 ms for a request and its reply.
    """

    def __init__(self, upstream: str, *, record: bool = True) -> None:
        self._upstream = _address(upstream)
        self._traffic = Traffic(record=[] if record else None)
        self._wires: set[asyncio.Task[None]] = set()
        self.port = free_port()
        login, at, _ = urlsplit(upstream).netloc.rpartition("@")
        self.url = f"redis://{login}{at}{HOST}:{self.port}"
        self._listening = False
        self._listener = _bound(self.port)
        self._background = Background()
        self.heal()

    def lose_replies(
        self, n: float = 1, *, how: Loss = "reset", when: Predicate = is_ordinary
    ) -> None:
        """Let the server apply the next `n` requests, and keep their replies from the client.

        Args:
            n: `math.inf` stands for all of them until `heal`.
            how: What the client meets instead: a reset, the end of the stream, half the reply and
                then the end of the stream, or nothing, on a connection that stays open.
            when: Which requests count; by default all but those that greet the server. Those
                that subscribe never do: they are answered by messages.
        """
        self._traffic.faults.append(Fault(how, n, when))

    def reset_before(self, n: float = 1, *, when: Predicate = is_ordinary) -> None:
        """Reset the connection at each of the next `n` requests; the server never sees them."""
        self._traffic.faults.append(Fault("unsent", n, when))

    def delay(self, request_s: float = 0.0, reply_s: float = 0.0) -> None:
        """Hold back each request, and each reply, for so many seconds."""
        self._traffic.request_delay_s = request_s
        self._traffic.reply_delay_s = reply_s

    def slice_replies(self) -> None:
        """Send replies byte by byte; the system joins those that the client is late to read."""
        self._traffic.slicing = True

    def stall(self) -> None:
        """Forward nothing, as a black hole: connections are accepted and stay open.

        What clients send meanwhile reaches the server when the proxy is healed, even if the client
        has left: a network that comes back does the same.
        """
        self._background.run(self._stall())

    def drop(self) -> None:
        """Reset all connections; new ones are accepted."""
        self._background.run(self._drop())

    def refuse(self) -> None:
        """Reset all connections, and refuse new ones until `heal`."""
        self._background.run(self._refuse())

    def heal(self) -> None:
        """Forward everything again, at once, and forget the faults that have not struck."""
        self._traffic.faults.clear()
        self._traffic.slicing = False
        self.delay()
        self._background.run(self._heal())

    @property
    def connections(self) -> int:
        """Connections accepted so far."""
        return self._traffic.connections

    @property
    def open_connections(self) -> int:
        """Connections that have not ended."""
        return len(self._wires)

    @property
    def requests(self) -> int:
        """Commands received so far, greetings included; each one of a pipeline counts."""
        return self._traffic.requests

    @property
    def lost(self) -> int:
        """Replies kept back so far: these commands have been applied."""
        return self._traffic.lost

    @property
    def unsent(self) -> int:
        """Requests cut off so far before the server had them: these have not been applied."""
        return self._traffic.unsent

    @property
    def armed(self) -> float:
        """Faults that were asked for and have not struck yet."""
        return sum(fault.left for fault in self._traffic.faults)

    @property
    def seen(self) -> int:
        """Bytes of all commands received so far."""
        return self._traffic.request_bytes

    @property
    def delivered(self) -> int:
        """Bytes of all replies delivered so far, halves included."""
        return self._traffic.reply_bytes

    def requests_seen(self, when: Predicate = is_ordinary) -> int:
        """How many of the commands so far satisfy the predicate.

        Raises:
            RuntimeError: The proxy was made with `record=False`.
        """
        if self._traffic.record is None:
            raise RuntimeError("this proxy was told not to record requests")
        return sum(map(when, tuple(self._traffic.record)))

    def close(self) -> None:
        """Reset all connections, and end the thread; a second call does nothing."""
        if not self._background.closed:
            self.refuse()
            self._background.close()
            self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _stall(self) -> None:
        self._traffic.flowing.clear()

    async def _drop(self) -> None:
        for wire in self._wires:
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)

    async def _refuse(self) -> None:
        if self._listening:
            self._background.loop.remove_reader(self._listener)
            self._listener.close()
            # bound and not listening: connections are refused, and nobody else takes the port
            self._listener = _bound(self.port)
            self._listening = False
        await self._drop()

    async def _heal(self) -> None:
        self._traffic.flowing.set()
        if not self._listening:
            self._listener.listen(1024)
            self._background.loop.add_reader(self._listener, self._accept)
            self._listening = True

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client left while it waited in the queue
        self._traffic.connections += 1
        wire = Wire(client, self._upstream, self._traffic)
        task = self._background.loop.create_task(wire.carry())
        self._wires.add(task)
        task.add_done_callback(self._wires.discard)
        task.add_done_callback(lambda _: wire.close())


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.setblocking(False)
    return listener


def _address(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    if parts.scheme == "redis":
        return parts.hostname or HOST, parts.port or 6379
    raise ValueError(f"a proxy cannot look into {parts.scheme}://, only redis:// and unix://")
