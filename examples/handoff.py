"""Three agents, each in a process of its own, hand one conversation on to each other.

The intent classifier stores what the user wants, the context manager picks a specialist for it,
and the specialist solves it. Each waits for the attribute that the one before it stores: it asks
again and again until it is there, with a limit.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

from redis_memory import ConversationMemory, clear

SERVER = "embedded://"  # or "redis://host:6379"
LIMIT_S = 10.0


def intent_classifier(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    question = mem.messages[-1]["content"]
    mem.confidence = 0.95 if "router" in question else 0.4
    report("intent classifier", f"reads {question!r}")
    mem.detected_intent = "technical_support" if "router" in question else "other"


def context_manager(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    intent = read_when_there(mem, "detected_intent")
    specialist = "network" if intent == "technical_support" else "reception"
    mem.context = {"intent": intent, "confidence": mem.confidence, "priority": "high"}
    report("context manager", f"sees intent {intent!r}, assigns {specialist!r}")
    mem.assigned_specialist = specialist


def specialist(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    role = read_when_there(mem, "assigned_specialist")
    mem.resolution_status = "in_progress"
    report("specialist", f"is {role!r}, context {mem.context}")
    mem.messages.append({"role": "assistant", "content": "Please hold the reset button for 10 s."})
    mem.context["solved_by"] = os.getpid()
    mem.resolution_status = "solved"


def read_when_there(mem: ConversationMemory, name: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while (value := getattr(mem, name, None)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody has stored {name!r} within {LIMIT_S} s")
        time.sleep(0.01)
    return value


def report(agent: str, what: str) -> None:
    print(f"  {agent:17}  pid {os.getpid()}  {what}", flush=True)


def main() -> None:
    mem = ConversationMemory(f"handoff-{uuid4()}", SERVER)
    mem.messages = [{"role": "user", "content": "My router does not connect."}]
    print("three agents, one conversation", flush=True)
    with ProcessPoolExecutor(max_workers=3, mp_context=get_context("spawn")) as pool:
        # the last one in line is started first, and waits
        agents = (specialist, context_manager, intent_classifier)
        for agent in [pool.submit(agent, mem.conversation_id) for agent in agents]:
            agent.result()
    print(f"resolution_status = {mem.resolution_status!r}")
    for message in mem.messages:
        print(f"  {message['role']}: {message['content']}")
    assert mem.resolution_status == "solved"
    assert mem.context["solved_by"] != os.getpid()
    clear(mem)


if __name__ == "__main__":
    main()
