"""Where settings come from: arguments, then the library's own variables, then the common ones."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from redis_memory import Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that this machine happens to have set."""
    for name in ("URL", "HOST", "PORT", "PREFIX"):
        monkeypatch.delenv(f"REDIS_{name}", raising=False)
        monkeypatch.delenv(f"REDIS_MEMORY_{name}", raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("URL", "http://web"), ("HOST", "web"), ("PORT", "8080"), ("PREFIX", "/usr")],
)
def test_variables_of_other_programs_are_not_read(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose own web server listens at PORT does not ask Redis there."""
    plain = Settings()
    monkeypatch.setenv(name, value)
    assert Settings() == plain


@pytest.mark.parametrize(
    ("field", "common", "own", "given"),
    [("host", "b", "a", "c"), ("port", 2, 1, 3), ("prefix", "b:", "a:", "c:")],
)
def test_arguments_come_before_variables(
    field: str, common: Any, own: Any, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argument counts before REDIS_MEMORY_<FIELD>, and that before REDIS_<FIELD>."""
    monkeypatch.setenv(f"REDIS_{field.upper()}", str(common))
    assert getattr(Settings(), field) == common
    monkeypatch.setenv(f"REDIS_MEMORY_{field.upper()}", str(own))
    assert getattr(Settings(), field) == own
    assert getattr(Settings(**{field: given}), field) == given


def test_the_url_comes_from_either_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_MEMORY_URL counts before REDIS_URL, and an argument before both."""
    monkeypatch.setenv("REDIS_URL", "redis://common")
    assert Settings().address == "redis://common"
    monkeypatch.setenv("REDIS_MEMORY_URL", "redis://own")
    assert Settings().address == "redis://own"
    assert Settings(url=SecretStr("redis://given")).address == "redis://given"
