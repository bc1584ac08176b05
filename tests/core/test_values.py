"""Values become bytes and come back as they were; what cannot be stored is refused by name."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import enum
import io
import threading
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack  # type: ignore[import-untyped]  # it says nothing of its types
import pytest
from hypothesis import example, given

from redis_memory.core.values import Limits, copy_in, is_key, pack, unpack
from redis_memory.errors import UnstorableValueError, ValueTooLargeError
from tests.strategies import keys, same, values

# A zone file: no changes, one type of time, 7200 seconds east, called CEST.
TWO_HOURS_EAST = (
    b"TZif" + bytes(35) + b"\x01" + bytes(3) + b"\x05" + b"\x00\x00\x1c\x20\x01\x00CEST\x00"
)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(collections.namedtuple("Point", "x y")):  # noqa: PYI024  # an untyped one, as users have
    __slots__ = ()


class Name(str):
    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Plain:
    x: int = 1


class ProxiedList(list[Any]):
    """As a proxy does: whoever iterates it is given something else than it stores."""

    _synced_ = True

    def __iter__(self) -> Any:
        raise AssertionError("the storage is read, not the proxy")


class ProxiedDict(dict[Any, Any]):
    _synced_ = True

    def __iter__(self) -> Any:
        raise AssertionError("the storage is read, not the proxy")

    def values(self) -> Any:
        raise AssertionError("the storage is read, not the proxy")

    items = keys = values


class ProxiedSet(set[Any]):
    _synced_ = True

    def __iter__(self) -> Any:
        raise AssertionError("the storage is read, not the proxy")


class Shifted(tzinfo):
    """A zone of a class that the library does not know, two hours east."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=2)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, moment: datetime | None) -> str:
        return "shifted"


