"""A url of Sentinels: the primary of a service, wherever it is now."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from redis_memory.errors import AccessDeniedError, ConfigurationError, RedisMemoryError
from redis_memory.link import seeds
from redis_memory.link.address import Address, own_options
from redis_memory.link.failures import (
    LinkFailureError,
    class_names,
    from_connecting,
    from_greeting,
)
from redis_memory.link.seeds import Place
from redis_memory.settings import Settings

_log = logging.getLogger("redis_memory")

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
        failure: RedisMemoryError | LinkFailureError | None = None
        try:
            for place, client in zip(self._hosts, sentinels.sentinels, strict=True):
                try:
                    state = self._told(client).get(self._name)
                except (RedisMemoryError, LinkFailureError) as error:
                    failure = failure if isinstance(failure, RedisMemoryError) else error
                    continue
                if state and sentinels.check_master_state(state, self._name):
                    self._hosts = (place, *(other for other in self._hosts if other != place))
                    before, self.primary = self.primary, (state["ip"], int(state["port"]))
                    if before not in (None, self.primary):
                        _log.warning("%s: the primary is %s:%d now", self._label, *self.primary)
                    return
        finally:
            sentinels.close()
        raise failure or LinkFailureError(
            f"no Sentinel of {self._label} knows of a primary now", in_doubt=False
        )

    def _told(self, client: Any) -> Any:
        """What a Sentinel knows of all services.

        Not by `discover_master`: it takes a refused password, or certificate, for one more Sentinel
        that cannot be reached.
        """
        first = client.connection_pool.make_connection()
        try:
            first.connect()
        except (RedisError, OSError) as error:
            raise self._translated(from_connecting(error, self._label)) from error
        finally:
            first.disconnect()
        try:
            return client.sentinel_masters()
        except (RedisError, OSError) as error:
            is_denied = "AuthenticationError" in class_names(error)
            translate = from_connecting if is_denied else from_greeting
            raise self._translated(translate(error, self._label)) from error

    def _translated(
        self, error: RedisMemoryError | LinkFailureError
    ) -> RedisMemoryError | LinkFailureError:
        if isinstance(error, AccessDeniedError):
            return AccessDeniedError(
                f"the Sentinels of {self._label} refuse this user or password: set "
                "sentinel_username and sentinel_password"
            )
        return error


@dataclass(frozen=True)
class ServiceAddress(Address):
    """The primary of a service: each new connection goes to where it is then."""

    service: Service | None = None

    def target(self) -> Place | None:
        """Where the primary was found last."""
        return None if self.service is None else self.service.primary

    def connection(self) -> Any:
        """A new connection to the primary that was found last."""
        host, port = self.target() or (self.options["host"], self.options["port"])
        return self.connection_class(**{**self.options, "host": host, "port": port})


def of_settings(settings: Settings, url: str, *, is_async: bool = False) -> Address:
    """The primary of the service that a `redis+sentinel://` url names; no I/O.

    Raises:
        ConfigurationError: The url is malformed, or names no service.
    """
    named = seeds.parse(url, is_async=is_async)
    name, database = (*named.path, "0", "")[:2]
    if len(named.path) not in (1, 2) or not database.isdecimal():
        raise ConfigurationError(f"write {named.kind}://host:port,host:port/service[/database]")
    host, port = named.hosts[0]
    own = {**own_options(settings), "driver_info": None, "host": host, "port": port}
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
            "driver_info": None,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "username": user,
            "password": None if password is None else password.get_secret_value(),
            "ssl": named.is_tls,
        }
        service = _services.setdefault(key, Service(name, named.hosts, named.label, options))
    return service
