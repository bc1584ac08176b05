"""Memory and ConversationMemory: attributes that live in Redis, blocking."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Self, TypeVar
from uuid import UUID

from redis_memory.core import flows, reading
from redis_memory.core.descriptor import CONTAINERS
from redis_memory.core.keys import normal_id
from redis_memory.core.sources import Source
from redis_memory.core.state import Copy, Flow, State
from redis_memory.core.values import Limits
from redis_memory.errors import InvalidNameError
from redis_memory.link import credentials, links
from redis_memory.link.driver import Driver
from redis_memory.proxies import is_second_half, wrapped
from redis_memory.settings import Settings, resolve

T = TypeVar("T")

_CORE = "_redis_memory_core"
_MISSING = object()

# How many references `sys.getrefcount` sees to a proxy that only `Core.spares` holds: that one, the
# local variable of `Core.value`, and its own argument.
_UNSHARED = 3
_COUNTS_REFERENCES = (
    sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)


class _Seen(threading.local):
    """The names that a thread last saw to be missing."""

    def __init__(self) -> None:
        self.missing: set[str] = set()


class Core:
    """What stands behind one memory object."""

    __slots__ = ("_release", "driver", "is_injected", "seen", "settings", "spares", "state")

    def __init__(
        self, settings: Settings, conversation_id: str | None, client: Any = None
    ) -> None:
        link = links.open_link(settings, client)
        limits = Limits(settings.max_value_bytes, settings.max_depth, settings.max_nodes)
        self.state = State(settings.prefix, conversation_id, limits)
        writer = links.idle_writers.take(link.address.label, self.state.keys.memory)
        if writer is not None:
            self.state.writer = writer
        self.driver = Driver(self.state, link)
        # of the driver, not of the memory: a proxy may outlive the memory it was read from
        self._release = weakref.finalize(self.driver, links.release, link, self.state)
        self._release.atexit = False
        self.settings = settings
        self.is_injected = client is not None
        # per thread: another one may have created, meanwhile, what this one saw missing
        self.seen = _Seen()
        self.spares: dict[str, Any] = {}

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        return self.driver.run(flow)

    def reading(self, name: str) -> Flow[Any]:
        """What an attribute reads as, `_MISSING` when there is none."""
        attribute = self.state.attribute(name)
        reply = yield reading.question(attribute)
        copy = attribute.copy
        if reply != b"same" or copy is None:
            copy = reading.understood(self.state, attribute, reply)
        missing = self.seen.missing
        if copy is None:
            missing.add(name)
            return _MISSING
        if missing:
            missing.discard(name)
        return self.value(name, copy)

    def value(self, name: str, copy: Copy) -> Any:
        """What an attribute reads as.

        The proxy given out before is given out again when nobody holds it any more and it is still
        up to date: filling another one takes as long as the list is long.
        """
        if copy.kind not in CONTAINERS and not isinstance(copy.value, tuple):
            return copy.value
        spare = self.spares.get(name)
        if (
            spare is not None
            and _COUNTS_REFERENCES
            and sys.getrefcount(spare) == _UNSHARED
            and spare._origin.place.source.known == copy.descriptor
        ):
            spare._origin.is_reassigned = False
            return spare
        attribute = self.state.attribute(name)
        scalar = None if copy.kind in CONTAINERS else copy.value
        source = Source(self.state, attribute, copy.descriptor, scalar)
        value = wrapped(copy.value, self.driver, source)
        if scalar is None:
            self.spares[name] = value
        return value

    def assign(self, name: str, value: Any) -> None:
        """Assign; an empty container only creates what this thread last saw to be missing."""
        if is_second_half(value, self.state.attribute(name), ()):
            return
        missing = self.seen.missing
        is_empty = isinstance(value, (list, dict, set)) and not value
        only_if_missing = is_empty and name in missing
        self.run(flows.assign(self.state, name, value, only_if_missing=only_if_missing))
        missing.discard(name)

    def delete(self, name: str) -> bool:
        """Delete an attribute; whether there was one."""
        was_there = self.run(flows.delete(self.state, name))
        self.seen.missing.add(name)
        return was_there

    def exists(self, name: str) -> bool:
        """Whether an attribute is stored."""
        found = self.run(flows.exists(self.state, name))
        (self.seen.missing.discard if found else self.seen.missing.add)(name)
        return found

    def close(self) -> None:
        """Close the memory, and the connections if it was the last one to use them."""
        self.driver.close()
        self._release()
        links.close_unused(self.driver.link)


def core_of(memory: Memory) -> Core:
    """What stands behind a memory, for the functions that take one."""
    core: Core = memory.__dict__[_CORE]
    return core


class Memory:
    """Attributes that live in Redis and are shared by all processes with the same prefix.

    `memory.x`, `memory.x = value` and `del memory.x`, or `memory["x"]` where a name is no
    identifier. Names that begin with an underscore stay ordinary Python attributes. A list, dict or
    set reads as a proxy whose every change is written through. Everything else that can be done
    with a memory is a function that takes it, so that all names are the user's.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `embedded://` or `memory://`. Without one,
            `REDIS_MEMORY_URL`, `REDIS_URL`, `REDIS_HOST` with `REDIS_PORT`, else the embedded
            server.
        prefix: What the Redis keys begin with; `REDIS_PREFIX`, else `memory:`.
        client: A redis-py or valkey-py client whose server and credentials are used, through
            connections of our own.
        settings: Used as they are where an option is not given.
        options: Fields of `Settings`; also `redis_hostname`, `redis_port`, `redis_prefix`.

    Raises:
        TypeError: An option is unknown; the message names the nearest one.
        ConfigurationError: A value or the url cannot work.

    Cost: opening one touches no network. Each read is one round trip, O(1) when nothing has
    changed; each write is one round trip.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        client: Any = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self._open(None, url, prefix, client, settings, options)

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
        self.__dict__[_CORE] = Core(resolved, conversation_id, client)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # or copy and pickle recurse before __init__ has run
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        core: Core = self.__dict__[_CORE]
        try:
            value = core.driver.run(core.reading(name))
        except InvalidNameError:
            value = _MISSING
        if value is _MISSING:
            raise AttributeError(f"{core.state.label} has no attribute {name!r}", name=name, obj=self)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self._check_writable(name, AttributeError)
            core_of(self).assign(name, value)

    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            object.__delattr__(self, name)
            return
        self._check_writable(name, AttributeError)
        if not core_of(self).delete(name):
            label = core_of(self).state.label
            raise AttributeError(f"{label} has no attribute {name!r}", name=name, obj=self)

    def __getitem__(self, name: str) -> Any:
        core = core_of(self)
        try:
            value = core.run(core.reading(name))
        except InvalidNameError:
            value = _MISSING
        if value is _MISSING:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self._check_writable(name, InvalidNameError)
        core_of(self).assign(name, value)

    def __delitem__(self, name: str) -> None:
        self._check_writable(name, KeyError)
        if not core_of(self).delete(name):
            raise KeyError(name)

    def _check_writable(self, name: str, error: type[Exception]) -> None:
        """Raise `error` for a name that is not the user's."""

    def __contains__(self, name: object) -> bool:
        try:
            return core_of(self).exists(name)  # type: ignore[arg-type]
        except InvalidNameError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(core_of(self).run(flows.names(core_of(self).state)))

    def __len__(self) -> int:
        return len(core_of(self).run(flows.names(core_of(self).state)))

    def __bool__(self) -> bool:
        return True  # `if memory:` asks whether there is one, not whether it is empty

    def __dir__(self) -> list[str]:
        return [*(name for name in object.__dir__(self) if name.startswith("_")), *self]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        core_of(self).close()

    def __repr__(self) -> str:
        core = self.__dict__.get(_CORE)
        if core is None:
            return f"<{type(self).__name__}, not opened>"
        link = core.driver.link
        state = {None: "not yet connected", True: "online", False: "offline"}[link.is_online]
        if core.driver.is_closed:
            state = "closed"
        return f"<{type(self).__name__}: {core.state.label} at {link.address.label}, {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        core = core_of(self)
        if core.is_injected:
            raise TypeError("a memory opened with client= cannot be pickled; open it with a url")
        fields = core.settings.model_dump()
        url = core.settings.address
        fields["url"] = None if url is None else credentials.without_password(url)
        own = {name: value for name, value in self.__dict__.items() if name != _CORE}
        return _reopened, (type(self), core.state.conversation_id, fields), own or None


