"""Several changes as one: all of them or none, and only while what was read is still so."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

BATCH = "tests/blocks/test_batch.py"
TRANSACTION = "tests/blocks/test_transaction.py"
COMPARE = "tests/blocks/test_compare_and_set.py"

MUTANTS: Final = (
    Mutant(
        "a transaction that does not check what it read",
        (Edit("redis_memory/core/blocks.py", "{**self.depends, **self.reads}", "self.depends"),),
        (f"{TRANSACTION}::test_what_was_read_has_not_changed",),
    ),
    Mutant(
        "a transaction that does not check what was missing",
        (
            Edit(
                f"{LUA}/together.lua",
                "if word == '' then return not now",
                "if word == '' then return true",
            ),
        ),
        (f"{TRANSACTION}::test_what_was_missing_is_still_missing",),
    ),
    Mutant(
        "a block that is sent although it raised",
        (Edit("redis_memory/blocks.py", "is_good=kind is None", "is_good=True"),),
        (f"{BATCH}::test_nothing_is_left_of_a_block_that_raises",),
    ),
    Mutant(
        "an awaited block that is sent although it raised",
        (Edit("redis_memory/async_blocks.py", "is_good=kind is None", "is_good=True"),),
        ("tests/blocks/test_async_blocks.py::test_nothing_is_left_of_a_block_that_raises",),
    ),
    Mutant(
        "a block that is made up to what does not fit",
        (Edit(f"{LUA}/together.lua", "    if why then\n", "    if false then\n"),),
        (f"{BATCH}::test_a_change_that_does_not_fit_what_is_there_undoes_all",),
    ),
    Mutant(
        "compare and set without comparing",
        (Edit(f"{LUA}/exchange.lua", "if not is_same then", "if not field then"),),
        (f"{COMPARE}::test_nothing_is_stored_over_another_value",),
    ),
)
