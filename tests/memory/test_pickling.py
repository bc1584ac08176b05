"""A memory can be copied and sent to another process; its password stays at home."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import quote

import pytest
import redis

from redis_memory import AccessDeniedError, ConversationMemory, Memory, close
from tests.servers import HOST, Server

PASSWORD = "hunter2&co"


@pytest.fixture
def guarded() -> Iterator[Server]:
    """A server that asks for a password."""
    with Server(tcp=True, password=PASSWORD) as server:
        yield server


def append_elsewhere(pickled: bytes, value: str) -> tuple[str, list[str]]:
    """What a worker does with a memory that it was sent."""
    memory: ConversationMemory = pickle.loads(pickled)
    with memory:
        memory.messages.append(value)
        return repr(memory), memory.messages.aslist()


def run_elsewhere(pickled: bytes, value: str) -> tuple[str, list[str]]:
    """Run `append_elsewhere` in a process that inherits nothing but the environment."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(append_elsewhere, pickled, value).result(20)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_another_door_to_the_same_memory(mem: ConversationMemory, how: object) -> None:
    """Class, conversation, settings and private names are those of the original."""
    assert callable(how)
    mem._note = "private"
    mem.topic = "billing"
    with how(mem) as twin:
        assert type(twin) is ConversationMemory
        assert twin is not mem
        assert (twin.conversation_id, twin._note) == (mem.conversation_id, "private")
        twin.topic = "refunds"
        assert mem.topic == "refunds"
    assert mem.topic == "refunds"


def test_a_pickled_memory_keeps_its_settings(each_url: str) -> None:
    """Prefix and limits travel along."""
    with Memory(each_url, prefix=f"{uuid.uuid4()}:", max_depth=2) as memory:
        memory.box = [[1]]
        with pickle.loads(pickle.dumps(memory)) as twin:
            assert twin.box == [[1]]
            with pytest.raises(ValueError, match="levels"):
                twin.box = [[[1]]]
        del memory.box


def test_a_subclass_stays_one(each_url: str, conversation_id: str) -> None:
    """Whoever derives from ConversationMemory gets an object of the same class."""
    with Support(conversation_id, each_url) as case, copy.copy(case) as twin:
        assert type(twin) is Support


class Support(ConversationMemory):
    pass


def test_a_spawned_process_opens_what_it_was_sent(server: Server, conversation_id: str) -> None:
    """It carries its address, and opens its own connection there."""
    with ConversationMemory(conversation_id, server.url) as memory:
        memory.messages = ["here"]
        _, seen = run_elsewhere(pickle.dumps(memory), "there")
        assert seen == memory.messages == ["here", "there"]


def test_a_password_is_not_pickled(
    guarded: Server, conversation_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process takes it from its own environment; without one, it is turned away."""
    with ConversationMemory(conversation_id, guarded.tcp_url) as memory:
        memory.messages = ["here"]
        pickled = pickle.dumps(memory)
        for secret in (b"hunter2", PASSWORD.encode(), guarded.tcp_url.encode()):
            assert secret not in pickled
        with pytest.raises(AccessDeniedError) as caught:
            run_elsewhere(pickled, "there")
        assert "hunter2" not in repr(caught.value)
        monkeypatch.setenv("REDIS_URL", guarded.tcp_url)
        text, seen = run_elsewhere(pickled, "there")
        assert seen == ["here", "there"]
        assert "hunter2" not in text


def test_passwords_in_the_query_are_not_pickled(guarded: Server, conversation_id: str) -> None:
    """Redis-py takes them there too, that of a key file as well; a copy here finds them again."""
    query = f"p%61ssword={quote(PASSWORD)}&client_name=ann"
    with ConversationMemory(conversation_id, f"redis://{HOST}:{guarded.port}?{query}") as memory:
        memory.topic = "billing"
        pickled = pickle.dumps(memory)
        assert b"hunter2" not in pickled
        assert b"client_name=ann" in pickled
        with pickle.loads(pickled) as twin:
            assert twin.topic == "billing"


def test_within_one_process_the_password_is_found_again(
    guarded: Server, conversation_id: str
) -> None:
    """A copy works wherever the original does, though the pickle says nothing."""
    with (
        ConversationMemory(conversation_id, guarded.tcp_url) as memory,
        copy.deepcopy(memory) as twin,
    ):
        memory.topic = "billing"
        assert twin.topic == "billing"
        assert "hunter2" not in repr(memory) + repr(twin)


def test_a_wrong_password_is_in_no_message(guarded: Server) -> None:
    """Neither in the error nor in what caused it."""
    url = guarded.tcp_url.replace("hunter2", "letmein")
    with Memory(url) as memory, pytest.raises(AccessDeniedError) as caught:
        memory.topic = "billing"
    error: BaseException | None = caught.value
    while error is not None:
        assert "letmein" not in repr(error)
        error = error.__cause__ or error.__context__


def test_a_memory_on_a_given_client_is_not_pickled(server: Server) -> None:
    """Its connection cannot travel, and the message says what can."""
    client = redis.Redis.from_url(server.url)
    memory = Memory(client=client)
    for how in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="open it with a url"):
            how(memory)
    close(memory)
    client.close()
