"""What is traced: a span for each operation, within the caller's, and no word of what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from redis_memory import (
    AsyncConversationMemory,
    ConversationMemory,
    WrongKindError,
)
from redis_memory.telemetry.instruments import Instruments
from redis_memory.telemetry.operations import DIRECTORY_KINDS, KINDS, OTHER
from tests.faults import FaultProxy
from tests.servers import HOST, Server
from tests.telemetry.calls import everything, everything_awaited
from tests.telemetry.conftest import OpenFace
from tests.telemetry.measuring import Measured
from tests.typed.cases import Profile


def test_an_operation_is_one_span(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """With the server, how it ended, and how many round trips it took; without the id."""
    face = open_measured(name, server.tcp_url)
    face.assign("log", [])
    face.call("log", "append", "hello")
    spans = measured.spans
    assert spans[0].name == "redis_memory.assign"
    (appended,) = [span for span in spans if span.name == "redis_memory.append"]
    assert appended.kind == SpanKind.CLIENT
    assert appended.status.status_code == StatusCode.UNSET
    attributes = dict(appended.attributes or {})
    # awaited, it is read and appended to in one operation
    assert attributes.pop("redis_memory.round_trips") in (1, 2)
    assert attributes == {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "append",
        "server.address": HOST,
        "server.port": server.port,
        "redis_memory.outcome": "ok",
    }


def test_a_span_lies_within_the_callers(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """What a request does in a memory stands in the trace of that request."""
    with ConversationMemory(name, server.url, telemetry="on") as memory:
        tracer = measured.tracers.get_tracer("the program's")
        with tracer.start_as_current_span("a request") as request:
            memory.topic = "billing"
        memory.topic = "closed"
    inside, _, outside = measured.spans
    assert inside.parent is not None
    assert inside.parent.span_id == request.get_span_context().span_id
    assert outside.parent is None


def test_the_id_is_told_only_where_it_is_asked_for(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """By the setting `telemetry_ids`, in traces."""
    for is_told in (False, True):
        face = open_measured(f"{name}-{is_told}", server.url, telemetry_ids=is_told)
        face.assign("topic", "billing")
    first, second = (dict(span.attributes or {}) for span in measured.spans)
    assert "redis_memory.conversation_id" not in first
    assert name not in repr(first)
    assert second["redis_memory.conversation_id"] == f"{name}-True"


def test_a_failed_span_says_so_without_a_value(
    open_measured: OpenFace, measured: Measured, server: Server, name: str
) -> None:
    """The kind of error, not its text: the key of a KeyError is what the user has stored."""
    face = open_measured(name, server.url)
    face.assign("topic", "the value")
    face.assign("by_name", {"the value": "the value"})
    with pytest.raises(WrongKindError):
        face.function("push", "topic", "the value")
    with pytest.raises(KeyError):
        face.call("by_name", "__delitem__", "the value of a key")
    failed = [one for one in measured.spans if (one.attributes or {}).get("error.type")]
    told = [((one.attributes or {})["error.type"], one.status.status_code) for one in failed]
    # Python's own answers are no failures
    assert told == [("WrongKindError", StatusCode.ERROR), ("KeyError", StatusCode.UNSET)]
    assert "the value" not in "".join(one.to_json() for one in measured.spans)


def test_a_span_says_that_the_server_was_not_asked(
    open_measured: OpenFace, measured: Measured, proxy: FaultProxy, name: str
) -> None:
    """What waits, and what a copy answers, is `away`, and took no round trip."""
    face = open_measured(name, proxy.url)
    face.assign("topic", "billing")
    proxy.refuse()
    for _ in range(2):
        face.assign("topic", "closed")
    assert face.read("topic") == "closed"
    for span in measured.spans[1:4]:
        attributes = dict(span.attributes or {})
        assert attributes["redis_memory.outcome"] == "away"
        assert attributes["redis_memory.round_trips"] == 0
    proxy.heal()
    assert face.flush() == 0


def test_a_program_that_traces_nothing_makes_no_span(
    monkeypatch: pytest.MonkeyPatch, measured: Measured, server: Server, name: str
) -> None:
    """Where it has set a provider of meters only, operations are counted all the same."""
    only_metrics = Instruments(measured.meters)
    monkeypatch.setattr("redis_memory.telemetry.instruments.current", lambda: only_metrics)
    with ConversationMemory(name, server.url, telemetry="on") as memory:
        memory.topic = "billing"
    assert measured.spans == []
    assert measured.kinds() == {"assign": 1}


def _awaited(name: str, url: str, file: Path) -> None:
    async def main() -> None:
        async with AsyncConversationMemory(name, url, telemetry="on") as memory:
            await everything_awaited(memory, url, file)

    asyncio.run(main())


def _blocking(name: str, url: str, file: Path) -> None:
    with ConversationMemory(name, url, telemetry="on") as memory:
        everything(memory, url, file)


@pytest.mark.parametrize("use", [_blocking, _awaited], ids=["blocking", "awaited"])
def test_whatever_a_program_calls_has_a_name(
    measured: Measured, server: Server, name: str, tmp_path: Path, use: Callable[..., None]
) -> None:
    """No operation of either face is counted as another one, or as one that nobody knows."""
    use(name, server.url, tmp_path / "all.jsonl")
    kinds = set(measured.kinds())
    assert not [kind for kind in kinds if kind.endswith(OTHER)]
    mutators = {"extend", "setitem", "delitem", "imul"}
    known = {*KINDS.values(), *(f"conversations.{kind}" for kind in DIRECTORY_KINDS.values())}
    assert kinds <= known | mutators
    both = {"assign", "append", "setitem", "read", "delete", "find", "push", "window"}
    both |= {"increment", "setdefault", "compare_and_set", "snapshot", "expire", "begin"}
    both |= {"commit", "lease.acquire", "lease.renew", "lease.write", "lease.release"}
    both |= {"wait_for", "ping", "clear", "conversations.count", "conversations.list"}
    both |= {"conversations.stats", "conversations.export", "conversations.load"}
    assert both | {"conversations.prune", "conversations.reindex"} <= kinds


class _Case(ConversationMemory):
    profile: Profile = Profile()
    messages: list[str] = []  # noqa: RUF012 - a declared default is a fresh one for each reader

    @classmethod
    def __upgrade__(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return stored


def test_typed_memories_are_measured_alike(measured: Measured, server: Server, name: str) -> None:
    """Declared attributes, models and the hook go by the same names."""
    with _Case(name, server.url, telemetry="on") as case:
        case.messages.append("hello")
        case.profile.name = "Ann"
        case.profile.tags.extend(["a", "b"])
        assert (case.profile.name, case.messages) == ("Ann", ["hello"])
        del case.profile
    assert set(measured.kinds()) == {"read", "append", "setattr", "extend", "delete"}
