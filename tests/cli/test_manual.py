"""The page about the command line: what it shows runs, and it leaves nothing out."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import signal
import tomllib
from pathlib import Path

import pytest

from redis_memory.cli.main import main
from redis_memory.core.tagged import from_json, to_json
from tests.cli.commands import Commands

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "command-line.md").read_text("utf-8")
EXAMPLES = [shlex.split(line)[1:] for line in re.findall(r"^redis-memory .*$", PAGE, re.MULTILINE)]
ENDLESS = ("watch", "tail")


def test_every_example_of_the_page_runs(
    command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From top to bottom, one after the other."""
    monkeypatch.chdir(tmp_path)
    for arguments in EXAMPLES:
        if arguments[0] in ENDLESS:
            running = command.start(*arguments)
            running.line("stdout" if arguments[0] == "tail" else "stderr")
            assert running.end(signal.SIGINT).code == 130
            continue
        outcome = command.inside(*arguments)
        # the servers of the tests keep less on disk than a strict doctor wants
        assert outcome.code == (1 if arguments[0] == "doctor" else 0), (arguments, outcome)


def test_every_command_has_an_example_and_a_line() -> None:
    """Nothing that `--help` names is missing on the page."""
    told = Commands(None).good("--help").out
    commands = set(re.findall(r"^  ([a-z]+) ", told.partition("Commands:")[2], re.MULTILINE))
    assert len(commands) >= 13
    assert commands <= {arguments[0] for arguments in EXAMPLES} | {"migrate"}
    assert not [name for name in commands - {"migrate"} if f"| `{name}" not in PAGE]


def test_the_script_that_is_installed_is_the_command() -> None:
    """`redis-memory` and `python -m redis_memory` run the same function."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, name = project["scripts"]["redis-memory"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_every_spelling_of_a_value_is_as_the_page_says() -> None:
    """Each stands for a value, and is how that value is spelt."""
    spellings = re.findall(r'`(\{"\$.*?\})`', PAGE)
    assert len(spellings) >= 14
    for spelling in spellings:
        form = json.loads(spelling)
        assert to_json(from_json(form)) == form
