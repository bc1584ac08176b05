"""What both faces share of a cluster: links to its nodes, and the lane of each memory to one."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from time import monotonic
from typing import Any, Generic, TypeVar

from redis_memory.core.calls import Batch, Call, Head
from redis_memory.errors import InDoubtError, OfflineError, RedisMemoryError
from redis_memory.link.circuit import Circuit, Waiter
from redis_memory.link.cluster import NodeAddress, key_slot
from redis_memory.link.failures import ElsewhereError
from redis_memory.link.link import refused_in_doubt
from redis_memory.link.routing import Router
from redis_memory.link.seeds import Place
from redis_memory.link.wire import with_source

# How long a lane rests where two nodes send it to each other, as they do during a failover.
_REST_S = 0.02

NodeT = TypeVar("NodeT", bound="NodeCircuit")


class NodeCircuit(Circuit):
    """What both kinds of links to a node add: whoever waits for it may have another one by now."""

    address: Any  # a NodeAddress; a type checker lets nobody narrow what can be assigned
    owner: Hub[Any]
    # once more, for type checkers that look at each class by itself
    away: RedisMemoryError | None
    users: int

    @property
    def place(self) -> Place | None:
        """The node; None where no node is known yet."""
        place: Place | None = self.address.place
        return place

    def suspect(self) -> None:
        """The node did not answer: ask the others about it before it is tried again."""
        if self.place is not None:
            self.address.topology.suspects.add(self.place)

    def trust(self) -> None:
        """The node is there, and a primary."""
        if self.place is not None:
            self.address.topology.suspects.discard(self.place)

    @property
    def is_owing(self) -> bool:
        """Does anything wait for the node?"""
        return bool(self.waiting or self._lacking)

    def coming_back(self) -> Generator[Call | Waiter, Any, bool]:
        """As for one server; what waits for slots that others serve by now is handed over."""
        self.users = self.owner.users + len(self._lacking)
        self._hand_over()
        topology = self.address.topology
        is_found = self.place is None and topology.moves > 0
        if is_found or not topology.serves(self.place):
            self.away = None
            return not self.is_owing
        is_back = yield from super().coming_back()
        if self.away is None:
            yield from self._entering()
        self._hand_over()
        return is_back and not self.is_owing

    def _hand_over(self) -> None:
        for waiter in list(self.waiting):
            other = self.owner.link_for(key_slot(waiter.state.keys.memory))
            if other is not self:
                self.waiting.pop(waiter, None)
                other.wait_for(waiter)
        for index in self.owner.entries.lacking:
            other = self.owner.link_for(key_slot(index))
            if other is not self:
                other.seek()

    @property
    def _lacking(self) -> list[bytes]:
        """The keys of indexes of the node that lack entries."""
        owner = self.owner
        return [key for key in owner.entries.lacking if owner.link_for(key_slot(key)) is self]

    def _entering(self) -> Generator[Call, Any, None]:
        entries = self.owner.entries
        late = [(key, each) for key in self._lacking for each in entries.late_at(key)]
        for key, call in late:
            try:
                yield call
            except ElsewhereError as elsewhere:
                if elsewhere.place is not None and not elsewhere.is_asking:
                    self.address.topology.learn(key_slot(key), elsewhere.place)
                return
            except OfflineError:
                return
            except RedisMemoryError:
                entries.drop(key, call)
            else:
                entries.made(key, call, self.place)


def asking(call: Call) -> Call:
    """The same call, as it is sent behind ASKING, which counts for one command only."""
    is_script = call.head.parts[0] == b"EVALSHA"
    parts = with_source(call) if is_script else (*call.head.parts, *call.arguments)
    return (Batch if call.is_change else Call)(Head(*parts))


class Everywhere:
    """Who has changes that wait, at whichever node that was."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub[Any]) -> None:
        self._hub = hub

    def pop(self, waiter: Waiter, default: None) -> None:
        """Nothing of this one waits any more."""
        for link in list(self._hub.links.values()):
            link.waiting.pop(waiter, default)


