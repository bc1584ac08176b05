"""The settings of a memory: one frozen model, from arguments and the environment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from redis_memory import hosts, other_names
from redis_memory.encryption_keys import encryption_keys, secret_text
from redis_memory.errors import ConfigurationError

_DEFAULT_PORT = 6379
# What other programs call the same; REDIS_MEMORY_URL and the like come first.
_COMMON_VARIABLES = {name: f"REDIS_{name.upper()}" for name in ("url", "host", "port", "prefix")}


class Settings(BaseSettings):
    """How a memory connects and what it accepts. Frozen; a misspelt name is an error.

    Each field is also read from the environment as `REDIS_MEMORY_<FIELD>`; `url`, `host`, `port`
    and `prefix` also, where that is not set, as `REDIS_<FIELD>`. An argument comes before the
    environment. Passwords are masked in every repr.

    Raises:
        TypeError: A name is unknown; the message gives the nearest one.
        pydantic.ValidationError: A value is out of range; it is also a ValueError.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="REDIS_MEMORY_", hide_input_in_errors=True
    )

    url: SecretStr | None = Field(
        default=None,
        description="Where the server is; see `where it connects`. None: the embedded server.",
    )
    host: str | None = Field(
        default=None,
        description="The server's name, where no url is given.",
    )
    port: int = Field(
        default=_DEFAULT_PORT,
        ge=1,
        le=65535,
        description="The server's TCP port, where no url is given.",
    )
    prefix: str = Field(
        default="memory:",
        description="What the Redis keys of all memories of one application begin with.",
    )
    sentinel_username: str | None = Field(
        default=None,
        description="The user by whose name Sentinels are asked; that of the url is the servers'.",
    )
    sentinel_password: SecretStr | None = Field(
        default=None, description="The password for that; without one Sentinels are asked openly."
    )
    embedded: bool = Field(
        default=True,
        description="Whether the embedded server may be used when no address is given.",
    )
    embedded_linger_s: float = Field(
        default=5.0,
        ge=0.1,
        le=86400,
        description="How many seconds the embedded server stays after the last process left.",
    )
    timeout_s: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="How many seconds a call tries to reach the server before it gives up.",
    )
    reconnect_max_s: float = Field(
        default=0.45,
        gt=0,
        le=60,
        description="How many seconds pass at most between two attempts to reach a lost server.",
    )
    close_timeout_s: float = Field(
        default=2.0,
        ge=0,
        le=3600,
        description="How many seconds closing waits for changes that the server does not have yet.",
    )
    conflict: Literal["newest", "mine", "theirs"] | Callable[[Any], Any] = Field(
        default="newest",
        description="Who wins where a change made while the server was away meets another one; "
        "or a function that is given the Conflict and returns the value to store.",
    )
    on_conflict: Callable[[Any], Any] | None = Field(
        default=None, description="Called with each Conflict, in the thread that delivers."
    )
    queue_operations: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="How many changes of one memory may wait for the server.",
    )
    queue_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024,
        description="How many bytes the changes that wait may have.",
    )
    journal: Path | None = Field(
        default=None,
        description="A folder in which changes that wait outlive the process. None: they do not.",
    )
    fsync: Literal["off", "interval", "always"] = Field(
        default="interval",
        description="When the journal reaches the disk itself: off leaves it to the system, which "
        "is enough for a killed process; interval every 0.1 s; always before each call returns.",
    )
    journal_max_age_s: float = Field(
        default=3 * 86400,
        gt=0,
        le=6 * 86400,
        description="How old a journal may be that is still replayed; an older one is kept aside.",
    )
    repair_operations: int = Field(
        default=1000,
        ge=0,
        le=100_000,
        description="How many acknowledged changes of a memory are kept in case the server "
        "forgets them.",
    )
    repair_bytes: int = Field(
        default=4 * 1024 * 1024, ge=0, description="How many bytes those may have."
    )
    repair_s: float = Field(
        default=60.0, ge=0, le=86400, description="How many seconds old those may be."
    )
    durability: str = Field(
        default="server",
        pattern=r"^(server|replicas:[1-9][0-9]?)$",
        description="What a change waits for: the server, or as in `replicas:2` that so many "
        "replicas have it too; one more round trip then.",
    )
    read_mode: Literal["strong", "cached"] = Field(
        default="strong",
        description="strong: each read asks the server for what has changed; cached: it asks only "
        "after somebody has changed the attribute, which the feed tells.",
    )
    feed_timeout_s: float = Field(
        default=2.0,
        ge=0.05,
        le=60,
        description="How old, in seconds, the last sign of life of the feed may be; cached reads "
        "ask the server from then on. A quarter of it passes between two pings.",
    )
    cached_max_age_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="For how many seconds cached reads of an attribute may go without asking the "
        "server: so long may a change stay unseen that no feed tells, by a foreign hand.",
    )
    ttl_s: float | None = Field(
        default=None,
        ge=0.001,
        le=100 * 366 * 86400,
        description="How many seconds after its last change a memory ends, all its keys together; "
        "`expire` gives a memory another lifetime. None: it stays.",
    )
    telemetry: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether operations are counted, timed and traced through OpenTelemetry. auto: "
        "if the program has set one of its providers before the memory is opened.",
    )
    telemetry_ids: bool = Field(
        default=False, description="Whether traces tell the id of the conversation; metrics never."
    )
    encryption_key: SecretStr | None = Field(
        default=None,
        description="What values are encrypted with before they leave the process: 32 bytes as "
        "base64 or hex, or several of those with commas between them, or a list. New memories are "
        "encrypted under the first; each may be needed to read. None: values are not encrypted.",
    )
    max_value_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        le=512 * 1024 * 1024,
        description="How many bytes one scalar or one element of a container may have, packed.",
    )
    max_depth: int = Field(
        default=64, ge=1, le=64, description="How many levels containers may be nested."
    )
    max_nodes: int = Field(
        default=1_000_000,
        ge=1,
        le=10_000_000,
        description="How many parts one scalar or one element of a container may have.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then `REDIS_MEMORY_<FIELD>`, then the common variables."""
        # no aliases of the fields: pydantic would read PORT and HOST as well, and they are set in
        # many a container for the program's own server
        common = {name: os.environ.get(variable) for name, variable in _COMMON_VARIABLES.items()}
        given = {name: value for name, value in common.items() if value is not None}
        return init_settings, env_settings, InitSettingsSource(settings_cls, given)

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in given:
                if name not in cls.model_fields:
                    raise TypeError(unknown_option(name))
        return given

    @field_validator("port", mode="before")
    @classmethod
    def _of_a_service(cls, given: Any) -> Any:
        return hosts.port_in(given)

    @field_validator("encryption_key", mode="before")
    @classmethod
    def _one_text(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            return ",".join(secret_text(each) for each in given)
        return given

    @field_validator("encryption_key")
    @classmethod
    def _are_keys(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            encryption_keys(given.get_secret_value())
        return given

    @property
    def encryption_keys(self) -> tuple[bytes, ...]:
        """The keys of 32 bytes each, none where values are not encrypted."""
        given = self.encryption_key
        return () if given is None else encryption_keys(given.get_secret_value())

    @property
    def replicas(self) -> int:
        """How many replicas must have a change."""
        return int(self.durability.partition(":")[2] or 0)

    @property
    def address(self) -> str | None:
        """The url to connect to, with its password; None for the embedded default."""
        if self.url is not None:
            return self.url.get_secret_value()
        if self.host is not None:
            return hosts.url_of(self.host, self.port)
        return None


_ENVIRONMENT = (
    *(f"REDIS_MEMORY_{name.upper()}" for name in Settings.model_fields),
    *_COMMON_VARIABLES.values(),
)


def unknown_option(name: str) -> str:
    """Say that there is no such setting, and which one may have been meant."""
    known = sorted({*Settings.model_fields, *other_names.NAMES})
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; there are {', '.join(known)}"
    return f"unknown setting {name!r}{hint}"


def resolve(
    url: str | None, prefix: str | None, settings: Settings | None, options: dict[str, Any]
) -> Settings:
    """The settings for one memory: given ones, then single options, then the environment.

    Raises:
        TypeError: An option is unknown, or given twice.
        ConfigurationError: A value is out of range.
    """
    given = other_names.translated(options)
    for name, value in (("url", url), ("prefix", prefix)):
        if value is not None:
            if name in given:
                raise TypeError(f"{name!r} was given twice")
            given[name] = value
    if "url" not in given and not {"host", "port"}.isdisjoint(given):
        # an argument comes before the environment, where a url may stand
        host, port = (_or_else(given.pop(name, None), name, settings) for name in ("host", "port"))
        given["url"] = hosts.url_of("localhost" if host is None else host, hosts.port_in(port))
    if settings is not None:
        return _changed(settings, given) if given else settings
    try:
        environment = tuple(os.environ.get(name) for name in _ENVIRONMENT)
        return _cached(tuple(sorted(given.items())), environment)
    except TypeError:
        # unhashable, so of a wrong type: pydantic says which
        return _built(given)


def _or_else(given: Any, name: str, settings: Settings | None) -> Any:
    # host or port: the argument, else what the settings or the environment say
    if given is not None:
        return given
    if settings is not None:
        return getattr(settings, name)
    own, common = f"REDIS_MEMORY_{name.upper()}", _COMMON_VARIABLES[name]
    found = os.environ.get(own) or os.environ.get(common)
    return found or Settings.model_fields[name].default


def _changed(settings: Settings, given: dict[str, Any]) -> Settings:
    fields = {name: getattr(settings, name) for name in Settings.model_fields}
    return _built({**fields, **given})


@lru_cache(maxsize=256)
def _cached(
    given: tuple[tuple[str, Any], ...],
    environment: tuple[str | None, ...],  # noqa: ARG001 - a part of the cache's key
) -> Settings:
    return _built(dict(given))


def _built(given: dict[str, Any]) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as error:
        places = ", ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        # from None: pydantic's own text may repeat what was given, and a url holds a password
        raise ConfigurationError(f"wrong settings: {places}") from None
