"""The embedded server: started once, shared, stopped when unused, and never left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import redis

from redis_memory.errors import EmbeddedServerError
from redis_memory.link import embedded
from tests.inhabitants import (
    LIMIT_S,
    connected,
    folder,
    inhabitants,
    launchers,
    servers,
    started,
    stop,
    wait_until_deserted,
)
from tests.waiting import wait_until

__all__ = ["folder"]

SHORT_LINGER_S = 0.4

forking = multiprocessing.get_context("fork")


def race(folder: Path, barrier: Barrier, answers: Connection) -> None:
    """Tell the pid of the server that one of many gets."""
    barrier.wait(LIMIT_S)
    with connected(embedded.ensure_running(folder, timeout_s=30)) as client:
        answers.send(client.info("server")["process_id"])
        barrier.wait(30)


def test_twenty_racing_processes_start_exactly_one_server(folder: Path) -> None:
    """However many processes want the server at the same moment, one is started for all."""
    barrier = forking.Barrier(21)
    receiver, sender = forking.Pipe(duplex=False)
    racers = [forking.Process(target=race, args=(folder, barrier, sender)) for _ in range(20)]
    try:
        for racer in racers:
            racer.start()
        barrier.wait(LIMIT_S)
        pids = {receiver.recv() for _ in racers if receiver.poll(30)}
        assert servers(folder) == list(pids)
        assert len(launchers(folder)) == 1
        barrier.wait(LIMIT_S)
        for racer in racers:
            racer.join(LIMIT_S)
    finally:
        for racer in racers:
            racer.kill()
            racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 20


def test_a_running_server_is_found_by_every_name_of_its_folder(folder: Path) -> None:
    """Two names of one folder lead to one server, which is not started again."""
    pid = started(folder)
    link = folder.with_name("link")
    link.symlink_to(folder)
    assert embedded.ensure_running(link) == embedded.socket_path(folder)
    assert servers(folder) == [pid]


def test_threads_of_one_process_share_one_server(folder: Path) -> None:
    """Threads that race for the server all get the same one."""
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: embedded.ensure_running(folder), range(8)))
    assert paths == {embedded.socket_path(folder)}
    assert len(servers(folder)) == 1


def test_the_server_stops_when_the_last_one_has_left(folder: Path) -> None:
    """When nobody has been connected for the linger time, no process and no socket is left."""
    with connected(embedded.ensure_running(folder, linger_s=SHORT_LINGER_S)) as client:
        client.ping()
    wait_until_deserted(folder)
    assert not embedded.socket_path(folder).exists()


def test_the_server_stays_as_long_as_one_is_connected(folder: Path) -> None:
    """A client that only sits there keeps the server alive, beyond the linger time."""
    with connected(embedded.ensure_running(folder, linger_s=SHORT_LINGER_S)) as client:
        client.ping()
        pids = servers(folder)

        def looks() -> int:
            calls: int = client.info("commandstats").get("cmdstat_info", {"calls": 0})["calls"]
            return calls - next(own)

        own = iter(range(1, 10**6))
        wait_until(lambda: looks() >= 20, what="ten looks of the launcher")
        assert servers(folder) == pids
    wait_until_deserted(folder)


def test_a_visitor_between_two_looks_prolongs_the_stay(folder: Path) -> None:
    """Connections that come and go unseen count as use: whoever found the server can still come."""
    pid = started(folder, linger_s=0.6)
    end = time.monotonic() + 1.5
    wait_until(lambda: embedded.ensure_running(folder).exists() and time.monotonic() > end)
    assert servers(folder) == [pid]


def test_data_survives_a_stop_and_a_start(folder: Path) -> None:
    """What was written is there when the server runs again."""
    with connected(embedded.ensure_running(folder, linger_s=SHORT_LINGER_S)) as client:
        client.rpush("messages", b"hello", b"\x00\xff")
    wait_until_deserted(folder)
    with connected(embedded.ensure_running(folder)) as client:
        assert client.lrange("messages", 0, -1) == [b"hello", b"\x00\xff"]


def test_who_meets_a_dying_server_gets_a_new_one(folder: Path) -> None:
    """Whoever is dropped by a server that stops calls again, and finds all data in the next one."""

    def added(number: int) -> bool:
        try:
            with connected(embedded.ensure_running(folder)) as client:
                return client.sadd("numbers", number) >= 0
        except redis.ConnectionError:
            return False

    for number in range(10):
        wait_until(partial(added, number), LIMIT_S, what="a server")
        for pid in servers(folder):
            os.kill(pid, signal.SIGTERM)
    wait_until(partial(added, 10), LIMIT_S, what="a server")
    with connected(embedded.ensure_running(folder)) as client:
        assert client.smembers("numbers") == {b"%d" % number for number in range(11)}


def test_a_dropped_control_connection_does_not_stop_the_server(folder: Path) -> None:
    """CLIENT KILL of everybody disturbs nobody for long, and the stop is still noticed later."""
    with connected(embedded.ensure_running(folder, linger_s=SHORT_LINGER_S)) as client:
        wait_until(lambda: client.info("clients")["connected_clients"] == 2, what="the launcher")
        (pid,) = servers(folder)
        client.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: client.info("clients")["connected_clients"] == 2, what="it again")
        assert servers(folder) == [pid]
    wait_until_deserted(folder)


def start_and_wait(folder: Path, answers: Connection) -> None:
    """Start the server and stay, without a connection, until killed."""
    embedded.ensure_running(folder, linger_s=SHORT_LINGER_S)
    answers.send("started")
    signal.pause()


def test_a_killed_starter_leaves_no_orphan(folder: Path) -> None:
    """The server outlives a SIGKILL of the process that started it, and stops on its own."""
    receiver, sender = forking.Pipe(duplex=False)
    starter = forking.Process(target=start_and_wait, args=(folder, sender))
    starter.start()
    try:
        assert receiver.poll(LIMIT_S)
        with connected(embedded.socket_path(folder)) as client:
            client.ping()
            starter.kill()
            starter.join(LIMIT_S)
            assert client.ping()
    finally:
        starter.kill()
        starter.join(LIMIT_S)
    wait_until_deserted(folder)


@pytest.mark.parametrize("sign", ["lock", "server.log", "redis.sock"])
def test_a_starter_killed_half_way_does_no_harm(folder: Path, sign: str) -> None:
    """Wherever in its start a process is killed, the next one gets the one server."""
    starter = forking.Process(target=start_and_wait, args=(folder, forking.Pipe()[1]))
    starter.start()
    wait_until((folder / sign).exists, LIMIT_S, what=sign)
    starter.kill()
    starter.join(LIMIT_S)
    with connected(embedded.ensure_running(folder)) as client:
        assert servers(folder) == [client.info("server")["process_id"]]


def test_a_killed_launcher_takes_the_server_down(folder: Path) -> None:
    """After a SIGKILL of the launcher no server goes on unwatched; the next call starts both."""
    with connected(embedded.ensure_running(folder)) as client:
        client.set("kept", "yes")
        (launcher,) = wait_until(lambda: launchers(folder))
        os.kill(launcher, signal.SIGKILL)
        wait_until_deserted(folder)
    with connected(embedded.ensure_running(folder)) as client:
        assert client.get("kept") == b"yes"


def test_two_servers_never_share_the_data(folder: Path) -> None:
    """While an orphaned server has yet to end, no second one is started beside it."""
    pid = started(folder)
    (launcher,) = launchers(folder)
    os.kill(pid, signal.SIGSTOP)
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: not launchers(folder))
    with pytest.raises(EmbeddedServerError, match="did not answer"):
        embedded.ensure_running(folder, timeout_s=0.3)
    assert servers(folder) == [pid]
    os.kill(pid, signal.SIGCONT)
    wait_until_deserted(folder)
    started(folder)


def test_without_prctl_a_guard_stops_the_server(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On systems other than Linux, too, the server does not outlive a killed launcher."""
    elsewhere = tmp_path / "launcher_elsewhere.py"
    elsewhere.write_text(
        "import runpy, sys\n"
        "sys.platform = 'elsewhere'\n"
        f"runpy.run_path({str(embedded.LAUNCHER)!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(embedded, "LAUNCHER", elsewhere)
    embedded.ensure_running(folder)
    (server,) = servers(folder)
    wait_until(lambda: len(launchers(folder)) == 2, what="a launcher and its guard")
    os.kill(parent_of(server), signal.SIGKILL)
    wait_until_deserted(folder)
    embedded.ensure_running(folder, linger_s=SHORT_LINGER_S)
    wait_until_deserted(folder)


def parent_of(pid: int) -> int:
    """The process that started this one."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))


def test_a_killed_server_is_replaced(folder: Path) -> None:
    """After a SIGKILL of the server its launcher ends; the next call starts both, data included."""
    with connected(embedded.ensure_running(folder)) as client:
        client.set("kept", "yes")
        (server,), (launcher,) = servers(folder), wait_until(lambda: launchers(folder))
        os.kill(server, signal.SIGKILL)
    with connected(embedded.ensure_running(folder)) as client:
        assert client.get("kept") == b"yes"
    assert server not in servers(folder)
    wait_until(lambda: launcher not in inhabitants(folder), what="the old launcher to end")


def test_a_killed_server_leaves_no_socket(folder: Path) -> None:
    """When nobody comes after a SIGKILL of the server, its launcher clears up and ends."""
    os.kill(started(folder), signal.SIGKILL)
    wait_until_deserted(folder)
    assert not embedded.socket_path(folder).exists()


def test_a_terminated_launcher_stops_the_server_cleanly(folder: Path) -> None:
    """SIGTERM to the launcher, as at a shutdown of the machine, leaves data and no socket."""
    with connected(embedded.ensure_running(folder)) as client:
        client.set("kept", "yes")
    wait_until(lambda: len(launchers(folder)) == 1)
    stop(folder)
    assert not embedded.socket_path(folder).exists()
    with connected(embedded.ensure_running(folder)) as client:
        assert client.get("kept") == b"yes"


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    """A socket file that a crash left behind does not stand in the way."""
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(embedded.socket_path(folder)))
    assert embedded.socket_path(folder).is_socket()
    started(folder)


def test_a_leftover_lock_file_means_nothing(folder: Path) -> None:
    """Only a lock that is held counts, whatever a file of that name says."""
    folder.mkdir(mode=0o700)
    (folder / "lock").write_text("1\n")
    started(folder)


def test_a_frozen_server_is_reported_in_time(folder: Path) -> None:
    """A server that does not answer is an error after `timeout_s`, never a hang."""
    pid = started(folder)
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        with pytest.raises(EmbeddedServerError, match=r"did not answer within 0\.3 s"):
            embedded.ensure_running(folder, timeout_s=0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - begin < 2
    assert servers(folder) == [pid]


def test_the_server_is_set_up_for_data_that_counts(folder: Path) -> None:
    """No TCP port, every write in the append-only file within a second, nothing ever evicted."""
    expected = {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "protected-mode": "yes",
        "dir": str(folder),
    }
    with connected(embedded.ensure_running(folder)) as client:
        assert client.config_get(*expected) == expected


def test_the_server_is_told_no_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever happens to start the server does not live on in it."""
    monkeypatch.setenv("API_KEY", "sesame")
    started(folder)
    for pid in inhabitants(folder):
        assert b"sesame" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_server_that_cannot_start_is_quoted(folder: Path) -> None:
    """The error ends with what the server said last, and comes as soon as the server has ended."""
    started(folder)
    stop(folder)
    (base,) = folder.glob("appendonlydir/*.base.rdb")
    base.write_bytes(b"REDIS0011" + b"\xff" * 100)
    begin = time.monotonic()
    with pytest.raises(EmbeddedServerError, match=r"stopped while it was starting:\n(.|\n)*AOF"):
        embedded.ensure_running(folder, timeout_s=30)
    assert time.monotonic() - begin < LIMIT_S
    wait_until_deserted(folder)


@pytest.mark.parametrize("executable", [None, "", "/usr/bin/uwsgi"])
def test_an_embedded_interpreter_finds_a_python(
    executable: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `sys.executable` is no Python, as under uwsgi, the launcher runs all the same."""
    monkeypatch.setattr(sys, "executable", executable)
    started(folder)


def test_no_python_at_all_is_reported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen application without a Python beside it is told so, and never started as launcher."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "exec_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_exec_prefix", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="no Python to run the launcher"):
        embedded.ensure_running(folder)
