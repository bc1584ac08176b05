"""Agents, each in a process of its own, hand one conversation on to each other.

The intent classifier stores what the user wants, the context manager picks a specialist for it,
and one of two specialists solves it. Each waits for what the one before it stores; nobody asks
again and again. The first specialist that claims the task is stopped in the middle of it, as a
machine does that is suspended. The other one takes the task over, and when the first one goes on
its late answer is refused.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from uuid import uuid4

from redis_memory import (
    Claim,
    ConversationMemory,
    StaleClaimError,
    WaitTimeoutError,
    claim,
    clear,
    increment,
    wait_for,
)

SERVER = "embedded://"  # or "redis://host:6379"
LIMIT_S = 15.0
TTL_S = 0.5


def intent_classifier(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    question = mem.messages[-1]["content"]
    mem.confidence = 0.95 if "router" in question else 0.4
    report("intent classifier", f"reads {question!r}")
    mem.detected_intent = "technical_support" if "router" in question else "other"


def context_manager(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    intent = wait_for(mem, "detected_intent", timeout_s=LIMIT_S)
    specialist = "network" if intent == "technical_support" else "reception"
    mem.context = {"intent": intent, "confidence": mem.confidence, "priority": "high"}
    report("context manager", f"sees intent {intent!r}, assigns {specialist!r}")
    mem.assigned_specialist = specialist


def specialist(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    role = wait_for(mem, "assigned_specialist", timeout_s=LIMIT_S)
    task = claimed(mem)
    if task is None:
        return
    task.write(resolution_status="in_progress", solver=os.getpid())
    report("specialist", f"is {role!r}, context {mem.context}")
    if increment(mem, "attempts") == 1:
        mem.stopped = os.getpid()
        os.kill(os.getpid(), signal.SIGSTOP)  # main lets it go on when the other one has finished
    answer = {"role": "assistant", "content": "Please hold the reset button for 10 s."}
    try:
        task.write(resolution_status="solved", answer=answer, solver=os.getpid())
        report("specialist", "has solved it")
    except StaleClaimError:
        increment(mem, "refused")
        report("specialist", "comes too late: somebody else has solved it, nothing is written")


def claimed(mem: ConversationMemory) -> Claim | None:
    """The task, as soon as nobody else has it; None when it is solved."""
    while True:
        task = claim(mem, "solve", f"specialist {os.getpid()}", ttl_s=TTL_S)
        if task is not None:
            return task
        try:
            wait_for(mem, "resolution_status", "solved", timeout_s=TTL_S)
        except WaitTimeoutError:
            continue  # whoever has it may be gone
        return None


def report(agent: str, what: str) -> None:
    print(f"  {agent:17}  pid {os.getpid()}  {what}", flush=True)


def main() -> None:
    mem = ConversationMemory(f"handoff-{uuid4()}", SERVER)
    mem.messages = [{"role": "user", "content": "My router does not connect."}]
    print("four agents, one conversation", flush=True)
    # the last ones in line are started first, and wait
    agents = (specialist, specialist, context_manager, intent_classifier)
    context = get_context("spawn")
    processes = [
        context.Process(target=agent, args=(mem.conversation_id,), daemon=True) for agent in agents
    ]
    for process in processes:
        process.start()
    wait_for(mem, "resolution_status", "solved", timeout_s=LIMIT_S)
    solver, stopped = mem.solver, mem.stopped
    os.kill(stopped, signal.SIGCONT)
    for process in processes:
        process.join(LIMIT_S)
    mem.messages.append(mem.answer)
    print(f"resolution_status = {mem.resolution_status!r}, by pid {mem.solver}")
    for message in mem.messages:
        print(f"  {message['role']}: {message['content']}")
    assert mem.resolution_status == "solved"
    assert mem.solver == solver != stopped
    assert mem.refused == 1
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    clear(mem)


if __name__ == "__main__":
    main()
