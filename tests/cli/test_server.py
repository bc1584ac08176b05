"""`server start`, `status`, `stop`: the embedded server, without a client that holds it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

from redis_memory import ConversationMemory
from redis_memory.link import running
from tests.cli.commands import Commands
from tests.waiting import wait_until


def test_the_embedded_server_is_started_shown_and_stopped(tmp_path: Path) -> None:
    """It stays until it is stopped, and its data stays after that."""
    commands, folder = Commands(None), str(tmp_path / "data")
    assert commands.inside("server", "status", folder).code == 3
    assert not Path(folder).exists()
    try:
        started = json.loads(commands.good("server", "start", folder, "--json").out)
        assert started["running"]
        with ConversationMemory("c-1", f"embedded://{folder}") as memory:
            memory.topic = "billing"
            wait_until(lambda: json.loads(_status(commands, folder))["clients"] >= 1)
        again = commands.good("server", "start", folder)
        assert "it runs already" in again.err
        shown = json.loads(_status(commands, folder))
        assert (shown["process"], shown["folder"]) == (started["process"], folder)
        assert commands.good("get", "c-1", "topic", "--url", f"embedded://{folder}").out
        stopped = commands.good("server", "stop", folder)
        assert stopped.lines == [f"stopped the server in {folder}"]
    finally:
        if running.look(Path(folder)) is not None:
            running.stop(Path(folder))
    assert json.loads(commands.inside("server", "status", folder, "--json").out) == {
        "running": False
    }
    assert "no server runs" in commands.good("server", "stop", folder).err
    url = f"embedded://{folder}"
    try:
        assert commands.good("get", "c-1", "topic", "--url", url).out == "billing\n"
    finally:
        running.stop(Path(folder))


def test_the_url_that_is_shown_leads_to_it(tmp_path: Path) -> None:
    """Whatever characters its folder has."""
    commands, folder = Commands(None), tmp_path / "a b#c%20d?e"
    try:
        shown = commands.good("server", "start", str(folder)).lines
        (url,) = (line.split()[1] for line in shown if line.startswith("url "))
        commands.good("set", "c-1", "topic", "1", "--url", url)
        with ConversationMemory("c-1", f"embedded://{quote(str(folder))}") as memory:
            assert memory.topic == 1
    finally:
        running.stop(folder)
    assert os.listdir(tmp_path) == [folder.name]  # noqa: PTH208


def _status(commands: Commands, folder: str) -> str:
    return commands.good("server", "status", folder, "--json").out
