"""Real servers of the tests' own, to be killed, frozen and started again."""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.binaries import available_binaries, default_binary
from tests.certificates import Certificates, make_certificates
from tests.children import start_child
from tests.waiting import wait_until

__all__ = ["HOST", "Server", "ServerStartError", "available_binaries", "free_port", "supports_tls"]

HOST = "127.0.0.1"
START_LIMIT_S = 10.0
STOP_LIMIT_S = 15.0


class ServerStartError(RuntimeError):
    """The process ended instead of answering; the message holds the end of its log."""


class Server:
    """A real server in a private temporary folder, reached by a Unix socket.

    A stop leaves a snapshot behind, a kill does not; both keep the folder, so that `start` goes on
    with what lies in it: the last snapshot, or all acknowledged writes with `appendonly="yes"`,
    `appendfsync="always"`. `close` removes the folder. Nothing outlives the test run.

    Args:
        binary: The program; the first available one by default.
        tcp: Listen on a free loopback port as well.
        tls: Listen for TLS on a free loopback port as well; see `supports_tls`.
        password: Of the user `default`, who may do everything.
        users: Lines of the ACL file, without the word `user`: `"ann on >secret ~* +@read"`.
        replica_of: Follow this server, which must have been given `tcp=True`.
        directives: Any line of the configuration, with `_` for `-`: `maxmemory="2mb"`.

    Cost: about 0.06 s to start, 0.01 s to stop.
    """

    def __init__(
        self,
        binary: Path | None = None,
        *,
        tcp: bool = False,
        tls: bool = False,
        password: str | None = None,
        users: Sequence[str] = (),
        replica_of: Server | None = None,
        **directives: str,
    ) -> None:
        self._binary = binary or default_binary()
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="rm-"))
        self._port = free_port() if tcp else 0
        self._tls_port = free_port() if tls else 0
        self.certificates: Certificates | None = make_certificates(self._folder) if tls else None
        self.socket = str(self._folder / "server.sock")
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        rights = "nopass" if password is None else f">{password}"
        everybody = [f"default on {rights} ~* &* +@all", *users]
        self._write("users.acl", [f"user {user}" for user in everybody])
        self._write("server.conf", [*self._configuration(replica_of), *_lines(directives)])

    def start(self) -> Self:
        """Start on what lies in the folder, and wait until commands are served.

        Raises:
            ServerStartError: The process ended, or did not answer within 10 s.
        """
        if self.running:
            raise RuntimeError(f"the server runs already, pid {self.pid}")
        self._process = start_child([self._binary, self._folder / "server.conf"], self._log)
        try:
            wait_until(self._ready, START_LIMIT_S, what="the server's first answer")
        except AssertionError as error:
            self.kill()
            raise ServerStartError(self._end_of_log()) from error
        return self

    def stop(self) -> None:
        """Let the server write its snapshot and end, as an operator does.

        Raises:
            subprocess.TimeoutExpired: It was still there after 15 s, frozen perhaps; it is killed.
        """
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once (SIGKILL); without an append-only file, data is lost."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool = True) -> None:
        """Stop and start again, with all the data or with none of it; a frozen one is thawed."""
        if keep_data and self.running:
            self.thaw()
            self.stop()
        elif not keep_data:
            self.kill()
            self._forget_data()
        self.start()

    def freeze(self) -> None:
        """Halt the process (SIGSTOP): connections stay open, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        _, state = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(state):
            raise RuntimeError(f"the server ended instead of halting: {self._end_of_log()}")

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT); what was sent to it meanwhile is served now."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill the process if it is there, and remove its folder."""
        self.kill()
        if self._client is not None:
            self._client.close()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        try:
            return self if self.running else self.start()
        except ServerStartError:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether there is a process; a frozen one counts."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; RuntimeError when the server does not run."""
        if self._process is None or not self.running:
            raise RuntimeError("the server does not run")
        return self._process.pid

    @property
    def url(self) -> str:
        """The address by Unix socket, with the password if there is one."""
        return f"unix://{self._credentials()}{self.socket}"

    @property
    def port(self) -> int:
        """The plain TCP port, the same after every restart."""
        return _given(self._port, "tcp=True")

    @property
    def tcp_url(self) -> str:
        """The address by TCP, with the password if there is one."""
        return f"redis://{self._credentials()}{HOST}:{self.port}"

    @property
    def tls_url(self) -> str:
        """The address by TLS; `certificates.ca` is the authority to trust."""
        port = _given(self._tls_port, "tls=True")
        return f"rediss://{self._credentials()}{HOST}:{port}"

    def client(self) -> redis.Redis:
        """A plain client for looking behind the curtain: bytes, no retries, at most 5 s a call.

        Always the same one, so that a loop may ask for it; it survives restarts of the server.
        """
        if self._client is None:
            once = Retry(NoBackoff(), 0)
            # protocol 2: replies have the same shape in every release of the client
            self._client = redis.Redis.from_url(
                self.url, protocol=2, retry=once, socket_timeout=5.0
            )
        return self._client

    def info(self, section: str = "everything") -> dict[str, Any]:
        """What INFO answers, parsed."""
        answer: dict[str, Any] = self.client().info(section)
        return answer

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _credentials(self) -> str:
        return f":{quote(self._password, safe='')}@" if self._password else ""

    def _configuration(self, primary: Server | None) -> list[str]:
        lines = [
            f"dir {self._folder}",
            f"unixsocket {self.socket}",
            "unixsocketperm 700",
            f"bind {HOST}",
            f"port {self._port}",
            f"aclfile {self._folder / 'users.acl'}",
            # a save point that is never reached: no snapshot while running, one on SIGTERM
            "save 86400 1000000000",
            "repl-diskless-sync-delay 0",
        ]
        if self.certificates is not None:
            lines += [
                f"tls-port {self._tls_port}",
                f"tls-cert-file {self.certificates.certificate}",
                f"tls-key-file {self.certificates.key}",
                f"tls-ca-cert-file {self.certificates.ca}",
                "tls-auth-clients no",
            ]
        if primary is not None:
            lines.append(f"replicaof {HOST} {primary.port}")
            if primary._password:
                lines.append(f"masterauth {primary._password}")
        return lines

    def _write(self, name: str, lines: Sequence[str]) -> None:
        (self._folder / name).write_text("\n".join([*lines, ""]))

    def _ready(self) -> bool:
        if not self.running:
            raise ServerStartError(self._end_of_log())
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(START_LIMIT_S)
            try:
                probe.connect(self.socket)
                probe.sendall(b"PING\r\n")
                answer = probe.recv(64)
            except OSError:
                return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None
            if self._client is not None:
                self._client.connection_pool.disconnect()

    def _forget_data(self) -> None:
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix in {".rdb", ".aof"}:
                path.unlink()

    def _end_of_log(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def free_port(lowest: int = 20_000, width: int = 1_500) -> int:
    """A loopback port that is free now, below those that the system hands to clients.

    So that the port of a killed server is not taken by an outgoing connection before it is back.
    Processes that share the tests (`pytest -n`) each have a range of their own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    first = lowest + width * worker
    for port in random.sample(range(first, first + width), 100):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError("100 ports were tried, and all are taken")


@functools.cache
def supports_tls(binary: Path) -> bool:
    """Whether this program was built with TLS; found out by starting it once."""
    try:
        with Server(binary, tls=True):
            return True
    except ServerStartError:
        return False


def _lines(directives: dict[str, str]) -> list[str]:
    return [f"{name.replace('_', '-')} {value}" for name, value in directives.items()]


def _given(port: int, option: str) -> int:
    if not port:
        raise RuntimeError(f"the server was made without {option}")
    return port
