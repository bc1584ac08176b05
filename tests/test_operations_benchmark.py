"""The benchmark behind the operations manual runs, and prints what the manual shows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.scripts import run_python

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "operations.py"
LIMIT_S = 100


def test_it_tells_bytes_operations_and_the_price_of_the_disk() -> None:
    """With the formula that fits the bytes it measured, and a line for each number of workers."""
    done = run_python(SCRIPT, "--quick", limit_s=LIMIT_S)
    assert done.returncode == 0, done.stderr
    table = done.stdout
    measured = {
        int(count): int(size.replace(",", ""))
        for count, size in re.findall(
            r"^ +(\d+) conversations: +([\d,]+) bytes", table, re.MULTILINE
        )
    }
    formula = re.search(r"bytes\(n\) = ([-\d,]+) \+ ([\d,]+) \* n", table)
    assert formula is not None
    first, each = (int(part.replace(",", "")) for part in formula.groups())
    assert measured.keys() == {10, 100}
    for count, size in measured.items():
        assert abs(first + each * count - size) < count + 1
    assert len(re.findall(r"workers: +[\d,]+ per second, p50 [\d,]+ us", table)) == 2
    prices = re.findall(
        r"^  (.*): +[\d,]+ per second.* at most ([\d,]+) on a core$", table, re.MULTILINE
    )
    assert [name for name, _ in prices if "only" in name or "yes" in name] == [
        "no append-only file",
        "appendonly yes, everysec",
        "appendonly yes, always",
    ]
