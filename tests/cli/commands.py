"""The real command: as a process of its own, or, where that adds nothing, in this one."""

from __future__ import annotations

import io
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any
from unittest.mock import patch

from redis_memory.cli.main import run
from redis_memory.cli.output import flush

LIMIT_S = 60.0
SECRET = "hush-hush"


@dataclass(frozen=True)
class Outcome:
    """How a command has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of its data."""
        return self.out.splitlines()


class Running:
    """A command that has not ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._rest = {"stdout": b"", "stderr": b""}

    def line(self, stream: str = "stdout") -> str:
        """The next line of its data, or of its messages.

        Raises:
            AssertionError: None came in time.
        """
        read: Any = getattr(self.process, stream)
        with selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            while b"\n" not in self._rest[stream]:
                assert selector.select(LIMIT_S), "no line came"
                received = os.read(read.fileno(), 65536)
                assert received, f"it ended: {self.wait()}"
                self._rest[stream] += received
        line, _, self._rest[stream] = self._rest[stream].partition(b"\n")
        return line.decode()

    def end(self, how: signal.Signals) -> Outcome:
        """Send a signal, and wait for the end."""
        self.process.send_signal(how)
        return self.wait()

    def close_its_pipe(self) -> None:
        """Read no more."""
        out: IO[bytes] | None = self.process.stdout
        assert out is not None
        out.close()
        self.process.stdout = None

    def wait(self) -> Outcome:
        """Wait for its end."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        told = self._rest["stdout"] + (out or b""), self._rest["stderr"] + err
        return Outcome(self.process.returncode, *(one.decode() for one in told))


class Commands:
    """Runs `python -m redis_memory` with an address, and with no other setting."""

    def __init__(self, url: str | None) -> None:
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("REDIS_")
        }
        if url is not None:
            self.environment["REDIS_URL"] = url
        self._started: list[Running] = []

    def _process(self, arguments: Sequence[str | bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "redis_memory", *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str | bytes, stdin: bytes = b"") -> Outcome:
        """Run a command to its end. Whatever happens, there is no trace and no secret."""
        with self._process(arguments) as process:
            try:
                out, err = process.communicate(stdin, timeout=LIMIT_S)
            finally:
                process.kill()
        outcome = Outcome(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in outcome.err, outcome.err
        assert SECRET not in outcome.out + outcome.err
        return outcome

    def inside(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        """The same in this process, which takes a hundredth of the time."""
        streams = [io.TextIOWrapper(io.BytesIO(given), "utf-8") for given in (stdin, b"", b"")]
        names = ("sys.stdin", "sys.stdout", "sys.stderr")
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, self.environment, clear=True))
            for name, stream in zip(names, streams, strict=True):
                stack.enter_context(patch(name, stream))
            code = run(arguments)
            flush()
        out, err = (stream.buffer.getvalue().decode() for stream in streams[1:])
        assert SECRET not in out + err
        return Outcome(code, out, err)

    def good(self, *arguments: str | bytes, stdin: bytes = b"") -> Outcome:
        """Run a command that must succeed, in this process if it can be."""
        if all(isinstance(argument, str) for argument in arguments):
            outcome = self.inside(*map(str, arguments), stdin=stdin)
        else:
            outcome = self.run(*arguments, stdin=stdin)
        assert outcome.code == 0, outcome
        return outcome

    def start(self, *arguments: str) -> Running:
        """Start a command that goes on until it is ended."""
        running = Running(self._process(arguments))
        self._started.append(running)
        return running

    def close(self) -> None:
        """End what was started."""
        for running in self._started:
            with running.process:
                running.process.kill()
