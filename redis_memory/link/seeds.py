"""Urls that name several hosts: Sentinels or nodes of a cluster, who tell where the server is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import redis.asyncio.connection
import redis.connection
from redis.exceptions import RedisError

from redis_memory.errors import ConfigurationError

Place = tuple[str, int]

SENTINEL: Final = "redis+sentinel"
CLUSTER: Final = "redis+cluster"
_PORTS: Final = {SENTINEL: 26379, CLUSTER: 6379}


@dataclass(frozen=True)
class Seeds:
    """What such a url says.

    `options` are those of redis-py's connections, with user, password and TLS, without host and
    port. `label` names it in messages, without the password.
    """

    kind: str
    hosts: tuple[Place, ...]
    path: tuple[str, ...]
    label: str
    is_tls: bool
    connection_class: type[Any]
    options: Mapping[str, Any] = field(repr=False)


def kind_of(url: str | None) -> str | None:
    """SENTINEL or CLUSTER, None for a url that names one server."""
    scheme = (url or "").partition("://")[0].lower().replace("rediss+", "redis+")
    return scheme if scheme in _PORTS else None


def parse(url: str, *, is_async: bool = False) -> Seeds:
    """Take a url of several hosts apart: `redis+<kind>://[user:password@]h1:p,h2:p[/path][?...]`.

    `rediss+<kind>` means TLS; the query holds options of redis-py, `ssl_ca_certs` for example.

    Raises:
        ConfigurationError: It is malformed; the message never holds the password.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    plain, _, kind = scheme.partition("+")
    module = redis.asyncio.connection if is_async else redis.connection
    try:
        parts = urlsplit(f"{plain}://{rest}")
        user, at, hosts = parts.netloc.rpartition("@")
        default_port = _PORTS[f"redis+{kind}"]
        places = tuple(_place(host, default_port) for host in hosts.split(","))
        # redis-py knows which options a query may hold, and of which type they are
        options = dict(module.parse_url(f"{plain}://{user}{at}host/?{parts.query}"))
    except (ValueError, TypeError):
        # from None: the text of these errors may hold the password
        raise ConfigurationError(
            f"the {scheme}:// url is malformed: {scheme}://[user:password@]host:port,host:port"
        ) from None
    for name in ("host", "port"):
        options.pop(name, None)
    connection_class: Any = options.pop("connection_class", module.Connection)
    if parts.query:
        try_out(scheme, connection_class, options)
    path = tuple(unquote(part) for part in parts.path.split("/") if part)
    where = "/".join([hosts, *path])
    return Seeds(
        f"redis+{kind}",
        places,
        path,
        f"{scheme}://{where}",
        plain == "rediss",
        connection_class,
        options,
    )


def try_out(scheme: str, connection_class: type[Any], options: Mapping[str, Any]) -> None:
    """Make a connection, without connecting it, by the options that the query of a url gives.

    Raises:
        ConfigurationError: It does not know one of them, or what one says.
    """
    try:
        connection_class(**options)
    except (TypeError, ValueError, RedisError):
        # from None: the text of these errors may hold what is secret
        raise ConfigurationError(
            f"the query of the {scheme}:// url has an option that such a connection does not know, "
            "or that says what it cannot mean; ssl_... belongs to a url that begins with rediss"
        ) from None


def _place(host: str, default_port: int) -> Place:
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError("a host has no name")
    return parts.hostname, parts.port or default_port
