"""Three agents, each in a process of its own, hand one conversation on to each other.

A classifier stores what the user wants; two specialists wait for that, and one of them claims the
task. Nobody asks again and again. Then all goes wrong that can:

1. The first specialist is stopped in the middle of the task, as a machine is that goes to sleep.
   The other one takes over, as soon as the claim of the first has run out.
2. That one is killed in the middle of it. Whoever is killed writes nothing any more.
3. The first one goes on, where it was stopped. Its late write is refused, since the task has passed
   to somebody else. It takes the task over once more, now from the dead, and solves it.
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
    push,
    wait_for,
)

SERVER = "embedded://"  # or "redis://host:6379"
LIMIT_S = 15.0
TTL_S = 0.5


def classifier(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    question = mem.messages[-1]["content"]
    report("classifier", f"reads {question!r}")
    mem.confidence = 0.95
    mem.intent = "technical" if "router" in question else "other"  # last: others wait for it


def specialist(conversation_id: str) -> None:
    mem = ConversationMemory(conversation_id, SERVER)
    wait_for(mem, "intent", timeout_s=LIMIT_S)
    while (task := claimed(mem)) is not None:
        try:
            solve(mem, task)
        except StaleClaimError:
            increment(mem, "refused")
            report("specialist", "comes too late: the task has passed on, nothing was written")


def claimed(mem: ConversationMemory) -> Claim | None:
    """The task, as soon as nobody else has it; None when it is solved."""
    while mem.state != "solved":
        task = claim(mem, "task", f"specialist {os.getpid()}", ttl_s=TTL_S)
        if task is not None:
            return task
        try:
            wait_for(mem, "state", "solved", timeout_s=TTL_S)
        except WaitTimeoutError:
            continue  # whoever has it may be gone
    return None


def solve(mem: ConversationMemory, task: Claim) -> None:
    task.write(state="in progress", solver=os.getpid())
    report("specialist", f"has the task: {mem.intent}, {mem.confidence:.0%} sure")
    attempt = push(mem, "holders", os.getpid())
    if attempt == 1:
        os.kill(os.getpid(), signal.SIGSTOP)  # `main` lets it go on
    elif attempt == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    task.write(state="solved", answer="Please hold the reset button for 10 s.", solver=os.getpid())
    report("specialist", "has solved it")


def report(agent: str, what: str) -> None:
    print(f"  {agent:10}  pid {os.getpid()}  {what}", flush=True)


def main() -> None:
    mem = ConversationMemory(f"handoff-{uuid4()}", SERVER)
    mem.messages = [{"role": "user", "content": "My router does not connect."}]
    mem.state = "open"
    print("three agents, one conversation", flush=True)
    context = get_context("spawn")
    # the last one in line is started last: the others wait for it
    processes = [
        context.Process(target=agent, args=(mem.conversation_id,), daemon=True)
        for agent in (specialist, specialist, classifier)
    ]
    for process in processes:
        process.start()
    stopped, killed = wait_for(mem, "holders", lambda pids: len(pids) == 2, timeout_s=LIMIT_S)
    report("main", f"{stopped} is stopped, {killed} is killed; {stopped} goes on now")
    os.kill(stopped, signal.SIGCONT)
    wait_for(mem, "state", "solved", timeout_s=LIMIT_S)
    for process in processes:
        process.join(LIMIT_S)
    mem.messages.append({"role": "assistant", "content": mem.answer})
    for message in mem.messages:
        print(f"  {message['role']}: {message['content']}")
    ends = {process.pid: process.exitcode for process in processes}
    assert mem.holders[:3] == [stopped, killed, stopped]
    assert mem.solver == stopped
    assert mem.refused >= 1
    assert ends.pop(killed) == -signal.SIGKILL
    assert set(ends.values()) == {0}
    clear(mem)


if __name__ == "__main__":
    main()
