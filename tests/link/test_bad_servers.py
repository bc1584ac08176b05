"""What is no server for a memory is named as such, in time, and with the way out."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from redis_memory import (
    AccessDeniedError,
    ConfigurationError,
    ConversationMemory,
    DataLossWarning,
    OfflineError,
    UnsupportedServerError,
    status,
)
from redis_memory.errors import RedisMemoryError
from tests.listening import LoopbackPort
from tests.servers import Server
from tests.stubs import (
    CloseAtOnce,
    HttpPort,
    NoScriptsServer,
    OldServer,
    RespStub,
    Silent,
    TlsAlert,
    TlsPort,
)
from tests.waiting import in_time

TIMEOUT_S = 0.3
# for a machine that does other things as well; to wait twice is still too long
GRACE_S = 0.25
SECRET = "s3cr3t/pw"
QUOTED = "s3cr3t%2Fpw"


def refused(url: str) -> RedisMemoryError:
    """Open a memory, write and read; returns the error that both are refused with, in time."""
    errors = []
    with ConversationMemory("c-1", url, timeout_s=TIMEOUT_S) as memory:
        for call in (lambda: setattr(memory, "topic", "billing"), lambda: memory.topic):
            with in_time(TIMEOUT_S + GRACE_S), pytest.raises(RedisMemoryError) as caught:
                call()
            errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])
    return errors[0]


def unreachable(url: str) -> OfflineError:
    """Open a memory, read and write; returns the error of the read. The change waits, in time."""
    with pytest.warns(DataLossWarning, match="1 changes"):
        return _read_and_write(url)


def _read_and_write(url: str) -> OfflineError:
    with ConversationMemory("c-1", url, timeout_s=TIMEOUT_S, close_timeout_s=0) as memory:
        with in_time(TIMEOUT_S + GRACE_S), pytest.raises(OfflineError) as caught:
            _ = memory.topic
        with in_time(TIMEOUT_S / 2):
            memory.topic = "billing"
        standing = status(memory)
        assert (standing.online, standing.queued) == (False, 1)
    return caught.value


def everything_said_by(error: BaseException) -> str:
    """What a log would show: the error, its causes and contexts, and what each of them holds."""
    said = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        said += repr(link) + repr(link.args) + repr(vars(link))
        link = link.__cause__ or link.__context__
    return said


# passwords and rights


def test_a_wrong_password_is_told_at_once() -> None:
    """It is no outage, and the password is in no message."""
    with Server(tcp=True, password="right") as server:
        url = f"redis://:{QUOTED}@127.0.0.1:{server.port}"
        error = refused(url)
        assert type(error) is AccessDeniedError
        assert str(server.port) in str(error)
        assert "password" in str(error)
        said = everything_said_by(error)
        assert SECRET not in said
        assert QUOTED not in said


def test_a_missing_password_is_told_at_once() -> None:
    """A server that wants a password says so to whoever gives none."""
    with Server(tcp=True, password="right") as server:
        error = refused(f"redis://127.0.0.1:{server.port}")
        assert type(error) is AccessDeniedError
        assert "NOAUTH" in str(error)


def test_a_memory_recovers_when_its_password_is_accepted() -> None:
    """Once the server accepts the password, the same memory works."""
    with (
        Server(tcp=True, password="right") as server,
        ConversationMemory("c-1", f"redis://:later@127.0.0.1:{server.port}") as memory,
    ):
        with pytest.raises(AccessDeniedError):
            memory.topic = "billing"
        server.client().acl_setuser("default", enabled=True, passwords=["+later"])
        memory.topic = "refund"
        assert memory.topic == "refund"


@pytest.mark.parametrize(
    "rights",
    ["+@read +@connection", "+@all -evalsha", "+@all -@scripting"],
)
def test_a_user_without_scripts_is_told_at_once(rights: str) -> None:
    """A user who may not run scripts learns which rights are missing."""
    with Server(tcp=True, users=[f"ann on >secret ~* {rights}"]) as server:
        error = refused(f"redis://ann:secret@127.0.0.1:{server.port}")
        assert type(error) is AccessDeniedError
        assert "evalsha" in str(error)
        assert "secret" not in everything_said_by(error)


@pytest.mark.parametrize("rights", ["~memory:* +@all -hset", "~other:* +@all"])
def test_a_user_without_rights_to_the_keys_is_told_at_once(rights: str) -> None:
    """A user who may run scripts, and not what they do, is denied too."""
    with Server(tcp=True, users=[f"ann on >secret {rights}"]) as server:
        url = f"redis://ann:secret@127.0.0.1:{server.port}"
        with (
            ConversationMemory("c-1", url, timeout_s=TIMEOUT_S) as memory,
            pytest.raises(AccessDeniedError),
        ):
            memory.topic = "billing"


# addresses


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{QUOTED}@127.0.0.1:many",
        f"redis://ann:{QUOTED}@127.0.0.1:99999",
        f"rediss://ann:{QUOTED}@127.0.0.1:-1",
        f"redis://ann:{QUOTED}@[::1:6379",
        f"redis://ann:{QUOTED}@127.0.0.1/0?socket_timeout=soon",
        f"http://ann:{QUOTED}@127.0.0.1",
        f"ann:{QUOTED}@127.0.0.1:6379",
        f"{QUOTED}",
        f"embedded://ann:{QUOTED}@folder",
    ],
)
def test_a_malformed_url_never_shows_its_password(url: str) -> None:
    """Neither the message nor anything behind it, and nothing is connected to."""
    with pytest.raises(ConfigurationError) as caught:
        ConversationMemory("c-1", url)
    said = everything_said_by(caught.value)
    assert SECRET not in said.replace(__file__, "")
    assert QUOTED not in _without_source(said)


def _without_source(said: str) -> str:
    """Leave out the lines of this file that a traceback quotes."""
    return "\n".join(line for line in said.splitlines() if "ConversationMemory(" not in line)


def test_an_unreachable_host_never_shows_its_password(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is logged more than anything else: no password there either."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = unreachable(f"redis://ann:{QUOTED}@127.0.0.1:{port}")
    assert str(port) in caplog.text
    said = everything_said_by(error) + caplog.text
    assert SECRET not in said
    assert QUOTED not in said


# what else may answer


NOT_REDIS: dict[str, Callable[[], LoopbackPort]] = {"http": HttpPort, "tls alert": TlsAlert}


@pytest.mark.parametrize("stub", NOT_REDIS.values(), ids=list(NOT_REDIS))
def test_another_protocol_is_a_wrong_address(stub: Callable[[], LoopbackPort]) -> None:
    """A web server, or a TLS port that answers plain text, does not become Redis by waiting."""
    with stub() as port:
        error = refused(port.url)
        assert type(error) is ConfigurationError
        assert str(port.port) in str(error)
        assert "rediss://" in str(error)


def test_tls_to_a_web_server_is_a_wrong_address() -> None:
    """The other way round: TLS is spoken to a port that answers in plain text."""
    with HttpPort() as port:
        error = refused(f"rediss://127.0.0.1:{port.port}")
        assert type(error) is ConfigurationError
        assert "TLS" in str(error)


def test_tls_to_a_plain_port_says_so(server: Server) -> None:
    """Redis takes a TLS greeting for half a command and waits; the message says what it is."""
    error = refused(f"rediss://127.0.0.1:{server.port}")
    assert isinstance(error, ConfigurationError)
    assert "redis://" in str(error)


def test_plain_text_to_a_tls_port_says_what_to_try(server: Server) -> None:
    """A TLS port hangs up on plain text without a word; the message says what it is."""
    with TlsPort(server.socket) as port:
        error = refused(f"redis://127.0.0.1:{port.port}")
        assert isinstance(error, ConfigurationError)
        assert "rediss://" in str(error)


def test_an_unknown_authority_is_named(server: Server) -> None:
    """A certificate that nobody vouches for is refused with its reason, and not retried."""
    with TlsPort(server.socket) as port:
        error = refused(port.url)
        assert type(error) is ConfigurationError
        assert "certificate" in str(error)
        assert "ssl_ca_certs" in str(error)


def test_a_certificate_of_another_name_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate is good for its own names only."""
    look_up = socket.getaddrinfo

    def look_up_locally(host: str, *arguments: Any) -> Any:
        return look_up("127.0.0.1" if host == "redis.example" else host, *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_locally)
    with TlsPort(server.socket) as port:
        error = refused(f"rediss://redis.example:{port.port}?ssl_ca_certs={port.ca}")
        assert type(error) is ConfigurationError
        assert "redis.example" in str(error)
        assert "TLS" in str(error)


