"""Locks and claims: one holder at a time, and nothing by a holder of before."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

CLAIMS = "tests/leases/test_claims.py"
FIELDS = "tests/leases/test_fields.py"
HOLDS = "token == word and tonumber(ends, 16) > time[1] * 1000000 + time[2]"

MUTANTS: Final = (
    Mutant(
        "a token that is no larger than the one before",
        (Edit(f"{LUA}/lease_acquire.lua", "math.max(now, tonumber(last, 16) + 1)", "now"),),
        (f"{FIELDS}::test_tokens_grow_though_the_clock_of_the_server_goes_back",),
    ),
    Mutant(
        "a write under the claim of somebody else",
        (Edit(f"{LUA}/together.lua", HOLDS, HOLDS.removeprefix("token == word and ")),),
        (f"{CLAIMS}::test_a_claim_that_others_took_is_lost",),
    ),
    Mutant(
        "a write under a claim whose time is over",
        (Edit(f"{LUA}/together.lua", HOLDS, "token == word"),),
        (f"{CLAIMS}::test_a_write_after_the_time_of_a_claim_is_refused",),
    ),
    Mutant(
        "a renewal of what another one holds",
        (Edit(f"{LUA}/lease_renew.lua", "if not is_mine then", "if not is_held then"),),
        (f"{CLAIMS}::test_the_background_finds_out_that_a_claim_is_lost",),
    ),
    Mutant(
        "a release of what another one holds",
        (Edit(f"{LUA}/lease_release.lua", "if holder == id or", "if is_held or"),),
        (f"{CLAIMS}::test_who_has_lost_a_claim_does_not_release_it",),
    ),
)
