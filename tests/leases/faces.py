"""Locks and claims in either face, called in one way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis_memory import AsyncClaim, Claim, aio, claim, lock
from tests.outages.faces import Awaited, Blocking, Face


class Held(ABC):
    """A claim, whichever face it has."""

    claim: Claim | AsyncClaim

    @property
    def token(self) -> int:
        return self.claim.token

    @property
    def is_lost(self) -> bool:
        return self.claim.lost.is_set()

    @abstractmethod
    def renew(self) -> None: ...

    @abstractmethod
    def release(self) -> bool: ...

    @abstractmethod
    def write(self, **attributes: Any) -> None: ...


class HeldHere(Held):
    def __init__(self, claim: Claim) -> None:
        self.claim: Claim = claim

    def renew(self) -> None:
        self.claim.renew()

    def release(self) -> bool:
        return self.claim.release()

    def write(self, **attributes: Any) -> None:
        self.claim.write(**attributes)


class HeldThere(Held):
    def __init__(self, claim: AsyncClaim, face: Awaited) -> None:
        self.claim: AsyncClaim = claim
        self._face = face

    def renew(self) -> None:
        self._face.run(self.claim.renew)

    def release(self) -> bool:
        return self._face.run(self.claim.release)

    def write(self, **attributes: Any) -> None:
        self._face.run(lambda: self.claim.write(**attributes))


class Tenant(Face):
    """A memory whose locks and claims are taken."""

    @abstractmethod
    def claimed(self, name: str, owner: str = "me", *, ttl_s: float = 5) -> Held | None: ...

    @abstractmethod
    def locked(self, name: str = "lock", **options: Any) -> Any: ...

    def held(self, name: str, owner: str = "me", *, ttl_s: float = 5) -> Held:
        """A claim that is free."""
        held = self.claimed(name, owner, ttl_s=ttl_s)
        assert held is not None
        return held


class BlockingTenant(Blocking, Tenant):
    def claimed(self, name: str, owner: str = "me", *, ttl_s: float = 5) -> Held | None:
        taken = claim(self.memory, name, owner, ttl_s=ttl_s)
        return None if taken is None else HeldHere(taken)

    def locked(self, name: str = "lock", **options: Any) -> Any:
        return lock(self.memory, name, **options)


class AwaitedTenant(Awaited, Tenant):
    def claimed(self, name: str, owner: str = "me", *, ttl_s: float = 5) -> Held | None:
        taken = self.run(lambda: aio.claim(self.memory, name, owner, ttl_s=ttl_s))
        return None if taken is None else HeldThere(taken, self)

    @contextmanager
    def locked(self, name: str = "lock", **options: Any) -> Iterator[int]:
        block = aio.lock(self.memory, name, **options)
        token = self.run(block.__aenter__)
        error: BaseException | None = None
        try:
            yield token
        except BaseException as raised:
            error = raised
            raise
        finally:
            kind = None if error is None else type(error)
            self.run(lambda: block.__aexit__(kind, error, None))


TENANTS: tuple[type[BlockingTenant | AwaitedTenant], ...] = (BlockingTenant, AwaitedTenant)
