"""The commands by their names."""

from __future__ import annotations

import typer

from redis_memory.cli import (
    archiving,
    doctoring,
    following,
    looking,
    migrating,
    pruning,
    serving,
    writing,
)

__all__ = ["app", "typer"]

# plain help: it is there sooner, and nothing in it can be taken for markup
app: typer.Typer = typer.Typer(
    name="redis-memory",
    help="Look after the conversations that workers share through Redis.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("ls")(looking.ls)
app.command("show")(looking.show)
app.command("get")(looking.get)
app.command("set")(writing.set_attribute)
app.command("watch")(following.watch)
app.command("tail")(following.tail)
app.command("prune")(pruning.prune)
app.command("export")(archiving.export)
app.command("import")(archiving.import_file)
app.command("stats")(looking.stats)
app.command("doctor")(doctoring.doctor)
app.command("migrate")(migrating.migrate_command)
app.command("reindex")(doctoring.reindex)
app.add_typer(serving.app, name="server")
