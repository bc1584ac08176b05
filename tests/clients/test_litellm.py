"""Proxies go as they are into `litellm`, and arrive at the model as plain values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from redis_memory import ConversationMemory, snapshot
from tests.memory.test_libraries import MESSAGES
from tests.scripts import run_script
from tests.stubs import ChatStub

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
KINDS = 4


def test_litellm_sends_proxies_as_plain_values(url: str) -> None:
    """At once, streamed, awaited, to either vendor: the request is that of a plain list."""
    with (
        ChatStub("It is on its way.") as stub,
        ConversationMemory(uuid4(), url) as memory,
    ):
        memory.messages = MESSAGES
        program = [sys.executable, "-m", "tests.clients.ask_litellm"]
        finished = subprocess.run(
            [*program, url, memory.conversation_id, stub.url],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name[:6] != "REDIS_"},
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert finished.returncode == 0, finished.stderr
        assert snapshot(memory) == {"messages": MESSAGES}
    of_proxies, of_plain = stub.requests[:KINDS], stub.requests[KINDS:]
    # litellm rewords messages: it leaves out what is None, and the other vendor has another form
    assert [body["messages"][0]["content"] for body in of_proxies] == [
        MESSAGES[0]["content"]
    ] * KINDS
    assert of_proxies == of_plain


def test_the_example_really_asks_litellm(tmp_path: Path) -> None:
    """`examples/litellm_chat.py` prints two questions, and the stub's answers between them."""
    outcome = run_script(ROOT / "examples" / "litellm_chat.py", data_home=tmp_path, limit_s=60)
    roles = [line.split()[0] for line in outcome.stdout.splitlines() if line.strip()]
    assert roles == ["user", "assistant"] * 2, outcome.stderr
