"""The network of the soak: a proxy in a process of its own, which goes wrong at random."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from tests.faults import FaultProxy, Loss

# how long all is well in between, and how long a fault that has to be ended lasts; in seconds
QUIET_S = (0.01, 0.25)
FAULT_S = (0.005, 0.4)


def carry(upstream: str, seed: str, control: Connection[Any, Any]) -> None:
    """Forward to a server until told to stop; a process's body.

    Sends its url; after `"stop"` all is well for good, and it sends how often each kind of fault
    has struck; whatever comes then ends it.
    """
    parent = os.getppid()
    with FaultProxy(upstream, record=False) as proxy:
        control.send(proxy.url)
        network = Network(proxy, random.Random(seed))
        while os.getppid() == parent and not control.poll(network.pause(QUIET_S)):
            network.strike(control)
        proxy.heal()
        control.recv()
        control.send(network.struck)
        control.recv()


class Network:
    """Chooses the faults and counts those that have struck."""

    def __init__(self, proxy: FaultProxy, chance: random.Random) -> None:
        self.struck: Counter[str] = Counter()
        self._proxy = proxy
        self._random = chance

    def pause(self, between: tuple[float, float]) -> float:
        """A random number of seconds."""
        return self._random.uniform(*between)

    def strike(self, control: Connection[Any, Any]) -> None:
        """Go wrong for a while in one way; less long if told to stop."""
        kind = self._random.choice(list(FAULTS))
        times = self._random.randint(1, 4)
        FAULTS[kind](self._proxy, times)
        control.poll(self.pause(FAULT_S))
        armed = self._proxy.armed
        self._proxy.heal()
        self.struck[kind] += times - int(armed) if kind in COUNTED else 1


def _lost(how: Loss) -> Callable[[FaultProxy, int], None]:
    return lambda proxy, times: proxy.lose_replies(times, how=how)


COUNTED: dict[str, Callable[[FaultProxy, int], None]] = {
    "reset instead of the reply": _lost("reset"),
    "end instead of the reply": _lost("eof"),
    "half a reply": _lost("half"),
    "no reply": _lost("timeout"),
    "reset before the server": lambda proxy, times: proxy.reset_before(times),
}
FAULTS: dict[str, Callable[[FaultProxy, int], None]] = {
    **COUNTED,
    "all connections reset": lambda proxy, _: proxy.drop(),
    "refused": lambda proxy, _: proxy.refuse(),
    "stalled": lambda proxy, _: proxy.stall(),
    "delayed": lambda proxy, times: proxy.delay(0.003 * times, 0.002 * times),
    "sliced": lambda proxy, _: proxy.slice_replies(),
}
