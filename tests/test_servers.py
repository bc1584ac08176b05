"""The servers that tests start are real, private and obedient."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.binaries import NAMED_BY_USER, available_binaries, label_of
from tests.faults import FaultProxy
from tests.leaks import child_processes, running_threads
from tests.servers import Server, ServerStartError, supports_tls
from tests.waiting import async_wait_until, in_time, wait_until

START_AND_WAIT = """\
from tests.servers import Server
server = Server().start()
print(server.pid, server.socket, sep="\\n", flush=True)
input()
"""


def test_each_available_server_answers(each_server: Server) -> None:
    """Every server program that is found can be started, and is reached by socket and by TCP."""
    assert each_server.client().ping()
    with redis.Redis.from_url(each_server.tcp_url) as by_tcp:
        by_tcp.set("k", b"v")
    assert each_server.client().get("k") == b"v"
    assert each_server.info()["process_id"] == each_server.pid


def test_a_shared_server_is_empty(server: Server) -> None:
    """Each test finds its server without data and without scripts."""
    client = server.client()
    sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
    assert client.dbsize() == 0
    assert client.script_exists(sha) == [False]
    assert client.script_load("return 1") == sha
    client.set("left", "behind")


test_a_shared_server_is_empty_again = test_a_shared_server_is_empty


def test_a_killed_server_forgets(own_server: Server) -> None:
    """After SIGKILL and a start the data is gone, and the address is the same."""
    address, first = own_server.tcp_url, own_server.pid
    own_server.client().set("k", "v")
    own_server.kill()
    assert not own_server.running
    with pytest.raises(RuntimeError, match="does not run"):
        _ = own_server.pid
    own_server.start()
    assert own_server.tcp_url == address
    assert own_server.pid != first
    assert own_server.client().get("k") is None


def test_an_append_only_file_survives_a_kill() -> None:
    """With an append-only file synced at each write, SIGKILL loses nothing."""
    with Server(appendonly="yes", appendfsync="always") as server:
        server.client().set("k", "v")
        server.kill()
        server.start()
        assert server.client().get("k") == b"v"


def test_a_restart_keeps_the_data_or_not(own_server: Server) -> None:
    """`restart` brings everything back, and nothing when told so."""
    own_server.client().set("k", "v")
    own_server.restart()
    assert own_server.client().get("k") == b"v"
    own_server.restart(keep_data=False)
    assert own_server.client().get("k") is None


def test_a_kill_after_a_stop_brings_the_old_snapshot_back(own_server: Server) -> None:
    """A server can come back older than what its clients have seen."""
    own_server.client().set("k", "old")
    own_server.restart()
    own_server.client().set("k", "new")
    own_server.kill()
    own_server.start()
    assert own_server.client().get("k") == b"old"


def test_a_frozen_server_does_not_answer(own_server: Server) -> None:
    """Frozen, it keeps the connection and is silent; thawed, it serves what waited."""
    with redis.Redis.from_url(own_server.url, socket_timeout=0.05) as client:
        client.ping()
        own_server.freeze()
        assert own_server.running
        with pytest.raises(redis.TimeoutError):
            client.set("k", "late")
    own_server.thaw()
    wait_until(lambda: own_server.client().get("k") == b"late")


def test_a_frozen_server_can_be_restarted(own_server: Server) -> None:
    """A restart thaws first, so that nothing is lost."""
    own_server.client().set("k", "v")
    own_server.freeze()
    own_server.restart()
    assert own_server.client().get("k") == b"v"


def test_a_server_started_in_a_thread_outlives_the_thread(own_server: Server) -> None:
    """A thread may kill and start a server, and end."""
    thread = threading.Thread(target=own_server.restart)
    thread.start()
    thread.join()
    assert own_server.client().ping()


def test_a_password_is_asked_for() -> None:
    """The address holds the password, and without it nothing is served."""
    with Server(password="p@ss:w/rd", tcp=True) as server:
        for address in (server.url, server.tcp_url):
            with redis.Redis.from_url(address) as client:
                assert client.ping()
        with (
            redis.Redis(unix_socket_path=server.socket, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_users_have_their_rights() -> None:
    """Lines of the ACL file make users."""
    with (
        Server(users=["ann on >secret ~* &* +@all -@scripting"]) as server,
        redis.Redis(unix_socket_path=server.socket, username="ann", password="secret") as ann,
    ):
        assert ann.set("k", "v")
        with pytest.raises(redis.exceptions.NoPermissionError):
            ann.eval("return 1", 0)


def test_directives_reach_the_configuration() -> None:
    """Any directive can be given by keyword."""
    with Server(maxmemory="1234567", maxmemory_policy="noeviction") as server:
        assert server.info("memory")["maxmemory"] == 1234567
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            server.client().mset({str(number): bytes(10_000) for number in range(1000)})
            server.client().set("one", "more")


def test_a_replica_follows() -> None:
    """What the primary is told arrives at its replica, with a password too."""
    with (
        Server(tcp=True, password="secret") as primary,
        Server(replica_of=primary) as replica,
    ):
        primary.client().set("k", "v")
        wait_until(lambda: replica.client().get("k") == b"v")
        with pytest.raises(redis.exceptions.ReadOnlyError):
            replica.client().set("k", "w")


@pytest.mark.parametrize("label", available_binaries())
def test_tls_is_served_where_the_program_can(label: str) -> None:
    """A client that trusts the authority gets through; a program without TLS says so."""
    binary = available_binaries()[label]
    if not supports_tls(binary):
        with pytest.raises(ServerStartError, match=r"(?i)tls"):
            Server(binary, tls=True).__enter__()
        return
    with Server(binary, tls=True, password="secret") as server:
        assert server.certificates is not None
        authority = str(server.certificates.ca)
        with redis.Redis.from_url(server.tls_url, ssl_ca_certs=authority) as client:
            assert client.ping()


def test_a_server_that_cannot_start_says_why() -> None:
    """A wrong directive raises at once, with the server's own words, and leaves nothing."""
    server = Server(no_such_directive="1")
    folder = Path(server.socket).parent
    with pytest.raises(ServerStartError, match="no-such-directive"), server:
        pass
    assert not folder.exists()


