"""Feeds that count what they hear, and show how far behind they may be."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Any

from redis_memory.core.state import State
from redis_memory.core.subscriptions import Subscriptions
from redis_memory.link.address import Address
from redis_memory.link.cluster import NodeAddress
from redis_memory.link.feed import Feed, Pulse
from redis_memory.link.node_feeds import NodeFeed, NodeFeeds
from redis_memory.telemetry import instruments
from redis_memory.telemetry.instruments import Attributes, Instruments, server_attributes


class Measured(Feed):
    """What is measured of a feed."""

    instruments: Instruments
    server: Attributes
    _heard_s: float

    def _begin(self, address: Address) -> None:
        self.instruments = instruments.current()
        self.server = server_attributes(address)
        self._heard_s = monotonic()
        self.instruments.watch(self)

    def gauges(self) -> Iterable[tuple[str, float]]:
        """How far behind it may be, while somebody listens."""
        if self._followed:
            yield "feed.lag", max(0.0, monotonic() - self._heard_s)

    def follow(self, state: State, who: object, timeout_s: float) -> None:
        """Hear of the changes of a memory."""
        if not self._followed:  # nobody has listened for a while
            self._heard_s = max(self._heard_s, monotonic())
        super().follow(state, who, timeout_s)

    def _take(self, session: Subscriptions, pulse: Pulse, reply: Any) -> bool:
        is_change = super()._take(session, pulse, reply)
        if is_change:
            self.instruments.messages.add(1, self.server)
        else:
            self._heard_s = max(self._heard_s, self.answered_s)
        return is_change

    def _lose(self, error: Exception | None) -> None:
        if error is not None and self.session != 0:
            self.instruments.feed_losses.add(1, self.server)
        super()._lose(error)


class MeasuredFeed(Measured):
    """Hears of the changes of the memories on one server."""

    def __init__(self, address: Address, timeout_s: float, reconnect_max_s: float) -> None:
        super().__init__(address, timeout_s, reconnect_max_s)
        self._begin(address)


class MeasuredNodeFeed(Measured, NodeFeed):
    """Hears of the changes of the memories that one node serves."""

    def __init__(self, hub: NodeFeeds, address: NodeAddress) -> None:
        NodeFeed.__init__(self, hub, address)
        self._begin(address)


class MeasuredNodeFeeds(NodeFeeds):
    """The feeds of one cluster."""

    def _feed(self, address: NodeAddress) -> NodeFeed:
        return MeasuredNodeFeed(self, address)
