"""The proxy does to a connection exactly what it was told, and counts it."""

from __future__ import annotations

import math
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults import FaultProxy, Loss, is_ordinary, named
from tests.resp import Frames, Request, parse_request
from tests.servers import Server
from tests.waiting import wait_until


def connect(proxy: FaultProxy, **options: Any) -> redis.Redis:
    """A client without retries that gives up after half a second."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(proxy.url, retry=once, **{"socket_timeout": 0.5} | options)


def exchange(proxy: FaultProxy, data: bytes) -> bytes:
    """Send bytes, and return all that comes until the end of the stream."""
    with socket.create_connection(("127.0.0.1", proxy.port), 5.0) as raw:
        raw.sendall(data)
        return b"".join(iter(lambda: raw.recv(1000), b""))


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request: pytest.FixtureRequest, proxy: FaultProxy) -> Iterator[redis.Redis]:
    """A client of each protocol, through the proxy."""
    with connect(proxy, protocol=request.param) as client:
        client.ping()
        yield client


def test_everything_passes(client: redis.Redis, proxy: FaultProxy) -> None:
    """Untouched, the proxy is not noticed: all kinds of replies arrive as they are."""
    client.rpush("l", *range(1000))
    client.hset("h", mapping={"a": "1", "b": bytes(200_000)})
    assert client.lrange("l", 0, -1) == [b"%d" % number for number in range(1000)]
    assert client.hgetall("h") == {b"a": b"1", b"b": bytes(200_000)}
    assert client.get("missing") is None
    assert client.eval("return {1, {2, {}}, 'x', false}", 0) == [1, [2, []], b"x", None]
    assert client.info()["process_id"]
    with pytest.raises(redis.ResponseError):
        client.incr("l")
    assert (proxy.lost, proxy.unsent, proxy.connections) == (0, 0, 1)


def test_a_tcp_server_can_stand_behind(own_server: Server) -> None:
    """The upstream may be a port as well as a socket."""
    with FaultProxy(own_server.tcp_url) as proxy, connect(proxy) as client:
        assert client.set("k", "v")
        assert own_server.client().get("k") == b"v"


def test_the_address_keeps_user_and_password() -> None:
    """A client of the proxy logs in as it would at the server."""
    with (
        Server(password="p@ss/word") as server,
        FaultProxy(server.url) as proxy,
        connect(proxy) as client,
    ):
        assert client.ping()


def test_what_cannot_be_looked_into_is_refused() -> None:
    """A proxy before TLS would see nothing, and says so."""
    with pytest.raises(ValueError, match="rediss"):
        FaultProxy("rediss://127.0.0.1:6379")


@pytest.mark.parametrize(
    ("how", "met"),
    [
        ("reset", redis.ConnectionError),
        ("eof", redis.ConnectionError),
        ("half", redis.ConnectionError),
        ("timeout", redis.TimeoutError),
    ],
)
def test_a_lost_reply_is_applied_and_not_delivered(
    client: redis.Redis, proxy: FaultProxy, server: Server, how: Loss, met: type[Exception]
) -> None:
    """Exactly the next n commands are applied and fail; the one after them succeeds."""
    proxy.lose_replies(2, how=how)
    for expected in (b"1", b"2"):
        with pytest.raises(met):
            client.incr("n")
        assert server.client().get("n") == expected
    assert (proxy.lost, proxy.armed) == (2, 0)
    assert client.incr("n") == 3


@pytest.mark.parametrize(("how", "received"), [("eof", b""), ("half", b"$9\r\n123")])
def test_the_end_of_the_stream_is_clean(
    proxy: FaultProxy, server: Server, how: Loss, received: bytes
) -> None:
    """Instead of a reply comes nothing, or half of it, and then an orderly end, not a reset."""
    server.client().set("k", "123456789")
    proxy.lose_replies(how=how)
    # a plain close of a connection with an unread request would be a reset
    assert exchange(proxy, b"GET k\r\n" + bytes(1_000_000)) == received


def test_a_reset_is_a_reset(proxy: FaultProxy) -> None:
    """The client meets ECONNRESET, before the request as after it."""
    for arm in (proxy.lose_replies, proxy.reset_before):
        arm()
        with socket.create_connection(("127.0.0.1", proxy.port), 5.0) as raw:
            raw.sendall(b"ECHO x\r\n")
            with pytest.raises(ConnectionResetError):
                raw.recv(1)


def test_a_request_reset_before_is_not_applied(
    client: redis.Redis, proxy: FaultProxy, server: Server
) -> None:
    """The server never sees the next n commands."""
    proxy.reset_before(2)
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.incr("n")
    assert server.client().get("n") is None
    assert (proxy.unsent, proxy.lost) == (2, 0)
    assert client.incr("n") == 1


def test_faults_strike_only_what_they_are_meant_for(
    client: redis.Redis, proxy: FaultProxy, server: Server
) -> None:
    """A predicate chooses the commands; greetings are spared unless it chooses them."""
    proxy.lose_replies(when=named("incrby"))
    assert client.ping()
    assert client.set("k", "v")
    with pytest.raises(redis.ConnectionError):
        client.incr("n")
    assert client.get("n") == b"1"
    proxy.lose_replies(when=lambda request: b"n" in request.arguments)
    assert client.get("k") == b"v"
    with pytest.raises(redis.ConnectionError):
        client.get("n")
    proxy.lose_replies(when=named("PING"))
    with pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_fault_in_a_pipeline_strikes_one_command(proxy: FaultProxy, server: Server) -> None:
    """Replies before the lost one are delivered, in order; it and those after it are not."""
    proxy.lose_replies(how="eof", when=lambda request: request.arguments == (b"two",))
    got = exchange(proxy, b"ECHO one\r\nECHO two\r\nECHO three\r\n")
    assert got == b"$3\r\none\r\n"
    assert proxy.lost == 1


def test_a_transaction_can_lose_its_reply(
    client: redis.Redis, proxy: FaultProxy, server: Server
) -> None:
    """EXEC is a command like any other."""
    proxy.lose_replies(when=named("EXEC"))
    with pytest.raises(redis.ConnectionError), client.pipeline(transaction=True) as pipeline:
        pipeline.incr("n")
        pipeline.incr("n")
        pipeline.execute()
    assert server.client().get("n") == b"2"


def test_losses_without_end_last_until_healed(client: redis.Redis, proxy: FaultProxy) -> None:
    """`math.inf` is every command, and `heal` forgets what has not struck."""
    proxy.lose_replies(math.inf)
    for _ in range(5):
        with pytest.raises(redis.ConnectionError):
            client.incr("n")
    proxy.heal()
    assert proxy.armed == 0
    assert client.incr("n") == 6


def test_requests_and_replies_are_delayed(client: redis.Redis, proxy: FaultProxy) -> None:
    """Each direction has its own delay, and healing ends both."""
    for delays in ({"request_s": 0.1}, {"reply_s": 0.1}):
        proxy.delay(**delays)
        begun = time.monotonic()
        client.incr("n")
        assert time.monotonic() - begun >= 0.1
    proxy.delay(reply_s=30.0)
    with pytest.raises(redis.TimeoutError):
        client.incr("n")
    proxy.heal()
    assert client.incr("n") == 4


def test_a_stalled_proxy_is_a_black_hole(
    client: redis.Redis, proxy: FaultProxy, server: Server
) -> None:
    """Nothing passes on old connections nor on new ones; healed, what was sent arrives late."""
    proxy.stall()
    with pytest.raises(redis.TimeoutError):
        client.rpush("l", "late")
    with connect(proxy, socket_timeout=0.05) as other, pytest.raises(redis.TimeoutError):
        other.ping()
    assert server.client().llen("l") == 0
    proxy.heal()
    wait_until(lambda: server.client().llen("l") == 1)
    assert client.rpush("l", "next") == 2


def test_a_black_hole_hides_the_death_of_the_server(own_server: Server) -> None:
    """While nothing flows a client is not told that the server has gone, and is told later."""
    with (
        FaultProxy(own_server.url) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5.0) as raw,
    ):
        raw.sendall(b"ECHO x\r\n")
        assert raw.recv(100) == b"$1\r\nx\r\n"
        proxy.stall()
        own_server.kill()
        raw.settimeout(0.1)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        proxy.heal()
        raw.settimeout(5.0)
        assert raw.recv(1) == b""


def test_a_refusing_proxy_has_no_listener(client: redis.Redis, proxy: FaultProxy) -> None:
    """Old connections are reset, new ones refused, again and again; the port stays the same."""
    for _ in range(20):
        client.ping()
        proxy.refuse()
        assert proxy.open_connections == 0
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), 5.0)
        proxy.heal()
    assert client.ping()


def test_dropped_connections_can_be_opened_again(client: redis.Redis, proxy: FaultProxy) -> None:
    """`drop` resets what is open, and refuses nothing."""
    opened = proxy.connections
    with socket.create_connection(("127.0.0.1", proxy.port), 5.0) as raw:
        wait_until(lambda: proxy.connections == opened + 1)
        proxy.drop()
        assert proxy.open_connections == 0
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    assert client.incr("n") == 1
    assert proxy.connections == opened + 2


def test_replies_in_single_bytes_are_the_same(client: redis.Redis, proxy: FaultProxy) -> None:
    """A reply cut into bytes arrives whole, and really in pieces."""
    reply = b"$300\r\n" + bytes(300) + b"\r\n"
    client.set("k", bytes(300))

    def arrives_in_pieces() -> bool:
        with socket.create_connection(("127.0.0.1", proxy.port), 5.0) as raw:
            raw.sendall(b"GET k\r\n")
            pieces = [raw.recv(1000)]
            while sum(map(len, pieces)) < len(reply):
                pieces.append(raw.recv(1000))
        assert b"".join(pieces) == reply
        return len(pieces) > 5

    assert not arrives_in_pieces()
    proxy.slice_replies()
    assert client.get("k") == bytes(300)
    # on a busy machine a late reader finds several bytes at once
    wait_until(arrives_in_pieces)


def test_each_command_is_counted_once(client: redis.Redis, proxy: FaultProxy) -> None:
    """`requests` grows by the number of commands sent, and the bytes are those of the wire."""
    requests, seen, delivered = proxy.requests, proxy.seen, proxy.delivered
    client.set("k", "v")
    assert proxy.requests == requests + 1
    assert proxy.seen == seen + len(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
    assert proxy.delivered == delivered + len(b"+OK\r\n")
    with client.pipeline(transaction=False) as pipeline:
        for _ in range(3):
            pipeline.get("k")
        pipeline.execute()
    assert proxy.requests == requests + 4
    assert proxy.requests_seen(named("GET")) == 3
    assert proxy.requests_seen() == 4


def test_a_proxy_without_record_cannot_be_asked(server: Server) -> None:
    """It counts all the same."""
    with FaultProxy(server.url, record=False) as proxy, connect(proxy) as client:
        client.incr("n")
        assert proxy.requests >= 1
        with pytest.raises(RuntimeError, match="not to record"):
            proxy.requests_seen()


def test_subscriptions_pass(client: redis.Redis, proxy: FaultProxy, server: Server) -> None:
    """Messages are no replies: a fault still strikes the command it is meant for."""
    with client.pubsub() as feed:  # type: ignore[no-untyped-call]

        def received() -> object:
            message = feed.get_message(timeout=5.0)
            return message and message["data"]

        proxy.lose_replies(when=named("SUBSCRIBE", "PING"))
        feed.subscribe("news", "more")
        assert [received(), received()] == [1, 2]
        server.client().publish("news", "x")
        assert received() == b"x"
        server.client().publish("news", "y")
        assert received() == b"y"
        feed.ping()
        with pytest.raises(redis.ConnectionError):
            feed.get_message(timeout=5.0)
    assert proxy.lost == 1


def test_a_server_that_dies_ends_the_connections(own_server: Server) -> None:
    """A killed server is seen through the proxy, and so is its return."""
    with FaultProxy(own_server.url) as proxy, connect(proxy) as client:
        client.ping()
        own_server.kill()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.ping()
        own_server.start()
        assert client.ping()


def test_many_clients_share_a_proxy(proxy: FaultProxy, server: Server) -> None:
    """Under random losses from many threads each command is applied, and counted, once."""
    failures: list[Exception] = []

    def work(number: int) -> None:
        with connect(proxy) as client:
            for _ in range(50):
                try:
                    client.incr("n")
                except redis.ConnectionError as error:
                    failures.append(error)

    proxy.lose_replies(40)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.client().get("n") == b"400"
    assert (len(failures), proxy.lost, proxy.armed) == (40, 40, 0)
    assert proxy.requests_seen(named("INCRBY")) == 400


@pytest.mark.parametrize("state", ["pass", "stall", "delay", "refuse", "timeout"])
def test_closing_leaves_nothing(server: Server, state: str) -> None:
    """In whatever state it is closed, no socket, thread or warning is left; twice is fine."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = _open_files()
        proxy = FaultProxy(server.url)
        with connect(proxy, socket_timeout=0.05) as client:
            client.ping()
            if state == "timeout":
                proxy.lose_replies(how="timeout")
            elif state == "delay":
                proxy.delay(60.0, 60.0)
            elif state != "pass":
                getattr(proxy, state)()
            if state != "pass":
                with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
                    client.incr("n")
        proxy.close()
        proxy.close()
        assert _open_files() == before
    assert not [thread for thread in threading.enumerate() if thread.name == "tests-background"]


