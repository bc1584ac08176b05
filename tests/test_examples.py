"""The examples: each runs as it stands, on the embedded server, within seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import run_script

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_the_demo_is_among_the_examples() -> None:
    """`make demo` finds what it runs, and the tests below have something to run."""
    assert "demo.py" in {example.name for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs_as_it_stands(example: Path, tmp_path: Path) -> None:
    """A user who types `python examples/...` sees it succeed, without a server or a setting."""
    outcome = run_script(example, data_home=tmp_path, limit_s=20)
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr, outcome.stderr
