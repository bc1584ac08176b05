"""Breaks the protocol on purpose, one rule at a time: the tests must notice each of them.

`python -m tests.mutants [WORD ...]` works on a copy of the checkout; words choose among the mutants
by their names. It ends with 1 when one survives, or can no longer be made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__")
TEST_LIMIT_S = 60
RUN_LIMIT_S = 600.0

LUA = "redis_memory/core/lua"
DELIVERY = "tests/memory/test_delivery.py"
OUTAGE = "tests/memory/test_outage.py"
PROCESSES = "tests/memory/test_processes.py"
AWAY = "tests/outages/test_processes_away.py"
LEFT = "tests/outages/test_left_journals.py"
REPLAY = "tests/outages/test_replay.py"
CONFLICTS = "tests/outages/test_conflicts.py"
POSITIONS = "tests/outages/test_positions.py"
FENCE = "tests/outages/test_clear_fence.py"
BAD_SERVERS = "tests/link/test_bad_servers.py"
ADOPTION = "tests/link/test_adoption.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """One text in a file, which must be there exactly once, and what stands there instead."""

    path: str
    text: str
    instead: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken rule, and the tests of which one at least must fail then."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


class StaleMutantError(Exception):
    """The text that a mutant changes is gone, or its tests fail without it."""


STORES_NUMBER = (
    "call('HSET', memory, writer, number .. ' ' .. version .. ' ok ' .. size, "
    "'_version', version, name, descriptor)\n"
)
LAST_LINE = "return {number, 'ok', descriptor, size, missed, elements}"
UNBUFFERED = "_write = os.write\n"
BUFFERED = """\
_held: dict[int, bytearray] = {}


def _write(descriptor: int, frame: bytes) -> int:
    held = _held.setdefault(descriptor, bytearray())
    held += frame
    if len(held) > 65536:
        os.write(descriptor, bytes(held))
        held.clear()
    return len(frame)

