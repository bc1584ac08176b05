"""What one process knows of one memory: its writer, its attributes, and what waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis_memory.core import contents
from redis_memory.core.attributes import Attribute
from redis_memory.core.blocks import Block
from redis_memory.core.clock import now_us
from redis_memory.core.conflicts import Conflicts
from redis_memory.core.keys import DirectoryKeys, Keys
from redis_memory.core.queue import Queue
from redis_memory.core.sealing import Sealer
from redis_memory.core.values import DEFAULT_LIMITS, Limits
from redis_memory.core.writer import Writer
from redis_memory.errors import InvalidNameError

_MOST_ABSENT = 256
# Two clocks do not count alike.
_SLACK_US = 100_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait, how much is kept to be made again, and how long a call tries."""

    timeout_s: float = 0.5
    queue_operations: int = 100_000
    queue_bytes: int = 256 * 1024 * 1024
    repair_operations: int = 1000
    repair_bytes: int = 4 * 1024 * 1024
    repair_s: float = 60.0


DEFAULT_BOUNDS = Bounds()


class State:
    """One memory as one process knows it."""

    __slots__ = (
        "absent",
        "attributes",
        "block",
        "bounds",
        "conflicts",
        "contact",
        "containers",
        "conversation_id",
        "data_losses",
        "directory",
        "generation",
        "inside",
        "is_emptied",
        "is_waiting",
        "keys",
        "lifetime",
        "limits",
        "listeners",
        "look_s",
        "lost_us",
        "prefix",
        "provisional",
        "queue",
        "sealer",
        "session",
        "suspicion",
        "writer",
    )

    def __init__(
        self,
        prefix: str,
        conversation_id: str | None,
        limits: Limits = DEFAULT_LIMITS,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        conflicts: Conflicts | None = None,
    ) -> None:
        self.keys: Keys = Keys(prefix, conversation_id)
        self.prefix: str = prefix
        self.conversation_id: str | None = conversation_id
        self.directory: DirectoryKeys = DirectoryKeys(prefix)
        self.limits: Limits = limits
        self.inside: Limits = contents.inside(limits)
        self.bounds: Bounds = bounds
        self.writer: Writer = Writer(bounds.repair_operations)
        self.conflicts: Conflicts = conflicts or Conflicts()
        self.queue: Queue = Queue(bounds.queue_operations, bounds.queue_bytes)
        # what keeps the values from the server, where they are encrypted
        self.sealer: Sealer | None = None
        # changes wait: reads are answered from the copies, and no change may overtake them
        self.is_waiting: bool = False
        # changes are held back, to leave together
        self.block: Block | None = None
        # how many states of attributes only this process knows yet
        self.provisional: int = 0
        # `clear` waits: what nothing is known of is not there
        self.is_emptied: bool = False
        # names that were only asked for, and are missing
        self.absent: dict[str, None] = {}
        # the newest version that copies told of which are dropped by now
        self.contact: bytes = b""
        # since when nothing has been heard of the server, by the local clock; 0 while it answers
        self.lost_us: int = 0
        # the attribute that was found older than this process had seen it
        self.suspicion: str | None = None
        self.data_losses: int = 0
        # the lifetime by the settings, as it is stored
        self.lifetime: bytes = b""
        # when a read asks for its end again, by the monotonic clock
        self.look_s: float = 0.0
        # names of containers that this process has not read, and that end with the memory
        self.containers: set[bytes] = set()
        # moved by every reconnection: behind it may be an older or another state of the data, so
        # no proxy from before it is brought up to date by what came since
        self.generation: int = 0
        self.attributes: dict[str, Attribute] = {}
        # the session of the feed that tells of every change, 0 while none does, and who hears of
        # them
        self.session: int = 0
        self.listeners: dict[Any, None] = {}

    @property
    def label(self) -> str:
        """How messages name the memory."""
        if self.conversation_id is None:
            return f"the memory of prefix {self.keys.prefix!r}"
        return f"conversation {self.conversation_id!r}"

    @property
    def identity(self) -> bytes:
        """What memory it is, and under which key: what waits for one is not given to another."""
        sealed = b"" if self.sealer is None else b"\0" + self.sealer.keyring.first
        return self.keys.memory + sealed

    def attribute(self, name: str) -> Attribute:
        """The attribute `name`.

        Raises:
            InvalidNameError: No attribute can have that name.
        """
        attribute = self.attributes.get(name)
        if attribute is None:
            if name == "conversation_id" and self.conversation_id is not None:
                raise InvalidNameError("conversation_id is read-only")
            attribute = self.attributes[name] = Attribute(self.keys, name)
        return attribute

    def forget(self, name: str) -> None:
        """There is no such attribute: of names that were only asked for, so much is kept."""
        attribute = self.attribute(name)
        attribute.copy, attribute.is_absent = None, True
        self.absent[name] = None
        if len(self.absent) > _MOST_ABSENT:
            oldest = next(iter(self.absent))
            del self.absent[oldest]
            if self.attributes[oldest].is_absent:
                del self.attributes[oldest]

    def found(self, names: Iterable[str]) -> None:
        """These attributes are there."""
        for name in names:
            attribute = self.attributes.get(name)
            if attribute is not None:
                attribute.is_absent = False

    def newest(self) -> bytes:
        """The newest version that this process has seen of the memory, b"" when of none."""
        copies = (attribute.copy for attribute in self.attributes.values())
        # a state that only this process knows ends in `?;`
        seen = (c.descriptor[1:14] for c in copies if c and not c.descriptor.endswith(b"?;"))
        return max(self.contact, self.writer.newest[1:14], *seen, b"")

    def distrust(self) -> None:
        """The connection broke: what comes back may be a restored backup, or a lagging replica.

        What is known stays, to answer while the server is away; online it is read again.
        """
        self.generation += 1
        self.writer.due_s = 0.0
        block = self.block
        if not self.provisional:
            self.contact = self.newest()
        for attribute in self.attributes.values():
            # what a block has changed is compared with the server's state when it is sent
            if block is None or attribute.name not in block.views:
                attribute.doubt()
        if block is None:
            self.provisional, self.is_emptied = 0, False

    def has_expired(self) -> bool:
        """Is the lifetime over that this process has last begun again, or seen?"""
        writer = self.writer
        if writer.expired_us:
            return True
        return bool(writer.ends_us) and now_us() + _SLACK_US >= writer.ends_us

    def begin_anew(self) -> None:
        """The lifetime was over: what is there now, if anything, is another memory."""
        self.contact = b""
        for attribute in self.attributes.values():
            # what a block has changed is compared with the server's state when it is sent
            if self.block is None or attribute.name not in self.block.views:
                attribute.doubt()
                attribute.copy, attribute.before = None, b""
        self.renew_writer()
        self.writer.lifetime_ms, self.writer.ends_us = None, 0

    def renew_writer(self) -> None:
        """Begin again as another writer: after a fork, or when the server forgot this one."""
        former, self.writer = self.writer, Writer(self.bounds.repair_operations)
        self.writer.lifetime_ms, self.writer.ends_us = former.lifetime_ms, former.ends_us
        for attribute in self.attributes.values():
            attribute.forget_heads()

    def after_fork(self) -> None:
        """In a forked child: what waits is the parent's."""
        if self.is_waiting:
            self.distrust()
        self.is_waiting = False
        self.queue = Queue(self.queue.most, self.queue.most_bytes, self.queue.open_store)
        self.renew_writer()

    def wait(self) -> None:
        """From now on changes wait."""
        if not self.queue.operations:
            self.contact = self.newest()
            self.queue.begin(self.lost_us or now_us(), self.contact)
        self.is_waiting = True
