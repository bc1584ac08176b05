"""What the constructors of `redis-memory` and `synced-memory` take, as those packages mean it."""

from __future__ import annotations

import os
from typing import Any, Final

# The name there, and the setting; of several names of a prefix the first one counts that says
# something.
NAMES: Final = {
    "redis_hostname": "host",
    "dragonflydb_hostname": "host",
    "backend_hostname": "host",
    "redis_port": "port",
    "dragonflydb_port": "port",
    "backend_port": "port",
    "redis_prefix": "prefix",
    "dragonflydb_prefix": "prefix",
    "db_prefix": "prefix",
    "backend_prefix": "prefix",
}
_DEFAULT_PORT: Final = 6379


def translated(options: dict[str, Any]) -> dict[str, Any]:
    """Options under the names that the settings have.

    Where host or port are given by a name of the old packages, `REDIS_HOST` and `REDIS_PORT` come
    before them, and the host is `redis` (or `dragonflydb`) where none is named: as it is there, so
    that nobody's program asks another server than before.

    Raises:
        TypeError: The same setting was given under two names.
    """
    given = {name: value for name, value in options.items() if name not in NAMES}
    foreign: dict[str, list[Any]] = {}
    for name, setting in NAMES.items():
        # None is what their defaults are
        if options.get(name) is not None:
            foreign.setdefault(setting, []).append(options[name])
    if given.keys() & foreign.keys() or any(
        len(values) > 1 for setting, values in foreign.items() if setting != "prefix"
    ):
        raise TypeError("the same setting was given under two names")
    if "host" in foreign or "port" in foreign:
        host = "dragonflydb" if "dragonflydb_port" in options else "redis"
        host, port = foreign.get("host", [host])[0], foreign.get("port", [_DEFAULT_PORT])[0]
        given.setdefault("host", os.environ.get("REDIS_HOST", host))
        given.setdefault("port", os.environ.get("REDIS_PORT", port))
    if "prefix" in foreign:
        prefixes = foreign["prefix"]
        given["prefix"] = next(filter(None, prefixes), prefixes[0])
    return given
