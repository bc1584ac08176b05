"""What the blocking and the async face of a memory share: opening, reading, repr, pickling."""

from __future__ import annotations

import sys
from math import inf
from sys import getrefcount
from typing import Any, ClassVar, Protocol

from redis_memory import encryption_keys
from redis_memory.cached import UNKNOWN, CachedReads
from redis_memory.core import comparing, counting, flows, lifetime, pushing, reading, replica
from redis_memory.core.attributes import Copy
from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import MISSING, Conflicts
from redis_memory.core.descriptor import CONTAINERS, LIST
from redis_memory.core.sealing import Keyring, Sealer
from redis_memory.core.sources import Source
from redis_memory.core.state import Bounds, State
from redis_memory.core.values import Limits
from redis_memory.errors import CorruptValueError, InvalidNameError, OfflineError
from redis_memory.link import credentials
from redis_memory.origins import Host, is_second_half, wrapped
from redis_memory.settings import Settings, resolve

CORE = "_redis_memory_core"

# How many references `sys.getrefcount` sees to a proxy that only `Core.spares` holds: that one, the
# local variable of `Core.value`, and its own argument.
_UNSHARED = 3
_COUNTS_REFERENCES = (
    sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)


class Seen(Protocol):
    """The names that whoever runs now (a thread, a task) last saw to be missing."""

    @property
    def missing(self) -> set[str]: ...  # noqa: D102 - the class says it


