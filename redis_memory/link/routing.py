"""Which nodes of a cluster a call goes to that belongs to no single memory."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from redis_memory.core.calls import Call, Head
from redis_memory.errors import OfflineError, RedisMemoryError
from redis_memory.link.cluster import Topology, key_slot
from redis_memory.link.entries import Entries
from redis_memory.link.failures import ElsewhereError
from redis_memory.link.scanning import Send, is_scan, scanning
from redis_memory.link.seeds import Place


def _key(call: Call) -> bytes:
    """The first key that a call names, b"" for none."""
    parts = call.head.parts
    at = 3 if parts[0] == b"EVALSHA" else 1
    return parts[at] if len(parts) > at else b""


class Router:
    """Sends calls to the nodes of what they are about."""

    def __init__(self, topology: Topology) -> None:
        self.topology: Topology = topology
        self.entries: Entries = topology.entries

    def lane(self, memory: bytes) -> Any:
        """The way of one memory."""
        raise NotImplementedError

    def link_to(self, place: Place | None) -> Any:
        """The link to a node."""
        raise NotImplementedError

    def _routing(self, call: Call) -> Generator[tuple[Send, Call], Any, Any]:
        """Send a call that may be about any key, and its companions, each about another one.

        Yields what sends, and what is to be sent. Errors are thrown in.
        """
        if (is_scan(call) or call.companions) and self.topology.moves == 0:
            yield self.lane(b"").send, Call(Head(b"PING"))  # finds the nodes
        if is_scan(call):
            return (yield from self._scanning(call))
        if call.is_entry:
            return (yield from self._entering(call))
        if not call.companions:
            return (yield self.lane(_key(call)).send, call)
        reply, answers = None, list[Any](call.companions)
        is_served = True
        by_node: dict[Place | None, list[int]] = {}
        for at, each in enumerate(call.companions):
            by_node.setdefault(self.topology.node(key_slot(_key(each))), []).append(at)
        for places in by_node.values():
            packet = Call(call.head, *call.arguments)
            packet.companions = [call.companions[at] for at in places]
            reply = yield self.lane(_key(packet.companions[0])).send, packet
            call.attempts = max(call.attempts, packet.attempts)
            for at, answer in zip(places, packet.answers, strict=True):
                answers[at] = answer
                # moved, or about to: it was not served, and a call by itself is led there or waits
                if is_served and isinstance(answer, (ElsewhereError, OfflineError)):
                    each = call.companions[at]
                    try:
                        answers[at] = yield self.lane(_key(each)).send, each
                    except RedisMemoryError as refusal:
                        answers[at] = refusal
                        is_served = not isinstance(refusal, OfflineError)
        call.answers = answers
        return reply

    def _entering(self, call: Call) -> Generator[tuple[Send, Call], Any, Any]:
        """Enter a conversation in its directory, now or when the node of the index is there."""
        key = _key(call)
        lane = self.lane(key)
        try:
            reply = yield lane.send, call
        except OfflineError:
            self.entries.missed(key, call)
            lane.link.seek()
            raise
        if self.entries.made(key, call, lane.link.place):
            lane.link.seek()
        return reply

    def _scanning(self, call: Call) -> Generator[tuple[Send, Call], Any, list[Any]]:
        """One step of a SCAN of all nodes.

        The cursor says at which state of the map it began, at which node it is, and how far there.
        It begins anew when the map is another one: with its slot a key may have moved to a node
        that was scanned already, and cursors of a primary mean nothing to its replica.
        """
        cursor, *others = call.arguments
        begun, _, position = cursor.partition(b":")
        if cursor == b"0" or int(begun) != self.topology.moves:
            begun, position = b"%d" % self.topology.moves, b"0:0"
        number, _, inner = position.partition(b":")
        at, nodes = int(number), self.topology.primaries
        node: Any = self.link_to(nodes[at])
        inner, keys = yield from scanning(node, Call(call.head, inner, *others))
        if inner in (b"0", 0):
            at, inner = at + 1, b"0"
        if at == len(nodes):
            # what has changed meanwhile may not have been noticed
            rows = yield node.execute, Call(Head(b"CLUSTER", b"SLOTS"))
            self.topology.read(rows, nodes[-1])
            if int(begun) == self.topology.moves:
                return [b"0", keys]
            at = 0
        return [b"%b:%d:%b" % (begun, at, inner), keys]
