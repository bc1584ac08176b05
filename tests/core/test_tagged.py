"""Values in JSON: every type comes back, and what is no value is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from redis_memory.core.tagged import from_json, to_json
from redis_memory.core.values import pack, unpack
from redis_memory.errors import CorruptValueError, UnstorableValueError
from tests.strategies import same, values


@given(values())
def test_every_value_comes_back_from_json(value: Any) -> None:
    """Equal and of the same type at every depth, as it comes back from Redis."""
    text = json.dumps(to_json(value), allow_nan=False)
    assert same(from_json(json.loads(text)), unpack(pack(value)))


def test_what_json_can_hold_is_plain() -> None:
    """A file can be read by people, and by other programs."""
    message = {"role": "user", "content": "Hi", "at": 1.5, "n": 3, "ok": True, "more": [None]}
    assert to_json(message) == message


@pytest.mark.parametrize(
    "form",
    [
        {"$bytes": "no base64!"},
        {"$bytes": 7},
        {"$set": [[1]]},
        {"$set": {"a": 1}},
        {"$tuple": "ab"},
        {"$dict": [1]},
        {"$dict": [[{"$set": []}, 1]]},
        {"$decimal": "one"},
        {"$datetime": "yesterday"},
        {"$datetime": "é"},
        {"$uuid": "1"},
        {"$uuid": 5},
        {"$datetime": 5},
        {"$int": "many"},
        {"$float": "wide"},
        {"$timedelta": "long"},
        {"$object": "os.system"},
    ],
)
def test_a_form_that_stands_for_nothing_is_refused(form: Any) -> None:
    """Never another error, whatever it holds."""
    with pytest.raises(CorruptValueError):
        from_json([form])


def test_deep_nesting_is_refused() -> None:
    """Not with a RecursionError."""
    form: Any = 1
    for _ in range(100_000):
        form = [form]
    with pytest.raises(CorruptValueError):
        from_json(form)


def test_what_is_no_value_has_no_form() -> None:
    """As it cannot be stored."""
    with pytest.raises(UnstorableValueError):
        to_json(object())