class Core(CachedReads):
    """What stands behind one memory object, in either face. Its methods are flows."""

    __slots__ = ("__weakref__", "host", "is_injected", "seen", "settings", "spares")
    is_awaited: ClassVar[bool]

    def __init__(
        self, state: State, settings: Settings, host: Host, seen: Seen, *, is_injected: bool
    ) -> None:
        self.state: State = state
        self.settings: Settings = settings
        self.host: Host = host
        # not for the whole memory: another thread or task may create, meanwhile, what this saw
        # missing
        self.seen: Seen = seen
        self.is_injected: bool = is_injected
        self.spares: dict[str, Any] = {}

    def reading(self, name: str) -> Flow[Any]:
        """What an attribute reads as, `MISSING` when there is none."""
        if self.is_cached and (value := self.known(name)) is not UNKNOWN:
            return value
        state = self.state
        attribute = state.attribute(name)
        if state.is_waiting or state.block is not None:
            copy = yield from reading.read(state, name)
            return self.shown(name, copy)
        asked = reading.question(attribute)
        copy, known, generation = attribute.copy, asked.arguments[0], state.generation
        session = state.session
        begun_s = lifetime.ask_too(state, asked)
        try:
            reply = yield asked
        except OfflineError as error:
            return self.shown(name, replica.answer(state, name, error))
        ends_s = lifetime.end_s(state, asked, begun_s) if begun_s else inf
        is_same_copy = attribute.copy is copy and (copy is None or copy.descriptor is known)
        if not is_same_copy or generation != state.generation:
            # a signal handler has read or changed it, or the connection broke
            copy = yield from reading.read(state, name)
        elif reply == b"same":
            attribute.confirm(session, ends_s)
        else:
            copy = reading.understood(state, attribute, reply)
            attribute.confirm(session, ends_s)
            if state.suspicion is not None:
                copy = yield from reading.read(state, name)
        return self.shown(name, copy)

    def reading_there(self, name: str) -> Flow[Any]:
        """As `reading`, and only by the server.

        Raises:
            OfflineError: It is away.
        """
        return self.shown(name, (yield from reading.read(self.state, name, may_recall=False)))

    def notice(self, name: str) -> None:
        """Whoever runs now has seen that the attribute is there."""
        missing = self.seen.missing
        if missing:
            missing.discard(name)

    def shown(self, name: str, copy: Copy | None) -> Any:
        """What an attribute reads as of which this is known."""
        missing = self.seen.missing
        if copy is None:
            missing.add(name)
            self.spares.pop(name, None)
            self.state.forget(name)
            return MISSING
        self.notice(name)
        return self.value(name, copy)

    def value(self, name: str, copy: Copy) -> Any:
        """What an attribute reads as.

        The proxy given out before is given out again when nobody holds it any more and it is still
        up to date: filling another one takes as long as the list is long.
        """
        if copy.kind not in CONTAINERS and not isinstance(copy.value, tuple):
            return copy.value
        spare, block = self.spares.get(name), self.state.block
        # a block that has changed it holds it too
        holders = _UNSHARED + (block is not None and id(spare) in block.boxes)
        if (
            spare is not None
            and _COUNTS_REFERENCES
            and getrefcount(spare) == holders
            and spare._origin.place.source.known == copy.descriptor
        ):
            spare._origin.is_reassigned = False
            return spare
        attribute = self.state.attribute(name)
        scalar = None if copy.kind in CONTAINERS else copy.value
        source = Source(self.state, attribute, copy.descriptor, scalar)
        value = wrapped(copy.value, self.host, source)
        if scalar is None:
            self.spares[name] = value
        return value

    def assigning(self, name: str, value: Any) -> Flow[None]:
        """Assign; an empty container only creates what was last seen to be missing."""
        if is_second_half(value, self.state.attribute(name), ()):
            return
        missing = self.seen.missing
        is_empty = isinstance(value, (list, dict, set, tuple, frozenset)) and not value
        only_if_missing = is_empty and name in missing
        yield from flows.assign(self.state, name, value, only_if_missing=only_if_missing)
        missing.discard(name)
        self.spares.pop(name, None)

    def deleting(self, name: str) -> Flow[bool]:
        """Delete an attribute; whether there was one."""
        try:
            was_there = yield from flows.delete(self.state, name)
        except InvalidNameError:
            return False
        self.seen.missing.add(name)
        self.spares.pop(name, None)
        return was_there

    def finding(self, name: str) -> Flow[bool]:
        """Whether an attribute is stored."""
        if self.is_cached and self.state.block is None:  # read: next time nobody is asked
            try:
                return (yield from self.reading(name)) is not MISSING
            except CorruptValueError:
                return True
        found = yield from flows.exists(self.state, name)
        missing = self.seen.missing
        (missing.discard if found else missing.add)(name)
        return found

    def defaulting(self, name: str, value: Any) -> Flow[Any]:
        """Store a value unless there is one; what the attribute reads as then."""
        copy = yield from flows.setdefault(self.state, name, value)
        self.seen.missing.discard(name)
        return self.value(name, copy)

    def pushing(self, name: str, values: tuple[Any, ...]) -> Flow[int | None]:
        """Append without reading first; the length of the list then, None while it waits."""
        length = yield from pushing.push(self.state, name, *values)
        self.seen.missing.discard(name)
        if self.is_cached and length is not None:
            attribute = self.state.attribute(name)
            copy = attribute.copy
            if copy is not None and copy.kind != LIST:
                # others have deleted what this process knew; the feed may not have told it yet
                attribute.doubt()
                attribute.copy = None
        return length

    def incrementing(self, name: str, by: counting.Number) -> Flow[counting.Number | None]:
        """Add to a number; the sum, None while it waits."""
        total = yield from counting.increment(self.state, name, by)
        self.seen.missing.discard(name)
        return total

    def comparing(self, name: str, expected: Any, new: Any) -> Flow[bool]:
        """Store a value, or delete the attribute, if it equals another; whether it did."""
        is_stored = yield from comparing.compare_and_set(self.state, name, expected, new)
        if is_stored:
            missing = self.seen.missing
            (missing.add if new is MISSING else missing.discard)(name)
            self.spares.pop(name, None)
        return is_stored

    def forget_block(self, missing: set[str]) -> None:
        """A block was not made: whoever runs now has seen these names to be missing, as before."""
        self.seen.missing.clear()
        self.seen.missing.update(missing)
        self.spares.clear()

    def windowing(self, name: str, start: int | None, stop: int | None) -> Flow[list[Any] | None]:
        """A part of a list, None when it is missing."""
        values = yield from pushing.window(self.state, name, start, stop)
        missing = self.seen.missing
        (missing.add if values is None else missing.discard)(name)
        return values

    def collecting(self) -> Flow[dict[str, Any]]:
        """All attributes, in plain values."""
        values = yield from flows.snapshot(self.state)
        self.seen.missing.difference_update(values)
        return values

    def naming(self) -> Flow[list[str]]:
        """The names of the stored attributes, sorted."""
        names = yield from flows.names(self.state)
        self.seen.missing.difference_update(names)
        return names

    def clearing(self) -> Flow[None]:
        """Delete every attribute."""
        yield from flows.clear(self.state)
        self.spares.clear()
        self.seen.missing.update(self.state.attributes)


