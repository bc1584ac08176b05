"""One value in its envelope: it comes back from its own place, under its own key, unchanged."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_memory import DecryptionError
from redis_memory.core.descriptor import DICT, LIST, SET, VALUE
from redis_memory.core.sealed_values import Sealed
from redis_memory.core.sealing import ELEMENT, ITEM, NUMBER, is_sealed
from redis_memory.core.sealing import VALUE as SCALAR
from redis_memory.core.values import pack, unpack
from tests.encryption.keys import MARKER, NEW_BYTES, OLD_BYTES, sealer
from tests.strategies import same, values

PLACES = st.sampled_from([SCALAR, NUMBER, ELEMENT, ITEM])
NAMES = st.text(min_size=1, max_size=8).map(str.encode)
PLAIN = st.binary(min_size=1, max_size=200)


@given(values(), NAMES)
def test_every_value_comes_back(value: Any, name: bytes) -> None:
    """Equal in, equal out, same type; and the envelope is told from any plain value."""
    packed = pack(value)
    envelope = sealer().seal(SCALAR, name, packed)
    assert is_sealed(envelope)
    assert not is_sealed(packed)
    assert same(unpack(sealer().open(SCALAR, name, envelope)), value)


@given(PLACES, NAMES, PLAIN, PLAIN)
def test_bytes_are_equal_where_values_are(
    place: bytes, name: bytes, one: bytes, two: bytes
) -> None:
    """The server can compare what it cannot read, in one place and nowhere else."""
    envelope = sealer().seal(place, name, one)
    assert (envelope == sealer().seal(place, name, two)) is (one == two)
    assert envelope != sealer().seal(place, name + b"x", one)
    assert envelope != sealer(b"memory:{d}").seal(place, name, one)


@pytest.mark.parametrize("plain", [b"\xa1x", b"\x93\x01\x02\x03", b"\xc3" * 100])
def test_a_flipped_bit_anywhere_is_noticed(plain: bytes) -> None:
    """No bit of an envelope can be changed, none can be taken away or added."""
    envelope = sealer().seal(ELEMENT, b"box", plain)
    for at in range(len(envelope)):
        for bit in range(8):
            damaged = bytearray(envelope)
            damaged[at] ^= 1 << bit
            with pytest.raises(DecryptionError):
                sealer().open(ELEMENT, b"box", bytes(damaged))
        with pytest.raises(DecryptionError):
            sealer().open(ELEMENT, b"box", envelope[:at])
    with pytest.raises(DecryptionError):
        sealer().open(ELEMENT, b"box", envelope + b"\0")


@given(PLAIN)
def test_a_value_opens_in_its_own_place_only(plain: bytes) -> None:
    """Another conversation, attribute, kind or key of a dict is another place."""
    envelope = sealer().seal(ITEM, b"box", plain, b"sa")
    assert sealer().open(ITEM, b"box", envelope, b"sa") == plain
    for label, place, name, where in (
        (b"memory:{d}", ITEM, b"box", b"sa"),
        (b"memory:{c}", ELEMENT, b"box", b"sa"),
        (b"memory:{c}", ITEM, b"bo", b"sa"),
        (b"memory:{c}", ITEM, b"bo", b"xsa"),
        (b"memory:{c}", ITEM, b"box", b"sb"),
        (b"memory:{c}", ITEM, b"box", b""),
    ):
        with pytest.raises(DecryptionError):
            sealer(label).open(place, name, envelope, where)


def test_only_the_right_key_opens() -> None:
    """Of several keys the first one seals and each one opens; any other is refused by name."""
    label = b"memory:{c}"
    old = sealer(label, OLD_BYTES).seal(SCALAR, b"x", b"\x01")
    both = sealer(label, NEW_BYTES, OLD_BYTES)
    assert both.open(SCALAR, b"x", old) == b"\x01"
    new = both.seal(SCALAR, b"x", b"\x01")
    assert sealer(label, NEW_BYTES).open(SCALAR, b"x", new) == b"\x01"
    with pytest.raises(DecryptionError, match="'x' is under the key"):
        sealer(label, OLD_BYTES).open(SCALAR, b"x", new)


def test_plain_bytes_are_refused() -> None:
    """What somebody has put there as it is does not pass for a value."""
    with pytest.raises(DecryptionError, match="not encrypted"):
        sealer().open(SCALAR, b"x", pack("open"))


CONTAINERS = st.one_of(
    st.tuples(st.just(LIST), st.lists(PLAIN, max_size=5)),
    st.tuples(
        st.just(SET),
        st.dictionaries(PLAIN, PLAIN, max_size=5).map(lambda d: [p for i in d.items() for p in i]),
    ),
    st.tuples(
        st.just(DICT),
        st.dictionaries(PLAIN, st.tuples(PLAIN, PLAIN), max_size=5).map(
            lambda d: [
                p for k, (s, v) in d.items() for p in (k, b"1f,2~ab:%d:%b%b" % (len(s), s, v))
            ]
        ),
    ),
)


@given(CONTAINERS)
def test_containers_come_back_as_they_lie(container: tuple[bytes, list[bytes]]) -> None:
    """Elements, keys, spellings, turns and stamps are the same after sealing and opening."""
    kind, stored = container
    box = Sealed(sealer(), b"box")
    lying = list(box.sealed(kind, stored))
    assert box.opened(kind, lying) == stored
    assert all(MARKER.encode() not in part for part in lying)


@given(NAMES, PLAIN)
def test_fields_come_back(name: bytes, plain: bytes) -> None:
    """The descriptor of a scalar stays readable, its value does not."""
    one = Sealed(sealer(), name)
    field = b"v00000000000ab;" + plain
    lying = one.sealed_field(field)
    assert lying.startswith(b"v00000000000ab;\xc1\x01")
    assert one.opened_field(lying) == field
    assert one.opened_scalar(VALUE, lying[15:]) == plain


def test_keys_are_shown_nowhere() -> None:
    """Neither a repr nor a pickle of what holds keys gives them away."""
    one = sealer()
    one.seal(SCALAR, b"x", b"\x01")
    for holder in (one, one.keyring):
        assert OLD_BYTES.hex() not in repr(holder)
        assert repr(OLD_BYTES) not in repr(holder)
        with pytest.raises(TypeError):
            pickle.dumps(holder)
