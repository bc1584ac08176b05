"""Breaks the protocol on purpose, one rule at a time: the tests must notice each of them.

`python -m tests.mutants [WORD ...]` works on a copy of the checkout; words choose among the mutants
by their names. It ends with 1 when one survives, or can no longer be made. The tables of mutants
stand in the modules beside this one, by subject.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.mutants import (
    blocks,
    directory,
    encryption,
    feed,
    leases,
    migration,
    secrecy,
    typed,
    writes,
)
from tests.mutants.mutant import Mutant

MUTANTS: Final = (
    *writes.MUTANTS,
    *feed.MUTANTS,
    *blocks.MUTANTS,
    *leases.MUTANTS,
    *directory.MUTANTS,
    *encryption.MUTANTS,
    *migration.MUTANTS,
    *typed.MUTANTS,
    *secrecy.MUTANTS,
)
ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__")
TEST_LIMIT_S = 60
RUN_LIMIT_S = 600.0


class StaleMutantError(Exception):
    """The text that a mutant changes is gone, or its tests fail without it."""


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
    say(f"{mutant.name:54}{'caught by ' + by if is_seen else 'SURVIVED'}")
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