@given(values())
@example({"role": "user", "content": "hello"})
@example([time(0, tzinfo=timezone(timedelta(microseconds=1)))])
@example([2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
@example({("\ud800", (None, 1)): ({frozenset({("\udfff",)})},)})
@example({frozenset({1, frozenset()}), (frozenset({"a", "b"}),)})
def test_a_value_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    """Equal in, equal out, same type, at every depth."""
    assert same(unpack(pack(value)), value)


@given(values())
def test_a_copy_is_what_a_reader_will_see(value: Any) -> None:
    """`copy_in` gives the bytes of `pack`, and the value that `unpack` makes of them."""
    packed, copy = copy_in(value)
    assert packed == pack(value)
    assert same(copy, unpack(packed))


@given(values())
def test_packing_is_deterministic(value: Any) -> None:
    """What was read packs to the very bytes it was read from."""
    packed = pack(value)
    assert pack(unpack(packed)) == packed


def test_sets_that_were_filled_in_another_order_give_the_same_bytes() -> None:
    """The order in which a set holds its elements leaves no trace, at any depth."""
    numbers = [n * 64 for n in range(20)]
    one, other = set(numbers), set[int]()
    other.update(reversed(numbers))
    assert list(one) != list(other)
    assert pack(one) == pack(other)
    assert pack([(frozenset(one), frozenset({frozenset(one), 1}))]) == pack(
        [(frozenset(other), frozenset({1, frozenset(other)}))]
    )


def test_sets_inside_sets_are_sorted_in_reasonable_time() -> None:
    """Each level is sorted once; sorting it anew for each level above would take 2**60 steps."""
    value: Any = frozenset({0, 1})
    for _ in range(60):
        value = frozenset({0, value})
    assert unpack(pack(value)) == value


@pytest.mark.parametrize("name", ["Europe/Paris", "UTC", "Etc/GMT+5"])
def test_a_named_zone_keeps_its_name(name: str) -> None:
    """A ZoneInfo zone that the reader knows comes back by its name, for datetimes and for times."""
    moment = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo(name))
    assert unpack(pack(moment)).tzinfo is ZoneInfo(name)
    assert unpack(pack(moment.timetz())).tzinfo is ZoneInfo(name)


def test_an_unknown_zone_becomes_its_offset() -> None:
    """A zone that the reader lacks, or knows otherwise, costs the name and not the instant."""
    moment = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
    packed = pack(moment)
    unknown = packed.replace(b"Europe/Paris", b"Europe/Pariz")
    differs = packed.replace(b"Europe/Paris", b"Europe/Minsk")
    assert unpack(unknown) == unpack(differs) == moment
    assert unpack(unknown).tzinfo == unpack(differs).tzinfo == timezone(timedelta(hours=2))


def test_a_zone_without_a_usable_name_becomes_its_offset() -> None:
    """A zone from a file without a key, or of another class, is stored by its offset."""
    for zone in (ZoneInfo.from_file(io.BytesIO(TWO_HOURS_EAST)), Shifted()):
        moment = datetime(2024, 7, 1, 12, tzinfo=zone)
        read = unpack(pack(moment))
        assert read == moment
        assert read.tzinfo == timezone(timedelta(hours=2))
        assert copy_in({"at": moment})[1]["at"].tzinfo == timezone(timedelta(hours=2))


def test_decimals_are_exact_whatever_the_context() -> None:
    """The caller's decimal context, its precision and capitals, change nothing."""
    number = Decimal("1234567890.12345678901234567890E+50")
    expected = pack(number)
    with decimal.localcontext(decimal.Context(prec=3, capitals=0, traps=[])):
        assert pack(number) == expected
        assert same(unpack(expected), number)


def test_native_values_are_plain_messagepack() -> None:
    """Other programs read what MessagePack itself knows."""
    value = {"role": "user", "n": [1, 2.5, None, True, b"x"]}
    assert msgpack.unpackb(pack(value)) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (print, "cannot store builtin_function_or_method at value"),
        ({"a": [1, 2, 3, test_native_values_are_plain_messagepack]}, "function at value['a'][3]"),
        ({"a": {(1, "b"): object()}}, "cannot store object at value['a'][...]"),
        ({"k" * 41: {7: object()}}, "cannot store object at value[...][7]"),
        ((1, [{2: {Plain()}}]), "cannot store Plain at value[1][0][2][...]"),
        ({Plain(): 1}, "cannot use Plain as a dict key at value:"),
        ([{date(2024, 1, 1): 1}], "cannot use date as a dict key at value[0]:"),
        ({"a": {(1, (Decimal(1),)): 1}}, "cannot use Decimal as a dict key at value['a']:"),
        ({frozenset(): 1}, "cannot use frozenset as a dict key at value:"),
        (collections.OrderedDict(a=1), "OrderedDict at value: it would come back as a plain dict"),
        (collections.defaultdict(int), "it would come back as a plain dict"),
        (collections.Counter("a"), "it would come back as a plain dict"),
        ([Point(1, 2)], "Point at value[0]: it would come back as a plain tuple"),
        ([Colour.RED], "Colour at value[0]: it would come back as a plain str"),
        ([Level.LOW], "Level at value[0]: it would come back as a plain int"),
        ({Name("a"): 1}, "cannot use Name as a dict key at value:"),
        ({"a": Name("a")}, "it would come back as a plain str"),
        (Plain(), "cannot store Plain at value"),
        (bytearray(b"a"), "cannot store bytearray at value"),
        ([memoryview(b"a")], "cannot store memoryview at value[0]"),
        (collections.deque([1]), "cannot store deque at value"),
        (1j, "cannot store complex at value"),
        (range(3), "cannot store range at value"),
        (iter([1]), "cannot store list_iterator at value"),
        ({"a": 1}.keys(), "cannot store dict_keys at value"),
        ([msgpack.ExtType(1, b"t"), 1], "cannot store ExtType at value[0]"),
        ([msgpack.Timestamp(1)], "cannot store Timestamp at value[0]"),
        ([list], "cannot store type at value[0]"),
    ],
)
def test_other_types_are_refused_by_path(value: Any, message: str) -> None:
    """What would come back as another type, or not at all, raises; the message names its path."""
    for door in (pack, copy_in):
        with pytest.raises(UnstorableValueError) as caught:
            door(value)
        assert message in str(caught.value)
        assert isinstance(caught.value, TypeError)
        assert not isinstance(caught.value, ValueTooLargeError)


