"""Proxies go as they are into what users hand their messages to, and arrive as plain values."""

from __future__ import annotations

import copy
import json
import pickle
import pprint
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anthropic
import msgpack  # type: ignore[import-untyped]  # it says nothing of its types
import msgpack.fallback  # type: ignore[import-untyped]
import openai
import orjson
import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter

from redis_memory import ConversationMemory, SyncedDict, SyncedList, SyncedSet, snapshot
from tests.scripts import run_script
from tests.stubs import ChatStub

EXAMPLES = Path(__file__).parents[2] / "examples"

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "Where is my order, «№ 7»?"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "find_order", "arguments": '{"number": 7}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": '{"state": "shipped"}'},
    {"role": "user", "content": "Thank you.", "name": "ann"},
]
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "integer", "enum": [6, 7]}},
                "required": ["number"],
            },
        },
    }
]
# the same conversation as the other vendor has it
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "Where is my order?"}]},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t1", "name": "find", "input": {"numbers": [7]}}],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [{"type": "text", "text": "shipped"}],
            }
        ],
    },
]
STORED: dict[str, Any] = {
    "messages": MESSAGES,
    "profile": {"name": "Ann", "prefs": {"tone": "formal", "scores": [1, 2.5, None, True]}},
    "tags": {"vip", "new"},
    "tools": TOOLS,
    "turns": TURNS,
}


@pytest.fixture
def memory(url: str) -> Iterator[ConversationMemory]:
    """A memory that holds `STORED`, and holds it unchanged when the test is over."""
    with ConversationMemory(uuid4(), url) as memory:
        for name, value in STORED.items():
            memory[name] = value
        yield memory
        assert snapshot(memory) == STORED


def parts(value: object) -> Iterator[object]:
    """A value and everything in it."""
    yield value
    if isinstance(value, dict):
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from parts(item)


def assert_plain(value: object, expected: object) -> None:
    """Equal, and nothing in it writes to a memory."""
    assert value == expected
    assert not [
        part for part in parts(value) if isinstance(part, (SyncedList, SyncedDict, SyncedSet))
    ]


WRITERS: dict[str, Callable[[Any], object]] = {
    "json": json.dumps,
    "json, indented": lambda value: json.dumps(value, indent=2, sort_keys=True),
    "json, in Python": lambda value: "".join(
        json.JSONEncoder(ensure_ascii=False).iterencode(value)
    ),
    "msgpack": msgpack.packb,
    "msgpack, in Python": lambda value: msgpack.fallback.Packer().pack(value),
    "orjson": orjson.dumps,
    "orjson, sorted": lambda value: orjson.dumps(value, option=orjson.OPT_SORT_KEYS),
    "pprint": lambda value: pprint.pformat(value, width=40),
    "repr": repr,
    "str": str,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("name", ["messages", "profile"])
def test_a_proxy_is_written_as_the_plain_value_is(
    write: Callable[[Any], object], name: str, memory: ConversationMemory
) -> None:
    """Serializers and printers give the same bytes for a proxy, for its parts, and around it."""
    proxy, plain = memory[name], STORED[name]
    assert isinstance(proxy, (SyncedList, SyncedDict))
    assert write(proxy) == write(plain)
    assert write({"inside": [proxy]}) == write({"inside": [plain]})
    key = "prefs" if name == "profile" else 1
    assert isinstance(proxy[key], SyncedDict)
    assert write(proxy[key]) == write(plain[key])
    assert write([part for part in proxy]) == write([part for part in plain])  # noqa: C416


def test_a_set_is_written_as_the_plain_set_is(memory: ConversationMemory) -> None:
    """Hooks for sets, which no format knows, are called for a proxy as well."""
    assert json.loads(json.dumps(memory.tags, default=sorted)) == ["new", "vip"]
    assert orjson.loads(orjson.dumps(memory.tags, default=sorted)) == ["new", "vip"]
    assert msgpack.unpackb(msgpack.packb(memory.tags, default=sorted)) == ["new", "vip"]


COPIERS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "pickle, oldest": lambda value: pickle.loads(pickle.dumps(value, protocol=0)),
    "deepcopy around": lambda value: copy.deepcopy([value])[0],
}


@pytest.mark.parametrize("make", COPIERS.values(), ids=COPIERS)
@pytest.mark.parametrize("name", ["messages", "profile", "tags"])
def test_a_copy_is_plain_and_detached(
    make: Callable[[Any], Any], name: str, memory: ConversationMemory
) -> None:
    """Copies have the built-in types at every depth, and changing them changes no memory."""
    copied = make(memory[name])
    assert type(copied) is type(STORED[name])
    assert_plain(copied, STORED[name])
    copied.clear()


class Prefs(BaseModel):
    """What a user declares of a dict inside a dict."""

    model_config = ConfigDict(strict=True)
    tone: str
    scores: list[float | bool | None]


class Profile(BaseModel):
    name: str
    prefs: Prefs


class Case(BaseModel):
    """Every kind of container as a field, typed and not."""

    messages: list[dict[str, Any]]
    untyped: list[Any]
    profile: Profile
    mapping: dict[str, Any]
    tags: set[str]
    anything: Any


