"""What a memory is opened with: where a setting comes from, and what a wrong one meets."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from redis_memory import ConfigurationError, ConversationMemory, Memory, Settings, status
from redis_memory.settings import resolve

URL = "redis://127.0.0.1:1"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without any variable that the library reads."""
    for name in [name for name in os.environ if name.startswith("REDIS_")]:
        monkeypatch.delenv(name)


def server_of(*arguments: Any, **options: Any) -> str:
    """The server that a memory opened with these arguments would use."""
    with Memory(*arguments, timeout_s=0.01, **options) as memory:
        return status(memory).server


@pytest.mark.parametrize("opened", [Memory, lambda **options: ConversationMemory("c", **options)])
def test_a_misspelt_option_names_the_right_one(opened: Callable[..., Memory]) -> None:
    """It is a TypeError, as for any function, and not silently a default."""
    with pytest.raises(TypeError, match="'timout_s'; did you mean 'timeout_s'"):
        opened(url=URL, timout_s=1.0)
    with pytest.raises(TypeError, match=r"unknown setting 'zzz'; there are .*max_depth"):
        opened(url=URL, zzz=1)


def test_a_misspelt_setting_names_the_right_one() -> None:
    """Settings are as strict as the memories that take them."""
    with pytest.raises(TypeError, match="did you mean 'max_depth'"):
        Settings(max_dept=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_s": 0},
        {"timeout_s": "soon"},
        {"timeout_s": [1]},
        {"max_depth": 65},
        {"port": 70_000},
        {"read_mode": "lazy"},
    ],
)
def test_a_value_out_of_range_is_a_configuration_error(options: dict[str, Any]) -> None:
    """The message names the setting, and the error is a ValueError as well."""
    with pytest.raises(ConfigurationError, match=next(iter(options))) as caught:
        Memory("memory://settings", **options)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ConfigurationError):
        Memory(settings=Settings(url=pydantic.SecretStr("memory://settings")), **options)


def test_a_wrong_variable_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it comes from the environment, no default stands in for it."""
    monkeypatch.setenv("REDIS_MEMORY_TIMEOUT_S", "soon")
    with pytest.raises(ConfigurationError, match="timeout_s"):
        Memory("memory://settings")


def test_settings_are_frozen() -> None:
    """One object may serve many memories: none of them can change it."""
    settings = Settings()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.timeout_s = 1.0  # type: ignore[misc]


# the one has a single value so far, and nothing in a variable is a function
NOT_BY_VARIABLE = ("read_mode", "on_conflict")


@pytest.mark.parametrize("name", [n for n in Settings.model_fields if n not in NOT_BY_VARIABLE])
def test_each_setting_has_a_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """`REDIS_MEMORY_<FIELD>` sets what is not given."""
    values = {
        "url": "memory://x",
        "host": "h",
        "prefix": "p:",
        "embedded": "0",
        "conflict": "theirs",
        "fsync": "off",
        "durability": "replicas:2",
        "queue_bytes": "2000",
        "telemetry": "off",
        "telemetry_ids": "1",
        "encryption_key": "ab" * 32,
    }
    monkeypatch.setenv(f"REDIS_MEMORY_{name.upper()}", values.get(name, "20"))
    monkeypatch.setenv("REDIS_MEMORY_MAX_VALUE_BYTES", "2000")
    assert getattr(resolve(None, None, None, {}), name) != Settings.model_fields[name].default


def test_the_first_address_that_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, REDIS_MEMORY_URL, REDIS_URL, then REDIS_HOST with REDIS_PORT."""
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    assert server_of() == "redis://127.0.0.1:6379"
    monkeypatch.setenv("REDIS_PORT", "2")
    assert server_of() == "redis://127.0.0.1:2"
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:3")
    assert server_of() == "redis://127.0.0.1:3"
    monkeypatch.setenv("REDIS_MEMORY_URL", "redis://127.0.0.1:4")
    assert server_of() == "redis://127.0.0.1:4"
    assert server_of("redis://127.0.0.1:5") == "redis://127.0.0.1:5"
    assert server_of(url="redis://127.0.0.1:6") == "redis://127.0.0.1:6"
    settings = Settings(url=pydantic.SecretStr("redis://127.0.0.1:7"))
    assert server_of(settings=settings) == "redis://127.0.0.1:7"
    assert server_of("redis://127.0.0.1:8", settings=settings) == "redis://127.0.0.1:8"


def test_a_host_that_is_given_comes_before_a_url_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Arguments win over variables, whichever of the two forms each has."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:3")
    assert server_of(host="127.0.0.1", port=4) == "redis://127.0.0.1:4"
    assert server_of(host="127.0.0.1") == "redis://127.0.0.1:6379"


def test_of_host_and_port_each_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of them is an argument, the settings or the variables say the other one."""
    monkeypatch.setenv("REDIS_HOST", "common")
    monkeypatch.setenv("REDIS_PORT", "2")
    assert resolve(None, None, None, {"host": "h"}).address == "redis://h:2"
    assert resolve(None, None, None, {"port": 5}).address == "redis://common:5"
    monkeypatch.setenv("REDIS_MEMORY_HOST", "own")
    monkeypatch.setenv("REDIS_MEMORY_PORT", "3")
    assert resolve(None, None, None, {"host": "h"}).address == "redis://h:3"
    assert resolve(None, None, None, {"port": 5}).address == "redis://own:5"
    settings = Settings(host="set", port=4)
    assert resolve(None, None, settings, {"host": "h"}).address == "redis://h:4"
    assert resolve(None, None, settings, {"port": 5}).address == "redis://set:5"


def test_a_host_may_be_an_ipv6_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no brackets, since its port stands apart."""
    assert "::1" in server_of(host="::1", port=2)
    monkeypatch.setenv("REDIS_HOST", "::1")
    assert "::1" in server_of()


