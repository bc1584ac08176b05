"""The scripts that the server runs as one step, put together from the fragments in `lua/`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files

_CHANGE = ("number", "take", "attribute")
_PARTS = {
    # name: fragments in order, and what runs last
    "append": (("number", "append"), ""),
    "scalar": (("number", "scalar"), ""),
    "list": ((*_CHANGE, "list"), "return guarded(change_list)"),
    "dict": ((*_CHANGE, "dict"), "return guarded(change_dict)"),
    "set": ((*_CHANGE, "set"), "return guarded(change_set)"),
    "assign": ((*_CHANGE, "dict", "set", "assign"), "return guarded(assign)"),
    "swap": ((*_CHANGE, "dict", "swap"), "return guarded(swap)"),
    "increment": ((*_CHANGE, "increment"), "return guarded(increment)"),
    "delete": ((*_CHANGE, "delete"), "return guarded(delete)"),
    "skip": (("number", "take", "skip"), ""),
    "clear": (("number", "take", "clear"), ""),
    "read": (("read",), ""),
    "snapshot": (("snapshot",), ""),
    "window": (("window",), ""),
}


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its source, and the SHA-1 by which the server knows it once loaded."""

    name: str
    source: bytes = field(repr=False)
    sha: bytes = field(repr=False)


def _assemble(name: str) -> Script:
    fragments, last = _PARTS[name]
    folder = files("redis_memory.core").joinpath("lua")
    source = "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in fragments) + last
    encoded = source.encode()
    # SHA-1 is what EVALSHA names scripts by; nothing here relies on it for security
    sha = hashlib.sha1(encoded, usedforsecurity=False).hexdigest().encode()
    return Script(name, encoded, sha)


SCRIPTS = {name: _assemble(name) for name in _PARTS}
BY_SHA = {script.sha: script for script in SCRIPTS.values()}
