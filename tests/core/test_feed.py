"""The feed without a server: what messages mean, and who listens to what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redis_memory.core import feed
from redis_memory.core.feed import News
from redis_memory.core.state import State
from redis_memory.core.subscriptions import Subscriptions
from tests.core.messages import WRITER, message, scalar, version

CHANNELS = [b"a", b"b", b"c"]
KINDS = st.sampled_from([b"s", b"a", b"m", b"c", b"d", b"x", b"l"])
HEX = st.integers(0, 16**13 - 1).map(lambda number: b"%013x" % number)
TEXTS = st.text(st.characters(exclude_categories=()), min_size=1, max_size=20).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


# messages


class Heard:
    """A listener that notes everything."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.wakes = 0

    def hear(self, news: News) -> None:
        self.news.append(news)

    def wake(self) -> None:
        self.wakes += 1


@given(TEXTS, HEX, st.binary(max_size=50), st.sampled_from([b"s", b"a", b"m", b"c"]))
def test_a_message_says_what_happened(name: bytes, at: bytes, payload: bytes, what: bytes) -> None:
    """Name, version, descriptor and value come out as they went in, whatever they hold."""
    descriptor = b"v" + at + b";"
    news = News(message(what, name, descriptor, payload))
    assert news.name.encode("utf-8", "surrogatepass") == name
    assert (news.writer, news.what, news.version) == (WRITER, what, at)
    assert (news.descriptor, news.payload) == (descriptor, payload)
    gone = News(message(b"d", name, at + b";"))
    assert (gone.version, gone.payload) == (at, b"")


PARTS = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([WRITER, b"s", b"x0:", b"5:topic", b":", b";", b"-1:", b"v", b"\xff"]),
        HEX,
    ),
    max_size=6,
).map(b"".join)


@given(
    st.one_of(
        st.binary(max_size=80), PARTS, st.tuples(KINDS, PARTS).map(lambda p: WRITER + b"".join(p))
    )
)
def test_no_message_can_do_harm(content: bytes) -> None:
    """Any bytes: nothing is raised, and a version that is noted is one."""
    state = State("test:", "c-1")
    state.attribute("topic")
    heard = Heard()
    state.listeners[heard] = None
    feed.hear(state, content)
    for news in heard.news:
        assert int(news.version, 16) >= 0
        assert bool(news.name) is (news.what != b"x")
    newest = state.attributes["topic"].newest
    assert newest == b"" or len(newest) == 13


def test_news_tell_which_copies_are_old() -> None:
    """A version goes up and never down; `clear` concerns every attribute."""
    state = State("test:", "c-1")
    topic, other = state.attribute("topic"), state.attribute("other")
    feed.hear(state, message(b"s", b"topic", scalar(5)))
    feed.hear(state, message(b"s", b"topic", scalar(4)))
    feed.hear(state, message(b"s", b"unknown", scalar(6)))
    assert (topic.newest, other.newest) == (version(5), b"")
    feed.hear(state, message(b"x", b"", version(7) + b";"))
    assert (topic.newest, other.newest) == (version(7), version(7))
    assert "unknown" not in state.attributes


def test_a_new_session_begins_anew() -> None:
    """What an earlier session told is forgotten: the server may be an older one by now."""
    state, heard = State("test:", "c-1"), Heard()
    state.listeners[heard] = None
    topic = state.attribute("topic")
    feed.follow(state, 1)
    feed.hear(state, message(b"s", b"topic", scalar(5)))
    feed.follow(state, 1)
    assert (heard.wakes, topic.newest) == (1, version(5))
    feed.follow(state, 0)
    assert (heard.wakes, topic.newest) == (2, version(5))
    feed.follow(state, 2)
    assert (heard.wakes, topic.newest) == (3, b"")


# subscriptions

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from(CHANNELS)),
        st.tuples(st.just("leave"), st.sampled_from(CHANNELS)),
        st.tuples(st.just("send"), st.just(b"")),
        st.tuples(st.just("confirm"), st.just(b"")),
    ),
    max_size=60,
)


# left and wanted again before the server has confirmed anything
AGAIN = [
    *(("want", CHANNELS[0]), ("send", b"")),
    *(("leave", CHANNELS[0]), ("send", b"")),
    *(("want", CHANNELS[0]), ("send", b"")),
]


@given(STEPS)
@example([*AGAIN, ("confirm", b"")])
@example([*AGAIN, ("confirm", b""), ("confirm", b"")])
def test_a_channel_counts_as_heard_only_when_it_is(steps: Iterable[tuple[str, bytes]]) -> None:
    """Whatever the order of wishes and confirmations, `confirmed` is what the server sends."""
    session = Subscriptions(1)
    wanted: set[bytes] = set()
    touched: set[bytes] = set()
    at_server: set[bytes] = set()
    on_the_way: list[tuple[bytes, bytes]] = []

    def send() -> None:
        for word, *channels in session.commands(set(touched), wanted):
            on_the_way.extend((word, channel) for channel in channels)
        touched.clear()

    def confirm() -> None:
        word, channel = on_the_way.pop(0)
        (at_server.add if word == b"SUBSCRIBE" else at_server.discard)(channel)
        is_heard = session.has_confirmed(word.lower(), channel)
        later = [sent for sent, other in on_the_way if other == channel]
        assert is_heard is (word == b"SUBSCRIBE" and not later)

    for step, channel in steps:
        if step == "want":
            wanted.add(channel)
            touched.add(channel)
        elif step == "leave":
            wanted.discard(channel)
            touched.add(channel)
        elif step == "send":
            send()
        elif on_the_way:
            confirm()
        assert session.confirmed <= at_server
    send()
    while on_the_way:
        confirm()
    assert session.confirmed == at_server == wanted


def test_many_channels_are_sent_in_parts() -> None:
    """One command names at most 500 channels, and each channel once."""
    session = Subscriptions(1)
    channels = {b"%d" % number for number in range(1_234)}
    commands = session.commands(channels, channels)
    assert [len(command) - 1 for command in commands] == [500, 500, 234]
    sent = Counter(channel for _, *names in commands for channel in names)
    assert set(sent) == channels
    assert max(sent.values()) == 1


@pytest.mark.parametrize("reply", [b"PONG", b"pong", [b"pong", b""]])
def test_a_pong_has_several_forms(reply: Any) -> None:
    """It looks like a message where there is a subscription."""
    assert Subscriptions.is_pong(reply)
    for other in (b"OK", [b"message", b"a", b"PONG"], [], 1, None):
        assert not Subscriptions.is_pong(other)
