"""Groups of real servers that replace each other: a Sentinel service, and a cluster."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.binaries import default_binary
from tests.children import start_child
from tests.servers import HOST, Server, free_port
from tests.waiting import wait_until

SERVICE = "main"
START_LIMIT_S = 15.0
FAILOVER_LIMIT_S = 30.0
_DOWN_AFTER_MS = 300


def plain_client(port: int, password: str | None = None) -> redis.Redis:
    """A client without retries, for looking behind the curtain."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis(HOST, port, password=password, protocol=2, retry=once, socket_timeout=5.0)


class Watchman:
    """One Sentinel process in a folder of its own."""

    def __init__(self, binary: Path, primary_port: int, *lines: str) -> None:
        self.port = free_port()
        self._binary = binary
        self._folder = Path(tempfile.mkdtemp(prefix="rm-"))
        self._process: subprocess.Popen[bytes] | None = None
        configuration = [
            f"port {self.port}",
            f"bind {HOST}",
            f"dir {self._folder}",
            f"sentinel monitor {SERVICE} {HOST} {primary_port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 2000",
            *lines,
        ]
        (self._folder / "sentinel.conf").write_text("\n".join([*configuration, ""]))

    def start(self) -> Self:
        """Start, and wait for the first answer."""
        arguments: list[str | Path] = [self._binary, self._folder / "sentinel.conf", "--sentinel"]
        self._process = start_child(arguments, self._folder / "sentinel.log")
        wait_until(self._answers, START_LIMIT_S, what="the Sentinel's first answer")
        return self

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), 1.0).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill the process and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder)


class _Group:
    """Servers that are closed together."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.servers: dict[int, Server] = {}

    def _server(self, *arguments: Any, **options: Any) -> Server:
        server = self._stack.enter_context(Server(*arguments, tcp=True, **options))
        self.servers[server.port] = server
        return server

    def close(self) -> None:
        """End all of them."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Service(_Group):
    """A primary, replicas and three Sentinels, who let a replica take over within two seconds.

    Cost: about a second to start.
    """

    def __init__(
        self,
        binary: Path | None = None,
        *,
        replicas: int = 1,
        sentinel_lines: Sequence[str] = (),
        sentinel_password: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        binary = binary or default_binary()
        self._password = sentinel_password
        try:
            first = self._server(binary, **options)
            for _ in range(replicas):
                self._server(binary, replica_of=first, **options)
            self.sentinels = [Watchman(binary, first.port, *sentinel_lines) for _ in range(3)]
            for sentinel in self.sentinels:
                self._stack.callback(sentinel.close)
                sentinel.start()
            wait_until(lambda: self._is_ready(replicas), START_LIMIT_S, what="the Sentinels")
        except BaseException:
            self.close()
            raise

    def _is_ready(self, replicas: int) -> bool:
        for sentinel in self.sentinels:
            told = self._ask(sentinel, "SENTINEL", "MASTER", SERVICE)
            state = (
                told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
            )
            counts = int(state[b"num-slaves"]), int(state[b"num-other-sentinels"])
            if counts != (replicas, 2):
                return False
        primary = self.primary.info("replication")
        return all(primary[f"slave{one}"]["state"] == "online" for one in range(replicas))

    def _ask(self, sentinel: Watchman, *command: str) -> Any:
        with plain_client(sentinel.port, self._password) as client:
            return client.execute_command(*command)

    @property
    def url(self) -> str:
        """The address of the service."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Server:
        """The server that the Sentinels call the primary."""
        _, port = self._ask(self.sentinels[-1], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return self.servers[int(port)]

    def fail_over(self) -> None:
        """Have the Sentinels make a replica the primary, though nothing is wrong."""
        before = self.primary
        # refused while the last failover is not long enough ago, or no replica is good enough
        wait_until(self._is_ordered, FAILOVER_LIMIT_S, what="the order to fail over")
        self.wait_for_another(before)

    def _is_ordered(self) -> bool:
        try:
            self._ask(self.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
        except redis.ResponseError:
            return False
        return True

    def wait_for_demotion(self, server: Server) -> None:
        """Wait until a server knows that it is the primary no more."""
        wait_until(lambda: _follows(server), FAILOVER_LIMIT_S, what="the demotion")

    def wait_for_another(self, lost: Server) -> Server:
        """Wait until the Sentinels have another primary; it."""
        wait_until(
            lambda: all(self._leads(sentinel) != lost.port for sentinel in self.sentinels),
            FAILOVER_LIMIT_S,
            what="the failover",
        )
        return self.primary

    def _leads(self, sentinel: Watchman) -> int:
        return int(self._ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


def _follows(server: Server) -> bool:
    try:
        role: str = server.info("replication")["role"]
    except redis.ConnectionError:  # Sentinels cut all connections of whom they demote
        return False
    return role == "slave"
