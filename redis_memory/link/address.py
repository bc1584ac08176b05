"""A url, or a client of the user's, gives the connections to one server."""

from __future__ import annotations

import importlib
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import redis.asyncio.connection
import redis.connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_memory.errors import ConfigurationError
from redis_memory.link import embedded, seeds
from redis_memory.settings import Settings

_log = logging.getLogger("redis_memory")

_FORMS = (
    "redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, embedded:// and memory://"
)
_warned_about_default = threading.Event()


@dataclass(frozen=True)
class Address:
    """One server: how to make a connection to it, and how messages name it.

    `prepare` runs before a connection is made; it may start the server, or find out where it is.
    `must_lead` says that each new connection is asked whether a primary is at its other end.
    """

    label: str
    connection_class: type[Any]
    options: Mapping[str, Any] = field(repr=False)
    prepare: Callable[[], object] | None = None
    is_fake: bool = False
    must_lead: bool = False

    def target(self) -> Any:
        """Where a new connection would go, of a server that can be elsewhere the next time."""
        return None

    def connection(self) -> Any:
        """A new connection of redis-py (or valkey-py), not yet connected."""
        return self.connection_class(**self.options)


def own_options(settings: Settings) -> dict[str, Any]:
    """What our connections have in common, whatever the url says."""
    return {
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        # redis-py's own retries send a change again that may have been applied
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "decode_responses": False,
        "health_check_interval": 0,
        "protocol": 2,
    }


def of_settings(settings: Settings, *, is_async: bool = False) -> Address:
    """The server that the settings name.

    Raises:
        ConfigurationError: The url cannot work; the message never holds the password.
    """
    url = settings.address
    if url is None:
        return _default(settings, is_async=is_async)
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme == "embedded":
        return _embedded(_folder(url), settings, is_async=is_async)
    if scheme == "memory":
        return _fake(url, settings, is_async=is_async)
    if scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError(f"a url begins with {_FORMS}, not with {scheme!r}")
    module = redis.asyncio.connection if is_async else redis.connection
    try:
        options = dict(module.parse_url(url))
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (ValueError, TypeError):
        # from None: the text of these errors may hold the password
        raise ConfigurationError(f"the {scheme}:// url is malformed (its port, perhaps)") from None
    plain = module.UnixDomainSocketConnection if scheme == "unix" else module.Connection
    connection_class: Any = options.pop("connection_class", plain)
    if parts.query:
        seeds.try_out(scheme, connection_class, options)
    db = options.get("db")
    if scheme == "unix":
        label = f"unix://{options.get('path')}" + (f"?db={db}" if db else "")
    else:
        label = f"{scheme}://{host or 'localhost'}:{port or 6379}" + (f"/{db}" if db else "")
    own = {**own_options(settings), "driver_info": None}
    return Address(label, connection_class, {**options, **own})


def _default(settings: Settings, *, is_async: bool) -> Address:
    if not settings.embedded:
        raise ConfigurationError(
            "no url was given and REDIS_MEMORY_EMBEDDED=0 forbids the embedded server: give a url, "
            "or set REDIS_MEMORY_URL, REDIS_URL or REDIS_HOST"
        )
    folder = embedded.default_folder()
    if not _warned_about_default.is_set():
        _warned_about_default.set()
        _log.warning(
            "no url was given: using the embedded server in %s, shared by the processes of this "
            "user on this machine and by nobody else",
            folder,
        )
    return _embedded(folder, settings, is_async=is_async)


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc:
        raise ConfigurationError("a folder is given with three slashes: embedded:///folder")
    return Path(unquote(parts.path)) if parts.path.strip("/") else embedded.default_folder()


