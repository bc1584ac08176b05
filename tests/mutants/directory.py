"""Conversations as a whole: listed, pruned, archived, loaded, and ended."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

PRUNE = "tests/directory/test_prune.py"
ARCHIVES = "tests/directory/test_archives.py"
LIFETIMES = "tests/directory/test_lifetimes.py"
CLUSTER_INDEX = "tests/directory/test_cluster_index.py"
ENTRIES = "redis_memory/link/entries.py"
ENTERS = "        answers = driven(self._beside(call), self.hub.execute)\n"
CHANGES = "        reply = self._send_once(call) if once else self.send(call)\n"

MUTANTS: Final = (
    Mutant(
        "a prune that does not look again",
        (Edit(f"{LUA}/prune.lua", "if stored[1] ~= seen then", "if false then"),),
        (f"{PRUNE}::test_who_becomes_active_during_the_run_is_kept",),
    ),
    Mutant(
        "a prune without a fence",
        (
            Edit(
                "redis_memory/pruning.py",
                'return b"whole" if',
                'return b"whole" if True or',
            ),
        ),
        (f"{PRUNE}::test_a_writer_of_a_pruned_conversation_begins_a_new_one",),
    ),
    Mutant(
        "an archive that is synced after the deletion",
        (Edit("redis_memory/pruning.py", "        yield Errand(archive.sync)\n", ""),),
        (f"{PRUNE}::test_an_archive_that_cannot_be_written_deletes_nothing",),
    ),
    Mutant(
        "deleted though it could not be archived",
        (
            Edit(
                "redis_memory/pruning.py",
                "return [one for one in chosen if one.tag in are_safe]",
                "return chosen",
            ),
        ),
        (f"{PRUNE}::test_what_cannot_be_archived_is_not_deleted",),
    ),
    Mutant(
        "a load that overwrites what it should skip",
        (Edit(f"{LUA}/restore.lua", "if stored[2] and ARGV[2] == 'create'", "if false"),),
        (f"{ARCHIVES}::test_what_exists_is_skipped_replaced_or_an_error",),
    ),
    Mutant(
        "an end that misses a key",
        (
            Edit(
                f"{LUA}/renew.lua",
                "for i = 2, #KEYS do call('PEXPIREAT'",
                "for i = 2, #KEYS - 1 do call('PEXPIREAT'",
            ),
        ),
        (f"{LIFETIMES}::test_a_lifetime_given_later_is_for_all_keys",),
    ),
    Mutant(
        "an end for the containers that were read",
        (Edit(f"{LUA}/renew.lua", "if #undeclared > 2 then return undeclared end", ""),),
        (f"{LIFETIMES}::test_every_change_by_anybody_begins_it_again",),
    ),
    Mutant(
        "a container that outlives its memory",
        (Edit(f"{LUA}/append.lua", "if ends then call('PEXPIREAT', content, ends) end\n", ""),),
        (f"{LIFETIMES}::test_all_keys_end_together",),
    ),
    Mutant(
        "an entry behind its change",
        (Edit("redis_memory/link/hub.py", f"{ENTERS}{CHANGES}", f"{CHANGES}{ENTERS}"),),
        (f"{CLUSTER_INDEX}::test_the_entry_comes_first",),
    ),
    Mutant(
        "an entry that no node took is not repeated",
        (Edit(ENTRIES, "late[call.arguments[0]] = call", "pass"),),
        (f"{CLUSTER_INDEX}::test_what_is_begun_while_the_index_is_away_is_entered_later",),
    ),
    Mutant(
        "an entry that was not replicated is not repeated",
        (Edit(ENTRIES, "late.setdefault(other, entry)", "pass"),),
        (f"{CLUSTER_INDEX}::test_what_a_replica_lacks_is_entered_again",),
    ),
)