def test_pydantic_validates_a_proxy(memory: ConversationMemory) -> None:
    """Adapters take proxies, strict or not; what is declared is plain, what is Any is equal."""
    prefs = TypeAdapter(dict[str, str | list[float | bool | None]])
    for strict in (False, True):
        messages = TypeAdapter(list[dict[str, Any]]).validate_python(memory.messages, strict=strict)
        assert_plain(messages, MESSAGES)
        tags = TypeAdapter(set[str]).validate_python(memory.tags, strict=strict)
        assert type(tags) is set
        assert tags == STORED["tags"]
        validated = prefs.validate_python(memory.profile["prefs"], strict=strict)
        assert_plain(validated, STORED["profile"]["prefs"])
    assert TypeAdapter(dict[str, Any]).validate_python(memory.profile) == STORED["profile"]


def test_pydantic_models_are_made_of_proxies(memory: ConversationMemory) -> None:
    """Models whose fields are given as proxies dump and print what plain values give."""

    def case(source: Any) -> Case:
        return Case(
            messages=source["messages"],
            untyped=source["messages"],
            profile=source["profile"],
            mapping=source["profile"],
            tags=source["tags"],
            anything=source["turns"],
        )

    from_proxies, from_plain = case(memory), case(STORED)
    assert from_proxies == from_plain
    assert_plain(from_proxies.model_dump(), from_plain.model_dump())
    in_order: Any = {"exclude": {"tags"}}  # a set has no order
    assert from_proxies.model_dump_json(**in_order) == from_plain.model_dump_json(**in_order)
    assert from_proxies.profile.prefs.scores == [1, 2.5, None, True]


SELECTIONS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda value: value,
    "a slice": lambda value: value[:],
    "a list of parts": lambda value: [*value],
    "behind a plain message": lambda value: [{"role": "system", "content": "Be brief."}, *value],
}


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_openai_sends_proxies_as_plain_values(
    select: Callable[[Any], Any], memory: ConversationMemory
) -> None:
    """Messages with content parts and tool calls, and tools, arrive as they were stored."""
    with (
        ChatStub("It is on its way.") as stub,
        openai.OpenAI(base_url=f"{stub.url}/v1", api_key="any", max_retries=0) as client,
    ):
        client.chat.completions.create(
            model="m",
            messages=select(memory.messages),
            tools=memory.tools,
            extra_body={"metadata": memory.profile},
        )
    (body,) = stub.requests
    assert body["messages"] == select(MESSAGES)
    assert body["tools"] == TOOLS
    assert body["metadata"] == STORED["profile"]


async def test_async_and_streaming_openai_send_proxies_too(memory: ConversationMemory) -> None:
    """The awaited client, streaming, sends the same."""
    with ChatStub("It is on its way.") as stub:
        async with openai.AsyncOpenAI(
            base_url=f"{stub.url}/v1", api_key="any", max_retries=0
        ) as client:
            stream = await client.chat.completions.create(
                model="m", messages=memory.messages, tools=memory.tools, stream=True
            )
            said = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(said) == "It is on its way."
    assert stub.requests[0]["messages"] == MESSAGES
    assert stub.requests[0]["tools"] == TOOLS


def test_an_answer_of_openai_is_stored_and_sent_again(url: str) -> None:
    """What the client returns can be appended as a dict, and is part of the next request."""
    with (
        ChatStub("One.", "Two.") as stub,
        openai.OpenAI(base_url=f"{stub.url}/v1", api_key="any", max_retries=0) as client,
        ConversationMemory(uuid4(), url) as memory,
    ):
        memory.messages = []
        for text in ("first", "second"):
            memory.messages.append({"role": "user", "content": text})
            answer = client.chat.completions.create(model="m", messages=memory.messages)
            memory.messages.append(answer.choices[0].message.to_dict(exclude_unset=True))
        assert [message["content"] for message in memory.messages] == [
            "first",
            "One.",
            "second",
            "Two.",
        ]
    assert stub.requests[1]["messages"][1]["content"] == "One."
    assert len(stub.requests[1]["messages"]) == 3


def test_anthropic_sends_proxies_as_plain_values(memory: ConversationMemory) -> None:
    """Turns with tool use and results, at once and streamed, arrive as they were stored."""
    with (
        ChatStub("It is on its way.") as stub,
        anthropic.Anthropic(base_url=stub.url, api_key="any", max_retries=0) as client,
    ):
        client.messages.create(model="m", max_tokens=9, messages=memory.turns)
        with client.messages.stream(model="m", max_tokens=9, messages=memory.turns[:1]) as stream:
            assert stream.get_final_text() == "It is on its way."
    assert stub.requests[0]["messages"] == TURNS
    assert stub.requests[1]["messages"] == TURNS[:1]


async def test_async_anthropic_sends_proxies_too(memory: ConversationMemory) -> None:
    """The awaited client sends the same."""
    with ChatStub("It is on its way.") as stub:
        async with anthropic.AsyncAnthropic(base_url=stub.url, api_key="any") as client:
            await client.messages.create(
                model="m", max_tokens=9, messages=memory.turns, system=memory.turns[0]["content"]
            )
    assert stub.requests[0]["messages"] == TURNS
    assert stub.requests[0]["system"] == TURNS[0]["content"]


def test_the_example_really_asks_openai(tmp_path: Path) -> None:
    """`examples/openai_chat.py` prints two questions, and the stub's answers between them."""
    outcome = run_script(EXAMPLES / "openai_chat.py", data_home=tmp_path, limit_s=20)
    roles = [line.split()[0] for line in outcome.stdout.splitlines()]
    assert roles == ["user", "assistant"] * 2, outcome.stderr


def test_the_fast_implementations_are_those_that_ran() -> None:
    """What json and msgpack use here is their C code, which reads a proxy's storage directly."""
    assert json.encoder.c_make_encoder is not None  # type: ignore[attr-defined]
    assert msgpack.Packer is not msgpack.fallback.Packer
