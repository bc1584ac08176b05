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
# How the names of the figures of an outage begin.
OUTAGE = (
    "append by a held proxy, Redis away",
    "append by push, with a journal, Redis away",
    "assign a scalar, Redis away",
    "longest of 1 first calls to Redis frozen",
    "longest of 1 first calls to Redis refusing",
    "longest of 1 first calls to Redis in a black hole",
    "from Redis being back to the first change delivered",
    "deliver 1,000 appends of 300 bytes to one list / pipelined rpush",
    "memory of a waiting append",
)


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
    names = [figure["name"] for figure in results["figures"]]
    untold = [begins for begins in OUTAGE if not any(name.startswith(begins) for name in names)]
    assert untold == []
    for figure in results["figures"]:
        assert figure["name"] in table
        assert figure["measured"] > 0
    drawn = {way: len(costs) for way, costs in results["seconds of an append"].items()}
    assert min(drawn.values()) > 1, drawn
