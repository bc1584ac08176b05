"""A chat with the `openai` client, which takes the shared messages as they are.

Without OPENAI_API_KEY a stub on this machine answers, so that the example needs no key and no
network; the client is the real one either way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from chat_stub import ChatStub

from redis_memory import ConversationMemory, clear

try:
    import openai
except ImportError:
    raise SystemExit("this example needs the package openai: pip install openai") from None

SERVER = "embedded://"  # or "redis://host:6379"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")


@contextmanager
def chat_client() -> Iterator[openai.OpenAI]:
    if os.environ.get("OPENAI_API_KEY"):
        with openai.OpenAI() as client:
            yield client
        return
    replies = ("Why did the hash cross the slot? It had no tag.", "Because it lacked {braces}.")
    with (
        ChatStub(*replies) as stub,
        openai.OpenAI(base_url=f"{stub.url}/v1", api_key="unused") as client,
    ):
        yield client


def ask(client: openai.OpenAI, conversation_id: str, text: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    if not hasattr(mem, "messages"):
        mem.messages = []
    mem.messages.append({"role": "user", "content": text})
    response = client.chat.completions.create(model=MODEL, messages=mem.messages)
    mem.messages.append(response.choices[0].message.to_dict(exclude_unset=True))


def main() -> None:
    conversation_id = f"openai-{uuid4()}"
    with chat_client() as client:
        ask(client, conversation_id, "Tell me a joke about Redis.")
        ask(client, conversation_id, "Explain it.")
    mem = ConversationMemory(conversation_id, SERVER)
    for message in mem.messages:
        print(f"{message['role']:9}  {message['content']}")
    assert [message["role"] for message in mem.messages] == ["user", "assistant"] * 2
    clear(mem)


if __name__ == "__main__":
    main()
