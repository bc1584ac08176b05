"""The feeds of a cluster: one for each node, and each memory listens to the node of its slot.

The cluster carries messages to all its nodes, but only the node where a change is made tells of it
before it answers to the ping behind it.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from redis_memory.core.state import State
from redis_memory.errors import AccessDeniedError, RedisMemoryError
from redis_memory.link.cluster import NodeAddress, Topology, key_slot
from redis_memory.link.failures import ElsewhereError, from_reply
from redis_memory.link.feed import Feed
from redis_memory.link.greeting import check_role
from redis_memory.link.seeds import Place
from redis_memory.link.wire import ConnectionWire


class NodeFeed(Feed):
    """Hears of the changes of the memories that one node serves."""

    def __init__(self, hub: NodeFeeds, address: NodeAddress) -> None:
        super().__init__(address, hub.timeout_s, hub.reconnect_max_s)
        self._hub = hub
        self._place: Place | None = address.place
        # one lock for all: a memory that is collected while a feed holds its own leaves its lane
        self._lock = hub.lock

    def _is_needed(self) -> bool:
        # who only finds out where the nodes are does not wait for others to come
        return bool(self._followed) if self._place is None else super()._is_needed()

    def _greet(self, connection: Any) -> None:
        self._hub.settle()
        # the newer protocol lets a connection that listens read as well
        reply = ConnectionWire(connection).send(b"HELLO", b"3")
        if isinstance(reply, Exception):
            error = from_reply(reply)
            if isinstance(error, AccessDeniedError):
                raise AccessDeniedError(f"the feed of a cluster needs the right +hello: {error}")
            raise error
        check_role(self.address.label, reply)
        if self._place is not None:
            self._hub.topology.suspects.discard(self._place)

    def after_fork(self) -> None:
        """In a forked child: the connection is the parent's, and so is the lock."""
        super().after_fork()
        self._lock = self._hub.lock

    def _beat(self) -> list[tuple[bytes, ...]]:
        # a node that serves the memory no more goes on answering to pings
        with self._lock:
            # copied first: a memory that is collected meanwhile leaves
            followed = [[*states] for states in list(self._followed.values())]
            keys = [states[0].keys.memory for states in followed if states]
        return [*((b"HGET", key, b"_version") for key in keys), *super()._beat()]

    def _take_refusal(self, reply: Exception) -> None:
        error = from_reply(reply)
        # the node has the slot still, and is about to give it away
        if not (isinstance(error, ElsewhereError) and error.is_asking):
            raise error

    def _lose(self, error: Exception | None) -> None:
        super()._lose(error)
        if self._place is not None and error is not None:
            self._hub.topology.suspects.add(self._place)
        self._hub.settle()


class NodeFeeds:
    """The feeds of one cluster, and the lanes of the memories that are followed."""

    def __init__(self, address: NodeAddress, timeout_s: float, reconnect_max_s: float) -> None:
        self.address: NodeAddress = address
        self.topology: Topology = address.topology
        self.timeout_s: float = timeout_s
        self.reconnect_max_s: float = reconnect_max_s
        # of all lanes and feeds
        self.lock: Any = threading.RLock()
        self._feeds: dict[Place | None, NodeFeed] = {}
        self._lanes: weakref.WeakValueDictionary[bytes, FeedLane] = weakref.WeakValueDictionary()

    def lane(self, memory: bytes) -> FeedLane:
        """The feed of a memory, wherever it is served."""
        with self.lock:
            lane = self._lanes.get(memory)
            if lane is None:
                lane = self._lanes[memory] = FeedLane(self, memory)
            return lane

    def feed_for(self, slot: int) -> NodeFeed:
        """The feed of the node that serves a slot."""
        place = self.topology.node(slot)
        with self.lock:
            feed = self._feeds.get(place)
            if feed is None:
                address = self.address if place is None else self.address.of(place)
                feed = self._feeds[place] = self._feed(address)
            return feed

    def _feed(self, address: NodeAddress) -> NodeFeed:
        return NodeFeed(self, address)

    def settle(self) -> None:
        """Have each memory follow the node that serves it now."""
        with self.lock:
            for lane in list(self._lanes.values()):
                lane.settle()

    def close_unused(self) -> None:
        """Close the connections to the nodes of whose memories nobody listens to any."""
        for feed in list(self._feeds.values()):
            feed.close_unused()

    def after_fork(self) -> None:
        """In a forked child: the connections are the parent's."""
        self.lock = threading.RLock()
        for feed in self._feeds.values():
            feed.after_fork()


class FeedLane:
    """What a memory of a cluster takes for its feed."""

    def __init__(self, hub: NodeFeeds, memory: bytes) -> None:
        self._hub = hub
        self._slot = key_slot(memory)
        self._moves: int = hub.topology.moves
        self._feed: NodeFeed = hub.feed_for(self._slot)
        # by whom each state is followed, and with which patience
        self._followers: dict[State, dict[object, float]] = {}

    def settle(self) -> bool:
        """Follow the node that serves the slot now; whether that is another one."""
        if self._moves == self._hub.topology.moves:
            return False
        with self._hub.lock:
            self._moves = self._hub.topology.moves
            before, feed = self._feed, self._hub.feed_for(self._slot)
            if feed is before:
                return False
            self._feed = feed
            for state, followers in list(self._followers.items()):
                for who, timeout_s in list(followers.items()):
                    before.leave(state, who)
                    feed.follow(state, who, timeout_s)
                    if who not in followers:  # it was collected just now
                        feed.leave(state, who)
            return True

    @property
    def answered_s(self) -> float:
        """As of a feed."""
        return float("-inf") if self.settle() else self._feed.answered_s

    @property
    def refusal(self) -> RedisMemoryError | None:
        """As of a feed."""
        return self._feed.refusal

    def follow(self, state: State, who: object, timeout_s: float) -> None:
        """As of a feed."""
        with self._hub.lock:
            self.settle()
            self._followers.setdefault(state, {})[who] = timeout_s
            self._feed.follow(state, who, timeout_s)

    def leave(self, state: State, who: object) -> None:
        """As of a feed."""
        with self._hub.lock:
            followers = self._followers.get(state, {})
            followers.pop(who, None)
            if not followers:
                self._followers.pop(state, None)
            self._feed.leave(state, who)

    def follows(self, state: State) -> bool:
        """As of a feed."""
        return state in self._followers

    def close_unused(self) -> None:
        """As of a feed."""
        self._hub.close_unused()

    def keep(self) -> None:
        """As of a feed."""
        self.settle()
        self._feed.keep()