"""

MUTANTS = (
    Mutant(
        "no duplicate check",
        (Edit(f"{LUA}/number.lua", "if number - last ~= 1 then", "if number - last > 1 then"),),
        (f"{DELIVERY}::test_500_failures_make_a_counter_of_500",),
    ),
    Mutant(
        "no duplicate check in the replay",
        (
            Edit(f"{LUA}/batch.lua", "if done >= last then return", "if false then return"),
            Edit(f"{LUA}/replay.lua", "if number > done then", "if true then"),
            Edit(f"{LUA}/replay.lua", "if done > reached then", "if false then"),
        ),
        (f"{LEFT}::test_what_was_applied_before_the_death",),
    ),
    Mutant(
        "number stored last",
        (
            Edit(f"{LUA}/append.lua", STORES_NUMBER, ""),
            Edit(f"{LUA}/append.lua", LAST_LINE, STORES_NUMBER + LAST_LINE),
        ),
        (f"{DELIVERY}::test_a_number_is_stored_before_anything_else",),
    ),
    Mutant(
        "call for pcall in the replay",
        (Edit(f"{LUA}/replay.lua", "= pcall(make, script)", "= true, make(script)"),),
        (f"{REPLAY}::test_one_bad_change_does_not_hold_up_those_behind_it",),
    ),
    Mutant(
        "unknown means accept",
        (Edit(f"{LUA}/number.lua", "if number - last ~=", "if entry and number - last ~="),),
        (f"{DELIVERY}::test_a_forgotten_writer_is_noticed",),
    ),
    Mutant(
        "unknown means accept in the replay",
        (Edit(f"{LUA}/batch.lua", "if done < first - 1", "if entry and done < first - 1"),),
        (
            f"{LEFT}::test_an_unsent_journal_of_a_forgotten_writer",
            f"{LEFT}::test_a_sent_journal_of_a_forgotten_writer",
        ),
    ),
    Mutant(
        "a child keeps the writer",
        (Edit("redis_memory/core/state.py", "        self.renew_writer()\n", ""),),
        (
            f"{PROCESSES}::test_parent_and_child_write_after_a_fork",
            f"{AWAY}::test_a_fork_with_a_queue",
        ),
    ),
    Mutant(
        "buffered journal",
        (Edit("redis_memory/link/journal.py", UNBUFFERED, BUFFERED),),
        (
            f"{ADOPTION}::test_a_killed_process_loses_nothing",
            f"{LEFT}::test_the_next_process_delivers",
        ),
    ),
    Mutant(
        "default retries",
        (
            Edit(
                "redis_memory/link/address.py",
                '"retry": Retry(NoBackoff(), 0)',
                # its pauses are up to ten times as long, but nobody wants to wait for that
                '"retry": Retry(redis.backoff.ExponentialWithJitterBackoff(base=1, cap=1), 10)',
            ),
        ),
        (f"{OUTAGE}::test_an_address_without_a_server_is_told_in_time",),
    ),
    Mutant(
        "every error is an outage",
        (
            Edit(
                "redis_memory/link/failures.py",
                "    if code in _NOT_NOW or",
                "    return LinkFailureError(text, in_doubt=False)\n    if code in _NOT_NOW or",
            ),
        ),
        (f"{OUTAGE}::test_a_server_without_memory_refuses_before_any_effect", BAD_SERVERS),
    ),
    Mutant(
        "stamps by arrival",
        (
            Edit(
                "redis_memory/core/replay.py",
                'b"%013x" % (last.at_us + offset)',
                'b"%013x" % (now_us() + offset)',
            ),
        ),
        (f"{CONFLICTS}::test_a_contested_attribute_goes_to_whom_the_setting_says",),
    ),
    Mutant(
        "no epoch check",
        (Edit(f"{LUA}/replay.lua", "if epoch and epoch > seen", "if false and epoch > seen"),),
        (FENCE,),
    ),
    Mutant(
        "positions not checked",
        (Edit(f"{LUA}/queued.lua", "return theirs_shift > (match(", "return false and (match("),),
        (f"{POSITIONS}::test_a_position_that_moved_is_refused",),
    ),
)


def main(words: Sequence[str]) -> int:
    """Make each chosen mutant, and say which test caught it."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    if not chosen:
        say(f"no mutant is named so; there are: {', '.join(mutant.name for mutant in MUTANTS)}")
        return 1
    with tempfile.TemporaryDirectory(prefix="rm-mutants-") as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        try:
            for mutant in chosen:
                changed(copy, mutant)
            check_unchanged(copy, chosen)
            survivors = [mutant.name for mutant in chosen if not is_caught(copy, mutant)]
        except StaleMutantError as error:
            say(f"error: {error}")
            return 1
    say(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants were caught")
    return 1 if survivors else 0


def changed(copy: Path, mutant: Mutant) -> dict[Path, str]:
    """The files that a mutant changes, with what stands in them then.

    Raises:
        StaleMutantError: A text is not there exactly once.
    """
    files: dict[Path, str] = {}
    for edit in mutant.edits:
        path = copy / edit.path
        text = files.get(path) or path.read_text()
        if text.count(edit.text) != 1:
            raise StaleMutantError(
                f"{mutant.name!r} cannot be made: {edit.text!r} is {text.count(edit.text)} times "
                f"in {edit.path}"
            )
        files[path] = text.replace(edit.text, edit.instead)
    return files


def check_unchanged(copy: Path, mutants: Sequence[Mutant]) -> None:
    """See that the tests pass without any mutant.

    Raises:
        StaleMutantError: They do not, or the code that they run is not that of the copy.
    """
    found = run(copy, ["-c", "import redis_memory; print(redis_memory.__file__)"]).stdout
    if not found.startswith(str(copy)):
        raise StaleMutantError(f"the tests would run {found.strip()}, not the copy")
    tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
    result = run_tests(copy, list(tests))
    if result.returncode != 0:
        raise StaleMutantError(f"the tests fail without any mutant:\n{result.stdout[-3000:]}")
    say(f"without mutants {len(tests)} groups of tests pass")


def is_caught(copy: Path, mutant: Mutant) -> bool:
    """Make the mutant in the copy, run its tests, and take it back."""
    files = changed(copy, mutant)
    before = {path: path.read_text() for path in files}
    try:
        for path, text in files.items():
            path.write_text(text)
        result = run_tests(copy, mutant.tests)
    finally:
        for path, text in before.items():
            path.write_text(text)
    if result.returncode not in (0, 1):
        raise StaleMutantError(f"{mutant.name!r}: no test ran:\n{result.stdout[-3000:]}")
    is_seen = result.returncode == 1
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", result.stdout, re.MULTILINE)
    by = failed[1] if failed else "a time limit"
    say(f"{mutant.name:36}{'caught by ' + by if is_seen else 'SURVIVED'}")
    return is_seen


def run_tests(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy up to the first one that fails."""
    limit = f"faulthandler_timeout={TEST_LIMIT_S}"
    return run(copy, ["-m", "pytest", "-x", "-q", "-o", limit, "-p", "no:cacheprovider", *tests])


def run(copy: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, on the code of the copy."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        # old bytecode must not stand in for a source changed within the same second
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
