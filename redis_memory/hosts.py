"""Where a server is, by a host and a port instead of a url."""

from __future__ import annotations

from typing import Any

from redis_memory.errors import ConfigurationError


def port_in(given: Any) -> Any:
    """A port as it was given; of an address the one in it.

    Where a service is called `redis`, Kubernetes sets REDIS_PORT=tcp://10.0.0.11:6379 in all pods.
    """
    if isinstance(given, str) and given.startswith("tcp://"):
        return given.rpartition(":")[2]
    return given


def url_of(host: str, port: int) -> str:
    """The url that both make.

    Raises:
        ConfigurationError: The host is empty.
    """
    if not host:  # redis-py would take it for localhost
        raise ConfigurationError("the host is empty, in the arguments or in REDIS_HOST")
    return f"redis://[{host}]:{port}" if ":" in host else f"redis://{host}:{port}"
