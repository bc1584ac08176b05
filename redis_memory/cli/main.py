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
from collections.abc import Sequence
from typing import Any, Final

from redis_memory.cli.failures import FAILURES, code_of
from redis_memory.cli.output import ClosedPipeError, flush, tell, tell_once

NAME: Final = "redis-memory"
WRONG_USAGE: Final = 2
CLOSED_PIPE: Final = 128 + signal.SIGPIPE
TERMINATED: Final = 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    # a command lives for so short a time that nothing is worth collecting while it starts
    gc.disable()
    signal.signal(signal.SIGTERM, _end)
    _speak_plainly()
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        flush()
    except ClosedPipeError:
        _be_silent()
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return code


def _run(arguments: list[str]) -> int:
    try:
        from redis_memory.cli.app import app, typer  # noqa: PLC0415 - the extra `cli`
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        tell(f"the command needs {error.name}: run pip install 'redis_memory[cli]'")
        return 1
    try:
        # not standalone: it would print an error as it is, and a url in it with its password
        command: Any = typer.main.get_command(app)
        result = command.main(arguments, prog_name=NAME, standalone_mode=False)
    except typer.TyperException as error:
        return _misused(error)
    except typer.Abort:
        return 1
    except FAILURES as error:
        tell_once(str(error) or type(error).__name__)
        return code_of(error)
    return result if isinstance(result, int) else 0


def _misused(error: Any) -> int:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else NAME
    tell(f"{error.format_message()} (see `{where} --help`)")
    return WRONG_USAGE


def _end(*_: object) -> None:
    sys.exit(TERMINATED)


def _speak_plainly() -> None:
    """Send what the library logs, or warns of, to standard error, a line each."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    log = logging.getLogger("redis_memory")
    log.addHandler(Lines(logging.WARNING))
    log.propagate = False
    warnings.showwarning = lambda message, *_: tell(str(message))


def _be_silent() -> None:
    """Have the interpreter flush what is left to nobody, without a word."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, 1)
    os.close(nobody)
