"""A run that ends anywhere is repeated, and all is as if it had not been interrupted."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import pytest

from redis_memory import Conversations, OfflineError, migration
from tests.children import exit_code, in_child
from tests.faults import FaultProxy, Request, is_ordinary
from tests.migration.faces import Migrate, step_by_step
from tests.migration.old import OldWorkers
from tests.migration.test_migrate import held, old_url
from tests.servers import Server

VALUES: dict[str, dict[str, Any]] = {
    "c-1": {"messages": ["a", "b"], "box": {"x": [1]}, "state": "open"},
    "c-2": {"messages": [], "count": 3},
    "user:7": {"tags": ["a"]},
}


def fill(old: OldWorkers) -> None:
    """Three conversations."""
    for conversation, values in VALUES.items():
        for age, (name, value) in enumerate(values.items()):
            old.assign(conversation, name, value, days_ago=50 - age)


def stored(url: str) -> dict[str, dict[str, Any]]:
    """All conversations that are listed."""
    with Conversations(url) as directory:
        return {name: held(url, name) for name in directory.list().ids}


@pytest.mark.parametrize("delete_old", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_step(
    old: OldWorkers, own_server: Server, when: str, *, delete_old: bool
) -> None:
    """Before a question is sent, or after it was answered, with SIGKILL: nothing lost or twice."""
    source = old_url(old)

    def run(kill_at: int) -> None:
        def die(number: int, step: object) -> None:
            if number == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        def live(number: int, step: object) -> None:
            pass

        before, after = (die, live) if when == "before" else (live, die)
        step_by_step(source, own_server.url, before, after, delete_old=delete_old)

    killed = 0
    while True:
        old.client.flushall()
        own_server.client().flushall()
        fill(old)
        code = exit_code(in_child(partial(run, killed + 1)))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
        left = len(old.keys())
        with Conversations(own_server.url) as directory:
            assert directory.reindex().added == 0  # none is there that is not listed
        report = migration.migrate(source, own_server.url, dry_run=False, delete_old=delete_old)
        assert report.keys == left
        assert stored(own_server.url) == VALUES
        assert len(old.keys()) == (0 if delete_old else 6)
        with Conversations(own_server.url) as directory:
            assert directory.reindex().added == 0
            assert len(directory.prune(dry_run=True).ids) == 3  # idle for as long as before
    assert killed >= (8 if delete_old else 7)


def test_a_lost_answer_is_asked_for_again(
    migrate: Migrate, old: OldWorkers, server: Server, proxy: FaultProxy
) -> None:
    """Each answer of the run once: the report is that of a run without faults."""
    lost = 0
    while True:
        server.client().flushall()
        fill(old)
        seen, lost = 0, lost + 1

        def nth(request: Request, number: int = lost) -> bool:
            nonlocal seen
            seen += is_ordinary(request)
            return seen == number

        proxy.lose_replies(1, when=nth)
        report = migrate(proxy.url, dry_run=False, timeout_s=5.0)
        assert (report.brought, report.known, report.replaced) == (6, 0, ())
        assert stored(server.url) == VALUES
        proxy.heal()
        if seen < lost:
            break
    assert lost > 20


def test_a_server_that_goes_away_is_an_error_and_no_loss(
    migrate: Migrate, old: OldWorkers, own_server: Server
) -> None:
    """The run ends with OfflineError in time, and can be repeated."""
    fill(old)
    own_server.kill()
    with pytest.raises(OfflineError):
        migrate(old_url(old), own_server.url, dry_run=False, delete_old=True, timeout_s=0.1)
    assert len(old.keys()) == 6
    own_server.start()
    migrate(old_url(old), own_server.url, dry_run=False, delete_old=True)
    assert stored(own_server.url) == VALUES


def test_a_progress_that_fails_ends_the_run(migrate: Migrate, old: OldWorkers, url: str) -> None:
    """With its own error, Ctrl-C included; what was done is done."""
    fill(old)

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migration.migrate(url, dry_run=False, progress=stop)
    assert migrate(url, dry_run=False).known == 6