def test_a_silent_server_is_an_outage() -> None:
    """It accepts and says nothing."""
    with Silent() as port:
        error = unreachable(port.url)
        assert str(port.port) in str(error)


def test_a_server_that_hangs_up_is_an_outage() -> None:
    """It accepts and is gone, as a balancer without a server behind it; it does not speak TLS."""
    with CloseAtOnce() as port:
        error = unreachable(port.url)
        assert str(port.port) in str(error)


@pytest.mark.parametrize("version", ["6.0.16", "5.0.14", "3.2.1"])
def test_an_old_server_is_named(version: str) -> None:
    """Both versions are in the message: the one that is there, and the one that is needed."""
    with OldServer(version) as server:
        error = refused(server.url)
        assert type(error) is UnsupportedServerError
        assert "6.2" in str(error)
        assert not [r for r in server.requests if r.name == b"EVALSHA"]


@pytest.mark.parametrize(
    ("why", "kind"), [("noperm", AccessDeniedError), ("unknown", UnsupportedServerError)]
)
def test_forbidden_scripts_are_named(why: str, kind: type[RedisMemoryError]) -> None:
    """A server without scripts cannot serve; the message says that it is the scripts."""
    with NoScriptsServer(why) as server:
        error = refused(server.url)
        assert type(error) is kind
        assert "evalsha" in str(error).lower()


@pytest.mark.parametrize("text", ["LOADING Redis is loading the dataset", "BUSY Redis is busy"])
def test_a_server_that_is_not_ready_is_an_outage(text: str) -> None:
    """It will be ready, so it is tried again until the time is over."""
    with RespStub(errors={"*": text}) as server:
        error = unreachable(server.url)
        assert text.split(maxsplit=1)[0] in str(error)
        assert len([r for r in server.requests if r.name == b"EVALSHA"]) > 2


def test_a_full_server_is_an_outage() -> None:
    """Where all connections are taken, one may become free."""
    with Server(tcp=True, maxclients="1") as server:
        server.client().ping()
        url = f"redis://127.0.0.1:{server.port}"
        error = unreachable(url)
        assert "max number of clients" in str(error)
        with ConversationMemory("c-1", url, timeout_s=5) as memory:
            server.client().connection_pool.disconnect()
            memory.topic = "billing"
            assert status(memory).online
