"""Draws what one append costs against the length of the list, from the figures of the last run."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    curves = json.loads((RESULTS / "figures.json").read_text("utf-8"))["seconds of an append"]
    plt.switch_backend("Agg")  # a file, whether there is a screen or not
    figure, axes = plt.subplots(figsize=(8, 5), dpi=120, layout="constrained")
    for way, seconds in curves.items():
        lengths = [int(length) for length in seconds]
        axes.loglog(lengths, [cost * 1e6 for cost in seconds.values()], marker="o", label=way)
    axes.set(
        title="One append against the length of the list",
        xlabel="messages in the list",
        ylabel="microseconds",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(RESULTS / "append.png")


if __name__ == "__main__":
    main()