def test_the_names_of_other_packages_are_accepted() -> None:
    """`redis_hostname`, `redis_port` and `redis_prefix` mean host, port and prefix."""
    settings = resolve(
        None, None, None, {"redis_hostname": "h", "redis_port": 2, "redis_prefix": "p:"}
    )
    assert (settings.address, settings.prefix) == ("redis://h:2", "p:")


def test_the_prefix_comes_from_the_environment_or_the_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """REDIS_PREFIX stands in for an argument that is not given."""
    with Memory("memory://prefixes", prefix="a:") as one:
        one.topic = "billing"
    monkeypatch.setenv("REDIS_PREFIX", "a:")
    with Memory("memory://prefixes") as two, Memory("memory://prefixes", prefix="b:") as three:
        assert two.topic == "billing"
        assert not hasattr(three, "topic")


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": "a:", "redis_prefix": "b:"},
        {"host": "a", "redis_hostname": "b"},
        {"url": URL, "client": object()},
    ],
)
def test_what_is_given_twice_is_refused(options: dict[str, Any]) -> None:
    """Nobody has to guess which of the two counts."""
    with pytest.raises(TypeError, match=r"twice|two names|not both"):
        Memory(**options)


def test_an_option_changes_the_settings_of_one_memory_only() -> None:
    """What is given beside `settings` wins, and leaves the object as it is."""
    settings = Settings(prefix="a:", timeout_s=2.0)
    changed = resolve(None, "b:", settings, {"max_depth": 3})
    assert (changed.prefix, changed.max_depth, changed.timeout_s) == ("b:", 3, 2.0)
    assert (settings.prefix, settings.max_depth) == ("a:", 64)


def test_a_forgotten_url_can_be_made_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With REDIS_MEMORY_EMBEDDED=0 no private server stands in; the message says what to set."""
    monkeypatch.setenv("REDIS_MEMORY_EMBEDDED", "0")
    with pytest.raises(ConfigurationError, match="REDIS_MEMORY_URL"):
        Memory()


def test_settings_show_no_password() -> None:
    """Neither repr nor str of settings, nor of the memory that uses them."""
    url = "redis://ann:hunter2@127.0.0.1:1"
    settings = Settings(url=pydantic.SecretStr(url))
    with Memory(settings=settings) as memory:
        texts = [repr(settings), str(settings), repr(memory), status(memory).server]
    assert not [text for text in texts if "hunter2" in text]
    assert settings.address == url


@pytest.mark.parametrize("url", ["redis://:hunter2@h:port", "redis://h:1?db=hunter2"])
def test_a_wrong_url_is_refused_without_being_repeated(url: str) -> None:
    """What may be a password is in no message, nor in an error that caused it."""
    with pytest.raises(ConfigurationError) as caught:
        Memory(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_settings_can_be_pickled() -> None:
    """They are values: equal settings come back."""
    settings = Settings(prefix="a:", timeout_s=2.0)
    assert pickle.loads(pickle.dumps(settings)) == settings


KUBERNETES = "tcp://10.0.0.11:6380"


@pytest.mark.parametrize("variable", ["REDIS_PORT", "REDIS_MEMORY_PORT"])
def test_a_service_of_kubernetes_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Where a service is called `redis`, every pod is given REDIS_PORT=tcp://..., wanted or not."""
    monkeypatch.setenv(variable, KUBERNETES)
    assert resolve("redis://elsewhere:1", None, None, {}).address == "redis://elsewhere:1"
    monkeypatch.setenv("REDIS_HOST", "redis")
    assert resolve(None, None, None, {}).address == "redis://redis:6380"


def test_a_service_of_kubernetes_is_reached_by_the_old_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """REDIS_PORT comes before `redis_port` there, in this form too."""
    monkeypatch.setenv("REDIS_PORT", KUBERNETES)
    settings = resolve(None, None, None, {"redis_hostname": "redis", "redis_port": 1})
    assert settings.address == "redis://redis:6380"


@pytest.mark.parametrize("options", [{}, {"redis_hostname": "h"}, {"host": ""}])
def test_an_empty_host_is_refused(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """It is not taken for this machine; where there is a url nobody asks for it."""
    monkeypatch.setenv("REDIS_HOST", "")
    with pytest.raises(ConfigurationError, match="the host is empty"):
        Memory(**options)
    if not options:
        assert resolve("redis://h:1", None, None, {}).address == "redis://h:1"


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?ssl_ca_certs=/hunter2",
        "redis+sentinel://h/main?ssl_ca_certs=/hunter2",
        "redis+cluster://h?sockettimeout=hunter2",
        "rediss://h?ssl_cert_reqs=hunter2",
    ],
)
def test_an_option_of_a_url_that_cannot_be_is_refused(url: str) -> None:
    """Nobody believes that a connection is by TLS, or verified, that is not."""
    with pytest.raises(ConfigurationError, match="rediss") as caught:
        Memory(url)
    assert "hunter2" not in str(caught.value)
