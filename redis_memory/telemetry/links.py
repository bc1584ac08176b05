"""Links that time each call, count outages, and show how much waits: those of both faces."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Any

from redis_memory.core.calls import Call
from redis_memory.core.scripts import BY_SHA
from redis_memory.errors import RedisMemoryError
from redis_memory.link.address import Address
from redis_memory.link.async_hub import AsyncHub, AsyncNodeLink
from redis_memory.link.async_link import AsyncLink
from redis_memory.link.circuit import Circuit
from redis_memory.link.cluster import NodeAddress
from redis_memory.link.failures import LinkFailureError
from redis_memory.link.hub import BlockingHub, NodeLink
from redis_memory.link.link import Link
from redis_memory.telemetry import instruments
from redis_memory.telemetry.instruments import Attributes, Instruments, server_attributes


class Meter:
    """What is counted and timed of one link."""

    def __init__(self, address: Address) -> None:
        self.instruments: Instruments = instruments.current()
        self.server: Attributes = server_attributes(address)
        # by command or script, and by what went wrong
        self._attributes: dict[tuple[bytes, str], Attributes] = {}

    def tried(self, call: Call, begun_s: float, failure: str = "") -> None:
        """A call was tried once."""
        ended_s = perf_counter()
        parts = call.head.parts
        what = parts[1] if parts[0] == b"EVALSHA" else parts[0]
        attributes = self._attributes.get((what, failure))
        if attributes is None:
            attributes = self._attributes[what, failure] = self._of(what, failure)
        self.instruments.round_trips.record(ended_s - begun_s, attributes)

    def _of(self, what: bytes, failure: str) -> Attributes:
        attributes = dict(self.server)
        script = BY_SHA.get(what)
        if script is None:
            attributes["db.operation.name"] = what.decode()
        else:
            attributes["db.operation.name"] = "EVALSHA"
            attributes["db.stored_procedure.name"] = script.name
        if failure:
            attributes["error.type"] = failure
        return attributes


class MeasuredCircuit(Circuit):
    """What is measured of a link, whichever face it has."""

    # once more, for type checkers that look at each class by itself
    away: RedisMemoryError | None
    is_online: bool | None
    reconnects: int
    meter: Meter

    def lose(self, reason: RedisMemoryError, lost_us: int) -> None:
        """Count the server as away, and look for it."""
        if self.away is None:
            self.meter.instruments.outages.add(1, self.meter.server)
        super().lose(reason, lost_us)

    def found(self) -> None:
        """Count the server as back."""
        if self.away is not None:
            self.meter.instruments.reconnects.add(1, self.meter.server)
        super().found()

    def _broke(self, failure: LinkFailureError) -> None:
        if not failure.of_slot:
            self.meter.instruments.reconnects.add(1, self.meter.server)

    @property
    def server(self) -> Attributes:
        """Which server it leads to."""
        return self.meter.server

    def gauges(self) -> Iterable[tuple[str, float]]:
        """How much waits, and whether the server is away."""
        queues = [waiter.state.queue for waiter in list(self.waiting)]
        yield "queue.length", sum(len(queue.operations) for queue in queues)
        yield "queue.size", sum(queue.bytes for queue in queues)
        yield "away", self.away is not None

    def _begin(self) -> None:
        self.meter = Meter(self.address)
        self.meter.instruments.watch(self)


class MeasuredLink(MeasuredCircuit, Link):
    """Connections to one server."""

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        reconnect_max_s: float = 0.45,
        replicas: int = 0,
    ) -> None:
        super().__init__(address, timeout_s, reconnect_max_s, replicas)
        self._begin()

    def _once(self, call: Call) -> Any:
        begun_s = perf_counter()
        try:
            reply = super()._once(call)
        except BaseException as error:  # a signal too is an outcome
            self.meter.tried(call, begun_s, failure_of(error))
            raise
        self.meter.tried(call, begun_s)
        return reply

    def _again(self, call: Call, failure: LinkFailureError) -> Any:
        self._broke(failure)
        return super()._again(call, failure)


class MeasuredNodeLink(MeasuredLink, NodeLink):
    """The way to one node."""


class MeasuredHub(BlockingHub):
    """The links to the nodes of a cluster."""

    def _link(self, address: NodeAddress) -> NodeLink:
        return MeasuredNodeLink(address, self.timeout_s, self.reconnect_max_s, self.replicas)


class MeasuredAsyncLink(MeasuredCircuit, AsyncLink):
    """Connections to one server, of one event loop."""

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        reconnect_max_s: float = 0.45,
        replicas: int = 0,
    ) -> None:
        super().__init__(address, timeout_s, reconnect_max_s, replicas)
        self._begin()

    async def _once(self, call: Call) -> Any:
        begun_s = perf_counter()
        try:
            reply = await super()._once(call)
        except BaseException as error:  # a cancellation too is an outcome
            self.meter.tried(call, begun_s, failure_of(error))
            raise
        self.meter.tried(call, begun_s)
        return reply

    async def _again(self, call: Call, failure: LinkFailureError) -> Any:
        self._broke(failure)
        return await super()._again(call, failure)


class MeasuredAsyncNodeLink(MeasuredAsyncLink, AsyncNodeLink):
    """The way to one node, of one event loop."""


class MeasuredAsyncHub(AsyncHub):
    """The links to the nodes of a cluster, of one event loop."""

    def _link(self, address: NodeAddress) -> AsyncNodeLink:
        return MeasuredAsyncNodeLink(address, self.timeout_s, self.reconnect_max_s, self.replicas)


def failure_of(error: BaseException) -> str:
    """What went wrong with one attempt, in one of a few words."""
    if not isinstance(error, LinkFailureError):
        return type(error).__name__
    if error.timed_out:
        return "timeout"
    return "connection_lost" if error.in_doubt else "not_served"
