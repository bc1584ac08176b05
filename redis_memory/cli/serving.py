"""`server start`, `server status`, `server stop`: the embedded server of a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from redis_memory.cli import options
from redis_memory.cli.failures import UNREACHABLE
from redis_memory.cli.output import counted, say, say_facts, say_json, size, tell
from redis_memory.link import embedded, running

app: typer.Typer = typer.Typer(
    help="Start, stop and look at the embedded server.",
    rich_markup_mode=None,
)

# Ten years: until it is stopped.
_FOR_EVER_S: Final = 10 * 365 * 86400.0

Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FOLDER]", show_default=False, help="Where its data lies; else this user's own."
    ),
]


@app.command()
def start(folder: Folder = None, as_json: options.AsJson = False) -> None:
    """Start it, unless it runs. It stays until `server stop`."""
    place = folder or embedded.default_folder()
    was_there = running.look(place) is not None
    embedded.ensure_running(place, linger_s=_FOR_EVER_S)
    if was_there:
        tell("it runs already, and goes on as whoever started it has said")
    _describe(place, as_json=as_json)


@app.command()
def status(folder: Folder = None, as_json: options.AsJson = False) -> None:
    """Tell whether it runs; the exit code is 3 when it does not."""
    _describe(folder or embedded.default_folder(), as_json=as_json)


@app.command()
def stop(folder: Folder = None) -> None:
    """Stop it; its data stays. Who needs it again starts it again."""
    place = folder or embedded.default_folder()
    found = running.look(place)
    if found is None:
        tell(f"no server runs in {place}")
        return
    running.stop(place)
    say(f"stopped the server in {found.folder}")
    if found.clients:
        tell(f"{counted(found.clients, 'client')} will start it again when it is needed")


def _describe(place: Path, *, as_json: bool) -> None:
    found = running.look(place)
    if as_json:
        say_json({"running": False} if found is None else {"running": True, **asdict(found)})
    elif found is not None:
        say_facts(
            [
                ("folder", found.folder),
                ("url", f"embedded://{quote(found.folder)}"),
                ("server", found.server),
                ("process", str(found.process)),
                ("running for", f"{found.uptime_s} s"),
                ("clients", str(found.clients)),
                ("memory", size(found.bytes)),
            ]
        )
    if found is None:
        tell(f"no server runs in {place}")
        raise typer.Exit(UNREACHABLE)
