"""The benchmarks: every one of them runs. How fast is for `make bench` to say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"
LIMIT_S = 60


def test_the_benchmarks_run_and_tell_their_figures(tmp_path: Path) -> None:
    """Whoever runs them gets a table and a JSON file with the same figures, each measured."""
    process = subprocess.Popen(
        [sys.executable, RUN, "--quick", "--rounds", "1", "--results", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            table, complaints = process.communicate(timeout=LIMIT_S)
        finally:
            # a server that the benchmarks have started is in their group, and may outlive them
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, complaints
    assert "Warning" not in complaints
    results = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert len(results["figures"]) > 15
    for figure in results["figures"]:
        assert figure["name"] in table
        assert figure["measured"] > 0
    drawn = {way: len(costs) for way, costs in results["seconds of an append"].items()}
    assert min(drawn.values()) > 1, drawn