def test_closing_removes_the_folder() -> None:
    """Nothing of a server stays on disk."""
    with Server() as server:
        folder = Path(server.socket).parent
        assert folder.exists()
    assert not folder.exists()


def test_servers_die_with_the_test_run(tmp_path: Path) -> None:
    """When the process that started it is killed, the server ends too."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent was killed")
    run = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
    )
    with run:
        assert run.stdout is not None
        pid, address = int(run.stdout.readline()), run.stdout.readline().decode().strip()
        with redis.Redis(unix_socket_path=address) as client:
            assert client.ping()
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not _exists(pid))


def _exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_programs_named_by_the_user_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment adds server programs, each label once; what is no server is refused."""
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\necho 'Redis server v=6.2.0 sha=0'\n")
    program.chmod(0o755)
    find = available_binaries.__wrapped__
    monkeypatch.delenv(NAMED_BY_USER, raising=False)
    others = find()
    monkeypatch.setenv(NAMED_BY_USER, os.pathsep.join([str(program), str(program)]))
    assert find() == others | {"redis-6.2.0": program}
    program.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(RuntimeError, match="neither Redis nor Valkey"):
        find()
    with pytest.raises(RuntimeError, match="cannot run"):
        label_of(tmp_path / "missing")


def test_threads_and_processes_left_behind_are_noticed(own_server: Server) -> None:
    """The check after each test sees a thread, a proxy and a child process."""
    before = running_threads()
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    with FaultProxy(own_server.url):
        assert len(running_threads() - before) == 2
    end.set()
    thread.join()
    assert running_threads() == before
    assert own_server.pid in child_processes()
    assert own_server.pid not in child_processes(without=[own_server.pid])


def test_waiting_ends_at_its_limit() -> None:
    """A condition that never comes fails the test, with its name."""
    assert wait_until(lambda: "value") == "value"
    with pytest.raises(AssertionError, match="a miracle; last value: 0"):
        wait_until(lambda: 0, 0.01, what="a miracle")


def test_what_takes_too_long_fails() -> None:
    """However busy the machine is, it takes no more than all of the time."""
    with in_time(5):
        pass
    before_s = time.monotonic()
    with pytest.raises(AssertionError, match="took"), in_time(0):
        wait_until(lambda: time.monotonic() > before_s + 0.05)


def test_what_a_busy_machine_takes_is_not_counted() -> None:
    """Nobody else runs while this thread is in one long step of C, so nobody is late by himself."""
    before_s = time.monotonic()
    with in_time(0.03):
        sum(range(10_000_000))
    assert time.monotonic() - before_s > 0.03, "nothing was proved"


async def test_async_waiting_lets_other_tasks_run() -> None:
    """The async wait has the same result, and the same limit."""
    assert await async_wait_until(lambda: "value") == "value"
    ticks: list[int] = []
    asyncio.get_running_loop().call_soon(ticks.append, 1)
    assert await async_wait_until(lambda: ticks)
    with pytest.raises(AssertionError, match="waited"):
        await async_wait_until(lambda: 0, 0.01)
