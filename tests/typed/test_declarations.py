"""What a class may declare, and how it is found out that it may not."""

# ruff: noqa: RUF012 - a declared default is a fresh one for each reader
from __future__ import annotations

import uuid
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import BaseModel, Field

from redis_memory import (
    AsyncConversationMemory,
    ConversationMemory,
    InvalidValueError,
    Memory,
)
from tests.typed.cases import SupportCase


class Later(ConversationMemory):
    inner: Undefined | None = None
    many: list[Undefined] = []


class Undefined(BaseModel):
    name: str = ""


class Mixin:
    label: str = "none"
    limit: ClassVar[int] = 3

    def shout(self) -> str:
        return self.label.upper()


class Mixed(Mixin, ConversationMemory):
    own: int = 1


class Narrower(SupportCase):
    count: Annotated[int, Field(ge=0, le=10)] = 1
    state = "closed"
    added: dict[str, int] = {}

    @property
    def total(self) -> int:  # type: ignore[override]  # which takes the place of the attribute
        return 42


def memory_of(kind: type[Any], url: str) -> Any:
    """An empty memory of a class."""
    return kind(uuid.uuid4().hex, url)


def test_forward_references_are_resolved_at_the_first_use(url: str) -> None:
    """The class may be defined before what it names."""
    memory = memory_of(Later, url)
    memory.inner = {"name": "a"}
    assert memory.inner == Undefined(name="a")
    memory.many.append(Undefined())
    assert memory.many == [Undefined()]


def test_names_of_a_function_are_found(url: str) -> None:
    """Class and model may be defined in one function."""

    class Local(BaseModel):
        name: str

    class Case(ConversationMemory):
        local: Local | None = None

    memory = memory_of(Case, url)
    memory.local = Local(name="a")
    assert memory.local == Local(name="a")


def test_a_subclass_adds_and_overrides(url: str) -> None:
    """Annotations, defaults alone, and methods in place of attributes."""
    narrow = memory_of(Narrower, url)
    assert (narrow.count, narrow.state, narrow.total, narrow.added) == (1, "closed", 42, {})
    assert narrow.messages == []
    with pytest.raises(InvalidValueError, match="count"):
        narrow.count = 11
    with pytest.raises(AttributeError):
        narrow.total = 1
    wide = memory_of(SupportCase, url)
    assert (wide.count, wide.state, wide.total) == (5, "open", 0)
    wide.count = 11


def test_a_base_that_is_no_memory_declares_as_well(url: str) -> None:
    """Its defaults do not hide what is stored, and it stays as it is."""
    memory = memory_of(Mixed, url)
    assert (memory.label, memory.own, memory.limit) == ("none", 1, 3)
    memory.label = "new"
    assert memory.shout() == "NEW"
    with pytest.raises(InvalidValueError, match="label"):
        memory.label = 5
    assert memory_of(Mixed, url).label == "none"
    assert Mixin.label == "none"


def test_the_memory_of_a_prefix_can_be_typed(url: str) -> None:
    """As that of a conversation."""

    class Shop(Memory):
        visits: int = 0

    shop: Any = Shop(url, prefix=uuid.uuid4().hex)
    shop.visits = 3
    with pytest.raises(InvalidValueError):
        shop.visits = "x"


def test_a_class_without_declarations_is_a_plain_memory(url: str) -> None:
    """Whatever else stands in it."""

    class Case(ConversationMemory):
        limit = 5
        _own: int = 3

    memory = memory_of(Case, url)
    assert Case._redis_memory_schema is None
    memory.free = object.__name__
    assert (memory.limit, memory._own) == (5, 3)


@pytest.mark.parametrize("base", [ConversationMemory, AsyncConversationMemory])
def test_a_reserved_name_cannot_be_declared(base: type) -> None:
    """The id is no attribute of the conversation."""
    with pytest.raises(TypeError, match="conversation_id"):
        type("Case", (base,), {"__annotations__": {"conversation_id": str}, "__module__": "m"})


def test_a_wrong_keyword_is_an_error() -> None:
    """`extra` is allow or forbid."""
    with pytest.raises(TypeError, match="extra"):
        type("Case", (ConversationMemory,), {"__module__": "m"}, extra="ignore")


class Odd:
    pass


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (Odd, None, "the annotation of Case.odd"),
        ("Nowhere", None, "the annotation of Case.odd"),
        ("1 +", None, "the annotation of Case.odd"),
        (int, "five", "the default of Case.odd does not fit"),
        (int, Field(default_factory=lambda: "five"), "the default of Case.odd does not fit"),
    ],
    ids=["class", "name", "syntax", "default", "factory"],
)
def test_what_cannot_be_held_to_is_told_at_the_first_use(
    url: str, annotation: Any, default: Any, text: str
) -> None:
    """The message names the class and the attribute."""
    body = {"__annotations__": {"odd": annotation}, "odd": default, "__module__": __name__}
    case: type = type("Case", (ConversationMemory,), {**body, "__qualname__": "Case"})
    with pytest.raises(TypeError, match=text):
        _ = memory_of(case, url).odd
