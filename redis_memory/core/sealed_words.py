"""The arguments of each script, with the values among them sealed.

A script that is named nowhere here is refused: what carries values to the server is known, or it is
not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from redis_memory.core.descriptor import DICT, LIST, SET, VALUE
from redis_memory.core.parts import Part, Together
from redis_memory.core.sealed_values import Sealed
from redis_memory.core.sealing import Sealer
from redis_memory.errors import DecryptionError

# What stands for the kind of the new value where `exchange` deletes.
_NOTHING = b"x"
# Arguments of a change in a batch, before its own.
_BEFORE = 7
_OF_LISTS = {b"insert": (1,), b"set": (1, 2), b"delete": (1,), b"remove": (0,)}


def words(sealer: Sealer, script: str, name: bytes, given: Sequence[bytes]) -> tuple[bytes, ...]:
    """The arguments of a change from the descriptor on, sealed.

    Raises:
        DecryptionError: It cannot be made on encrypted values.
    """
    if script == "together":
        return _together(sealer, given)
    known, operation, *own = given
    return known, operation, *_own(Sealed(sealer, name), script, operation, own)


def _own(  # noqa: PLR0911 - one return for each script
    sealed: Sealed, script: str, operation: bytes, own: list[bytes]
) -> Iterable[bytes]:
    match script:
        case "append":
            return sealed.arguments(LIST, own)
        case "list":
            return _of_list(sealed, operation, own)
        case "dict":
            return _of_hash(sealed, DICT, operation, own)
        case "set":
            return _of_hash(sealed, SET, operation, own)
        case "assign":
            return own[0], *sealed.arguments(own[0], own[1:])
        case "exchange":
            return _exchange(sealed, own)
        case "swap":
            return _swap(sealed, own)
        case "delete" | "clear" | "skip" | "mark":
            return own
    raise DecryptionError(f"the server cannot make the change {script!r} where it is blind")


def _of_list(sealed: Sealed, operation: bytes, own: list[bytes]) -> Iterator[bytes]:
    places = range(len(own)) if operation == b"rewrite" else _OF_LISTS.get(operation, ())
    for at, word in enumerate(own):
        yield sealed.element(LIST, word) if at in places else word


def _of_hash(sealed: Sealed, kind: bytes, operation: bytes, own: list[bytes]) -> Iterable[bytes]:
    if operation == b"take":
        return [sealed.form(kind, canonical) for canonical in own]
    return sealed.arguments(kind, own)


def _exchange(sealed: Sealed, own: list[bytes]) -> Iterator[bytes]:
    expected, kind, *new = own
    yield expected and expected[:1] + sealed.scalar(expected[:1], expected[1:])
    yield kind
    yield from new if kind == _NOTHING else sealed.arguments(kind, new)


def kind_of_swap(own: Sequence[bytes]) -> bytes:
    """What the element lies in that a `swap` replaces."""
    return own[4] if len(own) > 4 else VALUE  # noqa: PLR2004


def _swap(sealed: Sealed, own: list[bytes]) -> Iterator[bytes]:
    where, old, new, moves, *_ = own
    kind = kind_of_swap(own)
    yield sealed.form(DICT, where) if kind == DICT else where
    yield sealed.element(kind, old, where)
    yield sealed.element(kind, new, where)
    yield moves


def scalar_words(sealer: Sealer, name: bytes, given: Sequence[bytes]) -> tuple[bytes, ...]:
    """The arguments of the script `scalar`: kind and bytes."""
    kind, payload = given
    return kind, Sealed(sealer, name).scalar(kind, payload)


def _together(sealer: Sealer, given: Sequence[bytes]) -> tuple[bytes, ...]:
    together = Together.unpacked(given)
    together.parts = [
        Part(part.script, part.name, words(sealer, part.script, part.name, part.arguments))
        for part in together.parts
    ]
    return together.packed()


def runs(given: Sequence[bytes]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """The changes of a batch: what stands before the arguments of each, and those."""
    at = 2
    while at < len(given):
        to = at + _BEFORE + int(given[at + _BEFORE - 1])
        yield list(given[at : at + _BEFORE]), list(given[at + _BEFORE : to])
        at = to


def batch_words(sealer: Sealer, given: Sequence[bytes]) -> Iterator[bytes]:
    """The arguments of a batch."""
    yield from given[:2]
    for before, own in runs(given):
        script = before[0].decode()
        sealed = words(sealer, script, before[2], own) if own else ()
        yield from before[:-1]
        yield b"%d" % len(sealed)
        yield from sealed


def restored_words(sealer: Sealer, given: Sequence[bytes]) -> Iterator[bytes]:
    """The attributes that `restore` stores, and under which key they are."""
    at = 0
    while at < len(given):
        name, kind, count = given[at : at + 3]
        own = given[at + 3 : at + 3 + int(count)]
        at += 3 + len(own)
        sealed = list(own if kind == b"m" else Sealed(sealer, name).arguments(kind, own))
        yield from (name, kind, b"%d" % len(sealed), *sealed)
    yield from (b"_sealed", b"m", b"1", sealer.active.hex().encode())