def _open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


SIMPLE = st.sampled_from([b"+OK\r\n", b":12\r\n", b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n"])
BULK = st.binary(max_size=20).map(lambda data: b"$%d\r\n%b\r\n" % (len(data), data))


def _aggregates(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    arrays = st.tuples(st.sampled_from([b"*", b"~", b">"]), st.lists(inner, max_size=4)).map(
        lambda drawn: b"%b%d\r\n%b" % (drawn[0], len(drawn[1]), b"".join(drawn[1]))
    )
    maps = st.lists(st.tuples(inner, inner), max_size=3).map(
        lambda pairs: b"%%%d\r\n%b" % (len(pairs), b"".join(k + v for k, v in pairs))
    )
    attributed = st.tuples(inner, inner, inner).map(lambda drawn: b"|1\r\n" + b"".join(drawn))
    return arrays | maps | attributed


MESSAGES = st.recursive(SIMPLE | BULK, _aggregates, max_leaves=12)


@given(messages=st.lists(MESSAGES, max_size=5), size=st.integers(1, 50))
def test_messages_are_cut_where_they_end(messages: list[bytes], size: int) -> None:
    """However the stream is sliced, the frames are the messages that were sent."""
    stream, frames = b"".join(messages), Frames()
    found = [
        frame
        for start in range(0, len(stream), size)
        for frame in frames.feed(stream[start : start + size])
    ]
    assert found == messages


@given(parts=st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_requests_are_read_back(parts: list[bytes]) -> None:
    """Name and arguments are what the client sent, whatever bytes they hold."""
    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    request = parse_request(b"*%d\r\n%b" % (len(parts), bulks))
    assert request == Request(parts[0].upper(), tuple(parts[1:]))


def test_inline_requests_are_read() -> None:
    """A line of words is a request too, and greetings are told from work."""
    assert parse_request(b"get k\r\n") == Request(b"GET", (b"k",))
    assert is_ordinary(parse_request(b"get k\r\n"))
    assert not is_ordinary(parse_request(b"ping\r\n"))
