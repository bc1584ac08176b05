"""The benchmarks: every one of them runs. How fast is for `make bench` to say."""

from __future__ import annotations

import json
from pathlib import Path

from tests.scripts import run_python

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
    arguments = ("--quick", "--rounds", "1", "--results", tmp_path)
    done = run_python(RUN, *arguments, limit_s=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    results = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert len(results["figures"]) > 15
    names = [figure["name"] for figure in results["figures"]]
    untold = [begins for begins in OUTAGE if not any(name.startswith(begins) for name in names)]
    assert untold == []
    for figure in results["figures"]:
        assert figure["name"] in done.stdout
        assert figure["measured"] > 0
    drawn = {way: len(costs) for way, costs in results["seconds of an append"].items()}
    assert min(drawn.values()) > 1, drawn
