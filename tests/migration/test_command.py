"""The command `migrate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from redis_memory import ConversationMemory
from tests.cli.commands import Commands, Outcome
from tests.migration.old import OldWorkers, everything
from tests.migration.test_migrate import held
from tests.servers import Server

Run = Callable[..., Outcome]


@pytest.fixture
def commands() -> Iterator[Commands]:
    """Commands without a server in their environment."""
    commands = Commands(None)
    yield commands
    commands.close()


@pytest.fixture
def run(commands: Commands) -> Run:
    """Call the command."""

    def called(*arguments: str) -> Outcome:
        return commands.inside("migrate", *arguments)

    return called


def test_without_yes_nothing_is_changed(run: Run, old: OldWorkers, server: Server) -> None:
    """It tells what it would do."""
    old.assign("c-1", "state", "open")
    before = everything(server)
    outcome = run("--source", server.url, "--delete-old")
    assert outcome.code == 0
    assert everything(server) == before
    assert "1 attributes would be brought" in outcome.out
    assert "1 old keys would be deleted" in outcome.out
    assert "--yes" in outcome.err


def test_with_yes_it_is_done(run: Run, old: OldWorkers, server: Server) -> None:
    """And old keys go only with --delete-old."""
    old.assign("c-1", "state", "open")
    assert "1 attributes brought" in run("--source", server.url, "--yes").out
    assert held(server.url, "c-1") == {"state": "open"}
    assert len(old.keys()) == 1
    outcome = run("--source", server.url, "--yes", "--delete-old")
    assert "1 brought before" in outcome.out
    assert old.keys() == set()


def test_the_server_may_come_from_the_environment(
    commands: Commands, old: OldWorkers, server: Server
) -> None:
    """As for a memory."""
    old.assign("c-1", "state", "open")
    commands.environment["REDIS_MEMORY_URL"] = server.url
    assert commands.inside("migrate", "--yes").code == 0
    assert held(server.url, "c-1") == {"state": "open"}


def test_json_is_the_whole_report(run: Run, old: OldWorkers, server: Server) -> None:
    """One object on stdout, and nothing else."""
    old.assign("c-1", "state", "open")
    server.client().lpush("memory:queue", 1)
    outcome = run("--source", server.url, "--json", "--yes")
    report = json.loads(outcome.out)
    assert outcome.code == 0  # a foreign key is no failure
    assert (report["brought"], report["ids"], report["dry_run"]) == (1, ["c-1"], False)
    assert report["skipped"] == [
        {"key": "memory:queue", "kind": "foreign", "reason": "another type of key"}
    ]


@pytest.mark.parametrize("yes", [["--yes"], []], ids=["done", "dry"])
def test_a_damaged_key_is_named_and_the_exit_code_is_1(
    run: Run, old: OldWorkers, server: Server, yes: list[str]
) -> None:
    """The others are brought; a key that would play tricks on a terminal is escaped."""
    old.assign("c-1", "state", "open")
    server.client().set("memory:c-1:\x1b[31mbad", "{confidential")
    outcome = run("--source", server.url, *yes)
    assert outcome.code == 1
    assert r"damaged: 'memory:c-1:\x1b[31mbad': no JSON" in outcome.out
    assert "confidential" not in outcome.out
    assert "1 attributes" in outcome.out


def test_what_wins_is_told(run: Run, old: OldWorkers, server: Server) -> None:
    """By name, whichever of the two it is."""
    old.assign("c-1", "older", "old", days_ago=1)
    with ConversationMemory("c-1", server.url) as memory:
        memory.older = memory.newer = "new"
    old.assign("c-1", "newer", "old")
    outcome = run("--source", server.url, "--yes")
    assert "replaced: memory:c-1:newer: the old value wins" in outcome.out
    assert "kept: memory:c-1:older: a newer value is there" in outcome.out
    outcome = run("--source", server.url, "--yes", "--on-existing", "replace")
    assert "replaced: memory:c-1:older" in outcome.out


def test_prefixes_targets_and_flat_names(run: Run, server: Server, own_server: Server) -> None:
    """Every option reaches the migration."""
    OldWorkers(server, "app:").assign(None, "a:b", 1)
    common = ["--source", server.url, "--target", own_server.url, "--prefix", "app:", "--yes"]
    run(*common, "--target-prefix", "new:", "--timeout-s", "2")
    assert held(own_server.url, "a", "new:") == {"b": 1}
    report = json.loads(run(*common, "--flat", "--json").out)
    assert (report["ids"], report["of_prefix"]) == ([], 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--source", "redis://ann:hunter2@127.0.0.1:1", "--timeout-s", "0.05"], 3, "127.0.0.1:1"),
        (["--source", "redis://:hunter2@h:port"], 2, "malformed"),
        (["--source", "embedded:///dev/null/nowhere"], 3, "/dev/null/nowhere"),
        (["--source", "redis://h", "--timeout-s", "-1"], 2, "timeout_s"),
        ([], 2, "REDIS_URL"),
        (["--on-existing", "error"], 2, "newest"),
    ],
)
def test_failures_are_told_on_stderr(
    commands: Commands, arguments: list[str], code: int, said: str
) -> None:
    """In a line of the same form and with the same exit codes as those of the other commands."""
    outcome = commands.run("migrate", *arguments)
    assert outcome.code == code
    assert said in outcome.err
    assert outcome.out == ""
    assert "hunter2" not in outcome.err
    assert [line.partition(": ")[0] for line in outcome.err.splitlines()] == ["redis-memory"]


def test_a_report_that_nobody_reads_is_no_fault(
    commands: Commands, old: OldWorkers, server: Server
) -> None:
    """The pipe is closed, as `head` does; nothing is said about it."""
    old.assign("c-1", "state", "open")
    running = commands.start("migrate", "--source", server.url)
    running.close_its_pipe()
    outcome = running.wait()
    assert (outcome.code, outcome.err.count("Broken pipe")) == (141, 0)
