"""The stubs are wrong in the way that their names say, and the chat model suits real clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from typing import Any

import anthropic
import openai
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.listening import LoopbackPort
from tests.servers import Server
from tests.stubs import (
    ChatStub,
    CloseAtOnce,
    HttpPort,
    NoScriptsServer,
    OldServer,
    RespStub,
    Silent,
    TlsAlert,
    TlsPort,
)


def connect(stub: LoopbackPort, **options: Any) -> redis.Redis:
    """A client without retries that gives up after half a second."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(stub.url, retry=once, **{"socket_timeout": 0.5} | options)


def exchange(stub: LoopbackPort, data: bytes) -> bytes:
    """Send something, and return all that comes until the stub ends the stream."""
    with socket.create_connection(("127.0.0.1", stub.port), 5.0) as raw:
        raw.sendall(data)
        return b"".join(iter(lambda: raw.recv(1000), b""))


def test_silent_never_answers() -> None:
    """A client waits until its own limit."""
    with Silent() as stub, connect(stub, socket_timeout=0.05) as client:
        with pytest.raises(redis.TimeoutError):
            client.ping()
        assert stub.connections == 1


def test_close_at_once_ends_the_stream() -> None:
    """The connection is accepted, and over."""
    with CloseAtOnce() as stub, connect(stub) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_web_server_answers_bad_request() -> None:
    """Whatever is sent, the answer is HTTP."""
    with HttpPort() as stub:
        answer = exchange(stub, b"*1\r\n$4\r\nPING\r\n")
        head, _, page = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"Content-Length: %d" % len(page) in head
        with connect(stub) as client, pytest.raises(redis.RedisError):
            client.ping()


def test_a_tls_port_hangs_up_on_plain_text() -> None:
    """Who does not speak TLS gets no answer, or an alert, depending on who made the server."""
    request = b"*1\r\n$4\r\nPING\r\n"
    with TlsPort() as stub:
        assert exchange(stub, request) == b""
    with TlsAlert() as stub:
        assert exchange(stub, request)[:2] == b"\x15\x03"


def test_an_unknown_authority_is_not_trusted() -> None:
    """A client that checks certificates refuses, unless it is given the authority."""
    with TlsPort() as stub:
        with connect(stub) as client, pytest.raises(redis.ConnectionError, match="certificate"):
            client.ping()
        trusting = ssl.create_default_context(cafile=stub.ca)
        with (
            socket.create_connection(("127.0.0.1", stub.port), 5.0) as raw,
            trusting.wrap_socket(raw, server_hostname="127.0.0.1") as secured,
        ):
            assert secured.version()


def test_any_server_can_be_reached_by_tls(server: Server) -> None:
    """A TLS port hands on to a server that cannot do TLS itself."""
    with TlsPort(server.socket) as stub, connect(stub, ssl_ca_certs=stub.ca) as client:
        client.set("k", bytes(300_000))
        assert client.get("k") == bytes(300_000)


@pytest.mark.parametrize("version", ["6.0.16", "5.0.3", "4.0.9"])
def test_an_old_server_states_its_version(version: str) -> None:
    """INFO gives the version, and HELLO is known since 6.0."""
    with OldServer(version) as stub, connect(stub, protocol=2) as client:
        assert client.ping()
        assert client.info("server")["redis_version"] == version
        if version < "6":
            with pytest.raises(redis.ResponseError, match="unknown command"):
                client.execute_command("HELLO", "3")
        else:
            assert client.execute_command("HELLO")[1::2][1] == version.encode()
            with connect(stub, protocol=3) as modern:
                assert modern.ping()


@pytest.mark.parametrize(("why", "said"), [("noperm", "no permissions"), ("unknown", "unknown")])
def test_scripts_are_forbidden(why: str, said: str) -> None:
    """Neither a script nor its digest is run, and the rest of the greeting works."""
    with NoScriptsServer(why) as stub, connect(stub) as client:
        assert client.ping()
        for command in (("EVAL", "x", 0), ("EVALSHA", "0" * 40, 0), ("SCRIPT", "LOAD", "x")):
            with pytest.raises(redis.ResponseError, match=said):
                client.execute_command(*command)


def test_a_stub_can_refuse_everything() -> None:
    """States of a server that are hard to reach are one argument away."""
    with RespStub(errors={"*": "LOADING Redis is loading the dataset in memory"}) as stub:
        with connect(stub) as client, pytest.raises(redis.exceptions.BusyLoadingError):
            client.get("k")
        assert stub.requests[-1].name == b"GET"


def test_chat_completions_are_answered() -> None:
    """The openai client gets the replies in order, and what it sent is kept."""
    with (
        ChatStub("Hello!", "Good bye.") as stub,
        openai.OpenAI(base_url=f"{stub.url}/v1", api_key="any", max_retries=0) as client,
    ):
        said = []
        for text in ("a", "b", "c"):
            answer = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": text}]
            )
            said.append(answer.choices[0].message.content)
            assert answer.usage is not None
        assert said == ["Hello!", "Good bye.", "Good bye."]
        assert [body["messages"][0]["content"] for body in stub.requests] == ["a", "b", "c"]


def test_chat_completions_are_streamed() -> None:
    """With `stream` the openai client gets the same text piece by piece."""
    text = "Two  words,\nand more."
    with (
        ChatStub(text) as stub,
        openai.OpenAI(base_url=f"{stub.url}/v1", api_key="any", max_retries=0) as client,
    ):
        chunks = list(
            client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
        )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == text
    assert len(pieces) > 4
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_messages_are_answered() -> None:
    """The anthropic client gets the reply, at once or streamed."""
    text = "Two  words,\nand more."
    with (
        ChatStub(text) as stub,
        anthropic.Anthropic(base_url=stub.url, api_key="any", max_retries=0) as client,
    ):
        question: anthropic.types.MessageParam = {"role": "user", "content": "hi"}
        answer = client.messages.create(model="m", max_tokens=9, messages=[question])
        assert [block.text for block in answer.content if block.type == "text"] == [text]
        with client.messages.stream(model="m", max_tokens=9, messages=[question]) as stream:
            assert "".join(stream.text_stream) == text
            assert stream.get_final_message().stop_reason == "end_turn"
        assert stub.requests[0]["messages"] == [question]


async def test_async_clients_are_answered() -> None:
    """The async clients of both vendors get the same replies."""
    with ChatStub("Hello!") as stub:
        async with openai.AsyncOpenAI(base_url=f"{stub.url}/v1", api_key="any") as client:
            answer = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}]
            )
            assert answer.choices[0].message.content == "Hello!"
        async with anthropic.AsyncAnthropic(base_url=stub.url, api_key="any") as other:
            message = await other.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
            )
            assert message.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/other", b"{}", 404),
        ("/v1/messages", b"{", 400),
        ("/v1/messages", b"{}", 400),
        ("/v1/chat/completions", b"[]", 400),
    ],
)
def test_wrong_requests_are_refused(path: str, body: bytes, status: int) -> None:
    """A path that is not offered, or a body that is no request, gets an error and is not kept."""
    with ChatStub() as stub:
        host = stub.url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(host, timeout=5.0)) as connection:
            connection.request("POST", path, body)
            with connection.getresponse() as answer:
                assert answer.status == status
                assert "error" in json.load(answer)
        assert stub.requests == []
