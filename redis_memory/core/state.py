"""What one process knows of one memory: under which numbers it writes, and its copies."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from redis_memory.core import contents
from redis_memory.core.keys import Keys, check_name
from redis_memory.core.scripts import SCRIPTS, Script
from redis_memory.core.values import DEFAULT_LIMITS, Limits
from redis_memory.errors import InvalidNameError

T = TypeVar("T")


_MOST_OPENINGS = 16


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

    __slots__ = ("arguments", "attempts", "head", "packed")
    is_change = False

    def __init__(self, head: Head, *arguments: bytes) -> None:
        self.head: Head = head
        self.arguments: tuple[bytes, ...] = arguments
        self.attempts: int = 0
        # the bytes for the wire, by whoever sends it first
        self.packed: bytes = b""


class NumberedCall(Call):
    """A change. It may be sent again when an answer is lost: the server knows its number."""

    __slots__ = ("turn",)
    is_change = True

    def __init__(self, head: Head, turn: int, *arguments: bytes) -> None:
        self.head = head
        self.arguments: tuple[bytes, ...] = (b"%d" % turn, *arguments)
        self.attempts = 0
        self.packed = b""
        self.turn: int = turn


# A flow yields calls, is sent their replies, and returns a result: logic without I/O.
Flow = Generator[Call, Any, T]


class Writer:
    """Numbers the changes of one process to one memory.

    `unsettled` says that the change after `last` was sent, and that no answer has arrived: it
    must be settled before another one takes its number. `settled` is what the server said of the
    last one that was: its number, status and result.
    """

    __slots__ = ("answered_at_s", "id", "last", "settled", "unsettled")

    def __init__(self) -> None:
        # 9 random bytes: 2**36 writers before two may be expected to meet
        self.id: bytes = b"_w" + os.urandom(9).hex().encode()
        self.last: int = 0
        self.unsettled: bool = False
        # by the monotonic clock
        self.answered_at_s: float = monotonic()
        self.settled: tuple[int, bytes, bytes] = (0, b"", b"")


@dataclass(slots=True)
class Copy:
    """This process's copy of one attribute, as of `descriptor`.

    Plain values in it are never changed in place below their top level: proxies share them.
    `question` is the call that asks whether it is still up to date.
    """

    kind: bytes
    descriptor: bytes
    value: Any
    question: Call | None = None


class Attribute:
    """One attribute of one memory: where it lies, and this process's copy of it."""

    __slots__ = ("_heads", "content", "copy", "encoded", "memory", "name", "reader", "resets")

    def __init__(self, keys: Keys, name: str) -> None:
        self.name: str = name
        self.encoded: bytes = check_name(name)
        self.memory: bytes = keys.memory
        self.content: bytes = keys.content(self.encoded)
        self.reader: Head = Head.script(SCRIPTS["read"], (self.memory, self.content), self.encoded)
        self.copy: Copy | None = None
        # how often this process has assigned or deleted it as a whole
        self.resets: int = 0
        self._heads: dict[str, Head] = {}

    def head(self, script: str, writer: Writer) -> Head:
        """The head of a change of this attribute by `writer`, the only one until `forget_heads`."""
        head = self._heads.get(script)
        if head is None:
            keys = (self.memory, self.content)
            head = self._heads[script] = Head.script(SCRIPTS[script], keys, writer.id, self.encoded)
        return head

    def forget_heads(self) -> None:
        """Another writer takes over."""
        self._heads.clear()


class State:
    """One memory as one process knows it."""

    __slots__ = (
        "attributes",
        "conversation_id",
        "data_losses",
        "generation",
        "inside",
        "keys",
        "limits",
        "writer",
    )

    def __init__(
        self,
        prefix: str,
        conversation_id: str | None,
        limits: Limits = DEFAULT_LIMITS,
        writer: Writer | None = None,
    ) -> None:
        self.keys: Keys = Keys(prefix, conversation_id)
        self.conversation_id: str | None = conversation_id
        self.limits: Limits = limits
        self.inside: Limits = contents.inside(limits)
        self.writer: Writer = writer or Writer()
        self.data_losses: int = 0
        # moved by every reconnection: behind it may be an older or another state of the data, so
        # no copy from before it is brought up to date by what came since
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
        """There is no such attribute: nothing is kept for a name that was only asked for."""
        self.attributes.pop(name, None)

    def distrust(self) -> None:
        """The connection broke: what comes back may be a restored backup, or a lagging replica."""
        self.generation += 1
        for attribute in self.attributes.values():
            attribute.copy = None

    def renew_writer(self) -> None:
        """Begin again as another writer: after a fork, or when the server forgot this one."""
        self.writer = Writer()
        for attribute in self.attributes.values():
            attribute.forget_heads()
