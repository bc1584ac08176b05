"""What flows yield: single commands, numbered changes, batches of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from redis_memory.core.scripts import Script

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
    """One command that only reads. `attempts` counts how often it was sent.

    `companions` are sent right before it, in the same packet, and are answered with it:
    `answers` are their replies, an error as an exception that is not raised.
    """

    __slots__ = ("answers", "arguments", "attempts", "companions", "head", "packed", "replicas")
    is_change = False
    # may its key lie in another slot of a cluster than the memory whose driver sends it?
    is_apart = False
    # is it one that is of use later, too: an entry of the directory?
    is_entry = False

    def __init__(self, head: Head, *arguments: bytes) -> None:
        self.head: Head = head
        self.arguments: tuple[bytes, ...] = arguments
        self.attempts: int = 0
        # replicas that have it, where that was asked for
        self.replicas: int = 0
        # the bytes for the wire, by whoever sends it first
        self.packed: bytes = b""
        self.companions: Sequence[Call] = ()
        self.answers: Sequence[Any] = ()


class Apart(Call):
    """One that is about the directory, whose slot is its own."""

    __slots__ = ()
    is_apart = True


class Entering(Apart):
    """One that enters a conversation in the directory."""

    __slots__ = ()
    is_entry = True


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
        self.companions: Sequence[Call] = ()
        self.answers: Sequence[Any] = ()
        self.turn: int = turn
        self.answered_at_s: float = 0.0


class Batch(Call):
    """Several numbered changes at once."""

    __slots__ = ()
    is_change = True


class Errand:
    """Something to be done with a file: `work` is called, and may take a while."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work: Callable[[], Any] = work


# A flow yields calls, is sent their replies, and returns a result: logic without I/O.
Flow = Generator[Call, Any, T]
# The same with errands in between.
Course = Generator[Call | Errand, Any, T]
