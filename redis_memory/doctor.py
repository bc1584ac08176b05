"""What is wrong with a server, a user or an index, and what to do about it; nothing is printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from redis_memory.core.calls import Call, Flow, Head
from redis_memory.core.keys import DirectoryKeys, id_of
from redis_memory.core.records import lives, together
from redis_memory.courses import resolved
from redis_memory.errors import AccessDeniedError, CorruptValueError, RedisMemoryError
from redis_memory.link import links
from redis_memory.link.address import Address
from redis_memory.link.cluster import NodeAddress
from redis_memory.link.desk import Desk
from redis_memory.link.failures import LinkFailureError
from redis_memory.link.probe import Probe
from redis_memory.server_checks import CHECKS, Finding, clocks_apart
from redis_memory.settings import Settings

__all__ = ["Examination", "Finding", "examine"]

_SLOTS: Final = 16384
_SAMPLE: Final = 100
_SCANS: Final = 10
# So many entries without a conversation are removed by whoever meets them.
_STALE_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found: `server` and `prefix` are what was looked at."""

    server: str
    prefix: str
    findings: tuple[Finding, ...]

    def count(self, verdict: Literal["ok", "warning", "failure", "unknown"]) -> int:
        """How many checks came out like that."""
        return sum(finding.verdict == verdict for finding in self.findings)


def examine(
    url: str | None = None,
    *,
    prefix: str | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> Examination:
    """Look at the server, each node of a cluster, the rights of this user, and the index.

    Nothing is changed: what has to be tried is tried on a key that is gone in the same step.

    Args:
        url: As for `Conversations`, like all other arguments.

    Raises:
        TypeError: An option is unknown.
        ConfigurationError: A value or the url cannot work.

    Cost: about 120 round trips to each node, and up to ten times a thousand keys of a SCAN.
    """
    taken = resolved(url, prefix, None, settings, options)
    address = links.address_for(taken, None)
    nodes, findings = _nodes(address)
    names = _Names(taken.prefix)
    offsets: dict[str, float] = {}
    for node in nodes:
        findings += _of_node(node, taken, names, offsets)
    findings += clocks_apart(offsets)
    if any(finding.check == "reachable" and finding.verdict == "ok" for finding in findings):
        findings += _of_index(taken)
    return Examination(address.label, taken.prefix, tuple(findings))


class _Names:
    """The names by which something is tried out; no conversation can have such an id."""

    def __init__(self, prefix: str) -> None:
        keys = DirectoryKeys(prefix)
        self.index: bytes = keys.index
        self.key: bytes = b"%b{%%%b}" % (keys.prefix, os.urandom(8).hex().encode())
        self.channel: bytes = self.key + b"~feed"


def _nodes(address: Address) -> tuple[list[Address], list[Finding]]:
    """The servers to look at, each by itself, and what is to be said of a cluster as a whole."""
    if not isinstance(address, NodeAddress):
        return [address], []
    topology = address.topology
    try:
        topology.refresh()
    except (RedisMemoryError, LinkFailureError) as error:
        advice = "start the nodes, or name others in the url"
        return [], [Finding("reachable", "failure", str(error), advice)]
    nodes: list[Address] = [address.of(place) for place in topology.primaries]
    return nodes, [_coverage(sum(topology.node(slot) is not None for slot in range(_SLOTS)), nodes)]


def _coverage(served: int, nodes: list[Address]) -> Finding:
    """Whether every slot of a cluster has a node."""
    found = f"{len(nodes)} primaries serve {served:,} of {_SLOTS:,} slots"
    if served == _SLOTS:
        return Finding("cluster", "ok", found)
    return Finding("cluster", "failure", found, "assign the slots that are missing")


def _of_node(
    node: Address, settings: Settings, names: _Names, offsets: dict[str, float]
) -> Iterator[Finding]:
    """What is to be said of one server."""
    where = node.label if isinstance(node, NodeAddress) else ""
    try:
        with Probe(node) as probe:
            yield Finding("reachable", "ok", node.label, where=where)
            for check in CHECKS:
                yield check(probe, settings, names).at(where)
            if probe.offset_s is not None:
                offsets[node.label] = probe.offset_s
    except AccessDeniedError as error:
        yield Finding("reachable", "ok", node.label, where=where)
        advice = "mend the user and the password in the url"
        yield Finding("rights", "failure", str(error), advice, where)
    except (RedisMemoryError, LinkFailureError) as error:
        advice = "start it; or mend the url, or the network"
        yield Finding("reachable", "failure", str(error), advice, where)


def _of_index(settings: Settings) -> list[Finding]:
    desk = Desk(settings, None)
    try:
        return [desk.run(_index(DirectoryKeys(settings.prefix)))]
    except RedisMemoryError as error:
        return [
            Finding("index", "failure", str(error), "see the rights, and the nodes of the cluster")
        ]
    finally:
        desk.close()


def _index(keys: DirectoryKeys) -> Flow[Finding]:
    """Compare a part of the index with the conversations, both ways."""
    count = yield Call(Head(b"ZCARD", keys.index))
    oldest = yield Call(Head(b"ZRANGE", keys.index), b"0", b"%d" % (_SAMPLE - 1))
    newest = yield Call(Head(b"ZRANGE", keys.index), b"%d" % -_SAMPLE, b"-1")
    tags = list(dict.fromkeys([*oldest, *newest]))
    found = yield from lives(keys, tags)
    stale = sum(life is None for life in found)
    missing = yield from _unlisted(keys)
    told = f"{count:,} entries; {stale} of {len(tags)} looked at stand for no conversation"
    if missing is None:
        told += "; without the right to SCAN nobody knows what is not listed"
    elif missing:
        told += f"; {missing} conversations are not listed"
    if missing or stale > len(tags) * _STALE_SHARE:
        return Finding("index", "warning", told, "run `redis-memory reindex`")
    return Finding("index", "ok", told)


def _unlisted(keys: DirectoryKeys) -> Flow[int | None]:
    """How many of some conversations have no entry; None where this user may not SCAN."""
    cursor, missing = b"0", 0
    for _ in range(_SCANS):
        try:
            cursor, found = yield Call(
                Head(b"SCAN"), cursor, b"MATCH", keys.prefix + b"{*}", b"COUNT", b"1000"
            )
        except AccessDeniedError:
            return None
        tags = [tag for tag in (_tag(keys, key) for key in found) if tag]
        there = yield from lives(keys, tags)
        tags = [tag for tag, life in zip(tags, there, strict=True) if life is not None]
        scores = yield from together([Call(Head(b"ZSCORE", keys.index), tag) for tag in tags])
        missing += sum(score is None for score in scores)
        if cursor in (b"0", 0):
            break
    return missing


def _tag(keys: DirectoryKeys, key: bytes) -> bytes:
    """The id in the key of a conversation, b"" for any other key."""
    tag = key[len(keys.prefix) + 1 : -1]
    try:
        id_of(tag)
    except CorruptValueError:
        return b""
    return tag
