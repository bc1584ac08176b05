"""Values and passwords that must not be shown."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

MUTANTS: Final = (
    Mutant(
        "an error that quotes what was sent",
        (
            Edit(
                "redis_memory/link/failures.py",
                'text.partition(", with args beginning with")[0]',
                "text",
            ),
        ),
        ("tests/core/test_failures.py::test_a_refusal_does_not_repeat_what_was_sent",),
    ),
    Mutant(
        "a password in a pickle",
        (Edit("redis_memory/face.py", "credentials.without_password(url)", "url"),),
        ("tests/memory/test_pickling.py::test_a_password_is_not_pickled",),
    ),
)
