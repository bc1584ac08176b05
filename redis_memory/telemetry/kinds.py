"""Which driver, which desk: the plain one, or the one that measures; `async_kinds` is its twin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from redis_memory.link.desk import Desk
from redis_memory.link.driver import Driver
from redis_memory.settings import Settings
from redis_memory.telemetry.switch import is_on


def driver_kind(settings: Settings) -> Callable[..., Driver]:
    """What makes the driver of a blocking memory, from its state and its link."""
    if not is_on(settings):
        return Driver
    from redis_memory.telemetry.drivers import MeasuredDriver  # noqa: PLC0415 - optional

    return partial(MeasuredDriver, with_ids=settings.telemetry_ids)


def desk(settings: Settings, client: Any) -> Desk:
    """Who runs the courses of a blocking directory.

    Raises:
        ConfigurationError: The url cannot work.
    """
    if not is_on(settings):
        return Desk(settings, client)
    from redis_memory.telemetry.drivers import MeasuredDesk  # noqa: PLC0415 - optional

    return MeasuredDesk(settings, client)
