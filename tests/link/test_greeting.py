"""What a server must say before it is used: that it is new enough, and that it runs scripts."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from redis_memory.errors import AccessDeniedError, ServerRefusedError, UnsupportedServerError
from redis_memory.link.failures import LinkFailureError
from redis_memory.link.greeting import greeting

WHERE = "redis://127.0.0.1:6379"
UNKNOWN_SCRIPT = redis.exceptions.NoScriptError("No matching script. Please use EVAL.")


def greet(*replies: Any) -> list[bytes]:
    """Answer each question in turn; returns the names of the commands that were sent."""
    steps = greeting(WHERE)
    asked, answers = [next(steps)[0]], iter(replies)
    while True:
        try:
            asked.append(steps.send(next(answers))[0])
        except StopIteration:
            assert next(answers, None) is None, "the greeting ended before all questions"
            return asked


def hello(version: str) -> list[Any]:
    """The answer to HELLO as it arrives in RESP2."""
    return [b"server", b"redis", b"version", version.encode(), b"proto", 2, b"modules", []]


@pytest.mark.parametrize("version", ["6.2.0", "6.10.1", "7.0.15", "7.2.4", "10.0.0", "255.255.255"])
def test_a_new_enough_server_is_welcome(version: str) -> None:
    """From 6.2 on a server is used, after two questions; numbers are not compared as text."""
    assert greet(hello(version), UNKNOWN_SCRIPT) == [b"HELLO", b"EVALSHA"]


def test_the_greeting_is_understood_in_resp3() -> None:
    """HELLO may be answered by a map as well."""
    assert greet({b"version": b"7.2.4"}, UNKNOWN_SCRIPT) == [b"HELLO", b"EVALSHA"]
    with pytest.raises(UnsupportedServerError):
        greet({b"version": b"6.0.0"})


@pytest.mark.parametrize("version", ["6.0.16", "6.1.240", "5.0.14", "2.8.0"])
def test_an_old_server_is_refused(version: str) -> None:
    """What is older than 6.2 is named with its version and with the one that is needed."""
    with pytest.raises(UnsupportedServerError, match=rf"{version}.*6\.2"):
        greet(hello(version))


def test_a_server_without_hello_is_too_old() -> None:
    """HELLO is known since 6.0."""
    with pytest.raises(UnsupportedServerError, match=r"older than 6\.2"):
        greet(redis.ResponseError("ERR unknown command `HELLO`, with args beginning with: "))


@pytest.mark.parametrize("reply", [hello("unstable"), {}, [b"server", b"other"]])
def test_a_version_that_cannot_be_read_is_no_obstacle(reply: Any) -> None:
    """A compatible server may number itself as it likes."""
    assert greet(reply, UNKNOWN_SCRIPT) == [b"HELLO", b"EVALSHA"]


def test_who_may_not_ask_for_the_version_may_be_welcome() -> None:
    """A user without the right to HELLO can still have the right to scripts."""
    denied = redis.exceptions.NoPermissionError("this user has no permissions to run 'hello'")
    assert greet(denied, UNKNOWN_SCRIPT) == [b"HELLO", b"EVALSHA"]


def test_forbidden_scripts_are_named() -> None:
    """Taken away or not allowed: the message says that it is the scripts."""
    with pytest.raises(UnsupportedServerError, match="EVALSHA"):
        greet(hello("7.2.4"), redis.ResponseError("ERR unknown command `EVALSHA`"))
    with pytest.raises(AccessDeniedError, match=r"\+evalsha"):
        greet(hello("7.2.4"), redis.ResponseError("NOPERM this user has no permissions"))
    with pytest.raises(AccessDeniedError, match=r"\+evalsha"):
        greet(hello("7.2.4"), redis.exceptions.NoPermissionError("this user has no permissions"))


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (redis.exceptions.AuthenticationError("HELLO must be called"), AccessDeniedError),
        (redis.ResponseError("NOAUTH Authentication required."), AccessDeniedError),
        (redis.ResponseError("LOADING Redis is loading the dataset"), LinkFailureError),
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset"), LinkFailureError),
        (redis.ResponseError("ERR max number of clients reached"), LinkFailureError),
        (redis.ResponseError("ERR no"), ServerRefusedError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_other_answers_mean_what_they_mean_elsewhere(
    reply: Exception, kind: type[Exception]
) -> None:
    """At either question an error has the same meaning as later."""
    with pytest.raises(kind):
        greet(reply)
    with pytest.raises(kind):
        greet(hello("7.2.4"), reply)
