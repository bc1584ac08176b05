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
from tests.certificates import Certificates
from tests.children import start_child
from tests.servers import HOST, Server, free_port
from tests.waiting import wait_until

SERVICE = "main"
START_LIMIT_S = 15.0
# a Sentinel that a busy machine has held up for 2 s acts no more for 30 s (TILT)
FAILOVER_LIMIT_S = 60.0
_DOWN_AFTER_MS = 300
_SENTINELS = 3
# After four publish periods, of 2 s by default, a Sentinel demotes a primary that it does not know
# to be one: sooner than a failover takes on a busy machine, it would undo that.
_QUICKLY = ("INFO-PERIOD", "500", "PUBLISH-PERIOD", "1000")
_PRIMARIES = 3
_SLOTS = 16384
_NODE_TIMEOUT_MS = 800


def plain_client(port: int, password: str | None = None) -> redis.Redis:
    """A client without retries, for looking behind the curtain."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis(HOST, port, password=password, protocol=2, retry=once, socket_timeout=5.0)


class Watchman:
    """One Sentinel process in a folder of its own."""

    def __init__(
        self, binary: Path, primary_port: int, *lines: str, certificates: Certificates | None
    ) -> None:
        self.port = free_port()
        self.tls_port = free_port(9_000, 300) if certificates is not None else 0
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
            *(" ".join(line) for line in _secured(certificates, self.tls_port).items()),
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
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError((self._folder / "sentinel.log").read_text(errors="replace")[-2000:])
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
    """Servers that are closed together. With certificates they speak TLS to each other."""

    def __init__(self, certificates: Certificates | None) -> None:
        self._stack = ExitStack()
        self._certificates = certificates
        self.servers: dict[int, Server] = {}
        self._tls_ports: dict[int, int] = {}

    def _server(self, binary: Path, **options: Any) -> Server:
        tls_port = free_port(9_000, 300) if self._certificates is not None else 0
        for name, value in _secured(self._certificates, tls_port).items():
            options[name.replace("-", "_")] = value
        server = self._stack.enter_context(Server(binary, tcp=True, **options))
        self.servers[server.port] = server
        self._tls_ports[server.port] = tls_port
        return server

    def _known_port(self, server: Server) -> int:
        """The port by which the others know a server."""
        return self._tls_ports[server.port] or server.port

    def _server_at(self, port: int) -> Server:
        return next(one for one in self.servers.values() if self._known_port(one) == port)

    def _followers(self) -> int:
        """How many replicas have all that their primary has."""
        # not by what the primary says: `online` is also one that still loads what it was sent
        told = [server.info("replication") for server in self.servers.values()]
        return sum(one.get("master_link_status") == "up" for one in told)

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
        certificates: Certificates | None = None,
        **options: Any,
    ) -> None:
        super().__init__(certificates)
        binary = binary or default_binary()
        self._password = sentinel_password
        try:
            first = self._server(binary, **options)
            for _ in range(replicas):
                followed = {"replicaof": f"{HOST} {self._known_port(first)}"}
                if options.get("password"):
                    followed["masterauth"] = options["password"]
                self._server(binary, **followed, **options)
            self.sentinels: list[Watchman] = []
            while len(self.sentinels) < _SENTINELS:
                # one after the other: a port is free only until somebody else takes it
                sentinel = Watchman(
                    binary, self._known_port(first), *sentinel_lines, certificates=certificates
                )
                self._stack.callback(sentinel.close)
                self.sentinels.append(sentinel.start())
            for sentinel in self.sentinels:
                self._ask(sentinel, "SENTINEL", "DEBUG", *_QUICKLY)
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
        return self._followers() == replicas

    def _ask(self, sentinel: Watchman, *command: str) -> Any:
        with plain_client(sentinel.port, self._password) as client:
            return client.execute_command(*command)

    @property
    def url(self) -> str:
        """The address of the service."""
        scheme = "redis" if self._certificates is None else "rediss"
        hosts = ",".join(f"{HOST}:{one.tls_port or one.port}" for one in self.sentinels)
        return f"{scheme}+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Server:
        """The server that the Sentinels call the primary."""
        _, port = self._ask(self.sentinels[-1], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return self._server_at(int(port))

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
        port = self._known_port(lost)
        wait_until(
            lambda: all(self._leads(sentinel) != port for sentinel in self.sentinels),
            FAILOVER_LIMIT_S,
            what="the failover",
        )
        return self.primary

    def _leads(self, sentinel: Watchman) -> int:
        return int(self._ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


class Cluster(_Group):
    """Three primaries with a replica each, in one cluster.

    A dead primary is replaced within about two seconds. Cost: about two seconds to start.

    Args:
        spare: One more primary, without slots.
    """

    def __init__(
        self,
        binary: Path | None = None,
        *,
        replicas: int = 1,
        certificates: Certificates | None = None,
        spare: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(certificates)
        self.spare: Server | None = None
        if certificates is not None:
            options["tls_cluster"] = "yes"
        binary = binary or default_binary()
        try:
            members = [
                self._server(
                    binary,
                    **{
                        "cluster_enabled": "yes",
                        "cluster_port": str(free_port(12_000, 900)),
                        "cluster_node_timeout": str(_NODE_TIMEOUT_MS),
                        "cluster_replica_validity_factor": "0",
                        # a replica is told of when it has an offset, which the first ping gives it
                        "repl_ping_replica_period": "1",
                        **options,
                    },
                )
                for _ in range(_PRIMARIES * (1 + replicas) + spare)
            ]
            if spare:
                self.spare = members[-1]
            self._join(members)
        except BaseException:
            self.close()
            raise

    def _join(self, members: list[Server]) -> None:
        primaries, others = members[:_PRIMARIES], members[_PRIMARIES:]
        width = -(-_SLOTS // _PRIMARIES)
        for number, server in enumerate(primaries):
            last = min((number + 1) * width, _SLOTS) - 1
            ask(server, "CLUSTER ADDSLOTSRANGE", number * width, last)
            ask(server, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        for server in members[1:]:
            bus = server.client().config_get("cluster-port")["cluster-port"]
            ask(members[0], "CLUSTER MEET", HOST, self._known_port(server), bus)
        wait_until(
            lambda: all(_knows(server, len(members)) for server in members),
            START_LIMIT_S,
            what="the cluster's nodes to know each other",
        )
        others = [server for server in others if server is not self.spare]
        for number, server in enumerate(others):
            primary = ask(primaries[number % _PRIMARIES], "CLUSTER MYID").decode()
            wait_until(lambda: _is_taken(server, "CLUSTER REPLICATE", primary), START_LIMIT_S)  # noqa: B023
        wait_until(lambda: self._is_ready(members, len(others)), START_LIMIT_S, what="the cluster")

    def _is_ready(self, members: list[Server], replicas: int) -> bool:
        for server in members:
            rows = ask(server, "CLUSTER SLOTS")
            nodes = {int(node[1]) for row in rows for node in row[2:]}
            serving = len(members) - (self.spare is not None)
            if b"cluster_state:ok" not in ask(server, "CLUSTER INFO") or len(nodes) < serving:
                return False
        return self._followers() == replicas

    @property
    def url(self) -> str:
        """The address of the cluster, by three of its nodes."""
        scheme = "redis" if self._certificates is None else "rediss"
        ports = [self._known_port(server) for server in self.servers.values()]
        hosts = ",".join(f"{HOST}:{port}" for port in ports[:_PRIMARIES])
        return f"{scheme}+cluster://{hosts}"

    def primary_of(self, slot: int) -> Server:
        """The server that serves a slot, as most of those that run believe."""
        told = [self._served_by(server, slot) for server in self.servers.values() if server.running]
        return self.servers[max(set(told), key=told.count)]

    def _served_by(self, server: Server, slot: int) -> int:
        for first, last, primary, *_ in ask(server, "CLUSTER SLOTS"):
            if first <= slot <= last:
                return int(primary[1])
        return 0

    def replica_of(self, primary: Server) -> Server:
        """A replica of a primary."""
        for server in self.servers.values():
            if server.running:
                info = server.info("replication")
                if info["role"] == "slave" and info["master_port"] == primary.port:
                    return server
        raise RuntimeError("it has no replica")

    def wait_for_another(self, lost: Server, slot: int) -> Server:
        """Wait until all who run agree on another primary of a slot; it."""
        running = [server for server in self.servers.values() if server.running]
        wait_until(
            lambda: (
                not {self._served_by(one, slot) for one in running} & {lost.port, 0}
                and all(b"cluster_state:ok" in ask(one, "CLUSTER INFO") for one in running)
            ),
            FAILOVER_LIMIT_S,
            what="the failover",
        )
        return self.primary_of(slot)

    def fail_over(self, slot: int) -> None:
        """Have a replica of the slot's primary take over, though nothing is wrong."""
        before = self.primary_of(slot)
        ask(self.replica_of(before), "CLUSTER FAILOVER")
        self.wait_for_another(before, slot)

    def node_id(self, server: Server) -> str:
        """How the cluster names a node."""
        name: str = ask(server, "CLUSTER MYID").decode()
        return name

    def begin_to_move(self, slot: int, target: Server) -> None:
        """Open a slot for its move to another primary."""
        source = self.primary_of(slot)
        ask(target, "CLUSTER SETSLOT", slot, "IMPORTING", self.node_id(source))
        ask(source, "CLUSTER SETSLOT", slot, "MIGRATING", self.node_id(target))

    def move_keys(self, slot: int, target: Server) -> None:
        """Move the keys of an open slot."""
        source = self.primary_of(slot)
        keys = ask(source, "CLUSTER GETKEYSINSLOT", slot, 1000)
        if keys:
            ask(source, "MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, slot: int, target: Server) -> None:
        """Give the slot to its new primary."""
        for server in (target, *self.servers.values()):
            if server.running and server.info("replication")["role"] == "master":
                ask(server, "CLUSTER SETSLOT", slot, "NODE", self.node_id(target))


def _secured(certificates: Certificates | None, port: int) -> dict[str, str]:
    """The directives for a TLS port, by which a server reaches the others too."""
    if certificates is None:
        return {}
    return {
        "tls-port": str(port),
        "tls-cert-file": str(certificates.certificate),
        "tls-key-file": str(certificates.key),
        "tls-ca-cert-file": str(certificates.ca),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }


def ask(server: Server, command: str, *arguments: Any) -> Any:
    """What a server answers, as it came."""
    connection: Any = server.client().connection_pool.get_connection()
    try:
        connection.send_command(*command.split(), *arguments)
        return connection.read_response()
    finally:
        server.client().connection_pool.release(connection)


def _knows(server: Server, count: int) -> bool:
    nodes = ask(server, "CLUSTER NODES").splitlines()
    return len(nodes) == count and all(
        b" connected" in node and b"handshake" not in node for node in nodes
    )


def _is_taken(server: Server, command: str, *arguments: Any) -> bool:
    try:
        ask(server, command, *arguments)
    except redis.ResponseError:
        return False
    return True


def lose_primary(group: Cluster | Service, slot: int) -> None:
    """Kill a primary, of a cluster the one that serves the slot; wait until it has a successor."""
    if isinstance(group, Cluster):
        lost = group.primary_of(slot)
        lost.kill()
        group.wait_for_another(lost, slot)
    else:
        lost = group.primary
        lost.kill()
        group.wait_for_another(lost)


def _follows(server: Server) -> bool:
    try:
        role: str = server.info("replication")["role"]
    except redis.ConnectionError:  # Sentinels cut all connections of whom they demote
        return False
    return role == "slave"
