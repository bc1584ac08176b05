"""What a class declares: only what fits goes in, and is read; upgraded once, over nobody's work."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

ATTRIBUTES = "tests/typed/test_attributes.py"
UPGRADE = "tests/typed/test_upgrade.py"
ENTERS = """\
            value = declaration.shape.enter(value, (name,))
        return super().assigning(name, value)
"""

MUTANTS: Final = (
    Mutant(
        "a value that is stored unseen",
        (
            Edit(
                "redis_memory/typed/core.py",
                ENTERS,
                ENTERS.replace("declaration.shape.enter(value, (name,))", "value"),
            ),
        ),
        (f"{ATTRIBUTES}::test_what_does_not_fit_is_not_sent",),
    ),
    Mutant(
        "elements by others that are read unseen",
        (
            Edit(
                "redis_memory/typed/core.py",
                "first if has_grown and not picked.is_whole else 0",
                "first",
            ),
        ),
        (f"{ATTRIBUTES}::test_what_others_replaced_is_looked_at_as_a_whole",),
    ),
    Mutant(
        "an upgrade over what others have changed",
        (
            Edit(
                "redis_memory/core/schemas.py",
                'checks += (Check(b"as", name, descriptor) for name, descriptor in rows.items())',
                "pass",
            ),
        ),
        (f"{UPGRADE}::test_what_others_write_meanwhile_is_not_lost",),
    ),
    Mutant(
        "a mark on what was never upgraded",
        (Edit(f"{LUA}/mark.lua", "if operation ~= 'first' or", "if true or"),),
        (f"{UPGRADE}::test_old_attributes_that_come_during_an_outage_are_upgraded",),
    ),
)
