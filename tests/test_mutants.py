"""The mutants of `make mutants` keep up with the code: they can be made, and their tests are there.

Whether those tests fail takes minutes, and is not asked here.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.__main__ import MUTANTS, ROOT, changed
from tests.mutants.mutant import Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_made(mutant: Mutant) -> None:
    """What it changes stands where it says, once; and Python code is code still."""
    for path, text in changed(ROOT, mutant).items():
        assert text != path.read_text()
        if path.suffix == ".py":
            ast.parse(text)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_tests_are_there(mutant: Mutant) -> None:
    """Under the names that it gives."""
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert not name or name in _tests_of(ROOT / file), test


def test_names_are_unique() -> None:
    """A mutant is chosen by its name."""
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1


def _tests_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in tree.body if isinstance(each, kinds)}
