"""All benchmarks: a table of ratios to redis-py's own calls, measured side by side in one run.

Also written as JSON, for `plot.py` and for comparing runs.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import appending
import calls
import cli
import directory
import feed
import footprint
import outage
import reading
from figures import Figure, summary, table
from server import Server, pin_to_one_core
from setting import Setting

from redis_memory.link import binaries

T = TypeVar("T")

RESULTS = Path(__file__).parent / "results"
BENCHMARKS: list[Callable[[Setting], Iterator[Figure]]] = [
    calls.assigning,
    directory.keeping,
    appending.everyday,
    reading.unchanged,
    appending.long_and_short,
    reading.grown,
    footprint.memory,
    footprint.opening,
    footprint.importing,
    cli.starting,
    outage.writing,
    outage.held_up,
    outage.coming_back,
    outage.delivering,
    outage.weighing,
    feed.reading,
    feed.appending,
    feed.hearing,
    feed.weighing,
    feed.fanning_out,
    # what follows is told, and nothing is demanded of it
    calls.containers,
    calls.functions,
    reading.kept,
    appending.rewriting,
]
PACKAGES = ("redis", "hiredis", "msgpack", "pydantic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="how often each case is timed")
    parser.add_argument(
        "--quick", action="store_true", help="sizes 100 times smaller: only shows that all runs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the JSON")
    options = parser.parse_args()
    conditions = {
        "server": str(binaries.choose().release),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "pinned to core": pin_to_one_core(),
        "rounds": options.rounds,
        "quick": options.quick,
    }
    figures = [figure for benchmark in BENCHMARKS for figure in measured(benchmark, options)]
    curves = dict(measured(appending.curves, options))
    print(table(figures), summary(figures), sep="\n\n")
    options.results.mkdir(parents=True, exist_ok=True)
    content = {
        "conditions": conditions,
        "figures": [asdict(figure) for figure in figures],
        "seconds of an append": curves,
    }
    written = json.dumps(content, indent=2)
    (options.results / "figures.json").write_text(f"{written}\n", "utf-8")


def measured(benchmark: Callable[[Setting], Iterable[T]], options: argparse.Namespace) -> list[T]:
    """All that a benchmark tells, on a server of its own."""
    with Server() as server, server.client() as client:
        return list(benchmark(Setting(server, client, options.rounds, 100 if options.quick else 1)))


if __name__ == "__main__":
    main()
