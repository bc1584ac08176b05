"""Annotations of all kinds: what each is stored as, and whether it can be changed in place."""

from __future__ import annotations

# ruff: noqa: RUF012 - a declared default is a fresh one for each reader
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Generic, NewType, TypeVar
from uuid import UUID

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    HttpUrl,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    model_serializer,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass

from redis_memory import ConversationMemory, InvalidValueError, UnstorableValueError
from tests.typed.cases import Color, Message

T = TypeVar("T")
Count = NewType("Count", int)
_registered: list[type] = []


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Exact(BaseModel):
    model_config = ConfigDict(strict=True, validate_assignment=True, extra="forbid")
    color: Color = Color.RED
    at: datetime = datetime(2020, 1, 1)
    seen: set[int] = set()
    level: Level = Level.LOW


class Busy(BaseModel):
    n: int = 0
    _own: int = PrivateAttr(default=3)

    def __init_subclass__(cls, **options: Any) -> None:
        _registered.append(cls)
        super().__init_subclass__(**options)

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way to write it
    @property
    def twice(self) -> int:
        return self.n * 2

    @functools.cached_property
    def later(self) -> int:
        return self.n + 100

    @property
    def half(self) -> float:
        return self.n / 2

    @half.setter
    def half(self, half: float) -> None:
        self.n = int(half * 2)

    def grow(self) -> None:
        self.n += 1


@dataclass(frozen=True, order=True)
class Fixed:
    a: int = 0
    items: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class Derived:
    a: int
    b: int = field(default=0, init=False)
    start: InitVar[int] = 0

    def __post_init__(self, start: int) -> None:
        self.b = self.a * 2


@pydantic_dataclass
class Holder:
    a: int = 0
    fixed: list[Fixed] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    value: T
    more: list[T] = field(default_factory=list)


class Money(BaseModel):
    amount: int
    unit: str

    @model_serializer
    def _as_text(self) -> str:
        return f"{self.amount} {self.unit}"

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        return (
            dict(zip(("amount", "unit"), value.split(), strict=True))
            if isinstance(value, str)
            else value
        )


class Numbers(RootModel[list[int]]):
    pass


class Secret(BaseModel):
    word: SecretStr = SecretStr("none")
    path: Path = Path("/x")
    link: HttpUrl | None = None


class Kinds(ConversationMemory):
    exact: Exact = Exact()
    exacts: list[Exact] = []
    busy: Busy = Busy()
    fixed: Fixed = Fixed()
    derived: Derived = Derived(a=1)
    holder: Holder = Holder()
    box: Box[int] | None = None
    money: Money = Money(amount=1, unit="EUR")
    numbers: Numbers = Numbers([1])
    secret: Secret = Secret()
    count: Count = Count(3)
    by_id: dict[UUID, Message] = {}
    by_day: dict[date, int] = {}
    maybe: list[Message] | None = None
    frozen: frozenset[Color] = frozenset()
    level: Level = Level.LOW
    deep: dict[str, dict[str, list[Fixed | None]]] = {}
    mixed: tuple[int, list[str]] = (1, [])
    several: Sequence[Message] = ()
    mapped: Mapping[str, int] = {}
    free: list[Any] = []
    colors: list[set[Color]] = []


@pytest.fixture
def kinds(url: str, conversation_id: str) -> Kinds:
    """A memory that declares everything."""
    return Kinds(conversation_id, url)


@pytest.fixture
def again(url: str, conversation_id: str) -> Kinds:
    """The same, as another worker opens it."""
    return Kinds(conversation_id, url)


@pytest.fixture
def raw(url: str, conversation_id: str) -> ConversationMemory:
    """What is stored."""
    return ConversationMemory(conversation_id, url)


def test_a_strict_model_is_read_from_what_it_is_stored_as(kinds: Kinds, again: Kinds) -> None:
    """Its own changes are held to its strictness all the same."""
    kinds.exact.color = Color.BLUE
    kinds.exact.at = datetime(2021, 1, 1)
    kinds.exact.seen.add(3)
    with pytest.raises(InvalidValueError, match=r"exact\.level"):
        kinds.exact.level = 2  # type: ignore[assignment]  # that is the point
    kinds.exact.level = Level.HIGH
    assert again.exact == Exact(
        color=Color.BLUE, at=datetime(2021, 1, 1), seen={3}, level=Level.HIGH
    )
    kinds.exacts = [kinds.exact, kinds.exact]
    kinds.exacts = kinds.exacts
    assert again.exacts == [again.exact] * 2
    assert Exact.model_validate_json(again.exact.model_dump_json(), strict=False) == again.exact


