"""What is heard of others: copies that answer without asking, watching, waiting."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

STALE = "tests/feed/test_never_stale.py"
CACHED_READS = "tests/feed/test_cached_reads.py"
WATCH = "tests/feed/test_watch.py"
WAIT = "tests/feed/test_wait_for.py"
LIFETIMES = "tests/directory/test_lifetimes.py"
IN_BETWEEN = (
    "tests/memory/test_one_truth.py::test_a_read_in_the_middle_of_a_read_is_not_taken_in_twice"
)
HEARD = "tests/core/test_feed.py::test_a_channel_counts_as_heard_only_when_it_is"
SUBSCRIPTIONS = "redis_memory/core/subscriptions.py"
CACHED = "redis_memory/cached.py"

SENT = "        self._sent.update(begin)\n"
TAKES_IN = """\
            copy = reading.understood(state, attribute, reply)
            attribute.confirm(session, ends_s)
"""
RINGS_AGAIN = '''\
        """The feed was lost, or listens again."""
        self._bell.ring()
'''

MUTANTS: Final = (
    Mutant(
        "a cached read without a feed that is alive",
        (Edit(CACHED, "is_pending or now_s - feed.answered_s > self.patience_s", "is_pending"),),
        (f"{STALE}::test_without_its_feed_a_cached_memory_asks",),
    ),
    Mutant(
        "a cached read of an older session",
        (
            Edit(
                CACHED,
                "attribute is None or attribute.session != state.session",
                "attribute is None or not state.session",
            ),
        ),
        (f"{STALE}::test_what_was_missed_while_the_feed_was_lost_is_read",),
    ),
    Mutant(
        "a copy of before the feed was heard",
        (Edit("redis_memory/face.py", TAKES_IN, TAKES_IN.replace("session", "state.session")),),
        (f"{STALE}::test_an_answer_that_is_older_than_the_feed_is_no_copy",),
    ),
    Mutant(
        "a channel that counts as heard when that was asked for",
        (Edit(SUBSCRIPTIONS, SENT, f"{SENT}        self.confirmed.update(begin)\n"),),
        (HEARD,),
    ),
    Mutant(
        "a confirmation of what was asked for before",
        (Edit(SUBSCRIPTIONS, "        if left > 0:\n", "        if False:\n"),),
        (HEARD,),
    ),
    Mutant(
        "a cached read of any age",
        (Edit(CACHED, "now_s - attribute.checked_s > self.max_age_s or ", ""),),
        (f"{STALE}::test_a_flushed_server_is_noticed_in_time",),
    ),
    Mutant(
        "a cached copy behind what was told",
        (Edit(CACHED, "descriptor[1:14] < attribute.newest or", ""),),
        (f"{CACHED_READS}::test_what_others_do_is_seen_soon",),
    ),
    Mutant(
        "an answer that comes late, over a newer copy",
        (Edit("redis_memory/face.py", "if not is_same_copy or generation", "if generation"),),
        (IN_BETWEEN,),
    ),
    Mutant(
        "the same of a read that only the server answers",
        (
            Edit(
                "redis_memory/core/reading.py",
                "if generation != state.generation or not is_still(attribute, copy, known):",
                "if generation != state.generation:",
            ),
        ),
        (IN_BETWEEN,),
    ),
    Mutant(
        "a cached read of what has ended",
        (Edit(CACHED, " or now_s >= attribute.ends_s", ""),),
        (f"{LIFETIMES}::test_a_cached_read_finds_the_end",),
    ),
    Mutant(
        "no versions compared after a gap",
        (
            Edit(
                "redis_memory/core/watching.py",
                "            self._compare(stored, version)\n",
                "            pass\n",
            ),
        ),
        (f"{WATCH}::test_a_cut_feed_tells_the_latest_state_once",),
    ),
    Mutant(
        "a wait that is not rung when the feed is back",
        (Edit("redis_memory/attention.py", RINGS_AGAIN, RINGS_AGAIN.replace("ring()", "ring")),),
        (f"{WAIT}::test_what_happened_while_the_feed_was_lost_ends_a_wait",),
    ),
    Mutant(
        "values of two moments taken for one",
        (Edit("redis_memory/attention.py", "if (yield from self._is_still()):", "if True:"),),
        (f"{WAIT}::test_several_are_wanted_at_one_moment",),
    ),
    Mutant(
        "a deletion by prune that is told to nobody",
        (
            Edit(
                f"{LUA}/prune.lua",
                "call('PUBLISH', memory .. '~feed', '_w000000000000000000x0:' .. now .. ';')\n",
                "",
            ),
        ),
        ("tests/directory/test_prune.py::test_copies_do_not_outlive_a_pruned_conversation",),
    ),
)
