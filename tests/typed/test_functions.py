"""The functions that take a memory, on declared attributes."""

from __future__ import annotations

from typing import Any

import pytest

from redis_memory import (
    MISSING,
    ConversationMemory,
    InvalidValueError,
    WaitTimeoutError,
    WrongKindError,
    clear,
    compare_and_set,
    increment,
    push,
    setdefault,
    wait_for,
    window,
)
from tests.typed.cases import Message, Profile, Strict, SupportCase

ONE = Message(role="user", text="one")


def test_push_takes_what_fits(case: SupportCase, other: SupportCase) -> None:
    """Without reading the list first; a list of the default's elements begins with them."""
    assert push(case, "messages", ONE, {"role": "assistant"}) == 2
    assert other.messages == [ONE, Message(role="assistant")]
    with pytest.raises(InvalidValueError, match=r"messages\[1\].role"):
        push(case, "messages", ONE, {"role": "x"})
    assert push(case, "greeting", "you") == 2
    assert other.greeting == ["hello", "you"]
    assert push(case, "short", "a", "b") == 2
    with pytest.raises(InvalidValueError, match="short"):
        push(case, "short", "c")
    with pytest.raises(InvalidValueError, match="not declared as a list"):
        push(case, "state", "x")
    case.anything = 3
    with pytest.raises(WrongKindError):
        push(case, "anything", 1)


def test_window_gives_models(case: SupportCase, plain: ConversationMemory) -> None:
    """Detached ones; of a default, too."""
    case.messages = [ONE, ONE, ONE]
    part = window(case, "messages", -2)
    assert part == [ONE, ONE]
    assert type(part[0]) is Message
    part[0].text = "mine alone"
    assert case.messages == [ONE, ONE, ONE]
    assert window(case, "greeting", 0, 1) == ["hello"]
    plain.messages.append({"role": "x"})
    assert window(case, "messages", 0, 2) == [ONE, ONE]
    with pytest.raises(InvalidValueError, match="messages"):
        window(case, "messages", -1)
    plain.greeting = [1]
    with pytest.raises(InvalidValueError, match="greeting"):
        window(case, "greeting")


def test_setdefault_takes_what_fits(case: SupportCase, other: SupportCase) -> None:
    """And gives what is there as it is declared."""
    with pytest.raises(InvalidValueError, match=r"profile\.age"):
        setdefault(case, "profile", {"age": -1})
    mine = setdefault(case, "profile", {"age": 1})
    theirs = setdefault(other, "profile", Profile(age=2))
    assert mine == theirs == Profile(age=1)
    mine.age += 1
    assert other.profile == Profile(age=2)


def test_increment_stays_within_the_annotation(case: SupportCase) -> None:
    """A missing number counts as its default."""
    assert increment(case, "count") == 6
    assert case.count == 6
    with pytest.raises(InvalidValueError, match="count"):
        increment(case, "count", 95)
    with pytest.raises(InvalidValueError, match="count"):
        increment(case, "count", 0.5)
    assert increment(case, "total", 2) == 2
    with pytest.raises(InvalidValueError, match="total"):
        increment(case, "total", 0.5)
    with pytest.raises(InvalidValueError, match="messages"):
        increment(case, "messages")
    assert (case.count, case.total) == (6, 2)


def test_after_clear_the_defaults_are_back(case: SupportCase) -> None:
    """Nothing of the class is stored."""
    case.state = "closed"
    case.messages.append(ONE)
    clear(case)
    assert (case.state, case.messages) == ("open", [])


@pytest.mark.parametrize(
    "use",
    [
        lambda it: it.mesages,
        lambda it: setattr(it, "mesages", []),
        lambda it: delattr(it, "mesages"),
        lambda it: it["mesages"],
        lambda it: push(it, "mesages", "x"),
        lambda it: window(it, "mesages"),
        lambda it: increment(it, "mesages"),
        lambda it: setdefault(it, "mesages", []),
    ],
    ids=["read", "assign", "delete", "item", "push", "window", "increment", "setdefault"],
)
def test_forbidden_names_are_refused(each_url: str, conversation_id: str, use: Any) -> None:
    """The error names the nearest declared one."""
    with Strict(conversation_id, each_url) as memory:
        with pytest.raises(AttributeError, match="nearest declared one is 'messages'"):
            use(memory)
        assert not hasattr(memory, "mesages")
        assert "mesages" not in memory
        memory.messages.append("x")
        assert memory.messages == ["x"]


def test_who_waits_or_compares_looks_at_what_is_stored(case: SupportCase) -> None:
    """A default is not there for `wait_for` and `compare_and_set`, though it is read."""
    assert case.state == "open"
    with pytest.raises(WaitTimeoutError):
        wait_for(case, "state", "open", timeout_s=0)
    assert not compare_and_set(case, "state", "open", "closed")
    assert compare_and_set(case, "state", MISSING, "closed")
    assert wait_for(case, "state", "closed", timeout_s=5) == "closed"
