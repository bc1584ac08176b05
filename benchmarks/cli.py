"""How long a command takes until its first output: Python, what is imported, and the server.

    python benchmarks/cli.py

measures that alone; `run.py` measures it along with everything else.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from time import perf_counter

from figures import Figure, summary, table
from server import Server
from setting import PREFIX, Setting

LISTED = 100
WANTED_S = 0.5
COMMANDS = {
    "redis-memory --help": ("--help",),
    f"redis-memory ls, of {LISTED} conversations": ("ls", "--limit", "1000"),
}


def starting(setting: Setting) -> Iterator[Figure]:
    """From the start of a process to the first byte that it writes."""
    for number in range(LISTED):
        setting.memory(f"listed-{number}").topic = "billing"
    # a command takes as long as a thousand calls, so fewer rounds will do
    rounds = 2 if setting.shrink > 1 else max(5, setting.rounds // 2)
    # an installed command is compiled, whatever the settings of whoever measures
    compiled = tempfile.TemporaryDirectory()
    environment = {
        **os.environ,
        "REDIS_URL": setting.server.url,
        "REDIS_PREFIX": PREFIX,
        "PYTHONPYCACHEPREFIX": compiled.name,
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    worked: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(1 + rounds):
        for name, arguments in COMMANDS.items():
            waited_s, worked_s = _first_output(arguments, environment)
            if turn:  # the first one has to compile
                spent[name].append(waited_s)
                worked[name].append(worked_s)
    compiled.cleanup()
    for name, each in spent.items():
        low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
        # what other programs take of the machine is in the first figure, and not in this one
        detail = f"processor: {statistics.median(worked[name]):.2f} s"
        yield Figure(name, middle, WANTED_S, "s", (low, high), detail)


def _first_output(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds until the first output, and seconds of the processor until the end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun_s = perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "redis_memory", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1), "it says nothing"
        spent_s = perf_counter() - begun_s
        process.stdout.read()
    assert process.returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with Server() as server, server.client() as client:
        figures = list(starting(Setting(server, client, 25, 1)))
    print(table(figures), summary(figures), sep="\n\n")


if __name__ == "__main__":
    main()