def _embedded(folder: Path, settings: Settings, *, is_async: bool) -> Address:
    module = redis.asyncio.connection if is_async else redis.connection
    path = embedded.socket_path(folder)
    options = {**own_options(settings), "driver_info": None, "path": str(path)}

    def prepare() -> None:
        embedded.ensure_running(folder, linger_s=settings.embedded_linger_s)

    label = f"embedded://{folder}"
    return Address(label, module.UnixDomainSocketConnection, options, prepare)


_fake_servers: dict[str, Any] = {}


def _fake(url: str, settings: Settings, *, is_async: bool) -> Address:
    """Fakeredis inside this process: the memories of one name share one server."""
    import fakeredis  # noqa: PLC0415 - half as long to import as all the rest

    name = url.partition("://")[2]
    server = _fake_servers.setdefault(name, fakeredis.FakeServer())
    client = (fakeredis.FakeAsyncRedis if is_async else fakeredis.FakeRedis)(server=server)
    return of_client(client, settings, f"memory://{name}", is_async=is_async, is_fake=True)


def of_client(
    client: Any,
    settings: Settings,
    label: str | None = None,
    *,
    is_async: bool = False,
    is_fake: bool = False,
) -> Address:
    """The server of a redis-py or valkey-py client, for connections of our own.

    Raises:
        ConfigurationError: It has no pool of connections to one server.
    """
    pool = getattr(client, "connection_pool", None)
    given = getattr(pool, "connection_kwargs", None)
    connection_class = getattr(pool, "connection_class", None)
    if given is None or connection_class is None:
        kind = type(client).__name__
        raise ConfigurationError(
            f"client= takes a redis-py or valkey-py client, not {kind}; a cluster is "
            "given by its url, redis+cluster://host:port,host:port"
        )
    if inspect.iscoroutinefunction(getattr(connection_class, "connect", None)) is not is_async:
        wanted = "an asyncio" if is_async else "a blocking"
        raise ConfigurationError(f"this memory takes {wanted} client, not {type(client).__name__}")
    retries = type(given["retry"]) if given.get("retry") is not None else Retry
    own = own_options(settings)
    own["retry"] = _no_retries(retries)
    options = {**given, **own}
    if label is None:
        where = given.get("path") or f"{given.get('host', 'localhost')}:{given.get('port', 6379)}"
        # of a client that Sentinels lead to the primary
        where = getattr(pool, "service_name", None) or where
        label = f"client of {where}" + (f"/{given['db']}" if given.get("db") else "")
    is_fake = is_fake or "fakeredis" in type(client).__module__
    return Address(label, connection_class, options, is_fake=is_fake)


def blocking(client: Any, settings: Settings) -> Address:
    """The server of a client of either kind, for blocking connections of our own.

    Raises:
        ConfigurationError: It has no pool of connections to one server, or of a class of its own.
    """
    kind = getattr(getattr(client, "connection_pool", None), "connection_class", None)
    is_async = inspect.iscoroutinefunction(getattr(kind, "connect", None))
    found = of_client(client, settings, is_async=is_async)
    if not is_async:
        return found
    if found.is_fake:
        import fakeredis  # noqa: PLC0415 - half as long to import as all the rest

        return of_client(fakeredis.FakeRedis(server=found.options["server"]), settings, found.label)
    module = importlib.import_module(found.connection_class.__module__.replace(".asyncio", ""))
    twin = getattr(module, found.connection_class.__name__, None)
    if twin is None:
        name = found.connection_class.__name__
        raise ConfigurationError(f"the feed cannot use connections of class {name}: give a url")
    return replace(found, connection_class=twin)


def _no_retries(kind: type) -> Any:
    """valkey-py has a `Retry` and a `NoBackoff` of its own, like redis-py's."""
    if kind.__module__.startswith("valkey"):
        from valkey.backoff import NoBackoff as ValkeyNoBackoff  # noqa: PLC0415 - optional
        from valkey.retry import Retry as ValkeyRetry  # noqa: PLC0415 - optional

        return ValkeyRetry(ValkeyNoBackoff(), 0)
    return Retry(NoBackoff(), 0)
