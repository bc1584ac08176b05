"""The public names: few, declared once, explained, and out of the way of the user's own."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import redis_memory
from redis_memory import aio, errors

MEMORIES = ("Memory", "ConversationMemory", "AsyncMemory", "AsyncConversationMemory")
CONTRACT = {
    *MEMORIES,
    *("AsyncHandle", "SyncedList", "SyncedDict", "SyncedSet", "Settings", "Status"),
    *("snapshot", "push", "window", "increment", "setdefault", "clear", "status", "close"),
    *("flush", "conflicts", "Conflict", "MISSING", "DataLossWarning", "QueueFullError"),
}
NEEDED_BY_IMPORTS = {"TYPE_CHECKING", "Any", "importlib", "annotations"}
SUBMODULES = {module.name for module in pkgutil.iter_modules(redis_memory.__path__)}


def test_all_is_complete_and_sorted() -> None:
    """Every public name is declared, in alphabetical order, and nothing else is."""
    public = {name for name in dir(redis_memory) if not name.startswith("_")} - SUBMODULES
    assert sorted(public - NEEDED_BY_IMPORTS) == list(redis_memory.__all__)


def test_the_async_names_are_imported_late_and_nothing_else_is() -> None:
    """An unknown name is an AttributeError, as of any module."""
    assert redis_memory.AsyncMemory is aio.AsyncMemory
    with pytest.raises(AttributeError, match="no attribute 'AsyncSomething'"):
        redis_memory.AsyncSomething  # noqa: B018


def test_the_package_itself_is_imported_in_no_time() -> None:
    """What a name needs is imported when the name is: who needs little starts at once."""
    program = (
        "import sys, redis_memory\n"
        "assert redis_memory.OfflineError\n"
        "heavy = {'redis', 'pydantic', 'redis_memory.memory'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "assert redis_memory.Memory and 'redis' in sys.modules\n"
        "assert redis_memory.errors is sys.modules['redis_memory.errors']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_promised_name_is_there() -> None:
    """What the manual tells users to import can be imported."""
    assert not CONTRACT - set(redis_memory.__all__)


def test_every_error_is_public() -> None:
    """Whatever the library raises or warns of can be caught by a public name."""
    own = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    assert not own - set(redis_memory.__all__)


@pytest.mark.parametrize("name", MEMORIES)
def test_a_memory_has_no_public_names_of_its_own(name: str) -> None:
    """Every attribute name belongs to the user, but for `conversation_id`."""
    public = {attribute for attribute in dir(getattr(redis_memory, name)) if attribute[0] != "_"}
    assert public <= {"conversation_id"}


def explained(name: str) -> Iterator[tuple[str, object]]:
    """A public object, and the methods that the package itself gives it."""
    thing = getattr(redis_memory, name)
    if inspect.isfunction(thing) or inspect.isclass(thing):
        yield name, thing
    if inspect.isclass(thing):
        for attribute, member in vars(thing).items():
            if attribute[0] != "_" and (inspect.isroutine(member) or isinstance(member, property)):
                yield f"{name}.{attribute}", member


def test_every_public_object_is_explained() -> None:
    """Functions, classes and their public methods each have a docstring."""
    things = [pair for name in redis_memory.__all__ for pair in explained(name)]
    assert not [path for path, thing in things if not inspect.getdoc(thing)]


# What gives something to be awaited, step by step, and is not awaited itself.
AT_ONCE = {"batch", "lock", "retry_on_conflict", "transaction", "watch"}


def test_every_function_has_an_async_twin() -> None:
    """`redis_memory.aio` has each function too, awaited, with the same arguments and defaults."""
    for name in redis_memory.__all__:
        function = getattr(redis_memory, name)
        if not inspect.isfunction(function):
            continue
        twin = getattr(aio, name)
        assert inspect.iscoroutinefunction(twin) is (name not in AT_ONCE), name
        assert arguments(twin) == arguments(function), name
        assert name in aio.__all__


@pytest.mark.parametrize("name", ["Memory", "ConversationMemory"])
def test_both_memories_are_opened_alike(name: str) -> None:
    """Whoever changes to the async class changes nothing else where a memory is opened."""
    blocking, twin = getattr(redis_memory, name), getattr(redis_memory, f"Async{name}")
    assert arguments(twin) == arguments(blocking)
    assert f"Async{name}" in aio.__all__


def arguments(function: Callable[..., object]) -> list[tuple[str, object, object]]:
    """What a caller may pass: names, how each may be given, and what it is when it is not."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]
