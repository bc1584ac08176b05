"""The manual's tables of events and metrics are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.telemetry.measuring import Measured

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
LEVELS = {"exception": "ERROR"}


def logged() -> Iterator[tuple[str, str]]:
    """Level and message of each line that the code can log, with `…` for what is put in."""
    for path in (ROOT / "redis_memory").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Constant)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "_log"):
                continue
            level = node.func.attr
            message = node.args[1 if level == "log" else 0]
            text = texts[message.id] if isinstance(message, ast.Name) else ast.literal_eval(message)
            if level == "log":
                level = "warning"
            if text != "%s":
                yield LEVELS.get(level, level.upper()), re.sub(r"%[srdg]", "…", str(text))


def documented() -> set[tuple[str, str]]:
    """Those of the manual."""
    return set(re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \|", MANUAL, re.MULTILINE))


def test_the_manual_has_every_event() -> None:
    """Whatever can stand in the log is explained, with its level."""
    assert not set(logged()) - documented()


def test_the_manual_has_no_other_event() -> None:
    """What it explains can happen: words of the message stand in the code."""
    code = "\n".join(path.read_text() for path in (ROOT / "redis_memory").rglob("*.py"))
    plain = re.sub(r'"\s*\n\s*f?"', "", code)
    for level, message in documented() - set(logged()):
        words = max(message.split("…"), key=len)
        assert words in plain, (level, message)


def test_the_manual_has_every_metric_and_no_other(measured: Measured) -> None:
    """By its name: what the instruments make is what the table lists."""
    names = set(re.findall(r"^\| `((?:db|redis_memory)\.[a-z_.]+)` \|", MANUAL, re.MULTILINE))
    assert names == measured.instruments.names
