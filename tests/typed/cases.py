"""Classes of memories that declare attributes, and the models in them."""

# ruff: noqa: RUF012 - a declared default is a fresh one for each reader
from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict

from redis_memory import AsyncConversationMemory, AsyncHandle, ConversationMemory

T = TypeVar("T")


class Color(Enum):
    RED = "r"
    BLUE = "b"


class Message(BaseModel):
    role: Literal["user", "assistant"]
    text: str = ""
    tags: list[str] = []


@dataclass
class Address:
    city: str
    code: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Point:
    x: int
    marks: list[int] = field(default_factory=list)


class Profile(BaseModel):
    name: str = "nobody"
    age: Annotated[int, Field(ge=0, le=150)] = 0
    address: Address | None = None
    tags: Annotated[list[str], Field(max_length=3)] = []
    color: Color = Color.RED
    since: datetime | None = None

    @field_validator("name")
    @classmethod
    def _has_no_digits(cls, name: str) -> str:
        if any(letter.isdigit() for letter in name):
            raise ValueError("a name has no digits")
        return name.strip()


class Span(BaseModel):
    low: int = 0
    high: int = 10

    @model_validator(mode="after")
    def _is_in_order(self) -> Span:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Stamp(BaseModel):
    model_config = ConfigDict(frozen=True)
    by: str
    fixed: list[str] = []


class Aliased(BaseModel):
    content_type: str = Field(alias="contentType")
    locked: str = Field(default="x", frozen=True)


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int = 0


class Page(BaseModel, Generic[T]):
    items: list[T] = []


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Options(TypedDict, total=False):
    tone: Literal["formal", "casual"]
    words: list[str]


class Pair(NamedTuple):
    left: int
    right: str


class SupportCase(ConversationMemory):
    limit: ClassVar[int] = 3
    messages: list[Message] = []
    state: Literal["open", "closed"] = "open"
    profile: Profile | None = None
    by_name: dict[str, Profile] = {}
    colors: set[Color] = set()
    by_color: dict[Color, int] = {}
    grid: dict[str, list[int]] = {}
    count: Annotated[int, Field(ge=0, le=100)] = 5
    total: int = 0
    home: Address
    point: Point | None = None
    span: Span = Span()
    stamp: Stamp | None = None
    aliased: Aliased | None = None
    loose: Loose = Loose()
    page: Page[Message] = Page[Message]()
    tree: Node | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat()
    pets: list[Cat | Dog] = []
    options: Options = {}
    pair: Pair | None = None
    several: tuple[Message, ...] = ()
    short: Annotated[list[str], Field(max_length=2)] = []
    greeting: list[str] = Field(default_factory=lambda: ["hello"])
    money: Decimal | None = None
    key: UUID | None = None
    anything: Any = None
    _own = 1


class AsyncSupportCase(AsyncConversationMemory):
    state: Annotated[AsyncHandle[Literal["open", "closed"]], Field(default="open")]
    profile: Annotated[AsyncHandle[Profile], Field(default_factory=Profile)]
    home: AsyncHandle[Address]
    # as a type checker sees it, this cannot be awaited
    messages: list[Message] = []
    colors: set[Color] = set()


class Strict(ConversationMemory, extra="forbid"):
    state: str = "new"
    messages: list[str] = []
