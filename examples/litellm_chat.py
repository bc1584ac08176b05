"""A chat with `litellm`, which takes the shared messages as they are.

Without OPENAI_API_KEY a stub on this machine answers, so that the example needs no key and no
network; the client is the real one either way. Where litellm is not installed it says so and ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from chat_stub import ChatStub

from redis_memory import ConversationMemory, clear

# litellm would otherwise ask its authors' site for prices when it is imported
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

try:
    import litellm
except ImportError:
    print("this example needs the package litellm: pip install litellm")
    raise SystemExit(0) from None

SERVER = "embedded://"  # or "redis://host:6379"
MODEL = os.environ.get("LITELLM_MODEL", "openai/gpt-4o-mini")


@contextmanager
def where_to_ask() -> Iterator[dict[str, str]]:
    if os.environ.get("OPENAI_API_KEY"):
        yield {}
        return
    with ChatStub("Hello! What can I do for you?", "It is open from nine to five.") as stub:
        yield {"api_base": f"{stub.url}/v1", "api_key": "unused"}


def ask(conversation_id: str, text: str, where: dict[str, str]) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    if not hasattr(mem, "messages"):
        mem.messages = []
    mem.messages.append({"role": "user", "content": text})
    response = litellm.completion(model=MODEL, messages=mem.messages, **where)
    answer = response.choices[0].message
    mem.messages.append({"role": answer.role, "content": answer.content})


def main() -> None:
    conversation_id = f"litellm-{uuid4()}"
    with where_to_ask() as where:
        ask(conversation_id, "Hello!", where)
        ask(conversation_id, "When is the shop open?", where)
    mem = ConversationMemory(conversation_id, SERVER)
    for message in mem.messages:
        print(f"{message['role']:9}  {message['content']}")
    assert [message["role"] for message in mem.messages] == ["user", "assistant"] * 2
    clear(mem)


if __name__ == "__main__":
    main()
