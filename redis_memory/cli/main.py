"""The command `redis-memory`: runs what was asked for; what goes wrong is a line and an exit code.

0 done, 1 failed, 2 wrong usage, 3 Redis cannot be reached, 4 unknown conversation or attribute;
130 for Ctrl-C, 141 when nobody reads the output any more, 143 for SIGTERM.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from redis_memory.cli.failures import FAILED, FAILURES, MISUSED, code_of
from redis_memory.cli.output import ClosedPipeError, flush, tell

NAME: Final = "redis-memory"
CLOSED_PIPE: Final = 128 + signal.SIGPIPE
TERMINATED: Final = 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    # most of what is made while modules are imported stays: looking for garbage there takes time
    gc.set_threshold(50_000)
    signal.signal(signal.SIGTERM, _end)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # whoever started it has closed it
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - as long as it runs
        stream: Any = getattr(sys, name)
        # whatever the locale says: data is UTF-8 anyway, and a table must not fail for an id
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    said = _speak_plainly()
    try:
        return run(sys.argv[1:] if arguments is None else arguments, said)
    except ClosedPipeError:
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        _be_silent()


def run(arguments: Sequence[str], said: Collection[str] = ()) -> int:
    """Run one command, and tell what goes wrong unless the log has said it; its exit code."""
    try:
        from redis_memory.cli.app import app, typer  # noqa: PLC0415 - the extra `cli`
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        tell(f"the command needs {error.name}: run pip install 'redis_memory[cli]'")
        return FAILED
    try:
        # not standalone: it would print an error as it is, and a url in it with its password
        command: Any = typer.main.get_command(app)
        result = command.main(list(arguments), prog_name=NAME, standalone_mode=False)
        flush()
    except typer.TyperException as error:
        return _misused(error)
    except typer.Abort:
        return FAILED
    except FAILURES as error:
        text = str(error) or type(error).__name__
        if not any(text in line for line in said):
            tell(text)
        return code_of(error)
    return result if isinstance(result, int) else 0


def _misused(error: Any) -> int:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else NAME
    tell(f"{error.format_message()} (see `{where} --help`)")
    return MISUSED


def _end(*_: object) -> None:
    sys.exit(TERMINATED)


class _Lines(logging.Handler):
    """What the library logs, a line each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: deque[str] = deque(maxlen=10)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        tell(record.getMessage())


def _speak_plainly() -> Collection[str]:
    """Send what the library logs, or warns of, to standard error; the last lines of the log."""
    lines = _Lines()
    log = logging.getLogger("redis_memory")
    log.addHandler(lines)
    log.propagate = False
    warnings.showwarning = lambda message, *_: tell(str(message))
    return lines.said


def _be_silent() -> None:
    """Have the interpreter say nothing, at its end, of output that nobody takes."""
    try:
        sys.stdout.flush()
    except OSError:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stdout.fileno())
        os.close(nobody)
