"""The scripts that the server runs as one step, put together from the fragments in `lua/`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

# Lua makes a function anew at each call, so a script holds those that it needs and no others.
_ALONE = ("number", "take", "attribute", "given", "alone", "announce")
_DICT = ("stamped", "nested", "item", "items")
# Several changes in one script, of any kind.
_SEVERAL = (
    *("attribute", "announce", "look", "appear", "several", "burial"),
    *("scalar_field", "container", "nested", "elements"),
)
_ALL = (
    *("item", "items", "members", "list", "dict", "set", "assign", "swap", "increment"),
    *("delete", "declared", "clear", "extend", "mark", "pieces"),
)
_PARTS: dict[str, tuple[str, ...]] = {
    "append": ("number", "append"),
    "scalar": ("number", "scalar"),
    "list": (
        *_ALONE,
        *("absent", "position", "newest", "container", "nested", "elements", "list", "run"),
    ),
    "dict": (*_ALONE, *_DICT, "absent", "there", "container", "burial", "dict", "run"),
    "set": (*_ALONE, "absent", "container", "members", "set", "run"),
    "assign": (
        *(*_ALONE, *_DICT),
        *("scalar_field", "container", "elements", "members", "assign", "run"),
    ),
    "swap": (
        *(*_ALONE, "stamped", "position", "scalar_field", "container", "item", "swap", "run"),
    ),
    "increment": (*_ALONE, "scalar_field", "increment", "run"),
    "exchange": (
        *(*_ALONE, *_DICT),
        *("scalar_field", "container", "elements", "members", "burial", "assign", "delete"),
        *("exchange", "run"),
    ),
    "delete": (*_ALONE, "stamped", "burial", "delete", "run"),
    "clear": (*_ALONE, "declared", "clear", "run"),
    "skip": ("number", "take", "skip"),
    "batch": ("batch", *_SEVERAL, "queued", *_ALL, "replay"),
    "together": ("number", "take", *_SEVERAL, "stamped", "assured", *_ALL, "together", "run"),
    "lease_acquire": ("lease", "lease_acquire"),
    "lease_renew": ("lease", "lease_renew"),
    "lease_release": ("lease", "lease_release"),
    "read": ("read",),
    "fresh": ("fresh",),
    "snapshot": ("snapshot",),
    "window": ("window",),
    "enter": ("enter",),
    "renew": ("declared", "renew"),
    "correct": ("correct",),
    "record": ("record",),
    "restore": ("declared", "restore"),
    "prune": ("declared", "prune"),
    "bring": ("bring",),
    # what only an operator runs, who may do more than a worker
    "discard": ("operator/discard",),
    "reseal": ("reseal",),
}
# Those that carry values of attributes to the server: they ask first under which key the memory is.
SEALED: Final = frozenset(
    {"append", "scalar", "list", "dict", "set", "assign", "swap", "exchange", "batch", "together"}
)
_IS_SEALED = "call('HGET', memory, '_sealed')"
# What a script runs by `run.lua`.
_CHANGES = {"list": "change_list", "dict": "change_dict", "set": "change_set"}


# not importlib.resources: importing it takes longer than reading the files
_FOLDER = Path(__file__).with_name("lua")


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its source, and the SHA-1 by which the server knows it once loaded."""

    name: str
    source: bytes = field(repr=False)
    sha: bytes = field(repr=False)


def _assemble(name: str, key_id: bytes = b"") -> Script:
    parts = ("sealed", *_PARTS[name]) if key_id else _PARTS[name]
    source = "".join((_FOLDER / f"{part}.lua").read_text("utf-8") for part in parts)
    is_open = not key_id and name in {*SEALED, "increment"}
    source = source.replace("LACKS_KEY", _IS_SEALED if is_open else "false")
    source = source.replace("KEY_ID", key_id.hex())
    encoded = source.replace("CHANGE", _CHANGES.get(name, name)).encode()
    # SHA-1 is what EVALSHA names scripts by; nothing here relies on it for security
    sha = hashlib.sha1(encoded, usedforsecurity=False).hexdigest().encode()
    return Script(name, encoded, sha)


SCRIPTS = {name: _assemble(name) for name in _PARTS}
BY_SHA = {script.sha: script for script in SCRIPTS.values()}


@lru_cache(maxsize=64)
def sealed_scripts(key_id: bytes) -> dict[str, Script]:
    """The scripts that carry values, for memories under the key with that id."""
    sealed = {name: _assemble(name, key_id) for name in SEALED}
    BY_SHA.update((script.sha, script) for script in sealed.values())
    return sealed