def test_what_a_model_has_beside_its_fields_works(kinds: Kinds, again: Kinds) -> None:
    """Private attributes stay here; properties, methods and computed fields see the model."""
    busy = kinds.busy
    busy._own = 9
    busy.n = 4
    assert (busy._own, busy.twice, busy.later) == (9, 8, 104)
    busy.half = 7
    busy.grow()
    assert (busy.n, busy.later, again.busy.n) == (15, 115, 15)
    assert kinds.busy._own == 3
    assert _registered == []
    assert type(busy)(n=1) == Busy(n=1)


def test_dataclasses_of_all_kinds(kinds: Kinds, again: Kinds) -> None:
    """Frozen, ordered, derived in `__post_init__`, generic, pydantic's own."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        kinds.fixed.a = 3  # type: ignore[misc]  # that is the point
    kinds.fixed.items.append(3)
    assert again.fixed == Fixed(0, [3])
    assert Fixed() < again.fixed > Fixed()
    kinds.derived.a = 5
    assert (again.derived.a, again.derived.b) == (5, 10)
    kinds.holder = Holder(1, [Fixed(1)])
    kinds.holder.fixed.append(Fixed(2))
    kinds.holder.a = 2
    assert again.holder == Holder(2, [Fixed(1), Fixed(2)])
    kinds.box = Box(1)
    kinds.box.more.append(2)
    assert again.box == Box(1, [2])
    with pytest.raises(InvalidValueError, match=r"box\.more\[1\]"):
        kinds.box.more.append("x")  # type: ignore[arg-type]  # that is the point


def test_objects_are_stored_as_what_they_are_made_of(
    kinds: Kinds, again: Kinds, raw: ConversationMemory
) -> None:
    """Serializers, root models, secrets, paths, urls, members of enums, named types."""
    kinds.money = Money(amount=2, unit="CHF")
    kinds.numbers = Numbers([1, 2])
    kinds.secret = Secret(word=SecretStr("w"), link=HttpUrl("http://a.b/"))
    kinds.secret.path = Path("/y")
    kinds.level = Level.HIGH
    kinds.frozen = frozenset({Color.RED})
    kinds.count = Count(4)
    assert again.money == Money(amount=2, unit="CHF")
    assert again.numbers == Numbers([1, 2])
    assert again.secret == Secret(word=SecretStr("w"), path=Path("/y"), link=HttpUrl("http://a.b/"))
    assert again.level is Level.HIGH
    assert again.frozen == {Color.RED}
    assert again.count == 4
    assert (raw.money, raw.numbers, raw.level) == ("2 CHF", [1, 2], 2)
    assert raw.secret == {"word": "w", "path": "/y", "link": "http://a.b/"}


def test_keys_that_no_dict_can_have_are_stored_as_text(
    kinds: Kinds, again: Kinds, raw: ConversationMemory
) -> None:
    """And read as what they are declared to be."""
    key = UUID(int=3)
    kinds.by_id[key] = Message(role="user")
    kinds.by_id[key].tags.append("t")
    assert again.by_id == {key: Message(role="user", tags=["t"])}
    assert key in again.by_id
    assert again.by_id.pop(key).tags == ["t"]
    kinds.by_day = {date(2020, 1, 1): 3}
    kinds.by_day.update({date(2020, 1, 2): 4})
    assert again.by_day == {date(2020, 1, 1): 3, date(2020, 1, 2): 4}
    assert raw.by_day == {"2020-01-01": 3, "2020-01-02": 4}


def test_containers_of_all_kinds(kinds: Kinds, again: Kinds) -> None:
    """Optional, deep, in tuples, abstract ones, of anything."""
    kinds.maybe = []
    kinds.maybe.append(Message(role="user"))
    kinds.maybe[0].text = "x"
    assert again.maybe == [Message(role="user", text="x")]
    kinds.deep.setdefault("a", {}).setdefault("b", []).append(Fixed(1))
    kinds.deep["a"]["b"].append(None)
    assert again.deep == {"a": {"b": [Fixed(1), None]}}
    kinds.mixed[1].append("x")
    with pytest.raises(InvalidValueError, match=r"mixed\[1\]\[1\]"):
        kinds.mixed[1].append(3)  # type: ignore[arg-type]  # that is the point
    assert again.mixed == (1, ["x"])
    kinds.several = (Message(role="user"),)
    kinds.several[0].text = "in a tuple"
    assert again.several == (Message(role="user", text="in a tuple"),)
    kinds["several"] = [Message(role="user")]
    kinds.several[0].text = "in a list"
    assert again["several"] == [Message(role="user", text="in a list")]
    kinds.mapped = {"a": 1}
    assert again.mapped == {"a": 1}
    kinds.colors.append({Color.RED})
    kinds.colors[0].add(Color.BLUE)
    assert again.colors == [{Color.RED, Color.BLUE}]
    kinds.free.append([1])
    kinds.free[0].append(Color.RED)
    kinds.free.append(Message(role="user"))
    assert again.free == [[1, "r"], {"role": "user", "text": "", "tags": []}]
    with pytest.raises(UnstorableValueError):
        kinds.free.append(object())
