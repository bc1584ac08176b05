"""Everything that the old packages have stored is there afterwards, as they would have read it."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redis_memory import (
    AccessDeniedError,
    ConfigurationError,
    ConversationMemory,
    Conversations,
    Memory,
    OfflineError,
    async_migration,
    migration,
    snapshot,
)
from redis_memory.core.old_layout import Skipped
from redis_memory.core.rights import rule
from tests.groups import Cluster
from tests.migration.faces import Migrate
from tests.migration.old import OldWorkers, everything
from tests.servers import HOST, Server
from tests.strategies import same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def held(url: str, conversation_id: str, prefix: str = "memory:") -> dict[str, Any]:
    """All attributes of a conversation."""
    with ConversationMemory(conversation_id, url, prefix=prefix) as memory:
        return snapshot(memory)


def named(skipped: tuple[Skipped, ...], kind: str) -> list[str]:
    """The keys that were skipped for this kind of reason."""
    return [one.key for one in skipped if one.kind == kind]


def test_both_layouts_arrive(migrate: Migrate, old: OldWorkers, each_server: Server) -> None:
    """Conversations by their ids, and the attributes of the whole prefix; old keys stay."""
    workers = OldWorkers(each_server)
    workers.assign("c-1", "messages", [{"role": "user", "content": "hi"}])
    workers.assign("c-1", "state", "open")
    workers.assign("c-2", "profile", {"name": "Ann", "tags": ["a"]})
    workers.assign(None, "model", "large")
    before = workers.keys()
    report = migrate(each_server.url, dry_run=False)
    assert (report.keys, report.brought, report.of_prefix) == (4, 4, 1)
    assert (report.ids, report.skipped, report.deleted) == (("c-1", "c-2"), (), 0)
    assert held(each_server.url, "c-1") == {
        "messages": [{"role": "user", "content": "hi"}],
        "state": "open",
    }
    with ConversationMemory("c-2", each_server.url) as memory:
        memory.profile["tags"].append("b")
        assert memory.profile == {"name": "Ann", "tags": ["a", "b"]}
    with Memory(each_server.url) as memory:
        assert snapshot(memory) == {"model": "large"}
    assert workers.keys() == before


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
def test_a_value_is_what_json_made_of_it(server: Server, value: Any) -> None:
    """Equal and of the same type as the old package read it, at every depth."""
    server.client().flushall()
    OldWorkers(server).assign("c-1", "x", value)
    assert migration.migrate(server.url, dry_run=False).brought == 1
    assert same(held(server.url, "c-1")["x"], json.loads(json.dumps(value)))


@pytest.mark.parametrize("size", [0, 1, 20_000])
def test_long_values_arrive_whole(old: OldWorkers, url: str, size: int) -> None:
    """In order, keys of dicts too, and the conversation is one that goes on."""
    old.assign("c-1", "log", list(range(size)))
    old.assign("c-1", "box", {f"k{number}": number for number in range(size)})
    migration.migrate(url, dry_run=False)
    with ConversationMemory("c-1", url) as memory:
        assert memory.log == list(range(size))
        assert list(memory.box) == [f"k{number}" for number in range(size)]
        memory.log.append("last")
        memory.box["last"] = 1
        memory.box["k0"] = 2
        assert memory.log[-1] == "last"
        assert list(memory.box)[-1] == ("last" if size else "k0")


def test_a_dry_run_changes_nothing_and_tells_all(
    migrate: Migrate, old: OldWorkers, server: Server
) -> None:
    """Not one byte; the real run does what it told, and a program can read it."""
    old.assign("c-1", "log", [1])
    old.assign("c-2", "state", "open")
    old.assign(None, "model", "large")
    server.client().set("memory:c-3:bad", "{")
    with ConversationMemory("c-2", server.url) as memory:
        memory.state = "closed"
    before = everything(server)
    told = migrate(server.url, delete_old=True)
    assert everything(server) == before
    assert told.dry_run
    done = migrate(server.url, dry_run=False, delete_old=True)
    differences = {"dry_run", "seconds"}
    one, other = (
        {name: value for name, value in asdict(report).items() if name not in differences}
        for report in (told, done)
    )
    assert one == other
    assert (done.brought, done.deleted, len(done.skipped)) == (2, 2, 2)
    assert json.loads(json.dumps(asdict(done)))["ids"] == ["c-1"]


BAD: dict[str, bytes] = {
    "cut": b'{"value": "confidential", "last_mo',
    "empty": b"",
    "text": b"confidential",
    "bytes": b"\xff\xfe",
    "deep": b'{"value": ' + b"[" * 200_000 + b"]" * 200_000 + b', "last_modified": 1}',
    "digits": b'{"value": ' + b"9" * 5000 + b', "last_modified": 1}',
    "levels_of_dicts": (
        b'{"last_modified": 1, "value": ' + b'{"confidential": ' * 70 + b"1" + b"}" * 71
    ),
    "levels": json.dumps({"value": eval("[" * 80 + "]" * 80), "last_modified": 1}).encode(),  # noqa: S307
    "when": b'{"value": "confidential", "last_modified": "today"}',
    "truth": b'{"value": "confidential", "last_modified": true}',
    "_private": b'{"value": "confidential", "last_modified": 1}',
    "conversation_id": b'{"value": "confidential", "last_modified": 1}',
    "": b'{"value": "confidential", "last_modified": 1}',
}
FOREIGN: dict[str, bytes] = {
    "list": b'["confidential"]',
    "bare": b'"confidential"',
    "number": b"5",
    "other": b'{"value": "confidential"}',
    "more": b'{"value": "confidential", "last_modified": 1, "ttl": 5}',
}


@pytest.mark.parametrize(
    ("name", "raw", "kind"),
    [(name, raw, "damaged") for name, raw in BAD.items()]
    + [(name, raw, "foreign") for name, raw in FOREIGN.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_named_and_left_alone(
    old: OldWorkers, server: Server, name: str, raw: bytes, kind: str
) -> None:
    """With the reason, never with what it holds; the others are brought."""
    server.client().set(f"memory:c-1:{name}", raw)
    old.assign("c-1", "good", 1)
    report = migration.migrate(server.url, dry_run=False, delete_old=True)
    assert named(report.skipped, kind) == [f"memory:c-1:{name}"]
    assert len(report.damaged) == (kind == "damaged")
    assert report.brought == report.deleted == 1
    assert "confidential" not in str(report)
    assert held(server.url, "c-1") == {"good": 1}
    assert server.client().get(f"memory:c-1:{name}") == raw


def test_keys_of_other_programs_are_left_alone(old: OldWorkers, server: Server) -> None:
    """Other types of keys, and names that are no text; other prefixes are not even looked at."""
    client = server.client()
    client.lpush("memory:queue", "a")
    client.hset("memory:c-1:hash", "a", 1)
    client.set(b"memory:\xff", "a")
    client.set("shop:c-1:state", "a")
    before = everything(server)
    report = migration.migrate(server.url, dry_run=False, delete_old=True)
    assert everything(server) == before
    assert named(report.skipped, "foreign") == [
        "memory:\\xff",
        "memory:c-1:hash",
        "memory:queue",
    ]


@pytest.mark.parametrize(
    ("rest", "conversation_id", "name"),
    [
        ("user:42:state", "user:42", "state"),
        ("a::state", "a:", "state"),
        ("{x}:state", "{x}", "state"),
        ("*:state", "*", "state"),
        ("é😀 b:state", "é😀 b", "state"),
        ("%25:state", "%25", "state"),
        ("state", None, "state"),
    ],
)
def test_the_last_colon_parts_id_and_name(
    old: OldWorkers, url: str, rest: str, conversation_id: str | None, name: str
) -> None:
    """Ids may hold colons and anything else; a key without one belongs to the whole prefix."""
    old.assign(None, rest, 1)
    report = migration.migrate(url, dry_run=False)
    assert report.ids == (() if conversation_id is None else (conversation_id,))
    if conversation_id is None:
        with Memory(url) as memory:
            assert snapshot(memory) == {name: 1}
    else:
        assert held(url, conversation_id) == {name: 1}


def test_flat_splits_nothing(migrate: Migrate, old: OldWorkers, url: str) -> None:
    """For those who have no conversations, and names with colons."""
    old.assign(None, "team:budget", 5)
    assert migrate(url, flat=True, dry_run=False).of_prefix == 1
    with Memory(url) as memory:
        assert memory["team:budget"] == 5


@pytest.mark.parametrize("prefix", ["", "a*[b]?\\^-:", "app", "é {x}:"])
def test_a_prefix_is_taken_literally(server: Server, prefix: str) -> None:
    """Whatever it holds is no pattern; and the new prefix may be another one."""
    OldWorkers(server, prefix).assign("c-1", "state", "open")
    OldWorkers(server, "b").assign("c-2", "state", "open")
    report = migration.migrate(server.url, prefix=prefix, dry_run=False)
    assert "c-1" in report.ids
    assert ("bc-2" in report.ids) is (prefix == "")
    assert held(server.url, "c-1", prefix) == {"state": "open"}
    migration.migrate(server.url, prefix=prefix, target_prefix="new:", dry_run=False)
    assert held(server.url, "c-1", "new:") == {"state": "open"}


def test_times_are_kept(migrate: Migrate, old: OldWorkers, url: str) -> None:
    """A conversation is as old, and as idle, as it was: it is listed and pruned by that."""
    first = old.assign("old", "messages", ["a"], days_ago=60)
    last = old.assign("old", "box", {"a": 1, "b": 2}, days_ago=40)
    old.assign("new", "state", "open", days_ago=10)
    old.assign("young", "state", "open", days_ago=-5)  # by a clock that is ahead
    old.assign("timeless", "state", "open", at_ns=0)
    migrate(url, dry_run=False)
    with Conversations(url) as directory:
        assert directory.list().ids[-2:] == ("new", "old")
        entry = directory.list("oldest")[0]
        assert entry.created == datetime.fromtimestamp(first // 1000 / 10**6, UTC)
        assert entry.last_activity == datetime.fromtimestamp(last // 1000 / 10**6, UTC)
        assert all(one.last_activity <= datetime.now(UTC) for one in directory.list())
        assert directory.reindex().corrected == 0
        assert directory.prune(timedelta(days=30)).ids == ("old",)


def test_the_times_of_many_attributes_are_kept(old: OldWorkers, url: str) -> None:
    """Also of a conversation that is brought in several steps."""
    stamps = [
        old.assign("c-1", f"x{number}", [number], days_ago=number + 1) for number in range(250)
    ]
    migration.migrate(url, dry_run=False)
    assert len(held(url, "c-1")) == 250
    with Conversations(url) as directory:
        info = directory.info("c-1")
    assert abs(info.created.timestamp() - stamps[-1] / 10**9) < 0.001
    assert abs(info.last_activity.timestamp() - stamps[0] / 10**9) < 0.001


def test_a_lifetime_begins_with_the_migration(migrate: Migrate, old: OldWorkers, url: str) -> None:
    """For all keys of a memory, if `ttl_s` is set; the directory knows it."""
    for number in range(150):
        old.assign("c-1", f"x{number}", [1], days_ago=100)
    migrate(url, dry_run=False, ttl_s=1000)
    for key in old.client.scan_iter("memory:{c-1}*"):
        if not key.endswith(b"~migrated"):
            assert 900_000 < old.client.pttl(key) <= 1_000_000
    with Conversations(url) as directory:
        assert directory.stats().expiring == 1


def test_from_one_server_to_another(migrate: Migrate, old: OldWorkers, own_server: Server) -> None:
    """The source is only read, unless its keys are to be deleted."""
    old.assign("c-1", "messages", ["a"])
    before = everything_at(old)
    migrate(old_url(old), own_server.url, dry_run=False)
    assert everything_at(old) == before
    migrate(old_url(old), own_server.url, dry_run=False, delete_old=True)
    assert everything_at(old) == {}
    assert held(own_server.url, "c-1") == {"messages": ["a"]}


def everything_at(old: OldWorkers) -> dict[bytes, Any]:
    """All keys of the old server."""
    keys: Any = old.client.keys("*")
    return {key: old.client.dump(key) for key in keys}


def old_url(old: OldWorkers) -> str:
    """Where the old workers are."""
    path = old.client.connection_pool.connection_kwargs["path"]
    return f"unix://{path}"


def test_into_a_cluster(migrate: Migrate, old: OldWorkers, cluster: Cluster) -> None:
    """Each conversation to its node, and the directory to the one that has it."""
    for number in range(30):
        old.assign(f"c-{number}", "messages", [number])
    options: dict[str, Any] = {"target_prefix": migrate.__name__, "timeout_s": 5.0}
    for _ in range(2):
        report = migrate(old_url(old), cluster.url, dry_run=False, **options)
    assert (report.known, report.brought) == (30, 0)
    with Conversations(cluster.url, prefix=migrate.__name__, timeout_s=5.0) as directory:
        assert directory.count() == 30
        assert directory.list(where="messages[0] == 7").ids == ("c-7",)


def test_progress_is_told(migrate: Migrate, old: OldWorkers, url: str) -> None:
    """After each step, how many are done of how many."""
    for number in range(250):
        old.assign(f"c-{number}", "x", number)
    told: list[tuple[int, int]] = []
    migrate(url, progress=lambda done, of: told.append((done, of)))
    assert told == [(100, 250), (200, 250), (250, 250)]


def test_the_documented_rights_are_enough(old: OldWorkers, server: Server) -> None:
    """Those of a worker, and four commands more on the old keys."""
    old.assign("c-1", "messages", ["a"])
    client: Any = server.client()
    more = "~memory:* +scan +strlen +get"
    client.execute_command(
        "ACL", "SETUSER", "mover", "on", ">secret", *rule().split(), *more.split()
    )
    try:
        url = f"redis://mover:secret@{HOST}:{server.port}"
        assert migration.migrate(url, dry_run=False, delete_old=True).deleted == 1
        for lacking in ("scan", "strlen", "get", "publish"):
            old.assign("c-2", "messages", ["a"])
            client.execute_command("ACL", "SETUSER", "mover", f"-{lacking}")
            with pytest.raises(AccessDeniedError):
                migration.migrate(url, dry_run=False, delete_old=True)
            client.execute_command("ACL", "SETUSER", "mover", f"+{lacking}")
        assert migration.migrate(url, dry_run=False, delete_old=True).brought == 1
    finally:
        client.execute_command("ACL", "DELUSER", "mover")


def test_wrong_arguments_are_clear_errors(
    migrate: Migrate, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server is made up, no word is guessed, and no password is repeated."""
    for name in ("REDIS_URL", "REDIS_MEMORY_URL", "REDIS_HOST", "REDIS_MEMORY_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        migrate()
    with pytest.raises(ValueError, match="on_existing"):
        migrate(url, on_existing="error")
    with pytest.raises(TypeError, match="timeout_s"):
        migrate(url, timout_s=1)
    with pytest.raises(OfflineError) as caught:
        migrate("redis://ann:hunter2@127.0.0.1:1", timeout_s=0.05)
    assert "hunter2" not in str(caught.value)


def test_a_migration_is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its questions are long ones; who sets a limit has that one."""
    monkeypatch.delenv("REDIS_MEMORY_TIMEOUT_S", raising=False)

    def limits(**options: Any) -> set[float]:
        return {one.timeout_s for one in migration.servers("redis://h", None, "p:", None, options)}

    assert limits() == {5.0}
    assert limits(timeout_s=2.0) == {2.0}
    monkeypatch.setenv("REDIS_MEMORY_TIMEOUT_S", "3")
    assert limits() == {3.0}


def test_both_faces_take_the_same() -> None:
    """Arguments and defaults."""
    blocking = inspect.signature(migration.migrate)
    assert inspect.signature(async_migration.migrate) == blocking
