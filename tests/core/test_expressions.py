"""Conditions about a conversation's attributes."""

from __future__ import annotations

from typing import Any

import pytest

from redis_memory.core.expressions import Condition

FOUND: dict[str, Any] = {
    "state": "archived",
    "turns": 3,
    "messages": ["a", "b"],
    "profile": {"tone": "formal", "age": None},
    "none": None,
    "pair": (1, 2),
    "tags": {1, 2},
    "grid": {(1, 2): "x"},
}


@pytest.mark.parametrize(
    "text",
    [
        'state == "archived"',
        "state != 'open' and turns > 2",
        "1 < turns <= 3",
        "turns == 3.0 or missing",
        "not (turns > 5)",
        "state in ['archived', 'closed']",
        "'a' in messages",
        "'c' not in messages",
        "len(messages) == 2",
        "len(state) == 8",
        'profile["tone"] == "formal"',
        "messages[-1] == 'b'",
        "none is None",
        "exists(none)",
        "not exists(missing)",
        "messages",
        "turns > -1",
        "pair == (1, 2)",
        "pair != [1, 2]",
        "messages == ['a', 'b']",
        "tags == {2, 1}",
        "grid[(1, 2)] == 'x'",
        "turns in {3, missing}",
    ],
)
def test_what_is_so_is_true(text: str) -> None:
    """Comparisons, parts, lengths, and their combinations."""
    assert Condition(text)(FOUND)


@pytest.mark.parametrize(
    "text",
    [
        "missing == 1",
        "missing != 1",
        "missing",
        "turns > 'three'",
        "len(turns) == 1",
        "profile['nobody'] == 1",
        "messages[9] == 'a'",
        "none['x'] is None",
        "missing is None",
        "-state == 1",
        "turns in {messages}",
        "messages in {1}",
        "none",
    ],
)
def test_what_is_missing_or_does_not_fit_is_not_so(text: str) -> None:
    """It raises nothing: the conversation does not match."""
    assert not Condition(text)(FOUND)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "state =",
        "state.upper()",
        "__import__('os').system('true')",
        "open('x')",
        "[x for x in messages]",
        "lambda: 1",
        "turns + 1 == 4",
        "len(messages, 1)",
        "exists('state')",
        "f'{state}'",
        "a" * 2000,
        "(" * 500 + ")" * 500,
        "x" + "\0",
        "-" * 900 + "1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Nothing is ever run."""
    with pytest.raises(ValueError, match="condition"):
        Condition(text)


def test_a_condition_says_which_attributes_it_needs() -> None:
    """So that no others are read."""
    assert Condition("len(messages) > 1 and exists(state)").names == {"messages", "state"}
    assert Condition(bool).names is None


def test_an_attribute_may_be_called_as_a_function_is() -> None:
    """`len` and `exists` are words of conditions only where they are called."""
    found = {"len": [1, 2], "exists": "yes"}
    assert Condition("len(len) == 2 and exists(exists)").names == {"len", "exists"}
    assert Condition("len(len) == 2 and exists(exists) and exists == 'yes'")(found)


def test_a_condition_is_text_or_a_function() -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError):
        Condition(3)  # type: ignore[arg-type]
