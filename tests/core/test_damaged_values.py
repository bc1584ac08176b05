"""Bytes that are no value of ours are refused, whatever they are, before they cost anything."""

from __future__ import annotations

import decimal
import pickle
import random
import tracemalloc
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_memory.core.headers import has_more_nodes
from redis_memory.core.values import DEFAULT_LIMITS, Limits, pack, unpack
from redis_memory.errors import CorruptValueError
from tests.strategies import values

SAMPLE = {
    "role": "user",
    ("k", 1): [None, True, -1, 2**70, 1.5, b"x", "\ud800"],
    "moments": (datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris")), timedelta(-1)),
    "more": {Decimal("1.50"), UUID(int=5), frozenset({"a", "b"})},
}
MEBI = 1024 * 1024
MARK = {kind: b"\xd4\x01" + letter for kind, letter in (("t", b"t"), ("s", b"s"), ("f", b"f"))}


def extension(code: int, payload: bytes) -> bytes:
    """One MessagePack extension."""
    return b"\xc8" + len(payload).to_bytes(2, "big") + bytes([code % 256]) + payload


def array(items: int, content: bytes) -> bytes:
    """The header of a list and what is said to be in it."""
    return b"\xdd" + items.to_bytes(4, "big") + content


def read_or_refuse(data: bytes) -> None:
    """Take a value or a CorruptValueError, and nothing else; a value must be storable again."""
    try:
        value = unpack(data)
    except CorruptValueError:
        return
    pack(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_corrupt(data: bytes) -> None:
    """Random bytes raise nothing but `CorruptValueError`."""
    read_or_refuse(data)


@given(st.integers(2, 8), st.binary(max_size=40))
def test_any_payload_of_an_extension_is_a_value_or_corrupt(code: int, payload: bytes) -> None:
    """What the extensions are read from may be anything, alone, as a key, or as an element."""
    part = extension(code, payload)
    for data in (part, b"\x81" + part + b"\xc0", b"\x92" + MARK["s"] + part):
        read_or_refuse(data)


@given(values(), st.data())
def test_damaged_values_are_read_or_corrupt(value: Any, data: st.DataObject) -> None:
    """Bytes changed, added or removed in a packed value raise nothing but `CorruptValueError`."""
    damaged = bytearray(pack(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    read_or_refuse(bytes(damaged))


def test_every_truncation_is_corrupt() -> None:
    """No beginning of a packed value is a value; nothing may follow one either."""
    for filler in ("", "x" * 600):
        packed = pack({**SAMPLE, "filler": filler})
        for length in range(len(packed)):
            with pytest.raises(CorruptValueError):
                unpack(packed[:length])
        for more in (b"\x00", b"\xc0", b"\xc1", packed):
            with pytest.raises(CorruptValueError):
                unpack(packed + more)


def test_every_flipped_bit_gives_a_value_or_corrupt() -> None:
    """One wrong bit anywhere raises nothing but `CorruptValueError`."""
    packed = pack(SAMPLE)
    for bit in range(8 * len(packed)):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        read_or_refuse(bytes(damaged))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        pickle.dumps({"a": 1}),
        b'{"role": "user"}',
        b"\xa2\xff\xfe",  # no UTF-8
        b"\xa3\xed\xa0",  # half a surrogate
        b"\x81\x90\xc0",  # a list as a key
        b"\x81\x80\xc0",
        b"\x81" + extension(5, b"2024-01-01") + b"\xc0",  # a date as a key
        b"\x92" + MARK["s"] + b"\x90",  # a list as an element
        b"\x92" + MARK["f"] + extension(3, b"sNaN"),
        MARK["t"],  # a mark where no container begins
        b"\x92\x01" + MARK["t"],
        b"\x81" + MARK["t"] + b"\xc0",
        b"\x93" + MARK["t"] + MARK["t"] + b"\x01",
        b"\x91" + extension(1, b"x"),
        b"\x91" + extension(1, b""),
        extension(0, b""),
        extension(9, b"x"),
        extension(127, b"x"),
        extension(-1, bytes(4)),  # MessagePack's own timestamp
        b"\x92" + MARK["s"] + extension(-1, bytes(4)),
        extension(3, b"1,5"),
        extension(3, "\u0661".encode()),
        extension(3, b"1E+9999999999999999999"),
        extension(4, b"0|2024-13-01T00:00:00||"),
        extension(4, b"2|2024-01-01T00:00:00||"),
        extension(4, b"0|2024-01-01T00:00:00|"),
        extension(4, b"0|2024-01-01T00:00:00|86400000000|"),
        extension(4, b"0|2024-01-01T00:00:00|1e9|"),
        extension(4, b"0|2024-01-01T00:00:00|" + b"9" * 5000 + b"|"),
        extension(4, b"0|2024-01-01T00:00:00|0|../../etc/passwd"),
        extension(4, b"0|2024-01-01T00:00:00|0|/etc/localtime"),
        extension(4, b"0|2024-01-01T00:00:00|0|" + b"a" * 65),
        extension(5, b"yesterday"),
        extension(6, b"0|25:00||"),
        extension(7, b"\x7f" * 20),
        extension(8, b"short"),
    ],
)
def test_what_is_no_value_is_corrupt(data: bytes) -> None:
    """Unknown extensions, wrong payloads, misplaced marks, a pickle, JSON: each is refused."""
    with pytest.raises(CorruptValueError) as caught:
        unpack(data)
    assert isinstance(caught.value, ValueError)


def test_nonsense_is_no_number_in_any_decimal_context() -> None:
    """A context without traps, in which Python reads nonsense as NaN, is not asked."""
    with decimal.localcontext(decimal.Context(traps=[])), pytest.raises(CorruptValueError):
        unpack(extension(3, b"1,5"))


def test_a_zone_that_is_a_folder_is_an_unknown_zone() -> None:
    """A name that the system's zones do not have as a zone leaves the offset."""
    for name in (b"Europe", b"No/Where", b"Europe/Paris/x", b"leapseconds"):
        read = unpack(extension(4, b"0|2024-01-01T00:00:00|3600000000|" + name))
        assert read == datetime.fromisoformat("2024-01-01T00:00:00+01:00")


def test_messages_never_show_what_the_bytes_hold() -> None:
    """Neither the message nor a chained error quotes the data."""
    for data in (
        extension(5, b"hunter2"),
        extension(4, b"0|hunter2|hunter2|hunter2"),
        b"\xabhunter2\xff\xff\xff\xff",
        pack({"hunter2": "hunter2"}) + b"\xa7hunter2",
        b"\x91\x92\xa7hunter2" + MARK["t"],
    ):
        with pytest.raises(CorruptValueError) as caught:
            unpack(data)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__
        assert "hunter2" not in str(caught.value.__cause__)


BOMBS = {
    "empty dicts": array(MEBI, b"\x80" * MEBI),
    "empty dicts in two lists": b"\x92" + array(MEBI // 2, b"\x80" * (MEBI // 2)) * 2,
    "empty tuples": array(MEBI, (b"\x91" + MARK["t"]) * MEBI),
    "small ints": array(8 * MEBI, b"\x01" * (8 * MEBI)),
    "levels": b"\x91" * MEBI + b"\xc0",
    "levels of tuples": (b"\x92" + MARK["t"]) * MEBI + b"\xc0",
    "promises of 2**32 items": b"\xdd\xff\xff\xff\xff" * 100_000,
    "promises that fit the size": b"\xdd\x00\x01\x00\x00" * 20_000,
    "promises that msgpack prepares for": b"\xdc\x27\x10" * 1000 + b"\xc0" * 10_000,
    "promises of a few kilobytes": b"\xdc\x0f\xa0" * 1000 + b"\xc0" * 1096,
    "promises under the limit of small data": b"\xdc\x00\xff" * 170,
    "dicts that are not there": b"\xdf\x00\x01\x00\x00" * 20_000,
    "a str of 4 GiB": b"\xdb\xff\xff\xff\xff" + b"x" * MEBI,
    "bytes of 4 GiB": b"\xc6\xff\xff\xff\xff" + b"x" * MEBI,
    "an extension of 4 GiB": b"\xc9\xff\xff\xff\xff\x02" + b"x" * MEBI,
    "levels of surrogates": (b"\x93" + MARK["t"] + b"\xa3\xed\xa0\x80") * 1000 + b"\xc0",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_built(name: str) -> None:
    """Bytes that promise or hold more than the limits cost about their own size to refuse."""
    bomb = BOMBS[name]
    tracemalloc.start()
    try:
        with pytest.raises(CorruptValueError):
            unpack(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # msgpack reads ahead in a buffer of at most twice the size
    assert peak < 2 * len(bomb) + MEBI


def test_too_many_bytes_are_refused_unread() -> None:
    """A payload over the limit of bytes is corrupt, however harmless."""
    limits = Limits(max_value_bytes=10)
    assert unpack(pack("x" * 9, limits), limits) == "x" * 9
    with pytest.raises(CorruptValueError, match="at most 10"):
        unpack(pack("x" * 10), limits)


def test_what_pack_would_refuse_is_not_read() -> None:
    """One level or one part over the limits is corrupt, also in data too short to be counted."""
    with pytest.raises(CorruptValueError, match="nested too deeply"):
        unpack(b"\x91" * 65 + b"\xc0")
    with pytest.raises(CorruptValueError, match="more than 5 parts"):
        unpack(b"\x95" + b"\xc0" * 5, Limits(max_nodes=5))
    with pytest.raises(CorruptValueError, match="nested too deeply"):
        unpack((b"\x92" + MARK["t"]) * 65 + b"\xc0")


def test_a_deep_key_is_no_recursion_error() -> None:
    """Two equal keys of a thousand levels, which Python cannot compare, are just corrupt."""
    key = (b"\x92" + MARK["t"]) * 1000 + b"\xc0"
    with pytest.raises(CorruptValueError):
        unpack(b"\x82" + (key + b"\xc0") * 2)


def test_a_value_of_as_many_parts_as_allowed_is_read() -> None:
    """A million parts are stored and read again."""
    value = [[n, "ab", 1.5] for n in range((DEFAULT_LIMITS.max_nodes - 1) // 4)]
    assert unpack(pack(value)) == value


@given(values())
def test_parts_are_counted_from_the_bytes_as_from_the_value(value: Any) -> None:
    """The count that guards large data is the count that `pack` keeps to: exact, not a guess."""
    packed = pack(value)
    nodes = count(value)
    assert not has_more_nodes(packed, nodes)
    assert has_more_nodes(packed, nodes - 1)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65535, 65536])
def test_parts_are_counted_behind_texts_of_any_length(length: int) -> None:
    """No length of str, bytes or extension hides what comes after it, or is counted for parts."""
    filler = random.Random(length).randbytes(length)
    long_int = int.from_bytes(b"\x01" + filler, "big") << 64
    packed = pack(["x" * length, filler, long_int, 1])
    assert not has_more_nodes(packed, 5)
    assert has_more_nodes(packed, 4)


def count(value: Any) -> int:
    """The parts of a value, itself included."""
    if isinstance(value, dict):
        return 1 + sum(map(count, value)) + sum(map(count, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return 1 + sum(map(count, value))
    return 1
