"""The state machines of containers once more, on encrypted memories."""

from __future__ import annotations

from typing import Any

import pytest

from redis_memory import Memory
from redis_memory.memory import core_of
from tests.encryption.keys import OLD
from tests.stateful.machines import check
from tests.stateful.test_dict_machine import DictMachine
from tests.stateful.test_list_machine import ListMachine
from tests.stateful.test_set_machine import SetMachine
from tests.stateful.test_shared_machine import SharedDictMachine, SharedListMachine

MACHINES = [ListMachine, DictMachine, SetMachine, SharedListMachine, SharedDictMachine]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_an_encrypted_container_does_what_a_plain_one_does(
    url: str, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same results, same errors, same contents, alone and beside another writer."""
    monkeypatch.setenv("REDIS_MEMORY_ENCRYPTION_KEY", OLD)
    with Memory(url) as one:
        assert core_of(one).state.sealer is not None, "the machines must run encrypted"
    check(machine, url, examples=12, steps=25)