class Lane(Generic[NodeT]):
    """The way of one memory to the node that serves its slot: what a driver takes for its link."""

    __slots__ = ("_extra", "_link", "_moves", "hub", "slot")

    def __init__(self, hub: Hub[NodeT], memory: bytes) -> None:
        self.hub: Any = hub  # of the same face as the lane
        self.slot: int = key_slot(memory)
        self._moves: int = hub.topology.moves
        self._link: NodeT = hub.link_for(self.slot)
        self._extra: int = 0

    @property
    def link(self) -> NodeT:
        """The link to the node that serves the slot, as far as it is known."""
        if self._moves != self.hub.topology.moves:
            self._settle()
        return self._link

    def _settle(self) -> None:
        with self.hub.lock:
            self._moves = self.hub.topology.moves
            link = self.hub.link_for(self.slot)
            if link is not self._link:
                # another number than ever before: what is known was heard from another server
                was_known = self._link.place is not None
                self._extra += self._link.reconnects - link.reconnects + was_known
                self._link = link

    @property
    def address(self) -> NodeAddress:
        """The cluster."""
        address: NodeAddress = self.hub.address
        return address

    @property
    def away(self) -> RedisMemoryError | None:
        """Why the node is away."""
        return self.link.away

    @property
    def lost_us(self) -> int:
        """Since when the node is away."""
        return self._link.lost_us

    @property
    def is_online(self) -> bool | None:
        """What the last call to the node told."""
        return self._link.is_online

    @property
    def reconnects(self) -> int:
        """How often this memory had to look for its node again."""
        return self._extra + self._link.reconnects

    @property
    def replicas(self) -> int:
        """How many replicas must have a change."""
        return int(self.hub.replicas)

    @property
    def waiting(self) -> Everywhere:
        """Who waits for any of the nodes."""
        return Everywhere(self.hub)

    def wait_for(self, waiter: Waiter) -> None:
        """As for a link."""
        self.link.wait_for(waiter)

    def _following(
        self, call: Call, elsewhere: ElsewhereError
    ) -> Generator[tuple[NodeT, Call] | float, Any, Any]:
        """Send a call to where its slot is served; again for as long as nodes disagree.

        Yields what is to be sent over which link, and seconds to rest. Errors are thrown in.
        """
        until_s = monotonic() + self.hub.timeout_s
        is_change, in_doubt = call.is_change, elsewhere.in_doubt
        is_first = True
        while True:
            target, sent = self._target(elsewhere), call
            if elsewhere.is_asking:
                sent = asking(call)
            if not is_first:
                yield _REST_S
            is_first = False
            try:
                reply = yield target, sent
            except ElsewhereError as again:
                elsewhere = again
                in_doubt = in_doubt or again.in_doubt
            except RedisMemoryError as error:
                if in_doubt and is_change and not isinstance(error, InDoubtError):
                    raise refused_in_doubt(error) from error
                raise
            else:
                call.replicas = sent.replicas
                return reply
            finally:
                call.attempts = max(call.attempts, sent.attempts)
            if monotonic() > until_s:
                kind = InDoubtError if in_doubt and is_change else OfflineError
                raise kind(f"no node of {self.hub.address.label} serves slot {self.slot} now")

    def _beside(self, call: Call) -> Generator[Call, Any, list[Any]]:
        """What goes along with a call, and belongs to another slot, goes before it; the answers.

        Yields the calls. Errors are thrown in.
        """
        answers: list[Any] = []
        apart = [each for each in call.companions if each.is_apart]
        call.companions = [each for each in call.companions if not each.is_apart]
        for each in apart:
            try:
                answers.append((yield each))
            except RedisMemoryError as refusal:
                answers.append(refusal)
        return answers

    @staticmethod
    def _join(call: Call, beside: list[Any]) -> None:
        """Put the answers together; where the call was led elsewhere, the next one begins anew."""
        if not call.answers or any(isinstance(each, ElsewhereError) for each in call.answers):
            call.companions, call.answers = (), ()
        else:
            call.answers = [*beside, *call.answers]

    def _target(self, elsewhere: ElsewhereError) -> NodeT:
        place = elsewhere.place
        if place is not None:
            # without a host: the same one
            host = place[0] or (self._link.place or ("", 0))[0]
            place = (host, place[1])
            if elsewhere.is_asking:
                self.hub.topology.expect(place)
                link: NodeT = self.hub.link_to(place)
                return link
            self.hub.topology.learn(self.slot, place)
        return self.link


class Hub(Router, Generic[NodeT]):
    """The links to all nodes of a cluster, shared by the memories that use it."""

    def __init__(
        self, address: NodeAddress, timeout_s: float, reconnect_max_s: float, replicas: int
    ) -> None:
        super().__init__(address.topology)
        self.address: NodeAddress = address
        self.timeout_s: float = timeout_s
        self.reconnect_max_s: float = reconnect_max_s
        self.replicas: int = replicas
        self.users: int = 0
        self.is_of_client: bool = False
        self.lock: Any = threading.RLock()  # its type has another name in each version of Python
        self.links: dict[Place | None, NodeT] = {}

    def _link(self, address: NodeAddress) -> NodeT:
        raise NotImplementedError

    def link_to(self, place: Place | None) -> NodeT:
        """The link to a node; with None, the one that finds out which nodes there are."""
        link = self.links.get(place)
        if link is None:
            with self.lock:
                address = self.address if place is None else self.address.of(place)
                link = self.links.get(place) or self._link(address)
                link.owner = self
                self.links[place] = link
        return link

    def link_for(self, slot: int) -> NodeT:
        """The link to the node that serves a slot."""
        return self.link_to(self.topology.node(slot))

    @property
    def waiting(self) -> list[Waiter]:
        """Who has changes that wait for any of the nodes."""
        return [waiter for link in list(self.links.values()) for waiter in list(link.waiting)]

    def orphan(self, memory: bytes) -> Any:
        """As of a link."""
        found: Iterator[Any] = (link.orphan(memory) for link in list(self.links.values()))
        return next(filter(None, found), None)
