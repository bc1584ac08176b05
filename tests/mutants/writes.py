"""Changes that must arrive exactly once, also when they have waited, or the process was killed."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

DELIVERY = "tests/memory/test_delivery.py"
OUTAGE = "tests/memory/test_outage.py"
PROCESSES = "tests/memory/test_processes.py"
AWAY = "tests/outages/test_processes_away.py"
LEFT = "tests/outages/test_left_journals.py"
BLOCKS = "tests/blocks/test_faults.py"
REPLAY = "tests/outages/test_replay.py"
BOUNDARIES = "tests/outages/test_boundaries.py"
CONFLICTS = "tests/outages/test_conflicts.py"
POSITIONS = "tests/outages/test_positions.py"
FENCE = "tests/outages/test_clear_fence.py"
BAD_SERVERS = "tests/link/test_bad_servers.py"
ADOPTION = "tests/link/test_adoption.py"

STORES_NUMBER = (
    "call('HSET', memory, writer, number .. ' ' .. version .. ' ok ' .. size, "
    "'_version', version, name, descriptor)\n"
)
LAST_LINE = "return {number, outcome, descriptor, size, missed, elements}"
FORKED = (
    "        self.queue = Queue(self.queue.most, self.queue.most_bytes, self.queue.open_store)\n"
)
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

MUTANTS: Final = (
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
        (
            Edit(
                f"{LUA}/replay.lua",
                "= pcall(script == 'together' and together or make, script)",
                "= true, (script == 'together' and together or make)(script)",
            ),
        ),
        (f"{REPLAY}::test_one_bad_change_does_not_hold_up_those_behind_it",),
    ),
    Mutant(
        "call for pcall in a batch that waited",
        (Edit(f"{LUA}/replay.lua", "= pcall(make, script)", "= true, make(script)"),),
        (f"{BLOCKS}::test_one_bad_change_in_a_batch_that_waited_does_not_hold_up_the_others",),
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
        (Edit("redis_memory/core/state.py", FORKED + "        self.renew_writer()\n", FORKED),),
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
        "no word of replicas that lack a change",
        (
            Edit(
                "redis_memory/link/driver.py",
                "if call.is_change and call.replicas < link.replicas:",
                "if False:",
            ),
        ),
        (f"{BOUNDARIES}::test_too_few_replicas_are_told_and_nothing_is_doubled",),
    ),
    Mutant(
        "positions not checked",
        (Edit(f"{LUA}/queued.lua", "return theirs_shift > (match(", "return false and (match("),),
        (f"{POSITIONS}::test_a_position_that_moved_is_refused",),
    ),
)
