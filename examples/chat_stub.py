"""A chat model that needs no key and no network: the HTTP interfaces of two vendors, canned.

It lets the examples and tests run with the real client libraries:

    with ChatStub("Hello!") as stub:
        openai.OpenAI(base_url=f"{stub.url}/v1", api_key="any")
        anthropic.Anthropic(base_url=stub.url, api_key="any")
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

IDLE_LIMIT_S = 5.0

Json = dict[str, Any]


class ChatStub:
    """Answers `POST /v1/chat/completions` and `POST /v1/messages`, streaming when asked to.

    Args:
        replies: What the assistant says, one text for each request; the last one is repeated.
    """

    def __init__(self, *replies: str) -> None:
        self.requests: list[Json] = []
        """The bodies received so far, in order."""
        self._replies = replies or ("Understood.",)
        self._lock = threading.Lock()
        self._server = _ChatServer(("127.0.0.1", 0), _Handler)
        self._server.stub = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply_to(self, body: Json) -> str:
        """Remember a request, and give the text of the answer to it."""
        with self._lock:
            self.requests.append(body)
            return self._replies[min(len(self.requests), len(self._replies)) - 1]


class _ChatServer(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for answers under way
    stub: ChatStub


class _Handler(BaseHTTPRequestHandler):
    """One request; HTTP/1.0, so the connection ends with it and none is left idle."""

    server: _ChatServer
    timeout = IDLE_LIMIT_S

    def do_POST(self) -> None:
        answers = {"/v1/chat/completions": _openai_answer, "/v1/messages": _anthropic_answer}
        streams = {"/v1/chat/completions": _openai_stream, "/v1/messages": _anthropic_stream}
        path = self.path.partition("?")[0]
        if path not in answers:
            self._send_json(404, _refusal("not_found_error", path))
            return
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model, _ = body["model"], body["messages"]
        except (ValueError, KeyError, TypeError) as error:
            self._send_json(400, _refusal("invalid_request_error", str(error)))
            return
        text = self.server.stub.reply_to(body)
        if body.get("stream"):
            self._send("text/event-stream", "".join(streams[path](model, text)).encode())
        else:
            self._send_json(200, answers[path](model, text))

    def log_message(self, *_: Any) -> None:
        """Keep the examples' output free of an access log."""

    def _send_json(self, status: int, answer: Json) -> None:
        self._send("application/json", json.dumps(answer).encode(), status)

    def _send(self, kind: str, payload: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _refusal(kind: str, message: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _openai_answer(model: str, text: str) -> Json:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "finish_reason": "stop",
        "logprobs": None,
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return _openai_frame("chat.completion", model, choice) | {"usage": usage}


def _openai_stream(model: str, text: str) -> Iterator[str]:
    for delta in ({"role": "assistant", "content": ""}, *({"content": w} for w in _words(text))):
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield _event(_openai_frame("chat.completion.chunk", model, choice))
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield _event(_openai_frame("chat.completion.chunk", model, last))
    yield "data: [DONE]\n\n"


def _openai_frame(kind: str, model: str, choice: Json) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model, "choices": [choice]}


def _anthropic_answer(model: str, text: str) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _anthropic_stream(model: str, text: str) -> Iterator[str]:
    begun = _anthropic_answer(model, text) | {"content": [], "stop_reason": None}
    end = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    yield _named_event("message_start", {"message": begun})
    block = {"type": "text", "text": ""}
    yield _named_event("content_block_start", {"index": 0, "content_block": block})
    for word in _words(text):
        delta = {"type": "text_delta", "text": word}
        yield _named_event("content_block_delta", {"index": 0, "delta": delta})
    yield _named_event("content_block_stop", {"index": 0})
    yield _named_event("message_delta", end | {"usage": {"output_tokens": 1}})
    yield _named_event("message_stop", {})


def _words(text: str) -> list[str]:
    return re.findall(r"\S*\s*", text)[:-1]


def _event(data: Json) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _named_event(name: str, data: Json) -> str:
    return f"event: {name}\n{_event({'type': name, **data})}"
