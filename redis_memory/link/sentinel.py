"""A url of Sentinels: the primary of a service, wherever it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from redis_memory.errors import AccessDeniedError, ConfigurationError
from redis_memory.link import seeds
from redis_memory.link.address import Address, own_options
from redis_memory.link.failures import from_connecting
from redis_memory.link.seeds import Place
from redis_memory.settings import Settings

_LEAST_TIMEOUT_S = 0.1
_services: dict[Any, Service] = {}


class Service:
    """The servers that Sentinels watch under one name. `primary` is where it was found last."""

    def __init__(
        self, name: str, hosts: tuple[Place, ...], label: str, options: Mapping[str, Any]
    ) -> None:
        self.primary: Place | None = None
        self._name = name
        self._hosts = hosts
        self._label = label
        self._options = options

    def find(self) -> None:
        """Ask one Sentinel after the other where the primary is. Blocking.

        Raises:
            LinkFailureError: None of them knows, or there is none at the moment.
            AccessDeniedError: They refuse us.
        """
        from redis.sentinel import Sentinel  # noqa: PLC0415 - only this url needs it

        # anew each time: their pools hold locks, which a fork would copy as they are
        sentinels: Any = Sentinel(self._hosts, sentinel_kwargs=dict(self._options))  # type: ignore[no-untyped-call]
        try:
            host, port = sentinels.discover_master(self._name)
        except (RedisError, OSError) as error:
            failure = from_connecting(error, self._label)
            # redis-py counts a refused password as one more Sentinel that cannot be reached
            if "AuthenticationError" in str(error):
                failure = AccessDeniedError(
                    f"the Sentinels of {self._label} refuse this user or password: set "
                    "sentinel_username and sentinel_password"
                )
            raise failure from error
        finally:
            answered = sentinels.sentinels[0].connection_pool.connection_kwargs
            sentinels.close()
        first = (answered["host"], answered["port"])
        self._hosts = (first, *(place for place in self._hosts if place != first))
        self.primary = (host, int(port))


@dataclass(frozen=True)
class ServiceAddress(Address):
    """The primary of a service: each new connection goes to where it is then."""

    service: Service | None = None

    def target(self) -> Place | None:
        """Where the primary was found last."""
        return None if self.service is None else self.service.primary

    def connection(self) -> Any:
        """A new connection to the primary that was found last."""
        host, port = self.target() or ("", 0)
        return self.connection_class(**self.options, host=host, port=port)


def of_settings(settings: Settings, url: str, *, is_async: bool = False) -> Address:
    """The primary of the service that a `redis+sentinel://` url names; no I/O.

    Raises:
        ConfigurationError: The url is malformed, or names no service.
    """
    named = seeds.parse(url, is_async=is_async)
    name, database = (*named.path, "0", "")[:2]
    if len(named.path) not in (1, 2) or not database.isdecimal():
        raise ConfigurationError(f"write {named.kind}://host:port,host:port/service[/database]")
    own = {**own_options(settings), "driver_info": None}
    service = _service(settings, url, name)
    return ServiceAddress(
        named.label,
        named.connection_class,
        {**named.options, **own, "db": int(database)},
        prepare=service.find,
        must_lead=True,
        service=service,
    )


def _service(settings: Settings, url: str, name: str) -> Service:
    """The service that a url names: one for all who use it, of both faces."""
    user, password = settings.sentinel_username, settings.sentinel_password
    key = (url, settings.timeout_s, user, password)
    service = _services.get(key)
    if service is None:
        named = seeds.parse(url)
        # all of them together take about as long as one call may
        timeout_s = max(_LEAST_TIMEOUT_S, settings.timeout_s / len(named.hosts))
        options = {
            **{option: value for option, value in named.options.items() if option != "db"},
            **own_options(settings),
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "username": user,
            "password": None if password is None else password.get_secret_value(),
            "ssl": named.is_tls,
        }
        service = _services.setdefault(key, Service(name, named.hosts, named.label, options))
    return service
