"""What one process knows of one memory: under which numbers it writes, and its copies."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from redis_memory.core import contents
from redis_memory.core.clock import now_us
from redis_memory.core.conflicts import Conflicts
from redis_memory.core.keys import Keys, check_name
from redis_memory.core.queue import Queue
from redis_memory.core.scripts import SCRIPTS, Script
from redis_memory.core.values import DEFAULT_LIMITS, Limits
from redis_memory.errors import InvalidNameError

T = TypeVar("T")


_MOST_OPENINGS = 16
# The scripts that note when something was deleted, or look into such notes.
_KEEPS_STAMPS = frozenset({"list", "dict", "set", "assign", "swap", "increment", "delete", "clear"})
_MOST_ABSENT = 256


class Head:
    """The part of a command that stays the same from call to call."""

    __slots__ = ("_openings", "parts")

    def __init__(self, *parts: bytes) -> None:
        self.parts: tuple[bytes, ...] = parts
        self._openings: dict[int, bytes] = {}

    def opening(self, arguments: int) -> bytes:
        """How a command with that many arguments behind this head begins on the wire."""
        opening = self._openings.get(arguments)
        if opening is None:
            packed = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in self.parts)
            opening = b"*%d\r\n%b" % (len(self.parts) + arguments, packed)
            # not for every length of list that is ever assigned
            if arguments < _MOST_OPENINGS:
                self._openings[arguments] = opening
        return opening

    @classmethod
    def script(cls, script: Script, keys: tuple[bytes, ...], *arguments: bytes) -> Head:
        """The head of an EVALSHA of `script`."""
        return cls(b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *arguments)


class Call:
    """One command that only reads. `attempts` counts how often it was sent."""

    __slots__ = ("arguments", "attempts", "head", "packed", "replicas")
    is_change = False

    def __init__(self, head: Head, *arguments: bytes) -> None:
        self.head: Head = head
        self.arguments: tuple[bytes, ...] = arguments
        self.attempts: int = 0
        # replicas that have it, where that was asked for
        self.replicas: int = 0
        # the bytes for the wire, by whoever sends it first
        self.packed: bytes = b""


class NumberedCall(Call):
    """A change. It may be sent again when an answer is lost: the server knows its number.

    `answered_at_s` is when it was acknowledged, by the monotonic clock.
    """

    __slots__ = ("answered_at_s", "turn")
    is_change = True

    def __init__(self, head: Head, turn: int, *arguments: bytes) -> None:
        self.head = head
        self.arguments: tuple[bytes, ...] = (b"%d" % turn, *arguments)
        self.attempts = 0
        self.replicas = 0
        self.packed = b""
        self.turn: int = turn
        self.answered_at_s: float = 0.0


class Batch(Call):
    """Several numbered changes at once."""

    __slots__ = ()
    is_change = True


# A flow yields calls, is sent their replies, and returns a result: logic without I/O.
Flow = Generator[Call, Any, T]


class Writer:
    """Numbers the changes of one process to one memory.

    `unsettled` says that something must be settled before another change takes a number: the one
    after `last` was sent, and no answer has arrived; or changes wait, and `last` is the last of
    them. `settled` is what the server said of the last one that was: its number, status and
    result. `window` are the changes that it acknowledged of late, to be made again should it
    forget them, and `newest` is a descriptor out of the last answer.
    """

    __slots__ = (
        "answered_at_s",
        "id",
        "kept_bytes",
        "last",
        "newest",
        "settled",
        "unsettled",
        "window",
    )

    def __init__(self, kept: int = 1000) -> None:
        # 9 random bytes: 2**36 writers before two may be expected to meet
        self.id: bytes = b"_w" + os.urandom(9).hex().encode()
        self.last: int = 0
        self.unsettled: bool = False
        # by the monotonic clock
        self.answered_at_s: float = monotonic()
        self.settled: tuple[int, bytes, bytes] = (0, b"", b"")
        self.newest: bytes = b""
        self.window: deque[Any] = deque(maxlen=kept)
        self.kept_bytes: int = 0


@dataclass(slots=True)
class Copy:
    """This process's copy of one attribute, as of `descriptor`.

    Plain values in it are never changed in place below their top level: proxies share them.
    `question` is the call that asks whether it is still up to date. `unseen` are the packed values
    that this process has pushed since.
    """

    kind: bytes
    descriptor: bytes
    value: Any
    question: Call | None = None
    unseen: list[bytes] | None = None


class Attribute:
    """One attribute of one memory: where it lies, and this process's copy of it.

    While changes of it wait, `confirmed` is the descriptor of the last state of the server's that
    the copy began from. `before` is that of a copy which is not followed any more, b"" without one.
    `is_absent`: it was last seen to be missing, and this process has not changed it since.
    """

    __slots__ = (
        "_heads",
        "before",
        "confirmed",
        "content",
        "copy",
        "encoded",
        "is_absent",
        "memory",
        "name",
        "reader",
        "resets",
        "stamps",
    )

    def __init__(self, keys: Keys, name: str) -> None:
        self.name: str = name
        self.encoded: bytes = check_name(name)
        self.memory: bytes = keys.memory
        self.content: bytes = keys.content(self.encoded)
        self.reader: Head = Head.script(SCRIPTS["read"], (self.memory, self.content), self.encoded)
        self.stamps: bytes = keys.stamps
        self.copy: Copy | None = None
        self.confirmed: bytes | None = None
        self.before: bytes = b""
        self.is_absent: bool = False
        # how often this process has assigned or deleted it as a whole
        self.resets: int = 0
        self._heads: dict[str, Head] = {}

    def head(self, script: str, writer: Writer) -> Head:
        """The head of a change of this attribute by `writer`, the only one until `forget_heads`."""
        self.is_absent = False
        head = self._heads.get(script)
        if head is None:
            keys: tuple[bytes, ...] = (self.memory, self.content)
            if script in _KEEPS_STAMPS:
                keys = (*keys, self.stamps)
            head = self._heads[script] = Head.script(SCRIPTS[script], keys, writer.id, self.encoded)
        return head

    def doubt(self) -> None:
        """Do not follow the copy any more: it only answers while the server is away."""
        copy = self.copy
        known = self.confirmed if self.confirmed is not None else copy.descriptor if copy else b""
        self.before = known or self.before
        self.confirmed = None
        if copy is not None:
            copy.descriptor = b""

    def forget_heads(self) -> None:
        """Another writer takes over."""
        self._heads.clear()


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
        "bounds",
        "conflicts",
        "contact",
        "conversation_id",
        "data_losses",
        "generation",
        "inside",
        "is_emptied",
        "is_waiting",
        "keys",
        "limits",
        "lost_us",
        "prefix",
        "provisional",
        "queue",
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
        self.limits: Limits = limits
        self.inside: Limits = contents.inside(limits)
        self.bounds: Bounds = bounds
        self.writer: Writer = Writer(bounds.repair_operations)
        self.conflicts: Conflicts = conflicts or Conflicts()
        self.queue: Queue = Queue(bounds.queue_operations, bounds.queue_bytes)
        # changes wait: reads are answered from the copies, and no change may overtake them
        self.is_waiting: bool = False
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
        # moved by every reconnection: behind it may be an older or another state of the data, so
        # no proxy from before it is brought up to date by what came since
        self.generation: int = 0
        self.attributes: dict[str, Attribute] = {}

    @property
    def label(self) -> str:
        """How messages name the memory."""
        if self.conversation_id is None:
            return f"the memory of prefix {self.keys.prefix!r}"
        return f"conversation {self.conversation_id!r}"

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
        if not self.provisional:
            self.contact = self.newest()
        for attribute in self.attributes.values():
            attribute.doubt()
        self.provisional, self.is_emptied = 0, False

    def renew_writer(self) -> None:
        """Begin again as another writer: after a fork, or when the server forgot this one."""
        self.writer = Writer(self.bounds.repair_operations)
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
