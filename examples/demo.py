"""Two worker processes hold one conversation through plain attributes; `make demo` runs it.

Each process opens the conversation by its id. All that passes between the two is what they store
in it, and in the end both write to the same list and the same counter at the same time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from uuid import uuid4

from redis_memory import ConversationMemory, clear, increment, snapshot, status

SERVER = "embedded://"  # or "redis://host:6379"
LIMIT_S = 10.0
NOTES = 250


def front_desk(conversation_id: str) -> int:
    mem = ConversationMemory(conversation_id, SERVER)
    if not hasattr(mem, "messages"):
        mem.messages = []
    mem.messages.append({"role": "user", "content": "I was charged twice for invoice 1042."})
    mem.messages.append({"role": "assistant", "content": "Billing will look into that."})
    say("front desk", "appends 2 messages and sets topic = 'billing'")
    mem.topic = "billing"

    until(lambda: hasattr(mem, "refund"))
    say("front desk", f"sees refund = {mem.refund}")
    say("front desk", f"sees the answer: {mem.messages[-1]['content']}")
    mem.messages.append({"role": "user", "content": "Thank you!"})
    mem.state = "closed"
    return take_notes(mem, "front desk")


def billing(conversation_id: str) -> int:
    mem = ConversationMemory(conversation_id, SERVER)
    until(lambda: hasattr(mem, "topic"))
    say("billing", f"sees topic = {mem.topic!r} and {len(mem.messages)} messages:")
    for message in mem.messages:
        say("billing", f"    {message['role']}: {message['content']}")
    refund = {"invoice": 1042, "amount": Decimal("19.90")}
    mem.messages.append({"role": "assistant", "content": f"You get {refund['amount']} back."})
    say("billing", "appends 1 message and sets refund")
    mem.refund = refund

    until(lambda: hasattr(mem, "state"))
    say("billing", f"sees state = {mem.state!r} and {len(mem.messages)} messages")
    return take_notes(mem, "billing")


def take_notes(mem: ConversationMemory, worker: str) -> int:
    """Both workers do this at once."""
    if not hasattr(mem, "notes"):
        mem.notes = []
    for number in range(NOTES):
        mem.notes.append(f"{worker} {number}")
        increment(mem, "note_count")
    return os.getpid()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the other worker did not answer within {LIMIT_S} s")
        time.sleep(0.01)


def say(worker: str, what: str) -> None:
    print(f"  {worker:10}  pid {os.getpid()}  {what}", flush=True)


def main() -> None:
    mem = ConversationMemory(f"demo-{uuid4()}", SERVER)
    print(f"conversation {mem.conversation_id}\nat {status(mem).server}\n", flush=True)
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        workers = [pool.submit(work, mem.conversation_id) for work in (front_desk, billing)]
        pids = {worker.result() for worker in workers}

    stored = snapshot(mem)
    print(f"\nBoth then took {NOTES} notes each, at the same time, in one list and one counter:")
    print(f"  {len(set(stored['notes']))} different notes, note_count = {stored['note_count']}")
    print(f"  attributes: {', '.join(stored)}")
    clear(mem)
    assert len(pids) == 2
    assert len(set(stored["notes"])) == len(stored["notes"]) == stored["note_count"] == 2 * NOTES
    assert len(stored["messages"]) == 4


if __name__ == "__main__":
    main()
