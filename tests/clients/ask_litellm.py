"""A program that asks litellm what a memory holds: first as proxies, then as plain values.

It is a process of its own because litellm keeps threads and an event loop until its process ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from redis_memory import ConversationMemory, snapshot

# litellm would otherwise ask its authors' site for prices when it is imported
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm


def ask(stub: str, messages: Any) -> None:
    """One request of each kind: at once, streamed, awaited, to another vendor."""
    openai = {"model": "openai/gpt-4o-mini", "api_base": f"{stub}/v1", "api_key": "any"}
    anthropic = {"model": "anthropic/claude-3-5-haiku", "api_base": stub, "api_key": "any"}
    given = {"messages": messages, "num_retries": 0}
    litellm.completion(**openai, **given)
    for _ in litellm.completion(**openai, **given, stream=True):
        pass
    asyncio.run(litellm.acompletion(**openai, **given))
    litellm.completion(**anthropic, **given)


def main(url: str, conversation_id: str, stub: str) -> None:
    """Ask twice about the same messages."""
    memory = ConversationMemory(conversation_id, url)
    ask(stub, memory.messages)
    ask(stub, snapshot(memory)["messages"])


if __name__ == "__main__":
    main(*sys.argv[1:])
