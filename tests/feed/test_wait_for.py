"""`wait_for`: what can be waited for, how long, and through which outages."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_memory import (
    EXISTS,
    MISSING,
    AsyncConversationMemory,
    ClosedError,
    ConversationMemory,
    InvalidNameError,
    OfflineError,
    WaitTimeoutError,
    aio,
    clear,
    close,
    increment,
    push,
    wait_for,
    watch,
)
from redis_memory.memory import core_of
from tests.faults import FaultProxy
from tests.feed.listeners import feed_threads, listening
from tests.outages.conftest import OpenFace, OpenMemory
from tests.outages.faces import Awaited, Face
from tests.outages.network import QUICKLY
from tests.outages.processes import is_script
from tests.servers import Server, free_port
from tests.waiting import async_wait_until, wait_until

LIMIT_S = 10.0
# what is waited for here has happened within moments
SOON_S = 2.0


class Waiting:
    """Waits in a thread, in either face."""

    def __init__(self, face: Face, *wanted: Any, timeout_s: float | None = LIMIT_S) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._face, self._wanted, self._timeout_s = face, wanted, timeout_s
        self._state = face.memory.__dict__["_redis_memory_core"].state  # type: ignore[attr-defined] # both faces have one
        before = len(self._state.listeners)
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()
        wait_until(
            lambda: len(self._state.listeners) > before or not self._thread.is_alive(),
            what="somebody who waits",
        )

    def _wait(self) -> None:
        try:
            if isinstance(self._face, Awaited):
                memory = self._face.memory
                work = aio.wait_for(memory, *self._wanted, timeout_s=self._timeout_s)
                loop = self._face.background.loop
                self.result = asyncio.run_coroutine_threadsafe(work, loop).result(30)
            else:
                memory = self._face.memory  # type: ignore[attr-defined] # the blocking one
                self.result = wait_for(memory, *self._wanted, timeout_s=self._timeout_s)
        except BaseException as error:  # noqa: BLE001 - the test's own thread looks at it
            self.error = error

    @property
    def goes_on(self) -> bool:
        """Whether it still waits."""
        return self._thread.is_alive()

    @property
    def is_told(self) -> bool:
        """Whether its memory hears of changes."""
        return bool(self._state.session)

    def ends(self, limit_s: float = LIMIT_S) -> Any:
        """What it has found, as soon as it has."""
        self._thread.join(limit_s)
        assert not self._thread.is_alive(), "it still waits"
        if self.error is not None:
            raise self.error
        return self.result


Act = Callable[[ConversationMemory], object]
# what is waited for; what does not satisfy it, what does; and what is returned
WISHES: dict[str, tuple[tuple[Any, ...], list[Act], Act, Any]] = {
    "existence": (
        ("state",),
        [lambda m: setattr(m, "other", 1)],
        lambda m: setattr(m, "state", None),
        None,
    ),
    "existence by name": (("state", EXISTS), [], lambda m: push(m, "state", 1), [1]),
    "a value": (
        ("state", "done"),
        [lambda m: setattr(m, "state", "open"), lambda m: setattr(m, "state", ["done"])],
        lambda m: setattr(m, "state", "done"),
        "done",
    ),
    "a list": (
        ("log", [1, 2]),
        [lambda m: push(m, "log", 1)],
        lambda m: m.log.append(2),
        [1, 2],
    ),
    "a number": (
        ("count", lambda count: count >= 3),
        [lambda m: increment(m, "count"), lambda m: increment(m, "count")],
        lambda m: increment(m, "count"),
        3,
    ),
    "a nested part": (
        ("table", lambda table: table["a"]["b"] == {1}),
        [lambda m: setattr(m, "table", {"a": {"b": set()}})],
        lambda m: m.table["a"]["b"].add(1),
        {"a": {"b": {1}}},
    ),
    "deletion": (("begun", MISSING), [], lambda m: delattr(m, "begun"), MISSING),
    "deletion by clear": (("begun", MISSING), [], clear, MISSING),
    "several": (
        (("one", "two"),),
        [lambda m: setattr(m, "one", 1)],
        lambda m: setattr(m, "two", 2),
        (1, 2),
    ),
    "several by a function": (
        (["one", "two"], lambda one, two: one + two == 5),
        [lambda m: setattr(m, "one", 1), lambda m: setattr(m, "two", 2)],
        lambda m: setattr(m, "one", 3),
        (3, 2),
    ),
}


@pytest.mark.parametrize("wish", WISHES)
def test_it_returns_when_it_is_so(wish: str, each_url: str, open_face: OpenFace, name: str) -> None:
    """It waits while it is not so, and returns the value as soon as somebody has made it so."""
    wanted, before, last, expected = WISHES[wish]
    face = open_face(name, each_url, timeout_s=2)
    with ConversationMemory(name, each_url) as other:
        other.begun = True
        waiting = Waiting(face, *wanted)
        for act in before:
            act(other)
        assert waiting.goes_on
        last(other)
        found = waiting.ends(SOON_S)
        assert found == expected
        assert face.function("wait_for", *wanted) == expected


def test_what_is_so_already_costs_one_round_trip(
    open_face: OpenFace, name: str, proxy: FaultProxy, server: Server
) -> None:
    """Nothing is subscribed, and nobody listens, when it is so from the beginning."""
    face = open_face(name, proxy.url, timeout_s=2)
    face.assign("state", "done")
    assert face.read("state") == "done"  # the server has the script then
    asked = proxy.requests_seen(is_script)
    assert face.function("wait_for", "state", "done") == "done"
    assert proxy.requests_seen(is_script) == asked + 1
    assert not listening(server)
    assert not feed_threads()


def test_it_gives_up_in_time(each_url: str, open_face: OpenFace, name: str) -> None:
    """After `timeout_s` it raises WaitTimeoutError, a TimeoutError that names the attribute."""
    face = open_face(name, each_url, timeout_s=2)
    for limit_s in (0.0, 0.2):
        begun = time.monotonic()
        waiting = Waiting(face, "state", "done", timeout_s=limit_s)
        with pytest.raises(TimeoutError, match="'state'") as caught:
            waiting.ends()
        assert type(caught.value) is WaitTimeoutError
        assert limit_s <= time.monotonic() - begun < limit_s + 1


def test_what_the_function_raises_is_raised(each_url: str, open_face: OpenFace, name: str) -> None:
    """An error of the function ends the wait, whether at once or later."""
    face = open_face(name, each_url, timeout_s=2)
    face.assign("count", 1)
    waiting = Waiting(face, "count", lambda count: 1 / (2 - count) > 1)
    face.assign("count", 2)
    with pytest.raises(ZeroDivisionError):
        waiting.ends()
    waiting = Waiting(face, "count", lambda count: count / 0)
    with pytest.raises(ZeroDivisionError):
        waiting.ends()
    assert not face.memory.__dict__["_redis_memory_core"].state.listeners  # type: ignore[attr-defined] # both faces have one


def test_wrong_names_are_refused(server: Server, open_face: OpenFace, name: str) -> None:
    """A name that no attribute can have, or none at all, is an error and no endless wait."""
    face = open_face(name, server.url)
    for wrong in ("_hidden", "", ("state", "_hidden")):
        with pytest.raises(InvalidNameError):
            Waiting(face, wrong).ends()
    with pytest.raises(ValueError, match="no name"):
        Waiting(face, ()).ends()


WRONG_TIMES = [(float("nan"), ValueError), ("5", TypeError), (True, TypeError)]


@pytest.mark.parametrize(("timeout_s", "error"), WRONG_TIMES)
def test_wrong_times_are_refused(
    timeout_s: Any, error: type[Exception], server: Server, open_face: OpenFace, name: str
) -> None:
    """At once, whether or not there is something to wait for; nan would be for ever."""
    face = open_face(name, server.url)
    face.assign("there", 1)
    for wanted in ("there", "missing"):
        with pytest.raises(error, match="timeout_s"):
            face.function("wait_for", wanted, timeout_s=timeout_s)
    # what is left of a limit may be less than nothing
    assert face.function("wait_for", "there", timeout_s=-1.0) == 1
    with pytest.raises(WaitTimeoutError):
        face.function("wait_for", "missing", timeout_s=-1.0)
    watching: Any = aio.watch if isinstance(face, Awaited) else watch
    with pytest.raises(error, match="timeout_s"):
        watching(face.memory, timeout_s=timeout_s)  # type: ignore[attr-defined] # both faces have one


def test_several_are_wanted_at_one_moment(server: Server, name: str) -> None:
    """Values that follow each other, and were never there together, satisfy nobody."""
    with (
        ConversationMemory(name, server.url) as memory,
        ConversationMemory(name, server.url) as other,
    ):
        other.left = other.right = False
        stop = threading.Event()

        def swing() -> None:
            while not stop.is_set():
                # never both
                other.left = True
                other.left = False
                other.right = True
                other.right = False

        thread = threading.Thread(target=swing)
        thread.start()
        try:
            with pytest.raises(WaitTimeoutError):
                wait_for(memory, ("left", "right"), lambda one, two: one and two, timeout_s=1.5)
        finally:
            stop.set()
            thread.join()
        other.left = True
        threading.Timer(0.05, setattr, (other, "right", True)).start()
        assert wait_for(memory, ("left", "right"), True, timeout_s=5) == (True, True)


# outages


def test_it_needs_a_server_to_begin(open_face: OpenFace, name: str) -> None:
    """A wait that begins while the server is away raises OfflineError at once."""
    face = open_face(name, f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(OfflineError):
        Waiting(face, "state").ends(SOON_S)


def test_a_restart_of_the_server_is_waited_out(
    own_server: Server, open_face: OpenFace, name: str
) -> None:
    """What became so while the server was away is found when it is back."""
    face = open_face(name, own_server.url)
    face.assign("begun", True)
    waiting = Waiting(face, "state", "done")
    own_server.stop()
    own_server.start()
    with ConversationMemory(name, own_server.url, timeout_s=5) as other:
        assert waiting.goes_on
        other.state = "open"
        other.state = "done"
    assert waiting.ends() == "done"


def test_a_lost_feed_delays_a_wait_and_breaks_none(
    server: Server, open_face: OpenFace, feed_proxy: FaultProxy, name: str
) -> None:
    """Without the feed, and with the server there, it asks every `feed_timeout_s`."""
    with ConversationMemory(name, server.url) as other:
        face = open_face(name, server.url, feed_timeout_s=0.3, timeout_s=2)
        feed_proxy.refuse()
        waiting = Waiting(face, "state", "done")
        other.state = "done"
        assert waiting.ends(SOON_S) == "done"
        feed_proxy.heal()
        waiting = Waiting(face, "state", "open")
        wait_until(lambda: listening(server))
        feed_proxy.stall()
        other.state = "open"
        assert waiting.ends(SOON_S + 0.3) == "open"
        feed_proxy.heal()


def test_what_happened_while_the_feed_was_lost_ends_a_wait(
    server: Server, open_face: OpenFace, feed_proxy: FaultProxy, name: str
) -> None:
    """As soon as the feed is heard again it looks, long before it would look in any case."""
    with ConversationMemory(name, server.url) as other:
        face = open_face(name, server.url, feed_timeout_s=60, timeout_s=2)
        waiting = Waiting(face, "state", "done")
        wait_until(lambda: waiting.is_told, what="the feed")
        # so that it looks once more, and sleeps in the belief that it will be told
        other.state = "open"
        feed_proxy.refuse()
        wait_until(lambda: not waiting.is_told, what="the loss to be noticed")
        other.state = "done"
        feed_proxy.heal()
        assert waiting.ends(SOON_S) == "done"


def test_closing_the_memory_ends_a_wait(each_url: str, open_face: OpenFace, name: str) -> None:
    """Whoever waits on a memory that is closed gets ClosedError."""
    face = open_face(name, each_url, timeout_s=2)
    face.assign("begun", True)
    waiting = Waiting(face, "state", timeout_s=None)
    face.function("close")
    with pytest.raises(ClosedError):
        waiting.ends(SOON_S)


# many, and interrupted


def test_many_wait_on_one_memory(server: Server, open_face: OpenFace, name: str) -> None:
    """30 waiters of one memory all return, each when its own turn has come."""
    face = open_face(name, server.url, timeout_s=5)
    waiting = [
        Waiting(face, "turn", lambda turn, least=least: turn >= least) for least in range(1, 31)
    ]
    face.assign("turn", 15)
    for each in waiting[:15]:
        assert each.ends(SOON_S) == 15
    assert all(each.goes_on for each in waiting[15:])
    assert len(listening(server)) == len(feed_threads()) == 1
    face.assign("turn", 30)
    for each in waiting[15:]:
        assert each.ends(SOON_S) == 30


@pytest.fixture
def alarms() -> Iterator[Callable[[float], None]]:
    """Have KeyboardInterrupt strike after so many seconds, as Ctrl-C does."""

    def strike(*_: object) -> None:
        raise KeyboardInterrupt

    def strike_in(delay_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, delay_s)

    before = signal.signal(signal.SIGALRM, strike)
    yield strike_in
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# an exception inside redis-py's `connect` leaves a socket that nobody knows of, to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_wait_leaves_nothing(
    server: Server, open_memory: OpenMemory, name: str, alarms: Callable[[float], None]
) -> None:
    """Ctrl-C at any moment of a wait frees what it held, and the memory goes on."""
    memory = open_memory(name, server.url, timeout_s=5)
    for turn in range(30):
        with pytest.raises(KeyboardInterrupt):
            alarms(0.0005 * (turn + 1))
            wait_for(memory, "state", "never", timeout_s=LIMIT_S)
        memory.turn = turn
        assert memory.turn == turn
    wait_until(lambda: not core_of(memory).state.listeners)
    close(memory)
    wait_until(lambda: not feed_threads() and not listening(server))


async def test_waits_of_many_tasks(server: Server, name: str) -> None:
    """`gather` waits for several, and a cancelled one leaves nothing."""
    async with AsyncConversationMemory(name, server.url) as memory:
        core = memory.__dict__["_redis_memory_core"]
        waits = [memory.turn.wait_for(turn, timeout_s=LIMIT_S) for turn in range(10)]
        gathered = asyncio.gather(*waits)
        cancelled = asyncio.create_task(aio.wait_for(memory, "never"))
        await async_wait_until(lambda: len(core.state.listeners) == 11)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert len(core.state.listeners) == 10
        async with AsyncConversationMemory(name, server.url, **QUICKLY) as other:
            for turn in range(10):
                await other.turn.set(turn)
                # each must have had the time to see its own value
                await async_wait_until(lambda: len(core.state.listeners) == 9 - turn)  # noqa: B023 - called here
        assert await gathered == list(range(10))