def _reopened(kind: type[Memory], conversation_id: str | None, fields: dict[str, Any]) -> Memory:
    """Open a memory that was pickled, with the password that is known here."""
    if fields["url"] is not None:
        fields = {**fields, "url": credentials.completed(fields["url"])}
    memory = kind.__new__(kind)
    memory._open(conversation_id, None, None, None, Settings(**fields), {})
    return memory


class ConversationMemory(Memory):
    """The memory of one conversation.

    Args:
        conversation_id: A str of 1 to 512 bytes in UTF-8, or a UUID. Read-only afterwards.
        url: As for `Memory`, like all other arguments.

    Raises:
        InvalidIdError: The id is empty, too long, or of another type.
    """

    def __init__(
        self,
        conversation_id: str | UUID,
        url: str | None = None,
        *,
        prefix: str | None = None,
        client: Any = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self._open(normal_id(conversation_id), url, prefix, client, settings, options)

    @property
    def conversation_id(self) -> str:
        """The id, as text."""
        conversation_id = core_of(self).state.conversation_id
        assert conversation_id is not None  # noqa: S101 - for the type checker: __init__ sees to it
        return conversation_id

    def _check_writable(self, name: str, error: type[Exception]) -> None:
        if name == "conversation_id":
            raise error("conversation_id is read-only")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), "conversation_id"]
