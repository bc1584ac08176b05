"""Values under a key: readable in their own place only, and none in the open among them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import LUA, Edit, Mutant

PLACES = "tests/encryption/test_places.py"
PROCESSES = "tests/encryption/test_processes.py"
ROTATION = "tests/encryption/test_rotation.py"
OPEN = "tests/encryption/test_nothing_in_the_open.py"
SEALING = "redis_memory/core/sealing.py"

MUTANTS: Final = (
    Mutant(
        "a value that is not bound to its attribute",
        (Edit(SEALING, 'b"%b%d:%b%b" % (head, len(name), name, where)', "head + where"),),
        (f"{PLACES}::test_a_value_of_another_attribute_is_refused",),
    ),
    Mutant(
        "a value that is not bound to its key of a dict",
        (Edit(SEALING, "(head, len(name), name, where)", '(head, len(name), name, b"")'),),
        (f"{PLACES}::test_a_value_of_another_key_is_refused",),
    ),
    Mutant(
        "a value that is not bound to its conversation",
        (Edit(SEALING, 'b"values " + label', 'b"values "'),),
        (f"{PLACES}::test_a_value_of_another_conversation_is_refused",),
    ),
    Mutant(
        "an open value that passes for an encrypted one",
        (Edit(SEALING, "            if self.takes_plain:\n", "            if True:\n"),),
        (f"{PLACES}::test_plain_values_of_a_foreign_hand_are_refused",),
    ),
    Mutant(
        "an open value by a writer without the key",
        (Edit("redis_memory/core/scripts.py", "_IS_SEALED if is_open else", ""),),
        (f"{PLACES}::test_without_a_key_nothing_is_written",),
    ),
    Mutant(
        "a journal in the open",
        (
            Edit("redis_memory/link/journals.py", "if state.sealer is None else", "or"),
            Edit(
                "redis_memory/link/sealed_journal.py",
                "    parts: Any = msgpack.unpackb(record, use_list=False)\n"
                "    if not isinstance(parts[0], int):\n        return record\n    if (len",
                "    return record\n    if (len",
            ),
        ),
        (f"{OPEN}::test_what_waits_is_not_in_the_open",),
    ),
    Mutant(
        "a rotation over what was changed meanwhile",
        (Edit(f"{LUA}/reseal.lua", "if stored[1] ~= ARGV[1] then", "if false then"),),
        (f"{ROTATION}::test_writers_go_on_while_keys_change",),
    ),
)
