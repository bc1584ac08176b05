"""What goes wrong: one clear line, the documented exit code, no trace, no secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from redis_memory.cli.failures import without_secrets
from tests.cli.commands import SECRET, Commands
from tests.cli.conftest import Begin
from tests.servers import HOST, Server, free_port

ALL = [
    ["ls"],
    ["show", "a"],
    ["get", "a", "topic"],
    ["set", "a", "topic", "1"],
    ["watch", "a"],
    ["tail", "a", "messages"],
    ["tail", "a", "messages", "-f"],
    ["prune", "--yes"],
    ["export", "-"],
    ["import", "-"],
    ["stats"],
    ["doctor"],
    ["reindex"],
]


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_no_server_is_3(arguments: list[str]) -> None:
    """Every command says that it cannot reach it, within seconds, and does nothing."""
    outcome = Commands(f"redis://ann:{SECRET}@{HOST}:{free_port()}").inside(*arguments)
    assert outcome.code == 3
    assert "reach" in outcome.err + outcome.out


def test_no_server_is_one_line() -> None:
    """What the log says of it is not said again."""
    outcome = Commands(f"redis://ann:{SECRET}@{HOST}:{free_port()}").run("ls")
    assert outcome.code == 3
    assert len(outcome.err.splitlines()) == 1


def test_set_is_not_left_waiting(server: Server, command: Commands, begin: Begin) -> None:
    """While the server does not answer, `set` fails: nothing waits in a process that ends."""
    with Server(tcp=True) as own:
        commands = Commands(own.url)
        commands.good("set", "a", "topic", "1")
        own.freeze()
        assert commands.run("set", "a", "topic", "2").code == 3
        own.thaw()
        own.restart()
        assert commands.good("get", "a", "topic").out == "1\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "nobody"],
        ["get", "nobody", "topic"],
        ["get", "a", "nothing"],
        ["tail", "nobody", "messages"],
        ["tail", "a", "nothing"],
        ["tail", "a", "nothing", "--follow"],
        ["export", "-", "a", "nobody"],
    ],
    ids=" ".join,
)
def test_what_is_unknown_is_4(command: Commands, begin: Begin, arguments: list[str]) -> None:
    """And it is named."""
    begin("a")
    outcome = command.inside(*arguments)
    assert outcome.code == 4
    assert ("nobody" if "nobody" in arguments else "nothing") in outcome.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "command"),
        (["nonsense"], "nonsense"),
        (["get", "a"], "NAME"),
        (["ls", "--order", "best"], "best"),
        (["ls", "--limit", "0"], "limit"),
        (["ls", "--idle-for", "30"], "--idle-for"),
        (["ls", "--cursor", "zz"], "cursor"),
        (["ls", "--where", "state ="], "state ="),
        (["prune", "--where", "__import__('os')"], "condition"),
        (["prune", "--idle-for", "soon"], "--idle-for"),
        (["show", ""], "id"),
        (["show", "x" * 513], "id"),
        (["set", "a", "_private", "1"], "_private"),
        (["ls", "--url", f"redis://:{SECRET}@host:port"], "url"),
        (["ls", "--url", f"what://:{SECRET}@host"], "what"),
        (["ls", f"redis://:{SECRET}@host"], "redis://***@host"),
        (["ls", f"redis://host/?password={SECRET}&db=1"], "password=***&db=1"),
    ],
)
def test_wrong_usage_is_2(command: Commands, arguments: list[str], named: str) -> None:
    """What is wrong is named; a url that stands in the wrong place loses its password."""
    outcome = command.inside(*arguments)
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see redis://ann:p@ss:w@host:1/2 now", "see redis://***@host:1/2 now"),
        ("rediss+cluster://:x@h1,h2", "rediss+cluster://***@h1,h2"),
        ("'unix://:x@/tmp/s' 'http://plain/'", "'unix://***@/tmp/s' 'http://plain/'"),
        ("unix:///s?PASSWORD=x&db=1", "unix:///s?PASSWORD=***&db=1"),
        ("(redis://:it's@h)", "(redis://***@h)"),
        ("'redis://h?password=it's&db=1'", "'redis://h?password=***&db=1'"),
        ("nothing: ann@example.org", "nothing: ann@example.org"),
    ],
)
def test_urls_lose_their_secrets(text: str, told: str) -> None:
    """Whatever stands before the last `@`, and a password in the query."""
    assert without_secrets(text) == told


def test_a_wrong_password_is_told_and_not_shown(begin: Begin) -> None:
    """The server's refusal is an error of its own."""
    with Server(tcp=True, password="right") as own:
        outcome = Commands(f"redis://:{SECRET}@{HOST}:{own.port}").run("ls")
    assert outcome.code == 1
    assert "password" in outcome.err