def test_the_path_begins_with_the_name_that_was_given() -> None:
    """The caller says how the value is called; for the value itself nothing follows the name."""
    with pytest.raises(UnstorableValueError, match=r"^cannot store object at mem\.x\['a'\]$"):
        pack({"a": object()}, path="mem.x")
    with pytest.raises(ValueTooLargeError, match=r"^mem\.x is nested too deeply"):
        copy_in([[[]]], Limits(max_depth=2), path="mem.x")


def test_messages_never_show_values() -> None:
    """A value is the user's data: neither it nor a long key stands in a message."""
    for value in ({"ok": ["hunter2", object()]}, {"hunter2" * 8: object()}, {("hunter2", 1j): 1}):
        with pytest.raises(UnstorableValueError) as caught:
            pack(value)
        assert "hunter2" not in str(caught.value)


def test_a_part_that_stands_in_two_places_is_stored_twice() -> None:
    """Sharing is no loop; what was shared comes back as two."""
    shared = [1]
    _, copy = copy_in([shared, shared])
    assert copy == [[1], [1]]
    assert copy[0] is not copy[1]


def test_a_proxy_is_packed_as_its_storage() -> None:
    """A proxy is its plain type, wherever it stands, and reading it makes no further proxy."""
    inside = {"l": ProxiedList([1, "a"]), "d": ProxiedDict(a=[1]), "s": [ProxiedSet({1, 2})]}
    plain = {"l": [1, "a"], "d": {"a": [1]}, "s": [{1, 2}]}
    assert pack(inside) == pack(plain)
    assert same(copy_in(inside)[1], plain)
    for proxy, value in zip(inside.values(), plain.values(), strict=True):
        assert pack(proxy) == pack(value)
        assert same(copy_in(proxy)[1], value)


def test_parts_of_a_proxy_are_checked() -> None:
    """A proxy hides neither types, nor paths, nor sizes."""
    with pytest.raises(UnstorableValueError, match=r"object at value\['a'\]\[1\]"):
        pack(ProxiedDict(a=ProxiedList([1, object()])))
    with pytest.raises(ValueTooLargeError):
        pack(ProxiedList([1, 2]), Limits(max_nodes=2))


def test_a_mark_alone_makes_no_proxy() -> None:
    """Only subclasses of list, dict and set are taken for proxies."""
    for base in (str, tuple, frozenset, object):
        kind = type("Marked", (base,), {"_synced_": True})
        with pytest.raises(UnstorableValueError):
            pack(kind())


@pytest.mark.parametrize(
    "value",
    [
        {"role": "user"},
        [1, "a"],
        {"a": {"b": [1]}},
        [[1], {2}, {"k": [3]}],
        {1, 2},
        ([1], {"a": {2}}),
    ],
)
def test_a_copy_shares_nothing_that_can_change(value: Any) -> None:
    """Whatever is later done to the original, the copy stays."""
    _, copy = copy_in(value)
    assert same(copy, value)
    assert not mutable_parts(copy) & mutable_parts(value)


def mutable_parts(value: Any) -> set[int]:
    """The identity of each list, dict and set in a value."""
    own = {id(value)} if isinstance(value, list | dict | set) else set()
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, list | dict | set | tuple):
        return own.union(*map(mutable_parts, inner))
    return own


@given(keys())
def test_what_may_be_a_key_can_be_stored_as_one(key: Any) -> None:
    """str, int, float, bool, None, bytes and tuples of those are keys, and come back."""
    assert is_key(key)
    assert same(unpack(pack({key: 1})), {key: 1})


@pytest.mark.parametrize(
    "value",
    [
        *(Decimal(1), date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), time(1), UUID(int=1)),
        *(frozenset(), [1], {}, object(), Name("a"), Level.LOW, Point(1, 2)),
        *((1, Decimal(1)), ((1, [2]),)),
    ],
)
def test_nothing_else_may_be_a_key(value: Any) -> None:
    """Other types are no keys, neither alone nor inside a tuple."""
    assert not is_key(value)


def test_threads_do_not_mix_their_bytes() -> None:
    """Packing in many threads at once, with hooks that let others run, keeps each value whole."""
    wrong: list[int] = []

    def work(number: int) -> None:
        value = {"n": number, "t": (number, {Decimal(number), "x" * number})}
        expected = pack(value)
        wrong.extend(number for _ in range(300) if pack(value) != expected)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)