class Face:
    """The base of both memories."""

    def _open(
        self,
        conversation_id: str | None,
        url: str | None,
        prefix: str | None,
        client: Any,
        settings: Settings | None,
        options: dict[str, Any],
    ) -> None:
        if client is not None and url is not None:
            raise TypeError("give either url or client, not both")
        resolved = resolve(url, prefix, settings, options)
        limits = Limits(resolved.max_value_bytes, resolved.max_depth, resolved.max_nodes)
        conflicts = Conflicts(resolved.conflict, resolved.on_conflict)
        bounds = Bounds(
            resolved.timeout_s,
            resolved.queue_operations,
            resolved.queue_bytes,
            resolved.repair_operations,
            resolved.repair_bytes,
            resolved.repair_s,
        )
        state = State(resolved.prefix, conversation_id, limits, bounds=bounds, conflicts=conflicts)
        if resolved.encryption_key is not None:
            encryption_keys.remember(resolved.encryption_key.get_secret_value())
            state.sealer = Sealer(Keyring(resolved.encryption_keys), state.keys.memory)
        if resolved.ttl_s is not None:
            state.lifetime = b"s%d" % lifetime.checked(resolved.ttl_s)
        self.__dict__[CORE] = self._connect(state, resolved, client)

    def _connect(self, state: State, settings: Settings, client: Any) -> Core:
        """What this face puts behind a memory; no I/O."""
        raise NotImplementedError

    def _standing(self) -> tuple[str, str]:
        """The server, and whether the memory is online, for repr."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return True  # `if memory:` asks whether there is one, not whether it is empty

    def __repr__(self) -> str:
        core: Core | None = self.__dict__.get(CORE)
        if core is None:
            return f"<{type(self).__name__}, not opened>"
        server, standing = self._standing()
        queued = len(core.state.queue.operations)
        waiting = f", {queued} queued" if queued else ""
        return f"<{type(self).__name__}: {core.state.label} at {server}, {standing}{waiting}>"

    def __reduce__(self) -> tuple[Any, ...]:
        core: Core = self.__dict__[CORE]
        if core.is_injected:
            raise TypeError("a memory opened with client= cannot be pickled; open it with a url")
        fields = core.settings.model_dump()
        url = core.settings.address
        fields["url"] = None if url is None else credentials.without_password(url)
        # where the pickle is opened, the environment tells it
        del fields["sentinel_password"]
        secret = fields["encryption_key"]
        if secret is not None:
            fields["encryption_key"] = encryption_keys.fingerprint(secret.get_secret_value())
        own = {name: value for name, value in self.__dict__.items() if name != CORE}
        return _reopened, (type(self), core.state.conversation_id, fields), own or None

    def __setstate__(self, own: dict[str, Any]) -> None:
        self.__dict__.update(own)


def _reopened(kind: type[Face], conversation_id: str | None, fields: dict[str, Any]) -> Face:
    """Open a memory that was pickled, with the password that is known here."""
    if fields["url"] is not None:
        fields = {**fields, "url": credentials.completed(fields["url"])}
    if fields.get("encryption_key") is not None:
        key = encryption_keys.recalled(fields["encryption_key"])
        fields = {**fields, "encryption_key": key}
    memory = kind.__new__(kind)
    memory._open(conversation_id, None, None, None, Settings(**fields), {})
    return memory


def no_memory(given: object) -> TypeError:
    """The error for something else in the place of a memory."""
    return TypeError(f"a memory is expected here, not {type(given).__name__}")


def missing(core: Core, name: str, memory: object) -> AttributeError:
    """The error for an attribute that is not stored."""
    return AttributeError(f"{core.state.label} has no attribute {name!r}", name=name, obj=memory)