def test_output_that_cannot_be_written_is_1(command: Commands, begin: Begin) -> None:
    """A full disk is told of, and not by the interpreter."""
    begin("a")
    with Path("/dev/full").open("wb") as full:
        outcome = subprocess.run(
            [sys.executable, "-m", "redis_memory", "ls"],
            env=command.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (outcome.returncode, outcome.stderr) == (
        1,
        "redis-memory: cannot write the output: No space left on device\n",
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_fault(command: Commands, begin: Begin, closed: str) -> None:
    """A job that is started without any does its work."""
    begin("a")
    outcome = subprocess.run(
        ["sh", "-c", f'exec "$0" -m redis_memory set a topic 1 {closed}', sys.executable],
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    assert command.good("get", "a", "topic").out == "1\n"
    listed = subprocess.run(
        ["sh", "-c", f'exec "$0" -m redis_memory ls {closed}', sys.executable],
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (listed.returncode, listed.stderr) == (0, "")


@pytest.mark.parametrize("arguments", ["set a topic -", "import -"])
def test_input_that_is_closed_is_1(command: Commands, begin: Begin, arguments: str) -> None:
    """Nothing is taken for an empty file, or for a text."""
    begin("a")
    outcome = subprocess.run(
        ["sh", "-c", f'exec "$0" -m redis_memory {arguments} <&-', sys.executable],
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    told = "redis-memory: cannot read standard input: it is closed\n"
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (1, "", told)
    assert command.good("get", "a", "topic").out == "billing\n"


def test_without_the_extra_it_is_named() -> None:
    """Who has no typer is told what to install."""
    program = "import sys; sys.modules['typer'] = None; import redis_memory.__main__"
    outcome = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "redis-memory: the command needs typer: run pip install 'redis_memory[cli]'\n"
    )


def test_help_needs_no_server_and_shows_every_command(tmp_path: Path) -> None:
    """Every command has help, with its options."""
    commands = Commands(None)
    told = commands.good("--help").out
    for arguments in [*ALL, ["server", "start"]]:
        assert f"  {arguments[0]} " in told
        assert "Usage: redis-memory" in commands.good(*arguments[:1], "--help").out


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"redis", "pydantic", "rich", "redis_memory.conversations"}),
        (["ls"], {"rich", "redis_memory.memory", "redis_memory.typed.core", "redis_memory.doctor"}),
    ],
)
def test_a_command_imports_no_more_than_it_needs(
    command: Commands, arguments: list[str], heavy: set[str]
) -> None:
    """That is most of the time that it takes."""
    program = (
        "import sys; from redis_memory.cli.main import main\n"
        f"code = main({arguments!r})\n"
        f"assert not {heavy!r} & sys.modules.keys(), {heavy!r} & sys.modules.keys()\n"
        "sys.exit(code)"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env=command.environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def test_shells_can_complete() -> None:
    """The shell is given a script, and the script gets the commands."""
    commands = Commands(None)
    commands.environment |= {"_REDIS_MEMORY_COMPLETE": "complete_bash"}
    commands.environment |= {"COMP_WORDS": "redis-memory do", "COMP_CWORD": "1"}
    assert commands.run().out.split() == ["doctor"]
