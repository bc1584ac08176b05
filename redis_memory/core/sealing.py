"""Values under a key: the envelope of one value, without I/O.

An envelope is `C1 01 <place> <key id> <nonce> <ciphertext and tag>`: two bytes that neither
MessagePack nor UTF-8 can begin with, a letter for the place, and 4, 12 and 16 bytes beside the
ciphertext of AES-256-GCM. The nonce is a keyed BLAKE2b of all that is bound and of the value, so
the same value in the same place has the same bytes: the server can compare what it cannot read. It
is no HMAC, which takes five times as long. Keys are HKDF-SHA256 of the secret and the name of the
memory, one for AES and one for nonces.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, NoReturn

from redis_memory.errors import ConfigurationError, DecryptionError

# Where a value lies, bound to it: scalars of the two kinds, elements of a list, of a set (its
# canonical form and itself), keys (the same) and values of a dict, records of a journal, lines of
# an archive.
VALUE: Final = b"v"
NUMBER: Final = b"n"
ELEMENT: Final = b"l"
MEMBER_FORM: Final = b"m"
MEMBER: Final = b"e"
KEY_FORM: Final = b"k"
KEY: Final = b"s"
ITEM: Final = b"d"
RECORD: Final = b"j"
LINE: Final = b"a"

BEGINS: Final = b"\xc1\x01"
ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(BEGINS) + 1 + ID_BYTES
_LEAST_BYTES: Final = _HEAD_BYTES + _NONCE_BYTES + 16
_KEY_BYTES: Final = 32
_MOST_NOTED: Final = 16
# `lua/nested.lua` must see whether lists may lie in an element: a capital letter says so.
_MAY_NEST: Final = (ELEMENT, ITEM)
_CONTAINERS: Final = frozenset(
    {*range(0x80, 0xA0), *range(0xDC, 0xE0), *range(0xC7, 0xCA), *range(0xD4, 0xD9)}
)


def is_sealed(data: bytes) -> bool:
    """Does it look like an envelope? No plain value, name or word does."""
    return data.startswith(BEGINS)


def id_of(named: bytes) -> bytes:
    """The id of a key as a memory names it.

    Raises:
        DecryptionError: That is no name of a key.
    """
    try:
        return bytes.fromhex(named.decode("ascii"))
    except ValueError:
        raise DecryptionError("the name of the key of the memory is damaged") from None


class Keyring:
    """The secrets of the settings: the first one seals, all of them open.

    Args:
        secrets: 32 bytes each.

    Raises:
        ConfigurationError: The package `cryptography` is not installed.
    """

    __slots__ = ("_aead", "_hash", "_hkdf", "_secrets", "first")

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # few memories are encrypted
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
            from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
        except ImportError as error:
            raise ConfigurationError(
                "encryption_key needs the package cryptography: "
                "run pip install 'redis_memory[encryption]'"
            ) from error
        self._aead: Any = AESGCM
        self._hash: Any = SHA256
        self._hkdf: Any = HKDF
        named = [(self._derived(secret, ID_BYTES, b"id"), secret) for secret in secrets]
        self._secrets: dict[bytes, bytes] = dict(named)
        self.first: bytes = named[0][0]

    def __contains__(self, key_id: bytes) -> bool:
        return key_id in self._secrets

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")

    def ciphers(self, key_id: bytes, label: bytes) -> tuple[Any, bytes]:
        """AES-GCM, and the key of the nonces, for what is labelled so."""
        both = self._derived(self._secrets[key_id], 2 * _KEY_BYTES, b"values " + label)
        return self._aead(both[:_KEY_BYTES]), both[_KEY_BYTES:]

    def _derived(self, secret: bytes, length: int, info: bytes) -> bytes:
        kdf = self._hkdf(
            algorithm=self._hash(), length=length, salt=None, info=b"redis_memory 1 " + info
        )
        derived: bytes = kdf.derive(secret)
        return derived


class Sealer:
    """Seals and opens the values of one memory, by its Redis key; or of one line of an archive.

    `active` is the id of the key that seals. Where `takes_plain`, what is no envelope is passed
    through by `open`.
    """

    __slots__ = ("_ciphers", "active", "heads", "keyring", "label", "noted", "takes_plain")

    def __init__(self, keyring: Keyring, label: bytes, *, takes_plain: bool = False) -> None:
        self.keyring: Keyring = keyring
        self.label: bytes = label
        self.active: bytes = keyring.first
        self.takes_plain: bool = takes_plain
        # of commands under the active key, by those without one
        self.heads: dict[Any, Any] = {}
        # the last changes that hand something out, by writer and number
        self.noted: dict[tuple[bytes, int], Any] = {}
        self._ciphers: dict[bytes, tuple[Any, bytes]] = {}

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")

    def like(self, label: bytes) -> Sealer:
        """The same for another memory."""
        return Sealer(self.keyring, label)

    def note(self, which: tuple[bytes, int], asked: Any) -> None:
        """Remember what a change was, in case another call is told of its result."""
        self.noted[which] = asked
        if len(self.noted) > _MOST_NOTED:
            del self.noted[next(iter(self.noted))]

    def adopt(self, named: bytes) -> None:
        """Seal under the key that the memory is under, as the server names it.

        Raises:
            DecryptionError: This process does not have that key, or the memory is not encrypted.
        """
        if not named:
            raise DecryptionError(
                "the memory holds values that are not encrypted: see `rotate_keys(seal_plain=True)`"
            )
        key_id = id_of(named)
        if key_id not in self.keyring:
            raise DecryptionError(
                f"the memory is encrypted under the key {key_id.hex()}, "
                "which is not in encryption_key"
            )
        self.use(key_id)

    def use(self, key_id: bytes) -> None:
        """Seal under another key of the ring."""
        self.active = key_id
        self.heads.clear()

    def seal(self, place: bytes, name: bytes, plain: bytes, where: bytes = b"") -> bytes:
        """The envelope of a value. `where` is the canonical key of an item. Cost: about 6 us."""
        if not plain:  # what stands for none: a key in its canonical form, a deletion in a replay
            return b""
        if place in _MAY_NEST and plain[0] in _CONTAINERS:
            place = place.upper()
        head = BEGINS + place + self.active
        bound = _bound(head, name, where)
        aead, nonce_key = self._cipher(self.active)
        told = b"%d:%b%b" % (len(bound), bound, plain)
        nonce = blake2b(told, key=nonce_key, digest_size=_NONCE_BYTES).digest()
        sealed: bytes = head + nonce + aead.encrypt(nonce, plain, bound)
        return sealed

    def open(self, place: bytes, name: bytes, data: bytes, where: bytes = b"") -> bytes:
        """The value in an envelope that was sealed for this very place.

        Raises:
            DecryptionError: It was not, or was changed, or under a key that is not known here.
        """
        if not data.startswith(BEGINS):
            if self.takes_plain:
                return data
            raise _refusal(name, "is not encrypted")
        head = data[:_HEAD_BYTES]
        key_id = head[-ID_BYTES:]
        if len(data) < _LEAST_BYTES or head[len(BEGINS) :][:1].lower() != place:
            raise _refusal(name, "was sealed for another place, or is damaged")
        if key_id not in self.keyring:
            raise _refusal(name, f"is under the key {key_id.hex()}, which is not in encryption_key")
        aead, _ = self._cipher(key_id)
        nonce, body = data[_HEAD_BYTES:][:_NONCE_BYTES], data[_HEAD_BYTES + _NONCE_BYTES :]
        try:
            plain: bytes = aead.decrypt(nonce, body, _bound(head, name, where))
        except Exception:  # noqa: BLE001 - `InvalidTag` cannot be named without the package
            # from None: it says nothing more
            raise _refusal(name, "was changed, or copied from another place") from None
        return plain

    def _cipher(self, key_id: bytes) -> tuple[Any, bytes]:
        found = self._ciphers.get(key_id)
        if found is None:
            found = self._ciphers[key_id] = self.keyring.ciphers(key_id, self.label)
        return found


def _bound(head: bytes, name: bytes, where: bytes) -> bytes:
    return b"%b%d:%b%b" % (head, len(name), name, where)


def _refusal(name: bytes, reason: str) -> DecryptionError:
    named = f" of {name.decode('utf-8', 'backslashreplace')!r}" if name else ""
    return DecryptionError(f"a stored value{named} {reason}")
