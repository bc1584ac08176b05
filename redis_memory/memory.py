"""Memory and ConversationMemory: attributes that live in Redis, blocking."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self, TypeVar
from uuid import UUID

from redis_memory.cached import UNKNOWN
from redis_memory.core.calls import Flow
from redis_memory.core.conflicts import MISSING
from redis_memory.core.keys import normal_id
from redis_memory.core.state import State
from redis_memory.errors import InvalidNameError
from redis_memory.face import CORE, Core, Face, missing, no_memory
from redis_memory.link import links
from redis_memory.link.driver import Driver
from redis_memory.link.hub import BlockingHub
from redis_memory.link.link import Link
from redis_memory.settings import Settings
from redis_memory.standing import standing
from redis_memory.telemetry.kinds import driver_kind
from redis_memory.typed.core import Checked, TypedCore
from redis_memory.typed.declarations import Extra, Schema, declare
from redis_memory.typed.upgrading import Upgrade, UpgradingCore

T = TypeVar("T")


class _SeenByThread(threading.local):
    """The names that a thread last saw to be missing."""

    def __init__(self) -> None:
        self.missing: set[str] = set()


class BlockingCore(Core):
    """What stands behind one blocking memory object."""

    __slots__ = ("driver",)
    is_awaited = False

    def __init__(self, state: State, settings: Settings, client: Any) -> None:
        link = links.open_link(settings, client)
        # changes that a memory object of before left behind come first
        self.driver: Driver = link.orphan(state.identity) or self._driver(state, settings, link)
        self.driver.users += 1

        def deliver(left: State) -> None:
            link.users += 1
            driver = self._driver(left, settings, link)
            driver.link.wait_for(driver)

        links.attach_journal(self.driver.state, link.address.label, settings, deliver)
        weakref.finalize(self, self.driver.lose_user).atexit = False
        is_injected = client is not None
        seen = _SeenByThread()
        super().__init__(self.driver.state, settings, self.driver, seen, is_injected=is_injected)
        self.follow(settings, client)

    @property
    def guard(self) -> AbstractContextManager[Any]:
        """What is held while copies are changed."""
        lock: AbstractContextManager[Any] = self.driver.lock
        return lock

    @staticmethod
    def _driver(state: State, settings: Settings, link: Link | BlockingHub) -> Driver:
        links.reuse_writer(link, state)
        driver = driver_kind(settings)(state, link.lane(state.keys.memory))
        # of the driver, not of the memory: a proxy may outlive the memory it was read from
        driver.leave = weakref.finalize(driver, links.leave, link, state)
        driver.leave.atexit = False
        return driver

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        return self.driver.run(flow)

    def close(self) -> None:
        """Close the memory, and the connections if it was the last one to use them.

        Waits for what the server does not have yet, at most `close_timeout_s`.
        """
        driver = self.driver
        self.leave()
        if not driver.is_closed:
            driver.flush(self.settings.close_timeout_s)
        driver.close()
        if driver.leave is not None:
            driver.leave()
        hub = driver.link.hub
        if links.is_unused(hub):
            hub.close()


class BlockingTypedCore(TypedCore, BlockingCore):
    """The same where the class declares attributes."""

    __slots__ = ("checked", "schema")

    def __init__(self, schema: Schema, state: State, settings: Settings, client: Any) -> None:
        self.schema: Schema = schema
        self.checked: dict[str, Checked] = {}
        super().__init__(state, settings, client)


class BlockingUpgradingCore(UpgradingCore, BlockingTypedCore):
    """The same where the class has the hook `__upgrade__`."""

    __slots__ = ("upgrade",)

    def __init__(self, schema: Schema, state: State, settings: Settings, client: Any) -> None:
        super().__init__(schema, state, settings, client)
        self.upgrade: Upgrade = Upgrade(schema, self.state)


def core_of(memory: Memory) -> BlockingCore:
    """What stands behind a memory, for the functions that take one.

    Raises:
        TypeError: It is no memory, or an async one.
    """
    try:
        core: BlockingCore = memory.__dict__[CORE]
    except (AttributeError, KeyError):
        raise no_memory(memory) from None
    if core.is_awaited:
        raise TypeError("this is an async memory: await the function of redis_memory.aio")
    return core


class Memory(Face):
    """Attributes that live in Redis and are shared by all processes with the same prefix.

    `memory.x`, `memory.x = value` and `del memory.x`, or `memory["x"]` where a name is no
    identifier. Names that begin with an underscore stay ordinary Python attributes. A list, dict or
    set reads as a proxy whose every change is written through. Everything else that can be done
    with a memory is a function that takes it, so that all names are the user's.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://`, `redis+cluster://`,
            `embedded://` or `memory://`. Without one, `REDIS_MEMORY_URL`, `REDIS_URL`,
            `REDIS_HOST` with `REDIS_PORT`, else the embedded server.
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

    _redis_memory_schema: ClassVar[Schema | None] = None

    def __init_subclass__(cls, *, extra: Extra | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        declare(cls, extra)

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

    def _connect(self, state: State, settings: Settings, client: Any) -> BlockingCore:
        schema = self._redis_memory_schema
        if schema is None:
            return BlockingCore(state, settings, client)
        kind = BlockingTypedCore if schema.hook is None else BlockingUpgradingCore
        return kind(schema, state, settings, client)

    def _standing(self) -> tuple[str, str]:
        driver = core_of(self).driver
        is_online = driver.link.is_online
        return driver.link.address.label, standing(is_online=is_online, is_closed=driver.is_closed)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # or copy and pickle recurse before __init__ has run
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        core: BlockingCore = self.__dict__[CORE]
        value = core.known(name) if core.is_cached else UNKNOWN
        try:
            if value is UNKNOWN:
                value = core.driver.run(core.reading(name))
        except InvalidNameError:
            value = MISSING
        if value is MISSING:
            raise missing(core, name, self)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or hasattr(type(self), name):
            object.__setattr__(self, name, value)  # which refuses a property such as the id
        else:
            core = core_of(self)
            core.run(core.assigning(name, value))

    def __delattr__(self, name: str) -> None:
        if name.startswith("_") or hasattr(type(self), name):
            object.__delattr__(self, name)
            return
        core = core_of(self)
        if not core.run(core.deleting(name)):
            raise missing(core, name, self)

    def __getitem__(self, name: str) -> Any:
        core = core_of(self)
        value = core.known(name) if core.is_cached else UNKNOWN
        try:
            if value is UNKNOWN:
                value = core.run(core.reading(name))
        except InvalidNameError:
            value = MISSING
        if value is MISSING:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        core = core_of(self)
        core.run(core.assigning(name, value))

    def __delitem__(self, name: str) -> None:
        core = core_of(self)
        if not core.run(core.deleting(name)):
            raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        core = core_of(self)
        try:
            return isinstance(name, str) and core.run(core.finding(name))
        except InvalidNameError:
            return False

    def __iter__(self) -> Iterator[str]:
        core = core_of(self)
        return iter(core.run(core.naming()))

    def __len__(self) -> int:
        core = core_of(self)
        return len(core.run(core.naming()))

    def __dir__(self) -> list[str]:
        return [*(name for name in object.__dir__(self) if name.startswith("_")), *self]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        core_of(self).close()


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
        return str(core_of(self).state.conversation_id)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), "conversation_id"]
