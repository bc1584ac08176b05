"""`ls`, `show`, `get`, `set`, `stats`: the same for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from redis_memory import snapshot
from redis_memory.core.tagged import from_json
from tests.cli.commands import Commands
from tests.cli.conftest import Begin
from tests.directory.test_listing import age
from tests.servers import Server

EVERYTHING: dict[str, Any] = {
    "none": None,
    "yes": True,
    "large": 2**80,
    "nan": float("inf"),
    "text": "naïve\n[bold]",
    "bytes": b"\0\xff",
    "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "span": timedelta(days=1, microseconds=1),
    "uuid": UUID(int=7),
    "price": Decimal("1.50"),
    "list": [1, (2, "x"), {"a": b"b"}],
    "dict": {1: "one", ("a", 2): None},
    "set": {1, "a"},
}
# What ids may contain, as far as a shell can say it.
ODD_IDS = [
    "a b",
    'it\'s "quoted"',
    "line\nbreak\ttab",
    "[bold]red[/bold]",
    "-x",
    "--json",
    "é😀",
    "*",
    "{x}:y%7B",
    "\x1b[31mred",
    "http://user:password@host/",
]


def test_ls_pages_through_all_for_programs(command: Commands, begin: Begin) -> None:
    """Ids and times as JSON, and a cursor that leads on to the end."""
    for name in "abc":
        begin(name)
    first = json.loads(command.good("ls", "--json", "--limit", "2").out)
    assert [one["id"] for one in first["conversations"]] == ["c", "b"]
    assert first["conversations"][0].keys() == {"id", "created", "last_activity"}
    created = datetime.fromisoformat(first["conversations"][0]["created"])
    assert abs(datetime.now(UTC) - created) < timedelta(hours=1)
    rest = json.loads(command.good("ls", "--json", "--cursor", first["cursor"]).out)
    assert [one["id"] for one in rest["conversations"]] == ["a"]
    assert rest["cursor"] is None


def test_ls_chooses(command: Commands, begin: Begin, server: Server) -> None:
    """By activity, by pattern, by what the attributes hold, in either order."""
    begin("old", state="open")
    age(server, "old", 10)
    begin("new-1", state="open")
    begin("new-2", state="closed")

    def ids(*arguments: str) -> list[str]:
        return [line.split()[0] for line in command.good("ls", *arguments).lines[1:]]

    assert ids("--order", "oldest") == ["old", "new-1", "new-2"]
    assert ids("--idle-for", "1w2d") == ["old"]
    assert ids("--active-within", "12h", "--where", 'state == "open"') == ["new-1"]
    assert ids("--match", "new-?") == ["new-2", "new-1"]
    nobody = command.good("ls", "--match", "x*")
    assert nobody.out == ""
    assert nobody.err == "redis-memory: no conversation found\n"


def test_a_prefix_that_begins_another_one_shows_its_own_only(
    command: Commands, begin: Begin
) -> None:
    """`shop:` says nothing of `shop:eu:`, and the other way round."""
    begin("a", prefix="shop:")
    begin("b", prefix="shop:eu:")
    for prefix, one in (("shop:", "a"), ("shop:eu:", "b")):
        found = json.loads(command.good("ls", "--json", "--prefix", prefix).out)
        assert [each["id"] for each in found["conversations"]] == [one]
        assert command.inside("show", "b" if one == "a" else "a", "--prefix", prefix).code == 4
    command.good("prune", "--idle-for", "0s", "--yes", "--prefix", "shop:")
    left = json.loads(command.good("stats", "--json", "--prefix", "shop:eu:").out)
    assert (left["prefix"], left["conversations"]) == ("shop:eu:", 1)
    assert (
        json.loads(command.good("stats", "--json", "--prefix", "shop:").out)["conversations"] == 0
    )


def test_values_keep_their_types_for_programs(command: Commands, begin: Begin) -> None:
    """What `show --values --json` says of a value, and `get` prints, stands for that value."""
    memory = begin("c-1", **EVERYTHING)
    shown = json.loads(command.good("show", "c-1", "--values", "--json").out)
    assert shown["id"] == "c-1"
    assert shown["attributes"]["list"].keys() == {"kind", "length", "bytes", "changed", "value"}
    assert (shown["attributes"]["list"]["kind"], shown["attributes"]["list"]["length"]) == (
        "list",
        3,
    )
    values = {name: from_json(one["value"]) for name, one in shown["attributes"].items()}
    assert values == EVERYTHING == snapshot(memory)
    assert {name: type(value) for name, value in values.items()} == {
        name: type(value) for name, value in EVERYTHING.items()
    }
    for name in ("dict", "price"):
        assert from_json(json.loads(command.good("get", "c-1", name).out)) == EVERYTHING[name]


def test_what_is_set_is_what_is_got(command: Commands, begin: Begin) -> None:
    """JSON with every type, a text as it is, and standard input."""
    memory = begin("c-1")
    command.good("set", "c-1", "price", '{"$decimal": "1.50"}')
    command.good("set", "c-1", "box", '{"a": [1, {"$set": [2]}]}')
    command.good("set", "c-1", "note", "[1, 2", "--text")
    command.good("set", "c-1", "long", "-", "--text", stdin="naïve\n".encode())
    assert snapshot(memory) == {
        "topic": "billing",
        "price": Decimal("1.50"),
        "box": {"a": [1, {2}]},
        "note": "[1, 2",
        "long": "naïve\n",
    }
    assert command.good("get", "c-1", "note").out == "[1, 2\n"
    assert command.good("get", "c-1", "note", "--json").out == '"[1, 2"\n'


@pytest.mark.parametrize(
    "value",
    ["open", "[1", "NaN", "1e999", '{"$decimal": "x"}', '{"$uuid": 5}', '{"$what": 1}', ""],
)
def test_what_is_no_value_is_refused(command: Commands, begin: Begin, value: str) -> None:
    """With 2, and nothing is stored."""
    memory = begin("c-1")
    outcome = command.inside("set", "c-1", "topic", value)
    assert outcome.code == 2
    assert "JSON" in outcome.err
    assert memory.topic == "billing"


@pytest.mark.parametrize("conversation_id", ODD_IDS)
def test_odd_ids_are_one_line_and_can_be_named(
    command: Commands, begin: Begin, conversation_id: str
) -> None:
    """No id is taken for markup, an option or a control character, and each is found again."""
    memory = begin(conversation_id)
    table = command.good("ls")
    assert len(table.lines) == 2
    assert "\x1b" not in table.out
    # what is printed as it is stands there as it is
    expected = conversation_id if conversation_id.isprintable() else ascii(conversation_id)
    assert table.lines[1].startswith(f"{expected}  ")
    found = json.loads(command.good("ls", "--json").out)
    assert found["conversations"][0]["id"] == conversation_id
    command.good("set", "--text", "--", conversation_id, "topic", "sales")
    assert memory.topic == "sales"
    assert command.good("get", "--", conversation_id, "topic").out == "sales\n"


def test_an_id_that_is_no_unicode_can_be_named(command: Commands) -> None:
    """The bytes that a shell passes on are one id, also when they are no UTF-8."""
    assert command.good("set", b"bad-\xff", "topic", "1").err == ""
    assert command.good("get", b"bad-\xff", "topic").out == "1\n"
    assert len(command.good("ls").lines) == 2


def test_damage_is_told_of_one_attribute(command: Commands, begin: Begin, server: Server) -> None:
    """The others are shown."""
    begin("c-1", topic="billing", bad="x")
    server.client().hset("memory:{c-1}", "bad", "rubbish")
    shown = json.loads(command.good("show", "c-1", "--values", "--json").out)["attributes"]
    assert shown["topic"]["value"] == "billing"
    assert shown["bad"]["kind"] == "damaged"
    assert "bad" in shown["bad"]["error"]
    assert command.inside("get", "c-1", "bad").code == 1


def test_journals_are_left_to_the_workers(command: Commands, begin: Begin, tmp_path: Path) -> None:
    """Who looks at a conversation opens none, whatever the environment says."""
    begin("c-1")
    command.environment["REDIS_MEMORY_JOURNAL"] = str(tmp_path / "journal")
    command.good("get", "c-1", "topic")
    command.good("set", "c-1", "topic", "1")
    assert not (tmp_path / "journal").exists()


def test_stats_counts(command: Commands, begin: Begin, server: Server) -> None:
    """For programs and for people."""
    begin("a")
    begin("b")
    age(server, "b", 60)
    found = json.loads(command.good("stats", "--json").out)
    assert (found["conversations"], found["active_hour"], found["idle_month"]) == (2, 1, 1)
    assert "idle for 30 days         1" in command.good("stats").lines
