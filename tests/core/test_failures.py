"""What an error of the server or the network means is told by its code, not by its class."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
import redis
from redis.exceptions import RedisError

from redis_memory.errors import (
    AccessDeniedError,
    ConfigurationError,
    CorruptValueError,
    OfflineError,
    RedisMemoryError,
    ServerRefusedError,
    UnsupportedServerError,
)
from redis_memory.link.failures import (
    ElsewhereError,
    LinkFailureError,
    code_and_text,
    from_connecting,
    from_reply,
)

WHERE = "redis://127.0.0.1:6379"


@pytest.mark.parametrize(
    "text",
    [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "ERR max number of clients reached",
    ],
    ids=lambda text: text.split()[0],
)
def test_a_server_that_does_not_serve_now_is_asked_again(text: str) -> None:
    """What passes by itself is an outage, and nothing has been applied."""
    failure = from_reply(redis.ResponseError(text))
    assert isinstance(failure, LinkFailureError)
    assert not failure.in_doubt
    assert str(failure) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NOAUTH Authentication required.", AccessDeniedError),
        ("WRONGPASS invalid username-password pair or user is disabled.", AccessDeniedError),
        ("NOPERM this user has no permissions to run the 'evalsha' command", AccessDeniedError),
        ("ERR ACL failure in script: User ann has no permissions to ...", AccessDeniedError),
        ("ERR The user executing the script can't run this command", AccessDeniedError),
        ("ERR The user executing the script can't access at least one key", AccessDeniedError),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", CorruptValueError),
        ("ERR unknown command 'EVALSHA'", UnsupportedServerError),
        ("OOM command not allowed when used memory > 'maxmemory'.", ServerRefusedError),
        ("CROSSSLOT Keys in request don't hash to the same slot", ServerRefusedError),
        ("ERR something else", ServerRefusedError),
    ],
)
def test_a_refusal_is_raised_at_once(text: str, kind: type[RedisMemoryError]) -> None:
    """What does not pass by itself is no outage; each kind has its class, and keeps the text."""
    failure = from_reply(redis.ResponseError(text))
    assert type(failure) is kind
    assert not isinstance(failure, OfflineError)
    assert text in str(failure)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    """A server that quotes the arguments of an unknown command puts no value into an error."""
    text = "ERR unknown command 'EVALSHA', with args beginning with: 'sha' '1' 'the secret' "
    assert "secret" not in str(from_reply(redis.ResponseError(text)))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (redis.exceptions.NoScriptError("No matching script. Please use EVAL."), "NOSCRIPT"),
        (redis.exceptions.ReadOnlyError("You can't write against a replica."), "READONLY"),
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "LOADING"),
        (redis.exceptions.NoPermissionError("this user has no permissions"), "NOPERM"),
        (redis.exceptions.OutOfMemoryError("command not allowed"), "OOM"),
        (redis.exceptions.AuthenticationError("invalid username-password pair"), "WRONGPASS"),
        (redis.ResponseError("NOSCRIPT No matching script."), "NOSCRIPT"),
        (redis.exceptions.ReadOnlyError("READONLY You can't write"), "READONLY"),
        (redis.ResponseError("BUSY Redis is busy running a script."), "BUSY"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}: {value}",
)
def test_a_code_is_found_whoever_parsed_the_reply(reply: RedisError, code: str) -> None:
    """The class stands for the code where the client has taken it out of the text."""
    found, text = code_and_text(reply)
    assert found == code
    assert text.startswith(code)


def test_the_parsed_classes_mean_what_their_codes_mean() -> None:
    """A read-only or loading server is an outage, whichever class says so."""
    for reply in (
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    ):
        assert isinstance(from_reply(reply), LinkFailureError)
    denied = redis.exceptions.NoPermissionError("this user has no permissions")
    assert isinstance(from_reply(denied), AccessDeniedError)


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Error 111 connecting to 127.0.0.1:6379. Connection refused."),
        redis.TimeoutError("Timeout connecting to server"),
        ConnectionResetError("Connection reset by peer"),
        FileNotFoundError("no socket file"),
        redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_cannot_be_made_is_an_outage(error: Exception) -> None:
    """Nothing was sent, so nothing is in doubt; the message says which server it is."""
    failure = from_connecting(error, WHERE)
    assert isinstance(failure, LinkFailureError)
    assert not failure.in_doubt


def test_a_wrong_password_is_no_outage() -> None:
    """It is a `ConnectionError` to redis-py, and would be retried for ever as one."""
    error = redis.exceptions.AuthenticationError("invalid username-password pair")
    failure = from_connecting(error, WHERE)
    assert type(failure) is AccessDeniedError
    assert WHERE in str(failure)


def test_what_is_not_redis_is_a_wrong_address() -> None:
    """A peer that speaks another protocol does not become Redis by waiting."""
    failure = from_connecting(redis.exceptions.InvalidResponse("Protocol error"), WHERE)
    assert type(failure) is ConfigurationError
    assert WHERE in str(failure)
    assert "rediss://" in str(failure)


def wrapped(error: Exception) -> Exception:
    """The error as redis-py raises it: inside its own."""
    try:
        try:
            raise error
        except OSError:
            raise redis.ConnectionError("Error 1 connecting")  # noqa: B904 - as redis-py does
    except redis.ConnectionError as outer:
        return outer


def itself(error: Exception) -> Exception:
    """The error as the standard library raises it."""
    return error


@pytest.mark.parametrize("raised", [itself, wrapped])
def test_a_refused_certificate_is_a_wrong_address(raised: Callable[[Exception], Exception]) -> None:
    """A certificate that is not trusted today is not trusted a second later."""
    failure = from_connecting(raised(ssl.SSLCertVerificationError("self-signed")), WHERE)
    assert type(failure) is ConfigurationError
    assert "TLS" in str(failure)


@pytest.mark.parametrize("raised", [itself, wrapped])
def test_a_tls_handshake_that_is_cut_off_is_an_outage(
    raised: Callable[[Exception], Exception],
) -> None:
    """A server that stops, or is just starting, ends the stream in the middle of a handshake."""
    failure = from_connecting(raised(ssl.SSLEOFError(8, "EOF in violation of protocol")), WHERE)
    assert isinstance(failure, LinkFailureError)


@pytest.mark.parametrize(
    ("code", "kind"), [("READONLY", LinkFailureError), ("WRONGTYPE", CorruptValueError)]
)
def test_an_error_inside_a_script_of_redis_6_2_keeps_its_code(
    code: str, kind: type[Exception]
) -> None:
    """There it is wrapped in another error, whose own code says nothing."""
    text = (
        "ERR Error running script (call to f_5ca1): @user_script:9: @user_script: 9: "
        f"-{code} You can't do that."
    )
    assert type(from_reply(redis.ResponseError(text))) is kind


@pytest.mark.parametrize(
    ("reply", "place", "is_asking"),
    [
        (redis.ResponseError("MOVED 866 10.0.0.1:6379"), ("10.0.0.1", 6379), False),
        (redis.exceptions.MovedError("866 10.0.0.1:6379"), ("10.0.0.1", 6379), False),
        (redis.exceptions.AskError("866 10.0.0.1:6379"), ("10.0.0.1", 6379), True),
        (redis.ResponseError("ASK 866 fe80::1:6379"), ("fe80::1", 6379), True),
        (redis.ResponseError("MOVED 866 :6379"), ("", 6379), False),
        (redis.ResponseError("MOVED 866 ?:6379"), ("", 6379), False),
        (redis.ResponseError("MOVED 866 nowhere"), None, False),
    ],
)
def test_a_node_of_a_cluster_says_where_to_go(
    reply: Exception, place: tuple[str, int] | None, *, is_asking: bool
) -> None:
    """It is a refusal for who has one server, and a direction for who has the cluster."""
    failure = from_reply(reply)
    assert isinstance(failure, ElsewhereError)
    assert isinstance(failure, ServerRefusedError)
    assert (failure.place, failure.is_asking) == (place, is_asking)
    assert "redis+cluster://" in str(failure)


@pytest.mark.parametrize(
    "reply",
    [
        redis.exceptions.ClusterDownError("The cluster is down"),
        redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
        redis.exceptions.MasterDownError("Link with MASTER is down"),
    ],
)
def test_an_error_that_redis_py_has_shortened_is_an_outage_too(reply: Exception) -> None:
    """The async face is told the same without the code."""
    assert isinstance(from_reply(reply), LinkFailureError)
