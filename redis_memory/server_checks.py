"""What is looked at on each server, and what to do about what is found."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from redis_memory.core.rights import SCRIPTS
from redis_memory.core.trial import trial
from redis_memory.errors import AccessDeniedError, OfflineError
from redis_memory.link.cluster import NodeAddress, key_slot
from redis_memory.link.failures import from_reply
from redis_memory.link.greeting import MINIMUM
from redis_memory.link.probe import Probe
from redis_memory.settings import Settings

Verdict = Literal["ok", "warning", "failure", "unknown"]

_PINGS: Final = 100
_SLOW_S: Final = 0.01
_CLOCK_S: Final = 5.0
_APART_S: Final = 1.0
_FULL: Final = 0.9
_ASK_OPERATOR: Final = "ask whoever runs the server"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do unless all is well.

    `where` is the node of a cluster, "" for a server by itself.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str = ""
    where: str = ""

    def at(self, where: str) -> Finding:
        """The same, of a node."""
        return replace(self, where=where)


class Names(Protocol):
    """Names to try something out with: a key that nobody uses, its channel, and the index."""

    key: bytes
    channel: bytes
    index: bytes


Check = Callable[[Probe, Settings, Names], Finding]


def version(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001 - as all checks
    """Is it a product and a version that will do?"""
    if probe.address.is_fake:
        return Finding("version", "ok", "no server: fakeredis, inside this process")
    told, information = probe.hello(), probe.info(b"server") or {}
    is_valkey = "valkey_version" in information or told.get("server") == "valkey"
    number = information.get("valkey_version" if is_valkey else "redis_version")
    number = number or told.get("version", "")
    known = re.match(r"(\d+)\.(\d+)", number)
    if known is None:
        return Finding("version", "unknown", "the server does not tell", _ASK_OPERATOR)
    found = f"{'Valkey' if is_valkey else 'Redis'} {number}"
    if tuple(map(int, known.groups())) < MINIMUM:
        return Finding("version", "failure", found, "6.2 or later is needed")
    return Finding("version", "ok", found)


def persistence(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001
    """Does what was acknowledged outlive the server?"""
    information = probe.info(b"persistence") or {}
    appends, saves = probe.config(b"appendonly"), probe.config(b"save")
    if appends is None and "aof_enabled" in information:
        appends = "yes" if information["aof_enabled"] == "1" else "no"
    failed = [
        name
        for name in ("aof_last_write_status", "rdb_last_bgsave_status", "aof_last_bgrewrite_status")
        if information.get(name, "ok") != "ok"
    ]
    if failed:
        advice = "look at the server's log and its disk"
        return Finding(
            "persistence", "failure", f"the last one failed: {', '.join(failed)}", advice
        )
    if appends == "yes":
        synced = probe.config(b"appendfsync")
        return Finding("persistence", "ok", f"appendonly yes, appendfsync {synced or 'unknown'}")
    if appends is None:
        return _not_told("persistence", "CONFIG and INFO")
    advice = "set appendonly yes"
    if saves:
        found = f"snapshots only (save {saves}): what came after the last one is lost in a crash"
        return Finding("persistence", "warning", found, advice)
    found = "nothing is kept on disk" if saves == "" else "no append-only file"
    return Finding("persistence", "warning", found, advice)


def eviction(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001
    """May the server drop our keys when its memory is full? Is it nearly?"""
    information = probe.info(b"memory") or {}
    policy = probe.config(b"maxmemory-policy") or information.get("maxmemory_policy")
    if policy is None:
        return _not_told("eviction", "CONFIG and INFO")
    limit = int(probe.config(b"maxmemory") or information.get("maxmemory") or 0)
    used = int(information.get("used_memory", 0))
    found = f"maxmemory-policy {policy}, " + (f"maxmemory {limit:,}" if limit else "no maxmemory")
    if policy != "noeviction":
        which = "those with a lifetime" if policy.startswith("volatile") else "any conversation"
        found += f": when memory is full, parts of {which} may be dropped"
        return Finding("eviction", "warning", found, "set maxmemory-policy noeviction")
    if limit and used > limit * _FULL:
        is_full = used >= limit
        found += f": {used:,} bytes are used, changes {'are' if is_full else 'will be'} refused"
        advice = "raise maxmemory, or run `redis-memory prune`"
        return Finding("eviction", "failure" if is_full else "warning", found, advice)
    return Finding("eviction", "ok", found)


def rights(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001
    """May this user run scripts, and do in them what the library does?"""
    # the index of a cluster lies in another slot than the key
    node = probe.address if isinstance(probe.address, NodeAddress) else None
    key = names.key if node is None else _key_of(node, names)
    reply = probe.ask(*trial(key, names.index if node is None else None, names.channel))
    advice = "give the user the rights of redis_memory.core.rights.rule(prefix); see ACL LOG"
    if isinstance(reply, Exception):
        return Finding("rights", "failure", f"no script can be run: {from_reply(reply)}", advice)
    told = [bytes(part).decode("utf-8", "replace") for part in reply]
    refusals = {
        name: from_reply(Exception(text)) for name, text in zip(told[::2], told[1::2], strict=True)
    }
    denied = [name for name, error in refusals.items() if isinstance(error, AccessDeniedError)]
    if denied:
        return Finding("rights", "failure", f"denied: {', '.join(denied)}", advice)
    # of the commands on a key of another type it is no refusal that they find one
    others = [str(error) for error in refusals.values() if "WRONGTYPE" not in str(error)]
    if others:
        advice = "the server takes no changes now: look at its log, its memory and its role"
        return Finding("rights", "failure", others[0], advice)
    return Finding("rights", "ok", f"scripts and all {len(SCRIPTS.split())} commands in them")


def _key_of(address: NodeAddress, names: Names) -> bytes:
    """A key that nobody uses, in a slot of this node."""
    for turn in range(100_000):
        key = names.key.removesuffix(b"}") + b"%d}" % turn
        if address.topology.node(key_slot(key)) == address.place:
            return key
    return names.key


def feed(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001
    """Is a message heard that was published?"""
    advice = "cached reads, watch and wait_for need +subscribe, +publish and the channel's pattern"
    begun_s = time.perf_counter()
    try:
        heard = probe.hear(names.channel, b"heard")
    except OfflineError as error:
        return Finding("feed", "failure", f"nothing was heard: {error}", advice)
    if isinstance(heard, Exception):
        return Finding("feed", "failure", str(from_reply(heard)), advice)
    spent_ms = (time.perf_counter() - begun_s) * 1000
    return Finding("feed", "ok", f"a message was heard, {spent_ms:.1f} ms with its connection")


def clock(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001
    """How far is the server's clock from this machine's?"""
    before_s = time.time()
    reply = probe.ask(b"TIME")
    after_s = time.time()
    if isinstance(reply, Exception):
        return Finding("clock", "failure", str(from_reply(reply)), "give the user the right +time")
    probe.offset_s = int(reply[0]) + int(reply[1]) / 1e6 - (before_s + after_s) / 2
    found = f"the server's is {probe.offset_s:+.3f} s from this machine's"
    if abs(probe.offset_s) > _CLOCK_S:
        advice = "times that are shown are the server's; have both machines set their clocks by NTP"
        return Finding("clock", "warning", found, advice)
    return Finding("clock", "ok", found)


def round_trips(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001
    """How long does an answer take?"""
    spent: list[float] = []
    for _ in range(_PINGS):
        begun_s = time.perf_counter()
        reply = probe.ask(b"PING")
        spent.append(time.perf_counter() - begun_s)
        if isinstance(reply, Exception):
            return Finding("round trips", "failure", str(from_reply(reply)), "give the right +ping")
    middle_s, slowest_s = statistics.median(spent), statistics.quantiles(spent, n=100)[98]
    found = f"median {middle_s * 1000:.2f} ms, p99 {slowest_s * 1000:.2f} ms of {_PINGS}"
    if slowest_s > settings.timeout_s / 2:
        advice = f"calls give up after timeout_s, {settings.timeout_s:g} s: raise it"
        return Finding("round trips", "warning", found, advice)
    if middle_s > _SLOW_S:
        return Finding("round trips", "warning", found, "run the workers nearer to the server")
    return Finding("round trips", "ok", found)


def replication(probe: Probe, settings: Settings, names: Names) -> Finding:  # noqa: ARG001
    """Is it a primary, and does it have the replicas that it should have?"""
    role = probe.hello().get("role")
    information = probe.info(b"replication")
    role = information.get("role", role) if information is not None else role
    if role is not None and role != "master":
        advice = "name the primary in the url, or the Sentinels, or the cluster"
        return Finding("replication", "failure", "this is a replica: it takes no changes", advice)
    if information is None:
        return _not_told("replication", "INFO")
    replicas = int(information.get("connected_slaves", 0))
    found = f"a primary; replicas that are connected: {replicas}"
    if replicas < settings.replicas:
        advice = f"durability wants {settings.replicas}: every change will raise NotReplicatedError"
        return Finding("replication", "failure", found, advice)
    if replicas == 0 and probe.address.must_lead:
        advice = "when it dies, nobody takes over: add a replica"
        return Finding("replication", "warning", found, advice)
    return Finding("replication", "ok", found)


def _not_told(check: str, commands: str) -> Finding:
    return Finding(
        check, "unknown", f"cannot be known: this user may not ask ({commands})", _ASK_OPERATOR
    )


def clocks_apart(offsets: Mapping[str, float]) -> list[Finding]:
    """Whether the clocks of nodes agree, whose times the directory compares."""
    if len(offsets) < 2:  # noqa: PLR2004 - nothing to compare
        return []
    apart_s = max(offsets.values()) - min(offsets.values())
    found = f"those of the nodes are {apart_s:.3f} s apart"
    if apart_s > _APART_S:
        advice = "lists are in the order of these clocks: have all nodes set theirs by NTP"
        return [Finding("clocks", "warning", found, advice)]
    return [Finding("clocks", "ok", found)]


CHECKS: Final[tuple[Check, ...]] = (
    version,
    persistence,
    eviction,
    replication,
    rights,
    feed,
    clock,
    round_trips,
)
