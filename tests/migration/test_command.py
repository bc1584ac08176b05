"""The command `migrate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from redis_memory import ConversationMemory
from redis_memory.cli.migrating import migrate_command
from tests.migration.old import OldWorkers, everything
from tests.migration.test_migrate import held
from tests.servers import Server

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Call the command, as one of several of an app."""
    app = typer.Typer()
    app.command("migrate")(migrate_command)
    app.command("other")(lambda: None)

    def called(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["migrate", *arguments])

    return called


def test_without_yes_nothing_is_changed(run: Run, old: OldWorkers, server: Server) -> None:
    """It tells what it would do."""
    old.assign("c-1", "state", "open")
    before = everything(server)
    outcome = run("--source", server.url, "--delete-old")
    assert outcome.exit_code == 0
    assert everything(server) == before
    assert "1 attributes would be brought" in outcome.stdout
    assert "1 old keys would be deleted" in outcome.stdout
    assert "--yes" in outcome.stdout


def test_with_yes_it_is_done(run: Run, old: OldWorkers, server: Server) -> None:
    """And old keys go only with --delete-old."""
    old.assign("c-1", "state", "open")
    assert "1 attributes brought" in run("--source", server.url, "--yes").stdout
    assert held(server.url, "c-1") == {"state": "open"}
    assert len(old.keys()) == 1
    outcome = run("--source", server.url, "--yes", "--delete-old")
    assert "1 brought before" in outcome.stdout
    assert old.keys() == set()


def test_the_server_may_come_from_the_environment(
    run: Run, old: OldWorkers, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a memory."""
    old.assign("c-1", "state", "open")
    monkeypatch.setenv("REDIS_MEMORY_URL", server.url)
    assert run("--yes").exit_code == 0
    assert held(server.url, "c-1") == {"state": "open"}


def test_json_is_the_whole_report(run: Run, old: OldWorkers, server: Server) -> None:
    """One object on stdout, and nothing else."""
    old.assign("c-1", "state", "open")
    server.client().lpush("memory:queue", 1)
    outcome = run("--source", server.url, "--json", "--yes")
    report = json.loads(outcome.stdout)
    assert outcome.exit_code == 0  # a foreign key is no failure
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
    assert outcome.exit_code == 1
    assert r"damaged: 'memory:c-1:\x1b[31mbad': no JSON" in outcome.stdout
    assert "confidential" not in outcome.stdout
    assert "1 attributes" in outcome.stdout


def test_what_wins_is_told(run: Run, old: OldWorkers, server: Server) -> None:
    """By name, whichever of the two it is."""
    old.assign("c-1", "older", "old", days_ago=1)
    with ConversationMemory("c-1", server.url) as memory:
        memory.older = memory.newer = "new"
    old.assign("c-1", "newer", "old")
    outcome = run("--source", server.url, "--yes")
    assert "replaced: memory:c-1:newer: the old value wins" in outcome.stdout
    assert "kept: memory:c-1:older: a newer value is there" in outcome.stdout
    outcome = run("--source", server.url, "--yes", "--on-existing", "replace")
    assert "replaced: memory:c-1:older" in outcome.stdout


def test_prefixes_targets_and_flat_names(run: Run, server: Server, own_server: Server) -> None:
    """Every option reaches the migration."""
    OldWorkers(server, "app:").assign(None, "a:b", 1)
    common = ["--source", server.url, "--target", own_server.url, "--prefix", "app:", "--yes"]
    run(*common, "--target-prefix", "new:", "--timeout-s", "2")
    assert held(own_server.url, "a", "new:") == {"b": 1}
    report = json.loads(run(*common, "--flat", "--json").stdout)
    assert (report["ids"], report["of_prefix"]) == ([], 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--source", "redis://ann:hunter2@127.0.0.1:1", "--timeout-s", "0.05"], 3, "127.0.0.1:1"),
        (["--source", "redis://:hunter2@h:port"], 2, "malformed"),
        ([], 2, "REDIS_URL"),
        (["--on-existing", "error"], 2, "newest"),
    ],
)
def test_failures_are_told_on_stderr(
    run: Run, arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an exit code of their own, without a traceback or a password."""
    for name in ("REDIS_URL", "REDIS_MEMORY_URL", "REDIS_HOST", "REDIS_MEMORY_HOST"):
        monkeypatch.delenv(name, raising=False)
    outcome: Any = run(*arguments)
    assert outcome.exit_code == code
    assert said in outcome.stderr
    assert outcome.stdout == ""
    assert "hunter2" not in outcome.output
    assert "Traceback" not in outcome.output
