"""A cluster: which node serves which slot, as far as this process knows."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import hiredis
from redis.crc import key_slot
from redis.exceptions import RedisError

from redis_memory.errors import ConfigurationError, RedisMemoryError
from redis_memory.link import failures, seeds
from redis_memory.link.address import Address, own_options
from redis_memory.link.entries import Entries
from redis_memory.link.failures import ElsewhereError, LinkFailureError
from redis_memory.link.seeds import Place
from redis_memory.link.wire import ConnectionWire
from redis_memory.settings import Settings

__all__ = ["NodeAddress", "Topology", "key_slot", "of_settings"]

_log = logging.getLogger("redis_memory")

# How long what the cluster said of itself is not asked again.
_FRESH_S = 0.05
_clusters: dict[Any, Topology] = {}


class Topology:
    """The map of slots, shared by all links and feeds of one cluster in this process.

    `entries` are those that its directories lack. `moves` counts its changes, `losses` how often a
    node has lost slots. `suspects` are nodes that did not answer: before they are tried again, the
    others are asked whether they still serve.
    """

    def __init__(
        self,
        hosts: tuple[Place, ...],
        label: str,
        connect: Callable[[Place, float], Any],
        timeout_s: float,
    ) -> None:
        self.moves: int = 0
        self.losses: Counter[Place | None] = Counter()
        self.suspects: set[Place] = set()
        self.label: str = label
        self.entries: Entries = Entries()
        self._seeds = hosts
        self._connect = connect
        self._timeout_s = timeout_s
        self._slots: dict[int, Place] = {}
        self._primaries: frozenset[Place] = frozenset()
        self._importing: set[Place] = set()
        self._nodes: tuple[Place, ...] = ()
        self._asked_s = float("-inf")
        self._lock = threading.Lock()

    def node(self, slot: int) -> Place | None:
        """Who serves a slot, None when that is not known."""
        return self._slots.get(slot)

    @property
    def primaries(self) -> list[Place]:
        """All nodes that serve slots, in an order of their own."""
        return sorted(self._primaries)

    def serves(self, place: Place | None) -> bool:
        """Does a node serve any slot? Nobody knows before the cluster was asked."""
        return not self._primaries or place in self._primaries or place in self._importing

    def learn(self, slot: int, place: Place) -> None:
        """A node has told who serves a slot instead."""
        with self._lock:
            before = self._slots.get(slot)
            if before != place:
                self._slots[slot] = place
                self._serve(self._primaries | {place})
                self.losses[before] += 1
                self.moves += 1

    def expect(self, place: Place) -> None:
        """A node is about to take over its first slot, perhaps."""
        if place not in self._primaries:
            self._importing.add(place)

    def ensure(self, place: Place | None) -> None:
        """Before a connection is made: find out whether the node still serves. Blocking.

        Raises:
            ElsewhereError: It does not.
            LinkFailureError: No node answers.
            RedisMemoryError: The nodes refuse us, or are no cluster.
        """
        if place is None or place in self.suspects or not self.serves(place):
            self.refresh()
        if place is None or not self.serves(place):
            raise ElsewhereError(f"{self.label} is served by other nodes now")

    def refresh(self) -> None:
        """Ask the nodes, one after the other, for the map of slots. Blocking.

        Takes not much longer than one call may. redis-py's `RedisCluster` is not asked: it takes
        the whole time limit for each dead node, and tells nothing of a refused password.

        Raises:
            LinkFailureError: None answers.
            RedisMemoryError: They refuse us, or are no cluster.
        """
        if monotonic() - self._asked_s < _FRESH_S:
            return
        until_s = monotonic() + self._timeout_s
        failure: RedisMemoryError | LinkFailureError | None = None
        for place in self._candidates():
            left_s = until_s - monotonic()
            if left_s <= 0:
                break
            try:
                rows = self._asked(place, left_s)
            except (RedisMemoryError, LinkFailureError) as error:
                failure = failure if isinstance(failure, RedisMemoryError) else error
                continue
            self.read(rows, place)
            return
        raise failure or LinkFailureError(f"no node of {self.label} answers", in_doubt=False)

    def _candidates(self) -> Iterable[Place]:
        """Whom to ask: who is not suspected first, since whoever is silent takes time."""
        nodes = [place for place in self._nodes if place not in self._seeds]
        # not always the same one: it may be cut off from the others, and know nothing newer
        known = random.sample([*self._seeds, *nodes], len(self._seeds) + len(nodes))
        return sorted(known, key=self.suspects.__contains__)

    def _asked(self, place: Place, left_s: float) -> list[Any]:
        where = f"{self.label} ({place[0]}:{place[1]})"
        connection = self._connect(place, max(left_s / 2, 0.05))
        try:
            try:
                connection.connect()
            except (hiredis.ProtocolError, OSError, RedisError) as error:
                raise failures.from_connecting(error, where) from error
            try:
                reply = ConnectionWire(connection).send(b"CLUSTER", b"SLOTS")
            except (hiredis.ProtocolError, OSError, RedisError) as error:
                raise failures.from_greeting(error, where) from error
        finally:
            connection.disconnect()
        if isinstance(reply, Exception):
            if "cluster support disabled" in str(reply):
                raise ConfigurationError(f"{where} is no cluster: its url begins with redis://")
            raise failures.from_reply(reply)
        if not reply:
            raise LinkFailureError(f"{where} knows of no slots yet", in_doubt=False)
        rows: list[Any] = reply
        return rows

    def read(self, rows: list[Any], asked: Place) -> None:
        """Take over what a node has answered to CLUSTER SLOTS."""
        slots: dict[int, Place] = {}
        nodes: dict[Place, None] = {}
        for first, last, *members in rows:
            # a node that does not know its own address leaves it out
            places = [
                ((bytes(host or b"").decode() or asked[0]), int(port)) for host, port, *_ in members
            ]
            nodes.update(dict.fromkeys(places))
            slots.update(dict.fromkeys(range(first, last + 1), places[0]))
        with self._lock:
            self._nodes = tuple(nodes)
            self._take(slots)
            self._asked_s = monotonic()

    def _take(self, slots: dict[int, Place]) -> None:
        before = self._slots
        changed = {before.get(slot) for slot in before if before[slot] != slots.get(slot)}
        is_new = before != slots
        self._slots = slots
        self._serve(frozenset(slots.values()))
        self._importing -= self._primaries
        self.losses.update(changed)
        self.moves += is_new

    def _serve(self, primaries: frozenset[Place]) -> None:
        before, self._primaries = self._primaries, primaries
        if before not in (frozenset(), primaries):
            places = ", ".join(f"{host}:{port}" for host, port in self.primaries)
            _log.warning("%s: the primaries are %s now", self.label, places)


@dataclass(frozen=True)
class NodeAddress(Address):
    """One node of a cluster; `place` is None for whichever one it will be."""

    topology: Topology = field(kw_only=True)
    place: Place | None = None

    def target(self) -> Any:
        """Another number each time that the node has lost slots."""
        return self.topology.losses[self.place]

    def of(self, place: Place) -> NodeAddress:
        """The address of a node of the same cluster."""
        topology = self.topology
        return NodeAddress(
            f"{self.label} ({place[0]}:{place[1]})",
            self.connection_class,
            {**self.options, "host": place[0], "port": place[1]},
            prepare=lambda: topology.ensure(place),
            must_lead=True,
            topology=topology,
            place=place,
        )


def of_settings(settings: Settings, url: str, *, is_async: bool = False) -> NodeAddress:
    """The cluster that a `redis+cluster://` url names, before any node is known; no I/O.

    Raises:
        ConfigurationError: The url is malformed, or names a database.
    """
    named = seeds.parse(url, is_async=is_async)
    if named.path not in ((), ("0",)):
        raise ConfigurationError(f"write {named.kind}://host:port,host:port: it has one database")
    topology = _topology(settings, url)
    host, port = named.hosts[0]
    own = {**own_options(settings), "driver_info": None, "host": host, "port": port}
    return NodeAddress(
        named.label,
        named.connection_class,
        {**named.options, **own},
        prepare=lambda: topology.ensure(None),
        must_lead=True,
        topology=topology,
    )


def _topology(settings: Settings, url: str) -> Topology:
    """The map of a cluster: one for all who use it, of both faces."""
    key = (url, settings.timeout_s)
    topology = _clusters.get(key)
    if topology is None:
        named = seeds.parse(url)
        options: Mapping[str, Any] = {
            **named.options,
            **own_options(settings),
            "driver_info": None,
        }

        def connect(place: Place, timeout_s: float) -> Any:
            limits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
            where = {"host": place[0], "port": place[1]}
            return named.connection_class(**{**options, **limits, **where})

        made = Topology(named.hosts, named.label, connect, settings.timeout_s)
        topology = _clusters.setdefault(key, made)
    return topology


def renew_locks() -> None:
    """After a fork: the parent's lock may be held by a thread that does not exist here."""
    for topology in _clusters.values():
        topology._lock = threading.Lock()
        topology.entries.after_fork()


def give_up_entries() -> None:
    """The interpreter ends: say what the directories still lack."""
    for topology in _clusters.values():
        topology.entries.give_up(topology.label)
