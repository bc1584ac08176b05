"""A chat bot whose history outlives its process: the conversation id depends on the user alone.

One process answers two messages and ends. Another one, started afterwards, knows what was said.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

from redis_memory import ConversationMemory, clear, push

SERVER = "embedded://"  # or "redis://host:6379"


class ChatBot:
    """Answers one user, whichever process it runs in."""

    def __init__(self, user_id: str) -> None:
        self.memory = ConversationMemory(f"user-{user_id}", SERVER)
        # of many processes that do this at once, one creates the list and none empties it
        if not hasattr(self.memory, "messages"):
            self.memory.messages = []

    def send(self, text: str) -> str:
        """Store what the user says and what the bot answers."""
        now = datetime.now(UTC)
        answer = self._answer(text)
        question = {"role": "user", "content": text, "at": now}
        # one step for all readers: nobody sees the question without its answer
        push(self.memory, "messages", question, {"role": "assistant", "content": answer, "at": now})
        self.memory.last_activity = now
        return answer

    def history(self) -> list[dict[str, Any]]:
        """Everything that was said, by whichever process, in plain values."""
        messages: list[dict[str, Any]] = self.memory.messages.aslist()
        return messages

    def _answer(self, text: str) -> str:
        turns = len(self.memory.messages) // 2
        return f"(answer {turns + 1}) You said: {text}"


def first_process(user_id: str) -> None:
    bot = ChatBot(user_id)
    for text in ("Hello!", "What are your opening hours?"):
        print(f"process {os.getpid()}: {text} -> {bot.send(text)}", flush=True)


def second_process(user_id: str) -> None:
    bot = ChatBot(user_id)
    print(f"\nprocess {os.getpid()} finds {len(bot.history())} messages:")
    for message in bot.history():
        print(f"  {message['at']:%H:%M:%S} {message['role']:9} {message['content']}")
    answer = bot.send("And on Sundays?")
    print(f"process {os.getpid()}: And on Sundays? -> {answer}", flush=True)
    assert answer.startswith("(answer 3)")


def main() -> None:
    user_id = f"ann-{uuid4()}"  # made for this run; a real one stays the same from day to day
    for work in (first_process, second_process):
        process = get_context("spawn").Process(target=work, args=(user_id,))
        process.start()
        process.join()
        assert process.exitcode == 0
    bot = ChatBot(user_id)
    assert len(bot.history()) == 6
    clear(bot.memory)


if __name__ == "__main__":
    main()
