"""Keys in the settings: how they are given, and that they are shown nowhere."""

from __future__ import annotations

import base64
import copy
import logging
import pickle
import sys
from typing import Any

import pytest

import redis_memory
from redis_memory import ConfigurationError, ConversationMemory, Conversations, Settings
from redis_memory import encryption_keys as keys
from redis_memory.memory import core_of
from tests.encryption.conftest import Open
from tests.encryption.keys import BOTH, NEW, NEW_BYTES, OLD, OLD_BYTES

VARIABLE = "REDIS_MEMORY_ENCRYPTION_KEY"


@pytest.mark.parametrize(
    "given",
    [
        NEW_BYTES.hex(),
        NEW_BYTES.hex().upper(),
        base64.b64encode(NEW_BYTES).decode(),
        base64.urlsafe_b64encode(NEW_BYTES).decode().rstrip("="),
        f" {NEW} ",
        [NEW],
    ],
)
def test_a_key_is_32_bytes_as_base64_or_hex(given: Any) -> None:
    """Every usual spelling means the same key."""
    assert Settings(encryption_key=given).encryption_keys == (NEW_BYTES,)


def test_several_keys_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list, and a text with commas as the environment has it, name the first one first."""
    assert Settings(encryption_key=BOTH).encryption_keys == (NEW_BYTES, OLD_BYTES)  # type: ignore[arg-type]
    monkeypatch.setenv(VARIABLE, f"{NEW}, {OLD}")
    assert Settings().encryption_keys == (NEW_BYTES, OLD_BYTES)
    monkeypatch.delenv(VARIABLE)
    assert Settings().encryption_keys == ()


@pytest.mark.parametrize(
    "given",
    ["", "short", OLD[:-2], OLD + "00", f"{OLD},", f"{OLD},{OLD}", "zz" * 32, [7], [OLD, ""]],
)
def test_a_wrong_key_is_refused_and_not_shown(given: Any, url: str) -> None:
    """The error of a key that cannot work does not quote it."""
    with pytest.raises(ConfigurationError, match="encryption_key") as caught:
        ConversationMemory("c", url, encryption_key=given)
    told = f"{caught.value!r} {caught.value.__cause__!r}"
    for part in given if isinstance(given, list) else given.split(","):
        assert not part or str(part) not in told or part == 7


def test_keys_are_shown_nowhere(opened: Open, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, pickle, status or log holds a key."""
    caplog.set_level(logging.DEBUG)
    mem = opened(name, key=BOTH)
    mem.topic = "billing"
    settings = Settings(encryption_key=f"{NEW},{OLD}")  # type: ignore[arg-type]
    state = core_of(mem).state
    shown = [
        *map(repr, (mem, settings, redis_memory.status(mem), state, state.sealer)),
        str(settings.model_dump()),
        caplog.text,
    ]
    pickled = pickle.dumps(mem)
    for secret in (NEW, OLD, NEW_BYTES.hex()):
        assert not any(secret in text for text in shown)
        assert secret.encode() not in pickled
    for raw in (NEW_BYTES, OLD_BYTES):
        assert raw not in pickled


def test_a_pickle_finds_its_key_again(opened: Open, name: str) -> None:
    """In the same process a memory that was pickled or copied goes on with the same keys."""
    mem = opened(name)
    mem.topic = "billing"
    for again in (pickle.loads(pickle.dumps(mem)), copy.copy(mem)):
        with again:
            assert again.topic == "billing"


def test_a_pickle_without_its_key_is_not_opened(
    opened: Open, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no key is known a memory is not opened without one; the environment may name it."""
    mem = opened(name)
    mem.topic = "billing"
    pickled = pickle.dumps(mem)
    monkeypatch.setattr(keys, "_known", {})
    with pytest.raises(ConfigurationError, match=VARIABLE):
        pickle.loads(pickled)
    monkeypatch.setenv(VARIABLE, OLD)
    with pickle.loads(pickled) as again:
        assert again.topic == "billing"


@pytest.mark.parametrize("kind", [ConversationMemory, Conversations])
def test_the_missing_package_is_named(kind: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a key is an error that says what to install."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    given = ("c", url) if kind is ConversationMemory else (url,)
    with pytest.raises(ConfigurationError, match=r"redis_memory\[encryption\]"):
        kind(*given, encryption_key=OLD)
