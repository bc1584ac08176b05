"""The instruments of this process: what is counted and timed, under which names and attributes."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
from opentelemetry.trace import Tracer, TracerProvider, get_tracer

from redis_memory.link.address import Address
from redis_memory.link.cluster import NodeAddress

Attributes = Mapping[str, str | int]

_SCOPE = "redis_memory"
ROUND_TRIPS = "db.client.operation.duration"
OPERATIONS = "redis_memory.operation.duration"
# OpenTelemetry advises to begin at 1 ms; a call to a server nearby takes a tenth of that.
SECONDS = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)


class Watched(Protocol):
    """A link or a feed, as the gauges see it. Asked in the thread that exports."""

    @property
    def server(self) -> Attributes:
        """Which server it leads to."""
        raise NotImplementedError

    def gauges(self) -> Iterable[tuple[str, float]]:
        """What each gauge that it knows shows now."""
        raise NotImplementedError


class Instruments:
    """What is measured of all memories of a process, by the providers that the program has set.

    A provider may be set later than this is made; what happened before then is counted nowhere.
    """

    def __init__(
        self, meters: MeterProvider | None = None, tracers: TracerProvider | None = None
    ) -> None:
        meter = get_meter(_SCOPE, _version(), meters)
        self.names: set[str] = {ROUND_TRIPS, OPERATIONS}
        self.tracer: Tracer = get_tracer(_SCOPE, _version(), tracers)
        self.round_trips: Any = meter.create_histogram(
            ROUND_TRIPS,
            "s",
            "Duration of one call to the server, as each attempt took it",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.operations: Any = meter.create_histogram(
            OPERATIONS,
            "s",
            "Duration of what a program asked a memory or a directory for",
            explicit_bucket_boundaries_advisory=SECONDS,
        )

        def counter(name: str, unit: str, description: str) -> Any:
            self.names.add(f"{_SCOPE}.{name}")
            return meter.create_counter(f"{_SCOPE}.{name}", unit, description)

        self.outages: Any = counter("outages", "{outage}", "How often a server was given up")
        self.reconnects: Any = counter(
            "reconnects", "{reconnect}", "Connections that broke, and servers that came back"
        )
        self.conflicts: Any = counter(
            "conflicts", "{conflict}", "Changes that waited, and met those of others"
        )
        self.replayed: Any = counter("replayed", "{change}", "Changes that waited, delivered")
        self.data_losses: Any = counter(
            "data_losses", "{event}", "How often a server had forgotten acknowledged changes"
        )
        self.messages: Any = counter("feed.messages", "{message}", "Changes heard of by the feed")
        self.feed_losses: Any = counter("feed.losses", "{loss}", "How often the feed was lost")
        self._watched: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._lock = threading.RLock()
        for name, unit, description in _GAUGES:
            self.names.add(f"{_SCOPE}.{name}")
            meter.create_observable_gauge(
                f"{_SCOPE}.{name}", [self._observing(name)], unit, description
            )
        _every.add(self)

    def watch(self, watched: Watched) -> None:
        """Show a link or a feed in the gauges for as long as it lives."""
        with self._lock:
            self._watched.add(watched)

    def watched(self) -> list[Watched]:
        """What the gauges show."""
        with self._lock:
            return list(self._watched)

    def after_fork(self) -> None:
        """In a forked child: a thread that does not exist here may have held the lock."""
        self._lock = threading.RLock()

    def _observing(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        # added up where several lead to one server, but for ages and what is either so or not
        merge: Callable[[float, float], float] = max if name in _LARGEST else float.__add__

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            shown: dict[tuple[tuple[str, str | int], ...], float] = {}
            for one in self.watched():
                key = tuple(sorted(one.server.items()))
                for gauge, value in one.gauges():
                    if gauge == name:
                        shown[key] = merge(shown.get(key, 0.0), float(value))
            return [Observation(value, dict(key)) for key, value in shown.items()]

        return observe


_GAUGES = (
    ("queue.length", "{change}", "Changes that wait for the server"),
    ("queue.size", "By", "The bytes that they have"),
    ("away", "{server}", "1 while the server counts as away, else 0"),
    ("feed.lag", "s", "How long ago the last ping was sent that the feed has answered"),
)
_LARGEST = ("away", "feed.lag")
_every: weakref.WeakSet[Instruments] = weakref.WeakSet()
_making = threading.RLock()


def current() -> Instruments:
    """Those of this process, made when they are first needed."""
    # two threads would else make gauges of the same names, each with half of the links
    with _making:
        return _made()


@lru_cache(maxsize=1)
def _made() -> Instruments:
    return Instruments()


def server_attributes(address: Address) -> Attributes:
    """Which server an address leads to, in OpenTelemetry's words; never a user or a password.

    One that may be elsewhere the next time goes by the name that it has in messages.
    """
    options = address.options
    attributes: dict[str, str | int] = {
        "db.system.name": "redis",
        "db.namespace": str(options.get("db") or 0),
    }
    is_fixed = isinstance(address, NodeAddress) and address.place is not None
    if options.get("path"):
        attributes["server.address"] = str(options["path"])
    elif options.get("host") and (is_fixed or not address.must_lead) and not address.is_fake:
        attributes["server.address"] = str(options["host"])
        attributes["server.port"] = int(options.get("port") or 6379)
    else:
        attributes["server.address"] = address.label
    return attributes


def error_type(error: BaseException) -> str:
    """The name of what went wrong, one of a few."""
    return type(error).__name__


@lru_cache(maxsize=1)
def _version() -> str:
    try:
        return version("redis_memory")
    except PackageNotFoundError:  # it runs from a folder, and was never installed
        return ""


def _after_fork() -> None:
    global _making  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _making = threading.RLock()
    for instruments in list(_every):
        instruments.after_fork()


os.register_at_fork(after_in_child=_after_fork)
