"""What the old packages have stored: brought once, and deleted only where it has arrived."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

REPEATED = "tests/migration/test_repeated.py"
INTERRUPTED = "tests/migration/test_interrupted.py"
BRINGING = "redis_memory/core/bringing.py"

DELETES = """\
    if plan.delete_old:
        yield from _deleted(plan, tally, safe)
"""
BRINGS = "    replies = yield from together([_call("
EVERY = "[piece for pieces in memories.values() for piece in pieces]"

MUTANTS: Final = (
    Mutant(
        "old keys deleted before the new are there",
        (
            Edit(BRINGING, DELETES, ""),
            Edit(BRINGING, BRINGS, DELETES.replace("safe", EVERY) + BRINGS),
        ),
        (f"{INTERRUPTED}::test_killed_at_every_step",),
    ),
    Mutant(
        "old keys deleted that were not brought",
        (
            Edit(
                BRINGING,
                "        if tally.count(piece.old, letter, len(piece.raw))\n",
                "        if tally.count(piece.old, letter, len(piece.raw)) or True\n",
            ),
        ),
        (f"{REPEATED}::test_the_newer_value_wins_and_the_report_names_it",),
    ),
    Mutant(
        "an old value deleted that has moved on",
        (Edit(f"{LUA}/operator/discard.lua", "if held ~= ARGV[1] then", "if false then"),),
        (f"{REPEATED}::test_what_is_written_between_reading_and_deleting_stays",),
    ),
    Mutant(
        "a second run over what new workers have made",
        (Edit(f"{LUA}/bring.lua", "if how ~= 'replace' or has_stayed then", "if has_stayed then"),),
        (f"{REPEATED}::test_a_change_by_a_new_worker_is_not_undone",),
    ),
)
