"""How a memory stands: online or not, what waits, what was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from redis_memory.face import Core
from redis_memory.link.address import Address


class Standing(Protocol):
    """The link of a memory, as its status sees it."""

    @property
    def address(self) -> Address: ...  # noqa: D102 - the class says it

    @property
    def reconnects(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Status:
    """How a memory stands; none of its values.

    `round_trip_s` is that of one PING, None when offline; `reason` says why it is offline. `feed`
    says whether it is certain that the changes of others are heard of, None when this process does
    not listen. `reconnects` counts how often this process had to connect again. `queued` changes of
    `queued_bytes` wait for the server. `conflicts` counts what met changes of others. `data_loss`
    counts how often the server was found to have forgotten changes that it had acknowledged to
    this memory.
    """

    online: bool
    server: str
    round_trip_s: float | None
    reason: str | None
    read_mode: Literal["strong", "cached"]
    feed: bool | None
    reconnects: int
    queued: int
    queued_bytes: int
    conflicts: int
    data_loss: int

    @classmethod
    def of(
        cls, core: Core, link: Standing, round_trip_s: float | None, reason: str | None
    ) -> Status:
        """How a memory stands after one PING."""
        state = core.state
        return cls(
            online=round_trip_s is not None,
            server=link.address.label,
            round_trip_s=round_trip_s,
            reason=reason,
            read_mode=core.settings.read_mode,
            feed=core.hears,
            reconnects=link.reconnects,
            queued=len(state.queue.operations),
            queued_bytes=state.queue.bytes,
            conflicts=state.conflicts.count,
            data_loss=state.data_losses,
        )


def standing(*, is_online: bool | None, is_closed: bool) -> str:
    """How repr says whether a memory is online."""
    if is_closed:
        return "closed"
    return {None: "not yet connected", True: "online", False: "offline"}[is_online]
