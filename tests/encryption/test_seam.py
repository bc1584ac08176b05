"""Between flows and link: what is not known to be sealed does not pass."""

from __future__ import annotations

from typing import Any

import pytest

from redis_memory import DecryptionError
from redis_memory.core.calls import Call, Flow, Head, NumberedCall
from redis_memory.core.protection import BLIND, READERS, protected
from redis_memory.core.scripts import SCRIPTS, SEALED
from tests.encryption.keys import MARKER, sealer

# Refused by the seam: numbers are added to here, and who stores or deletes whole memories has no
# flow of a memory.
REFUSED = {"increment", "restore", "prune", "bring", "discard"}
KEYS = (b"memory:{c}", b"memory:{c}:x")


def test_it_is_known_of_every_script_whether_it_carries_values() -> None:
    """A new script is refused until somebody has said what it carries."""
    groups: tuple[Any, ...] = (SEALED, BLIND, READERS, REFUSED)
    assert set(SCRIPTS) == set().union(*groups)
    assert len(SCRIPTS) == sum(map(len, groups))


def _sends(call: Call) -> Flow[Any]:
    return (yield call)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_not_known_is_not_sent(name: str) -> None:
    """The flow is told, and nothing goes to the link."""
    head = Head.script(SCRIPTS[name], KEYS, b"_w000000000000000000", b"x")
    words = (b"", name.encode(), MARKER.encode())
    for call in (NumberedCall(head, 1, *words), Call(head, *words)):
        with pytest.raises(DecryptionError):
            next(protected(sealer(), _sends(call)))


def test_the_same_call_is_sent_under_the_key_that_the_server_names() -> None:
    """With the same number, and as often as the server says that the key is another one."""
    one = sealer(b"memory:{c}", b"n" * 32, b"o" * 32)
    other = sealer(b"memory:{c}", b"o" * 32)
    head = Head.script(SCRIPTS["append"], KEYS, b"_w000000000000000000", b"x")
    flow = protected(one, _sends(NumberedCall(head, 7, b"", b"push", b"\x01")))
    first = next(flow)
    held = flow.send([b"sealed", other.active.hex().encode(), b"held"])
    assert held.arguments == first.arguments
    second = flow.send([b"sealed", other.active.hex().encode()])
    assert first.arguments[:3] == second.arguments[:3] == (b"7", b"", b"push")
    assert first.head.parts[1] != second.head.parts[1]
    assert other.open(b"l", b"x", second.arguments[3]) == b"\x01"
    with pytest.raises(StopIteration) as end:
        flow.send([b"7", b"ok", b"l1;", b"1"])
    assert end.value.value == [b"7", b"ok", b"l1;", b"1"]


def test_a_key_that_is_not_known_ends_it() -> None:
    """The flow is told which key it would take."""
    head = Head.script(SCRIPTS["append"], KEYS, b"_w000000000000000000", b"x")
    flow = protected(sealer(), _sends(NumberedCall(head, 7, b"", b"push", b"\x01")))
    next(flow)
    with pytest.raises(DecryptionError, match="00ff00ff"):
        flow.send([b"sealed", b"00ff00ff"])


def test_scripts_of_open_memories_ask_for_no_key() -> None:
    """Nothing is asked of the server for the sake of encryption but when a writer begins."""
    for name, script in SCRIPTS.items():
        if name not in ("restore", "reseal", "bring"):
            carries_values = name in {*SEALED, "increment"}
            assert script.source.count(b"'_sealed'") == carries_values, name
